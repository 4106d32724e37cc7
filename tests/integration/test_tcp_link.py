"""TCP links over real sockets; over a slow network what they are given leaves in small pieces."""

import socket

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from pinecone_transport.links import HostPort, Link, TcpLink, dial_tcp, listen_tcp
from pinecone_transport.peering.peering import BLOCKED_TIMEOUT
from tests.support.nodes import eventually

RATE = 20_000
TICK = 0.1


class SlowReader(Protocol):
    """Takes so many bytes a second from the network, which buffers little."""

    def connectionMade(self) -> None:
        self.received = 0
        self.transport.pauseProducing()
        self.transport.bufferSize = int(RATE * TICK)
        self.ticking = LoopingCall(self.transport.resumeProducing)
        self.ticking.start(TICK)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.transport.pauseProducing()

    def connectionLost(self, reason: Failure) -> None:
        self.ticking.stop()


class BusyOwner:
    """Writes whenever it may, and notes for how long it may not."""

    def __init__(self) -> None:
        self.longest_wait = 0.0
        self.waits = 0
        self.lost: Deferred[None] = Deferred()

    def link_made(self, link: Link) -> None:
        self.write(link)

    def link_data(self, link: Link, data: bytes) -> None:
        raise AssertionError("these links lend their buffers")

    def link_received(self, link: Link, buffer: bytearray, fresh: int, end: int) -> int:
        raise AssertionError("nobody sends anything")

    def link_writable(self, link: Link) -> None:
        self.waits += 1
        self.longest_wait = max(self.longest_wait, reactor.seconds() - self.full_at)
        self.write(link)

    def link_lost(self, link: Link, reason: Failure) -> None:
        self.lost.callback(None)

    def write(self, link: Link) -> None:
        while link.writable:
            link.write([bytes(1000)] * (link.write_limit // 1000 + 1))
        self.full_at = reactor.seconds()


@pytest_twisted.ensureDeferred
async def test_a_busy_link_never_blocks_for_as_long_as_would_end_it() -> None:
    readers: list[SlowReader] = []

    class Listener(Factory):
        def buildProtocol(self, addr: object) -> SlowReader:
            readers.append(SlowReader())
            return readers[-1]

    port = reactor.listenTCP(0, Listener(), interface="127.0.0.1")
    # Connections inherit it. Networks hold less than loopback does.
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
    owner = BusyOwner()
    link = await dial_tcp(reactor, HostPort("127.0.0.1", port.getHost().port), owner)
    await deferLater(reactor, 8.0)
    still_waiting = reactor.seconds() - owner.full_at
    link.abort()
    await owner.lost
    await port.stopListening()
    assert max(owner.longest_wait, still_waiting) < BLOCKED_TIMEOUT / 2
    assert owner.waits > 8
    assert 4 * RATE < readers[0].received < 12 * RATE


PIECE = bytes(range(256)) * 40
WHOLE = 7000
"""Bytes that count as a frame here: what is less is left in the buffer."""


class LendingOwner:
    """Takes whole frames out of the buffers that its links lend."""

    def __init__(self) -> None:
        self.links: list[TcpLink] = []
        self.received = bytearray()
        self.leftover = 0
        self.lost: list[type[BaseException]] = []
        self.writable: list[Link] = []
        self.reads = 0
        self.pauses = False

    def link_made(self, link: TcpLink) -> None:
        self.links.append(link)

    def link_data(self, link: Link, data: bytes) -> None:
        raise AssertionError("these links lend their buffers")

    def link_received(self, link: Link, buffer: bytearray, fresh: int, end: int) -> int:
        assert end - fresh == self.leftover
        self.reads += 1
        if self.pauses:
            link.pause_reading()
        used = end // WHOLE * WHOLE
        self.received += buffer[:used]
        self.leftover = end - used
        return used

    def link_writable(self, link: Link) -> None:
        self.writable.append(link)

    def link_lost(self, link: Link, reason: Failure) -> None:
        self.lost.append(reason.type)


class Pair:
    """Two links that face each other; ``near`` dialled."""

    def __init__(self) -> None:
        self.near_owner, self.far_owner = LendingOwner(), LendingOwner()
        self.port = listen_tcp(reactor, HostPort("127.0.0.1", 0), self.far_owner)

    async def connect(self) -> None:
        self.near = await dial_tcp(reactor, HostPort("127.0.0.1", self.port.getHost().port), self.near_owner)
        await eventually(lambda: len(self.far_owner.links) == 1)
        self.far = self.far_owner.links[0]

    async def stop(self) -> None:
        for link in (self.near, self.far):
            link.abort()
        await eventually(lambda: bool(self.near_owner.lost and self.far_owner.lost))
        await self.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_is_written_arrives_whole_and_in_order_and_before_the_end() -> None:
    pair = Pair()
    await pair.connect()
    numbered = [number.to_bytes(4, "big") + PIECE for number in range(7 * 256)]
    # Far more than the kernel takes at once, in more pieces than one call takes, and one that is nearly all there is.
    pair.near.write(numbered)
    pair.near.write([bytes(WHOLE - len(b"".join(numbered)) % WHOLE)])
    pair.near.close()
    await eventually(lambda: bool(pair.far_owner.lost))
    assert pair.far_owner.lost == [ConnectionDone]
    assert bytes(pair.far_owner.received[: len(b"".join(numbered))]) == b"".join(numbered)
    assert pair.far_owner.leftover == 0
    await pair.stop()


@pytest_twisted.ensureDeferred
async def test_a_link_that_is_paused_reads_no_more_however_much_there_is() -> None:
    pair = Pair()
    await pair.connect()
    pair.far_owner.pauses = True
    sent = PIECE * 400 * (WHOLE // 1000)
    pair.near.write([sent])
    for number in range(1, 10):
        await eventually(lambda number=number: pair.far_owner.reads == number)
        # By and by the kernel holds far more than one read takes.
        await deferLater(reactor, 0.01)
        assert pair.far_owner.reads == number
        pair.far.resume_reading()
    pair.far_owner.pauses = False
    pair.far.resume_reading()
    await eventually(lambda: len(pair.far_owner.received) + pair.far_owner.leftover == len(sent))
    assert bytes(pair.far_owner.received) == sent[: len(pair.far_owner.received)]
    await pair.stop()


@pytest_twisted.ensureDeferred
async def test_pieces_without_bytes_hold_nothing_up() -> None:
    pair = Pair()
    await pair.connect()
    pair.near.write([b"", PIECE[:WHOLE], b"", b""])
    pair.near.write([b""])
    pair.near.write([PIECE[:WHOLE]])
    await eventually(lambda: len(pair.far_owner.received) == 2 * WHOLE)
    await pair.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_lent_is_written_as_far_as_it_goes_at_once_and_never_before_what_waits() -> None:
    pair = Pair()
    await pair.connect()
    pair.far.pause_reading()
    sent = b""
    taken = -1
    while taken:
        taken = pair.near.write_now([PIECE, memoryview(PIECE)])
        sent += (2 * PIECE)[:taken]
    # The kernel is full: what is written now waits, and nothing overtakes it.
    pair.near.write([PIECE[-1:] * 2 * pair.near.write_limit])
    assert not pair.near.writable
    assert pair.near.write_now([b"too early"]) == 0
    sent += PIECE[-1:] * 2 * pair.near.write_limit
    pair.far.resume_reading()
    await eventually(lambda: pair.near_owner.writable == [pair.near])
    pair.near.write([bytes(WHOLE - len(sent) % WHOLE)])
    await eventually(lambda: len(pair.far_owner.received) > len(sent))
    assert bytes(pair.far_owner.received[: len(sent)]) == sent
    await pair.stop()


@pytest_twisted.ensureDeferred
async def test_a_lost_connection_is_told_to_both_owners_once_and_takes_nothing_any_more() -> None:
    pair = Pair()
    await pair.connect()
    pair.far.abort()
    pair.far.write([b"late"])
    assert pair.far.write_now([b"late"]) == 0
    await eventually(lambda: bool(pair.near_owner.lost and pair.far_owner.lost))
    assert pair.near.write_now([b"late"]) == 0
    pair.near.write([b"late"])
    await pair.stop()
    assert (len(pair.near_owner.lost), len(pair.far_owner.lost)) == (1, 1)
