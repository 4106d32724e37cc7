"""A TCP link over a slow network: what it is given leaves in small pieces."""

import socket

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from pinecone_transport.links import HostPort, Link, dial_tcp
from pinecone_transport.peering.peering import BLOCKED_TIMEOUT

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
