"""Client and server endpoints face each other, through TLS, over nodes in memory."""

from __future__ import annotations

import hashlib

import pytest
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoProtocol,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pinecone_transport.errors import LocalProtocolError, StreamTimeoutError
from pinecone_transport.identity import Identity
from tests.support.loopback import LoopbackNetwork, LoopbackNode
from tests.support.twisted_protocols import HalfCloseableRecorder, Recorder, Recorders
from twisted_endpoints import PineconeAddress, PineconeClientEndpoint, PineconeServerEndpoint


class EndpointTestCase(SynchronousTestCase):
    """Two nodes, a listener on the second."""

    server_protocol: type[Recorder] = Recorder
    client_protocol: type[Recorder] = Recorder

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = LoopbackNetwork(self.clock)
        self.alice = self.network.node(1)
        self.bob = self.network.node(2)
        self.servers = Recorders(self.server_protocol)
        self.clients = Recorders(self.client_protocol)
        self.port = self.successResultOf(PineconeServerEndpoint(self.bob).listen(self.servers))

    def run_turns(self, turns: int = 50) -> None:
        for _ in range(turns):
            self.clock.advance(0)

    def run_until(self, condition) -> None:
        for _ in range(100_000):
            if condition():
                return
            self.clock.advance(0)
        self.fail("it did not come to pass")

    def connect(self) -> tuple[Recorder, Recorder]:
        """Return the client's protocol and the server's."""
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        return self.successResultOf(connecting), self.servers.made[-1]


class ConnectTests(EndpointTestCase):
    def test_both_ends_know_each_others_key(self) -> None:
        client, server = self.connect()
        alice, bob = PineconeAddress(self.alice.identity.key), PineconeAddress(self.bob.identity.key)
        assert (client.transport.getPeer(), client.transport.getHost()) == (bob, alice)
        assert (server.transport.getPeer(), server.transport.getHost()) == (alice, bob)
        assert (client.address, server.address) == (bob, alice)
        assert server.transport.getPeer().host == self.alice.identity.server_name

    def test_a_server_name_can_be_dialled(self) -> None:
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.server_name).connect(self.clients)
        self.run_turns()
        self.successResultOf(connecting)

    def test_what_is_no_key_is_refused_at_once(self) -> None:
        for wrong in (b"short", "AB" * 32, "matrix.example"):
            with pytest.raises(LocalProtocolError):
                PineconeClientEndpoint(self.alice, wrong)

    def test_the_transport_provides_its_interface(self) -> None:
        client, _ = self.connect()
        verifyObject(ITransport, client.transport)

    def test_data_goes_both_ways(self) -> None:
        client, server = self.connect()
        client.transport.write(b"ping")
        client.transport.writeSequence([b" and", b" ping"])
        self.run_turns()
        server.transport.write(b"pong")
        self.run_turns()
        assert (bytes(server.received), bytes(client.received)) == (b"ping and ping", b"pong")

    def test_nothing_is_delivered_inside_write(self) -> None:
        client, server = self.connect()
        client.transport.write(b"ping")
        assert server.received == b""

    def test_what_the_peer_writes_at_once_is_delivered_after_connect_fires(self) -> None:
        self.servers.protocol = _Greeter
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        seen: list[bytes] = []
        connecting.addCallback(lambda protocol: seen.append(bytes(protocol.received)))
        self.run_turns()
        assert seen == [b""]
        assert self.clients.made[0].received == b"hello"

    def test_no_route(self) -> None:
        connecting = PineconeClientEndpoint(self.alice, bytes(32)).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, NoRouteError)
        assert (self.clients.made, self.clients.started) == ([], 0)

    def test_nobody_listens(self) -> None:
        connecting = PineconeClientEndpoint(self.bob, self.alice.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_our_own_key(self) -> None:
        connecting = PineconeClientEndpoint(self.alice, self.alice.identity.key).connect(self.clients)
        assert "its own key" in str(self.failureResultOf(connecting).value)
        assert self.clock.getDelayedCalls() == []

    def test_silence_ends_in_a_timeout(self) -> None:
        self.network.silent.add(self.bob.identity.key)
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key, timeout=5).connect(self.clients)
        self.clock.advance(4.9)
        self.assertNoResult(connecting)
        self.clock.advance(0.2)
        self.failureResultOf(connecting, TimeoutError)
        assert self.alice.ends == {}

    def test_the_sessions_own_timeout_is_a_timeout_too(self) -> None:
        self.network.silent.add(self.bob.identity.key)
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.alice.lose_streams(StreamTimeoutError("no answer"))
        self.run_turns()
        self.failureResultOf(connecting, TimeoutError)
        assert self.clock.getDelayedCalls() == []

    def test_cancelling_at_every_turn_leaves_nothing_behind(self) -> None:
        self.network.latency = 0.001
        for turns in range(20):
            connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(Recorders())
            self.clock.pump([0.001] * turns)
            if connecting.called:
                break
            connecting.cancel()
            self.failureResultOf(connecting, ConnectingCancelledError)
            self.clock.pump([0.001] * 5)
            assert (self.alice.ends, self.bob.ends) == ({}, {})
            assert self.clock.getDelayedCalls() == []
        assert turns > 1

    def test_a_factory_that_fails_fails_the_connect(self) -> None:
        self.clients.buildProtocol = _raise
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, ZeroDivisionError)
        self.run_turns()
        assert self.alice.ends == {}

    def test_a_factory_that_gives_no_protocol_fails_the_connect(self) -> None:
        self.clients.buildProtocol = lambda addr: None
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, NoProtocol)
        assert self.alice.ends == {}

    def test_a_protocol_that_fails_when_connected_fails_the_connect(self) -> None:
        self.clients.protocol = _FailsAtOnce
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, ZeroDivisionError)
        assert (self.alice.ends, self.clients.started) == ({}, 0)

    def test_factories_are_started_and_stopped(self) -> None:
        client, _ = self.connect()
        assert (self.clients.started, self.servers.started) == (1, 1)
        client.transport.loseConnection()
        self.run_turns()
        self.successResultOf(self.port.stopListening())
        assert (self.clients.started, self.servers.started) == (0, 0)


