from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.links import Link, PipeLink, connect_nodes


class _Owner:
    def __init__(self, reactor: Clock) -> None:
        self.reactor = reactor
        self.link: Link | None = None
        self.data = b""
        self.deliveries = 0
        self.writable_again = 0
        self.lost: list[type[BaseException]] = []

    def link_made(self, link: Link) -> None:
        self.link = link

    def link_data(self, link: Link, data: bytes) -> None:
        self.deliveries += 1
        self.data += data

    def link_writable(self, link: Link) -> None:
        self.writable_again += 1

    def link_lost(self, link: Link, reason: Failure) -> None:
        self.lost.append(reason.type)


class PipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.a, self.b = _Owner(self.clock), _Owner(self.clock)
        self.near, self.far = connect_nodes(self.a, self.b)

    def _settle(self) -> None:
        for _ in range(5):
            self.clock.advance(0)

    def _connected(self) -> tuple[PipeLink, PipeLink]:
        self._settle()
        return self.near, self.far

    def test_both_ends_are_told_in_the_next_turn(self) -> None:
        assert self.a.link is None
        self._settle()
        assert self.a.link is self.near
        assert self.b.link is self.far
        assert (self.near.outbound, self.far.outbound) == (True, False)

    def test_bytes_arrive_in_order_in_a_later_turn_and_together(self) -> None:
        near, far = self._connected()
        near.write([b"a", b"b"])
        near.write([b"c"])
        far.write([b"z"])
        assert self.b.data == b""
        self._settle()
        assert (self.b.data, self.b.deliveries, self.a.data) == (b"abc", 1, b"z")

    def test_an_end_that_does_not_read_stops_the_other_and_loses_nothing(self) -> None:
        near, far = self._connected()
        far.pause_reading()
        near.write([b"x" * 64 * 1024])
        self._settle()
        assert near.writable
        near.write([b"y"])
        self._settle()
        assert not near.writable
        assert self.b.data == b""
        far.resume_reading()
        self._settle()
        assert near.writable
        assert self.a.writable_again == 1
        assert self.b.data == b"x" * 64 * 1024 + b"y"

    def test_close_delivers_first(self) -> None:
        near, _ = self._connected()
        near.write([b"last words"])
        near.close()
        near.write([b"too late"])
        self._settle()
        assert self.b.data == b"last words"
        assert (self.a.lost, self.b.lost) == ([ConnectionDone], [ConnectionDone])

    def test_abort_does_not(self) -> None:
        near, _ = self._connected()
        self.b.data = b""
        near.write([b"x"])
        near.abort()
        near.abort()
        assert self.a.lost == []  # never from inside the call
        self._settle()
        assert (self.a.lost, self.b.lost) == ([ConnectionLost], [ConnectionLost])

    def test_nothing_happens_to_a_lost_pipe(self) -> None:
        near, far = self._connected()
        near.abort()
        self._settle()
        near.write([b"x"])
        far.write([b"x"])
        far.close()
        self._settle()
        assert (self.a.data, self.b.data, self.a.writable_again) == (b"", b"", 0)
        assert len(self.a.lost) == 1
