"""A channel of bumble's as a transport: what a far end that does not play by the rules can do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from bumble.l2cap import LeCreditBasedChannel
from bumble.utils import EventEmitter
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from zope.interface.verify import verifyClass

from pinecone_transport.discovery.bluetooth.bumble_channel import HIGH_WATER, MAX_UNDELIVERED, ChannelTransport
from pinecone_transport.links.stream import LinkTransport

State = LeCreditBasedChannel.State


class OneThread:
    """A `LoopThread` whose reactor is the same loop; it can be kept busy.

    Attributes:
        is_busy: While it is, the reactor does nothing of what it is told.
    """

    def __init__(self) -> None:
        self.is_busy = False
        self._waiting: list[tuple[Callable, tuple]] = []
        self._tasks = []

    def in_loop(self, call, *args) -> None:
        call(*args)

    def spawn(self, coroutine) -> None:
        self._tasks.append(asyncio.ensure_future(coroutine))

    def in_reactor(self, call, *args) -> None:
        self._waiting.append((call, args))
        while self._waiting and not self.is_busy:
            call, args = self._waiting.pop(0)
            call(*args)


class PacketQueue:
    async def drain(self, handle: int) -> None:
        await asyncio.sleep(0)


class RawChannel(EventEmitter):
    """What bumble's channel shows, with a far end that answers only if it is told to."""

    def __init__(self, mtu: int = 4096, mps: int = 247) -> None:
        super().__init__()
        self.peer_mtu, self.peer_mps = mtu, mps
        self.state = State.CONNECTED
        self.sink = None
        self.written = b""
        self.answers = True
        self.credits = asyncio.Event()
        self.credits.set()
        self.connection = self.device = self.host = self
        self.handle = 1
        self.peer_address, self.self_address = "C0:00:00:00:00:01", "C0:00:00:00:00:02"

    def get_data_packet_queue(self, handle: int) -> PacketQueue:
        return PacketQueue()

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        await self.credits.wait()

    async def disconnect(self) -> None:
        if not self.answers:
            raise TimeoutError
        self.close()

    def close(self) -> None:
        self.state = State.DISCONNECTED
        self.emit(LeCreditBasedChannel.EVENT_CLOSE)


class Recorder(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.reason = None
        self.events: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason) -> None:
        assert self.reason is None, "told twice"
        self.reason = reason

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")


class Side:
    def __init__(self, **options) -> None:
        self.thread = OneThread()
        self.channel = RawChannel(**options)
        self.transport = ChannelTransport(self.channel, self.thread)
        self.protocol = Recorder()

    def connect(self) -> Side:
        self.transport.connect(self.protocol)
        self.transport.registerProducer(self.protocol, True)
        return self


async def a_moment() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def in_a_loop(test):
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@in_a_loop
async def test_what_came_before_it_was_connected_is_not_lost():
    side = Side()
    side.channel.sink(b"early ")
    side.connect()
    side.channel.sink(b"late")
    assert side.protocol.data == b"early late"


@in_a_loop
async def test_what_comes_in_a_pause_follows_in_order_once_the_caller_has_returned():
    side = Side().connect()
    side.channel.sink(b"one ")
    side.transport.pauseProducing()
    side.channel.sink(b"two ")
    side.channel.sink(b"three ")
    assert side.protocol.data == b"one "
    side.thread.is_busy = True
    side.transport.resumeProducing()
    assert side.protocol.data == b"one "
    side.thread.is_busy = False
    side.channel.sink(b"four")
    assert side.protocol.data == b"one two three four"


@in_a_loop
async def test_nothing_that_came_in_a_pause_follows_the_end():
    side = Side().connect()
    side.transport.pauseProducing()
    side.channel.sink(b"too late")
    side.transport.stopProducing()
    await a_moment()
    side.transport.resumeProducing()
    assert side.protocol.data == b""
    assert side.protocol.reason.check(ConnectionDone)


@in_a_loop
async def test_a_far_end_that_sends_on_through_a_pause_is_hung_up_on():
    side = Side().connect()
    side.transport.pauseProducing()
    for _ in range(2 * MAX_UNDELIVERED // 4096):
        if side.channel.state is State.CONNECTED:
            side.channel.sink(bytes(4096))
        await asyncio.sleep(0)
    assert side.protocol.reason.check(ConnectionLost)


def test_it_is_what_links_need():
    verifyClass(LinkTransport, ChannelTransport)


@in_a_loop
async def test_a_far_end_that_floods_a_busy_reactor_is_hung_up_on():
    side = Side().connect()
    side.thread.is_busy = True
    for _ in range(2 * MAX_UNDELIVERED // 4096):
        if side.channel.state is State.CONNECTED:
            side.channel.sink(bytes(4096))
        await asyncio.sleep(0)
    side.thread.is_busy = False
    side.thread.in_reactor(lambda: None)
    assert len(side.protocol.data) <= MAX_UNDELIVERED
    assert side.protocol.reason.check(ConnectionLost)


@pytest.mark.parametrize("options", [{"mtu": 0}, {"mps": 0}, {"mtu": 22}, {"mps": 22}])
def test_a_far_end_that_takes_next_to_nothing_is_hung_up_on(options):
    async def run() -> None:
        side = Side(**options).connect()
        await a_moment()
        assert side.protocol.reason.check(ConnectionLost)

    asyncio.run(run())


@in_a_loop
async def test_the_producer_waits_until_all_has_left():
    side = Side().connect()
    side.channel.credits.clear()
    side.transport.write(bytes(HIGH_WATER))
    assert side.protocol.events == []
    side.transport.writeSequence([b"x", b"y"])
    await a_moment()
    assert side.protocol.events == ["pause"]
    side.channel.credits.set()
    await a_moment()
    assert side.protocol.events == ["pause", "resume"]
    assert len(side.channel.written) == HIGH_WATER + 2


@in_a_loop
async def test_what_waits_is_sent_before_it_closes():
    side = Side().connect()
    side.channel.credits.clear()
    side.transport.write(b"last words")
    side.transport.loseConnection()
    side.transport.write(b"too late")
    await a_moment()
    assert side.protocol.reason is None
    side.channel.credits.set()
    await a_moment()
    assert side.channel.written == b"last words"
    assert side.protocol.reason.check(ConnectionDone)


@in_a_loop
async def test_it_ends_though_the_far_end_does_not_agree():
    side = Side().connect()
    side.channel.answers = False
    side.channel.credits.clear()
    side.transport.write(b"never sent")
    side.transport.abortConnection()
    await a_moment()
    assert side.protocol.reason.check(ConnectionAborted)
    side.channel.sink(b"after the end")
    assert side.protocol.data == b""


@in_a_loop
async def test_it_ends_before_anybody_was_connected_with_it():
    side = Side()
    side.channel.close()
    side.connect()
    assert side.protocol.reason.check(ConnectionLost)


@in_a_loop
async def test_writing_to_a_channel_that_is_gone_ends_it():
    side = Side().connect()
    side.channel.state = State.DISCONNECTED
    side.transport.write(b"x")
    assert side.protocol.reason.check(ConnectionLost)
    assert (side.transport.getPeer().address, side.transport.getHost().address) == (
        "C0:00:00:00:00:01",
        "C0:00:00:00:00:02",
    )