class ListenTests(EndpointTestCase):
    def test_a_node_has_one_listener(self) -> None:
        self.failureResultOf(PineconeServerEndpoint(self.bob).listen(Recorders()), CannotListenError)

    def test_stop_listening_makes_room_for_another(self) -> None:
        self.successResultOf(self.port.stopListening())
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.successResultOf(PineconeServerEndpoint(self.bob).listen(self.servers))
        self.connect()

    def test_stopping_twice_is_stopping_once(self) -> None:
        self.successResultOf(self.port.stopListening())
        self.successResultOf(self.port.stopListening())
        assert self.servers.started == 0

    def test_the_port_knows_its_address(self) -> None:
        assert self.port.getHost() == PineconeAddress(self.bob.identity.key)
        assert str(self.port.getHost()) == f"pinecone:{self.bob.identity.server_name}"

    def test_a_protocol_that_fails_when_connected_is_refused(self) -> None:
        self.servers.protocol = _FailsAtOnce
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        self.successResultOf(connecting).lost[0].trap(ConnectionLost)
        assert self.bob.ends == {}

    def test_open_connections_outlive_the_listener(self) -> None:
        client, server = self.connect()
        self.port.stopListening()
        client.transport.write(b"still here")
        self.run_turns()
        assert server.received == b"still here"

    def test_stop_listening_ends_handshakes(self) -> None:
        self.alice.open_stream(self.bob.identity.key, _Mute())
        self.run_turns()
        assert len(self.bob.ends) == 1
        self.port.stopListening()
        self.run_turns()
        assert (self.bob.ends, self.clock.getDelayedCalls()) == ({}, [])

    def test_a_slow_handshake_ends_after_ten_seconds(self) -> None:
        self.alice.open_stream(self.bob.identity.key, _Mute())
        self.clock.pump([0.1] * 98)
        assert len(self.bob.ends) == 1
        self.clock.pump([0.1] * 5)
        assert (self.bob.ends, self.servers.made) == ({}, [])
        assert self.port.counters["handshake timed out"] == 1

    def test_handshakes_of_one_key_are_bounded(self) -> None:
        for _ in range(70):
            self.alice.open_stream(self.bob.identity.key, _Mute())
        self.run_turns()
        assert (len(self.bob.ends), self.port.counters["too many handshakes"]) == (64, 6)

    def test_handshakes_are_bounded_in_all_and_free_again_when_done(self) -> None:
        for seed in range(10, 15):
            node = self.network.node(seed)
            for _ in range(64):
                node.open_stream(self.bob.identity.key, _Mute())
        self.run_turns()
        # The fifth key gets as many as the others, which have 64 each to begin with.
        assert len(self.bob.ends) == 256
        assert self.port.counters == {"too many handshakes": 12, "handshakes that gave way": 52}
        self.clock.advance(11)
        self.connect()

    def test_a_handshake_gets_a_place_although_a_few_keys_hold_all_and_go_on(self) -> None:
        for seed in range(10, 14):
            node = self.network.node(seed)
            for _ in range(64):
                node.open_stream(self.bob.identity.key, _Mute())
        self.run_turns()
        assert len(self.bob.ends) == 256
        _, server = self.connect()
        assert server.address == PineconeAddress(self.alice.identity.key)

    def test_of_many_keys_with_a_handshake_each_the_oldest_gives_way(self) -> None:
        for seed in range(1000, 1256):
            node = LoopbackNode(self.network, Identity(seed.to_bytes(32, "big")))
            self.network.nodes[node.identity.key] = node
            node.open_stream(self.bob.identity.key, _Mute())
        self.run_turns()
        first = next(iter(self.bob.ends))
        self.connect()
        assert first not in self.bob.ends
        assert len(self.bob.ends) == 256

    def test_a_key_can_be_refused_before_tls(self) -> None:
        self.port.stopListening()
        asked: list[bytes] = []

        def accept(key: bytes) -> bool:
            asked.append(key)
            return False

        PineconeServerEndpoint(self.bob, accept).listen(self.servers)
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        self.failureResultOf(connecting, ConnectionRefusedError)
        assert (asked, self.servers.made) == ([self.alice.identity.key], [])

    def test_a_factory_that_gives_no_protocol_refuses(self) -> None:
        self.servers.buildProtocol = lambda addr: None
        connecting = PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        client = self.successResultOf(connecting)
        client.lost[0].trap(ConnectionLost)
        assert self.bob.ends == {}

    def test_a_factory_that_fails_refuses_and_the_listener_goes_on(self) -> None:
        build = self.servers.buildProtocol
        self.servers.buildProtocol = _raise
        PineconeClientEndpoint(self.alice, self.bob.identity.key).connect(self.clients)
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        self.servers.buildProtocol = build
        self.connect()


