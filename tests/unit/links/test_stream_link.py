from collections.abc import Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.links import HostPort, Link, StreamLink, TcpLink, dial_tcp, listen_tcp
from pinecone_transport.links.tcp import FIRST_WRITE, MAX_WRITE, MIN_WRITE, SAFE_WRITE
from pinecone_transport.wire import PeerType


class RecordingOwner:
    """Notes what links tell their owner."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Link]] = []
        self.data = b""
        self.reasons: list[type[BaseException]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def link_made(self, link: Link) -> None:
        self.calls.append(("made", link))

    def link_data(self, link: Link, data: bytes) -> None:
        self.calls.append(("data", link))
        self.data += data

    def link_writable(self, link: Link) -> None:
        self.calls.append(("writable", link))

    def link_lost(self, link: Link, reason: Failure) -> None:
        self.calls.append(("lost", link))
        self.reasons.append(reason.type)


class StreamLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.owner = RecordingOwner()
        self.link = StreamLink(self.owner, peer_type=PeerType.REMOTE, way="tcp", address="relay:1", outbound=True)
        self.transport = StringTransport()
        self.link.makeConnection(self.transport)

    def test_the_owner_hears_of_it_first(self) -> None:
        assert self.owner.calls == [("made", self.link)]
        assert self.link.writable

    def test_bytes_go_up_and_down(self) -> None:
        self.link.dataReceived(b"abc")
        self.link.write([b"de", b"f"])
        assert self.owner.data == b"abc"
        assert self.transport.value() == b"def"

    def test_a_full_transport_is_seen_and_its_end_told_once(self) -> None:
        producer = self.transport.producer
        producer.pauseProducing()
        assert not self.link.writable
        producer.resumeProducing()
        producer.resumeProducing()
        assert self.link.writable
        assert self.owner.names() == ["made", "writable"]

    def test_reading_can_pause(self) -> None:
        self.link.pause_reading()
        assert self.transport.producerState == "paused"
        self.link.resume_reading()
        assert self.transport.producerState == "producing"

    def test_it_takes_nothing_that_is_only_lent(self) -> None:
        assert self.link.write_now([b"abc"]) == 0
        assert self.transport.value() == b""

    def test_close_lets_the_transport_write_what_it_has(self) -> None:
        self.link.close()
        assert self.transport.producer is None
        assert self.transport.disconnecting

    def test_abort_does_not_wait(self) -> None:
        self.link.abort()
        assert self.transport.disconnected

    def test_its_loss_is_told_to_the_owner_and_then_to_the_dialler(self) -> None:
        told_before: list[list[str]] = []
        self.link.lost.addCallback(lambda _: told_before.append(self.owner.names()))
        self.link.stopProducing()
        self.link.connectionLost(Failure(ConnectionLost()))
        assert told_before == [["made", "lost"]]
        assert self.owner.reasons == [ConnectionLost]
        assert not self.link.writable

    def test_nothing_happens_to_a_lost_link(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))
        self.link.write([b"late"])
        self.link.close()
        self.link.abort()
        self.link.pause_reading()
        self.link.resume_reading()
        assert self.transport.value() == b""
        assert not self.transport.disconnecting


class TcpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.owner = RecordingOwner()
        self.reactor = MemoryReactorClock()

    def _accept(self, factory: Factory, address: object) -> Link:
        protocol = factory.buildProtocol(address)
        protocol.makeConnection(StringTransport())
        name, link = self.owner.calls[-1]
        assert name == "made"
        return link

    def test_it_listens_where_it_is_told_on_ipv4_and_ipv6(self) -> None:
        listen_tcp(self.reactor, HostPort("127.0.0.1", 65432), self.owner)
        listen_tcp(self.reactor, HostPort("::1", 0), self.owner)
        assert [(port, interface) for port, _, _, interface in self.reactor.tcpServers] == [
            (65432, "127.0.0.1"),
            (0, "::1"),
        ]

    def test_links_that_come_in_are_named_after_the_far_end(self) -> None:
        listen_tcp(self.reactor, HostPort("::", 65432), self.owner)
        factory = self.reactor.tcpServers[0][1]
        names = {
            IPv4Address("TCP", "192.0.2.1", 1): "192.0.2.1:1",
            IPv6Address("TCP", "2001:db8::1", 2): "[2001:db8::1]:2",
            IPv6Address("TCP", "::ffff:192.0.2.1", 3): "192.0.2.1:3",
        }
        for address, name in names.items():
            link = self._accept(factory, address)
            assert (link.address, link.outbound, link.way) == (name, False, "tcp")
            assert link.peer_type is PeerType.REMOTE

    def test_a_dial_gives_the_link_after_the_owner_has_it(self) -> None:
        for address in (HostPort("192.0.2.1", 5), HostPort("2001:db8::1", 5)):
            connected = dial_tcp(self.reactor, address, self.owner)
            host, port, factory, timeout, _ = self.reactor.tcpClients[-1]
            assert (host, port, timeout) == (address.host, 5, 10.0)
            self._accept(factory, None)
            link = self.successResultOf(connected)
            assert isinstance(link, StreamLink)
            assert self.owner.calls[-1] == ("made", link)
            assert (link.address, link.outbound) == (str(address), True)

    def test_names_are_looked_up(self) -> None:
        class Resolver:
            asked: Sequence[str] = ()

            def resolveHostName(self, receiver: object, host: str, *arguments: object, **keywords: object) -> object:
                self.asked = [*self.asked, host]
                receiver.resolutionBegan(self)  # type: ignore[attr-defined]
                receiver.addressResolved(IPv4Address("TCP", "192.0.2.7", 5))  # type: ignore[attr-defined]
                receiver.resolutionComplete()  # type: ignore[attr-defined]
                return self

        resolver = Resolver()
        self.reactor.installNameResolver(resolver)
        connected = dial_tcp(self.reactor, HostPort("relay.example.org", 5), self.owner)
        assert list(resolver.asked) == ["relay.example.org"]
        assert self.reactor.tcpClients[0][:2] == ("192.0.2.7", 5)
        self._accept(self.reactor.tcpClients[0][2], None)
        assert self.successResultOf(connected).address == "relay.example.org:5"

    def test_a_refused_dial_fails(self) -> None:
        connected = dial_tcp(self.reactor, HostPort("192.0.2.1", 5), self.owner)
        factory = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(self.reactor.connectors[0], Failure(ConnectionRefusedError()))
        self.failureResultOf(connected, ConnectionRefusedError)
        assert self.owner.calls == []


class TcpLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.owner = RecordingOwner()
        self.now = 0.0
        self.link = TcpLink(self.owner, address="relay:1", outbound=True, clock=lambda: self.now)
        self.transport = StringTransport()
        self.link.makeConnection(self.transport)

    def _write_full(self, seconds: float) -> None:
        """Write as much as the link wants at once; let it leave in so many seconds."""
        self.link.write([bytes(self.link.write_limit)])
        assert not self.link.writable
        self.now += seconds
        self.transport.producer.resumeProducing()
        assert self.link.writable

    def test_a_small_write_leaves_it_writable_and_is_nobodys_concern(self) -> None:
        self.link.write([b"keepalive"])
        assert self.link.writable
        self.transport.producer.resumeProducing()
        assert self.owner.names() == ["made"]

    def test_many_small_writes_add_up(self) -> None:
        for _ in range(4):
            self.link.write([bytes(FIRST_WRITE // 4)])
        assert not self.link.writable
        self.transport.producer.resumeProducing()
        assert self.owner.names() == ["made", "writable"]

    def test_where_the_network_is_fast_it_takes_more_at_once(self) -> None:
        for _ in range(2):
            self._write_full(0.001)
        assert self.link.write_limit == SAFE_WRITE
        self._write_full(0.001)
        assert SAFE_WRITE < self.link.write_limit < 1.2 * SAFE_WRITE
        for _ in range(100):
            self._write_full(0.001)
        assert self.link.write_limit == MAX_WRITE

    def test_where_it_is_slow_a_piece_is_soon_a_quarter_of_a_second_long(self) -> None:
        rate = 40_000
        for _ in range(3):
            self._write_full(self.link.write_limit / rate)
        assert self.link.write_limit == rate // 4

    def test_however_slow_it_is_a_piece_does_not_vanish(self) -> None:
        for _ in range(10):
            self._write_full(2.9)
        assert self.link.write_limit == MIN_WRITE

    def test_it_stays_as_it_is_where_that_fits(self) -> None:
        self._write_full(0.1)
        assert self.link.write_limit == FIRST_WRITE

    def test_a_long_frame_does_not_make_the_next_piece_longer_than_the_longest(self) -> None:
        for seconds in (0.001, 0.1):
            self.link.write([bytes(2 * MAX_WRITE)])
            self.now += seconds
            self.transport.producer.resumeProducing()
            assert self.link.write_limit == MAX_WRITE
