"""Peers that show the wrong certificate, the wrong TLS or none at all, on both sides of a dial."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.identity import Identity
from tests.support.loopback import LoopbackNetwork
from tests.support.raw_tls import (
    RawTlsPeer,
    ecdsa_certificate,
    of_identity,
    raw_context,
    rsa_certificate,
    self_signed,
)
from tests.support.twisted_protocols import Recorders
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint, TlsFailed, WrongPeerKey


class WrongPeerTestCase(SynchronousTestCase):
    """Alice dials Bob; one of them is an impostor."""

    def setUp(self) -> None:
        self.clock = Clock()
        network = LoopbackNetwork(self.clock)
        self.alice, self.bob = network.node(1), network.node(2)


class DiallerTests(WrongPeerTestCase):
    """Alice keeps the rules."""

    def dial(self, context: SSL.Context | None) -> RawTlsPeer:
        """Dial an impostor; what became of it is ``self.failure``."""
        peer = RawTlsPeer(self.bob, context)
        self.bob.set_acceptor(peer.accept)
        self.clients = Recorders()
        self.connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.clock.advance(0)
        return peer

    def refused(self, context: SSL.Context, error: type[ConnectError] = WrongPeerKey) -> tuple[RawTlsPeer, str]:
        peer = self.dial(context)
        failure = self.failureResultOf(self.connecting, error)
        self.clock.advance(0)
        assert (self.clients.made, self.alice.ends, self.clock.getDelayedCalls()) == ([], {}, [])
        return peer, str(failure.value)

    def test_the_right_key_is_let_in_whoever_made_its_certificate(self) -> None:
        key = of_identity(self.bob.identity)[1]
        self.dial(raw_context(self_signed(key)))
        protocol: IProtocol = self.successResultOf(self.connecting)
        protocol.transport.abortConnection()
        self.clock.advance(0)

    def test_another_key(self) -> None:
        mallory = Identity(b"\3" * 32)
        peer, reason = self.refused(raw_context(of_identity(mallory)))
        assert reason == f"the peer has the key {mallory.server_name} and not {self.bob.identity.server_name}"
        # The impostor does not even learn who dialled.
        assert (peer.established, peer.shown) == (False, False)

    def test_an_rsa_certificate(self) -> None:
        _, reason = self.refused(raw_context(rsa_certificate()))
        assert "not ed25519" in reason

    def test_an_ecdsa_certificate(self) -> None:
        _, reason = self.refused(raw_context(ecdsa_certificate()))
        assert "not ed25519" in reason

    def test_two_certificates_although_the_first_is_right(self) -> None:
        shown = of_identity(self.bob.identity)
        _, reason = self.refused(raw_context(shown, extra=[rsa_certificate()[0]]))
        assert "2 certificates" in reason

    def test_a_certificate_that_its_key_has_not_signed(self) -> None:
        key = of_identity(self.bob.identity)[1]
        _, reason = self.refused(raw_context(self_signed(key, signer=Ed25519PrivateKey.generate())))
        assert "not signed by its own key" in reason

    def test_tls_1_2(self) -> None:
        _, reason = self.refused(raw_context(ecdsa_certificate(), version=SSL.TLS1_2_VERSION), TlsFailed)
        assert reason.startswith("the TLS handshake failed: ")

    def test_garbage(self) -> None:
        peer = self.dial(None)
        self.assertNoResult(self.connecting)
        peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.clock.advance(0)
        self.failureResultOf(self.connecting, TlsFailed)

    def test_an_end_in_the_middle_of_the_handshake(self) -> None:
        peer = self.dial(None)
        self.bob.close_stream(peer.stream)
        self.clock.advance(0)
        self.failureResultOf(self.connecting, ConnectionRefusedError)
        assert self.clock.getDelayedCalls() == []

    def test_a_reset_in_the_middle_of_the_handshake(self) -> None:
        peer = self.dial(None)
        self.bob.abort_stream(peer.stream)
        self.clock.advance(0)
        self.failureResultOf(self.connecting, ConnectionRefusedError)

    def test_garbage_on_an_open_connection_ends_it(self) -> None:
        peer = self.dial(raw_context(of_identity(self.bob.identity)))
        client = self.successResultOf(self.connecting)
        peer.write(b"good")
        peer.send_raw(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        peer.write(b"never read")
        self.clock.advance(0)
        assert bytes(client.received) == b"good"
        client.lost[0].trap(ConnectionLost)
        assert (len(client.lost), self.alice.ends) == (1, {})
        assert len(peer.lost) == 1


class ListenerTests(WrongPeerTestCase):
    """Bob keeps the rules."""

    def setUp(self) -> None:
        super().setUp()
        self.servers = Recorders()
        self.port = self.successResultOf(PineconeServerEndpoint(self.bob).listen(self.servers))

    def dial(self, context: SSL.Context | None) -> RawTlsPeer:
        peer = RawTlsPeer(self.alice, context)
        peer.dial(self.bob.identity.key)
        self.clock.advance(0)
        return peer

    def refused(self, context: SSL.Context) -> None:
        peer = self.dial(context)
        assert (self.servers.made, self.bob.ends, self.clock.getDelayedCalls()) == ([], {}, [])
        assert self.port.counters == {"handshake failed": 1}
        assert len(peer.lost) == 1

    def test_the_right_key_is_let_in(self) -> None:
        peer = self.dial(raw_context(of_identity(self.alice.identity)))
        peer.write(b"hello")
        self.clock.advance(0)
        assert bytes(self.servers.made[0].received) == b"hello"
        assert self.servers.made[0].transport.getPeer().key == self.alice.identity.key

    def test_no_certificate(self) -> None:
        self.refused(raw_context(None))

    def test_another_key_than_the_streams(self) -> None:
        self.refused(raw_context(of_identity(Identity(b"\3" * 32))))

    def test_an_rsa_certificate(self) -> None:
        self.refused(raw_context(rsa_certificate()))

    def test_an_ecdsa_certificate(self) -> None:
        self.refused(raw_context(ecdsa_certificate()))

    def test_two_certificates(self) -> None:
        self.refused(raw_context(of_identity(self.alice.identity), extra=[rsa_certificate()[0]]))

    def test_tls_1_2(self) -> None:
        self.refused(raw_context(ecdsa_certificate(), version=SSL.TLS1_2_VERSION))

    def test_garbage(self) -> None:
        peer = self.dial(None)
        peer.send_raw(b"GET / HTTP/1.1\r\n\r\n")
        self.clock.advance(0)
        assert (self.servers.made, self.bob.ends) == ([], {})
        assert self.port.counters == {"handshake failed": 1}