class CloseTests(EndpointTestCase):
    def test_a_close_reaches_both_ends_as_connection_done(self) -> None:
        client, server = self.connect()
        client.transport.write(b"last words")
        client.transport.loseConnection()
        self.run_turns()
        assert server.received == b"last words"
        for end in (client, server):
            assert len(end.lost) == 1
            end.lost[0].trap(ConnectionDone)
        assert (self.alice.ends, self.bob.ends, self.clock.getDelayedCalls()) == ({}, {}, [])

    def test_a_close_with_five_megabytes_pending_delivers_them(self) -> None:
        client, server = self.connect()
        data = hashlib.shake_256(b"pending").digest(5_000_000)
        client.transport.write(data)
        client.transport.loseConnection()
        self.run_until(lambda: server.lost)
        assert hashlib.sha256(server.received).digest() == hashlib.sha256(data).digest()
        server.lost[0].trap(ConnectionDone)

    def test_nothing_is_delivered_after_lose_connection(self) -> None:
        client, server = self.connect()
        server.transport.write(b"too late")
        client.transport.loseConnection()
        self.run_turns()
        assert client.received == b""

    def test_writes_after_lose_connection_are_dropped(self) -> None:
        client, server = self.connect()
        client.transport.loseConnection()
        client.transport.write(b"too late")
        self.run_turns()
        client.transport.write(b"far too late")
        assert server.received == b""

    def test_an_abort_is_a_lost_connection_on_the_other_side(self) -> None:
        client, server = self.connect()
        client.transport.write(b"x" * 1_000_000)
        client.transport.abortConnection()
        assert client.lost == []
        self.run_turns()
        client.lost[0].trap(ConnectionAborted)
        server.lost[0].trap(ConnectionLost)
        assert (len(client.lost), len(server.lost)) == (1, 1)
        assert (self.alice.ends, self.bob.ends, self.clock.getDelayedCalls()) == ({}, {}, [])

    def test_abort_behind_lose_connection_drops_what_is_pending(self) -> None:
        client, _ = self.connect()
        client.transport.write(b"x" * 1_000_000)
        client.transport.loseConnection()
        client.transport.abortConnection()
        self.run_turns()
        assert len(client.lost) == 1
        client.lost[0].trap(ConnectionAborted)

    def test_an_abort_between_the_last_byte_and_the_end_is_an_abort(self) -> None:
        client, server = self.connect()
        self.network.latency = 0.001
        client.transport.loseConnection()
        self.clock.callLater(self.network.latency, client.transport.abortConnection)
        self.clock.pump([self.network.latency] * 5)
        client.lost[0].trap(ConnectionAborted)
        assert (len(client.lost), len(server.lost), self.alice.ends) == (1, 1, {})

    def test_a_dead_session_is_a_lost_connection_at_once(self) -> None:
        client, _ = self.connect()
        self.alice.lose_streams(StreamTimeoutError("nothing heard for 30 s"))
        self.run_turns(1)
        client.lost[0].trap(ConnectionLost)
        assert "nothing heard for 30 s" in str(client.lost[0].value)

    def test_a_stream_cut_short_is_not_a_clean_end(self) -> None:
        client, server = self.connect()
        client.transport.write(b"half of it")
        self.run_turns()
        for stream in list(self.alice.ends):
            self.alice.close_stream(stream)
        self.run_turns()
        server.lost[0].trap(ConnectionLost)

    def test_the_far_end_need_not_close_for_us_to_be_done(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        client.transport.loseConnection()
        self.run_turns()
        client.lost[0].trap(ConnectionDone)
        assert (len(self.alice.ends), server.lost) == (1, [])
        self.clock.advance(121)
        self.run_turns()
        assert self.alice.ends == {}

    def test_errors_in_connection_lost_are_logged(self) -> None:
        self.clients.protocol = _FailsAtLast
        client, server = self.connect()
        client.transport.loseConnection()
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        server.lost[0].trap(ConnectionDone)

    def test_closing_again_changes_nothing(self) -> None:
        client, _server = self.connect()
        for _ in range(2):
            client.transport.abortConnection()
            client.transport.abortConnection()
            client.transport.loseConnection()
            client.transport.loseWriteConnection()
            self.run_turns()
        assert len(client.lost) == 1

    def test_an_error_in_data_received_is_logged_and_ends_the_connection(self) -> None:
        client, server = self.connect()
        server.on_data = lambda protocol, data: 1 // 0
        client.transport.write(b"x")
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        server.lost[0].trap(ZeroDivisionError)
        client.lost[0].trap(ConnectionLost)


class HalfCloseTests(EndpointTestCase):
    server_protocol = HalfCloseableRecorder
    client_protocol = HalfCloseableRecorder

    def test_each_way_closes_on_its_own(self) -> None:
        client, server = self.connect()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.run_turns()
        assert (bytes(server.received), server.read_ended, client.write_ended) == (b"question", 1, 1)
        assert (client.lost, server.lost) == ([], [])
        client.transport.write(b"dropped")
        server.transport.write(b"answer")
        server.transport.loseConnection()
        self.run_turns()
        assert (bytes(client.received), bytes(server.received)) == (b"answer", b"question")
        for end in (client, server):
            assert len(end.lost) == 1
            end.lost[0].trap(ConnectionDone)
        assert (self.alice.ends, self.bob.ends, self.clock.getDelayedCalls()) == ({}, {}, [])

    def test_both_write_ends_closed_is_the_end(self) -> None:
        client, server = self.connect()
        client.transport.loseWriteConnection()
        self.run_turns()
        server.transport.loseWriteConnection()
        self.run_turns()
        for end in (client, server):
            end.lost[0].trap(ConnectionDone)

    def test_the_end_waits_for_a_protocol_that_has_paused(self) -> None:
        client, server = self.connect()
        client.transport.loseWriteConnection()
        client.transport.pauseProducing()
        self.run_turns()
        server.transport.write(b"late answer")
        server.transport.loseConnection()
        self.run_turns()
        assert (client.received, client.lost, self.alice.ends) == (b"", [], {})
        client.transport.resumeProducing()
        self.run_turns()
        assert client.received == b"late answer"
        client.lost[0].trap(ConnectionDone)

    def test_a_full_close_overtakes_a_half_close_that_still_waits_for_room(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 1_000_000)
        client.transport.loseWriteConnection()
        self.run_turns()
        client.transport.loseConnection()
        server.transport.resumeProducing()
        self.run_until(lambda: client.lost and server.read_ended)
        assert (len(server.received), client.write_ended) == (1_000_000, 0)

    def test_a_stream_that_dies_while_it_closes_is_lost(self) -> None:
        client, _server = self.connect()
        client.transport.loseWriteConnection()
        self.run_turns()
        self.alice.lose_streams(StreamTimeoutError("silence"))
        client.transport.loseConnection()
        self.run_turns()
        assert len(client.lost) == 1
        client.lost[0].trap(ConnectionLost)

    def test_an_error_in_a_half_close_is_logged_and_ends_the_connection(self) -> None:
        client, server = self.connect()
        server.readConnectionLost = lambda: 1 // 0
        client.transport.loseWriteConnection()
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        server.lost[0].trap(ZeroDivisionError)
        client.lost[0].trap(ConnectionLost)

    def test_lose_connection_behind_a_half_close_finishes(self) -> None:
        client, _server = self.connect()
        client.transport.loseWriteConnection()
        self.run_turns()
        client.transport.loseConnection()
        self.run_turns()
        client.lost[0].trap(ConnectionDone)


class _Greeter(Recorder):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")


class _FailsAtOnce(Recorder):
    def connectionMade(self) -> None:
        raise ZeroDivisionError


class _FailsAtLast(Recorder):
    def connectionLost(self, reason: Failure) -> None:
        raise ZeroDivisionError


class _Mute:
    """A receiver that opens a stream and says nothing."""

    def stream_connected(self, stream: int) -> None:
        pass

    def stream_data(self, data: bytes) -> None:
        pass

    def stream_ended(self) -> None:
        pass

    def stream_lost(self, error: Exception | None) -> None:
        pass

    def flush(self, room: int, segment: int) -> list[bytes]:
        return []


def _raise(addr: object) -> None:
    raise ZeroDivisionError
