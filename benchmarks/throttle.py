"""A process with links that are slow, far and bad: each passes a peering on, frame by frame, by its own seeded rules.

Only traffic is lost or held back, as it is by a node whose queue is full: what a tree and a snake are made of goes over
TCP, which loses nothing. A link's delay holds for each direction. Behind a rate stands a queue of a tenth of a second,
as a modem has one; when it is full, the link reads no more.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from time import monotonic
from typing import Any, Final, cast, final

import attrs
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, ITCPTransport
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from benchmarks.commands import Command, run

HANDSHAKE_LENGTH: Final = 104
HEADER_LENGTH: Final = 10
TYPE_AT: Final = 5
TRAFFIC: Final = 3

QUEUE_SECONDS: Final = 0.1
LEAST_QUEUE: Final = 16 * 1024
UNLIMITED_QUEUE: Final = 4 * 1024 * 1024


@attrs.define
class Rules:
    """What a link does to frames.

    Attributes:
        loss: Share of traffic frames that vanish.
        reordering: Share of traffic frames that come later than those behind them.
        held_back: Seconds by which they do.
        delay: Seconds that everything takes, each way.
        rate: Bytes per second, each way; 0 for no limit.
        seed: Of the choice which.
    """

    loss: float = 0.0
    reordering: float = 0.0
    held_back: float = 0.01
    delay: float = 0.0
    rate: float = 0.0
    seed: int = 1

    @property
    def queue(self) -> int:
        """Bytes that wait before reading stops."""
        return max(int(self.rate * QUEUE_SECONDS), LEAST_QUEUE) if self.rate else UNLIMITED_QUEUE


@final
class ThrottledLink(ServerFactory):
    """Listens on loopback and passes peerings on to a target.

    Attributes:
        connected: Whether connections are taken.
        swallowing: Whether everything vanishes.
        passed: Bytes, both ways together.
    """

    noisy = False

    def __init__(self, target: str, rules: Rules) -> None:
        self.rules: Final = rules
        self.random: Final = random.Random(rules.seed)
        self.connected = True
        self.swallowing = False
        self.passed = 0
        host, _, port = target.rpartition(":")
        self.target: Final = (host, int(port))
        self.ends: Final[set[End]] = set()
        port_object = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.limit_buffers(cast(Connection, port_object).socket)
        address = port_object.getHost()
        assert isinstance(address, IPv4Address)
        self.address: Final = f"127.0.0.1:{address.port}"

    def limit_buffers(self, of: socket.socket) -> None:
        """Keep the system from queueing more than the link does."""
        if self.rules.rate:
            of.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rules.queue // 2)

    def cut(self) -> None:
        """End the link, at both ends at once; until `mend`, new ones are ended at once."""
        self.connected = False
        for end in list(self.ends):
            end.close()

    def mend(self) -> None:
        """Take connections, and pass on what they bring."""
        self.connected = True
        self.swallowing = False

    def swallow(self) -> None:
        """Pass nothing on any more, and say nothing; connections stay."""
        self.swallowing = True

    def buildProtocol(self, addr: IAddress | None) -> End:
        """Return the end that was dialled."""
        return End(self)


@final
class End(Protocol):
    """One end of a link; what comes by it leaves by ``far``, when its time has come."""

    def __init__(self, link: ThrottledLink, far: End | None = None) -> None:
        self.far = far
        self._link: Final = link
        self._input = b""
        self._shaken = False
        self._waiting: Final[deque[tuple[float, bytes]]] = deque()
        self._queued = 0
        self._free_at = 0.0
        self._timer: IDelayedCall | None = None
        self._reading = True

    def connectionMade(self) -> None:
        """Dial the other side, or begin to pass on what the first side has brought meanwhile."""
        cast(ITCPTransport, self.transport).setTcpNoDelay(True)
        self._link.limit_buffers(cast(Connection, self.transport).socket)
        self._link.ends.add(self)
        if not self._link.connected:
            self.close()
        elif self.far is None:
            reactor.connectTCP(*self._link.target, Dialled(self._link, self))
        else:
            self.far.far = self
            self.far.deliver()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes apart into frames."""
        if self._link.swallowing:
            return
        data = self._input + data
        start = 0
        if not self._shaken and len(data) >= HANDSHAKE_LENGTH:
            self._shaken = True
            start = HANDSHAKE_LENGTH
            self._pass_on(data[:start])
        while self._shaken and len(data) - start >= HEADER_LENGTH:
            end = start + int.from_bytes(data[start + 8 : start + 10], "big")
            if end > len(data):
                break
            self._take(data[start:end])
            start = end
        self._input = data[start:]
        self.deliver()

    def _take(self, frame: bytes) -> None:
        link = self._link
        rules = link.rules
        if frame[TYPE_AT] == TRAFFIC and (rules.loss or rules.reordering):
            chance = link.random.random()
            if chance < rules.loss:
                return
            if chance < rules.loss + rules.reordering:
                reactor.callLater(rules.delay + rules.held_back, self._write, frame)
                return
        self._pass_on(frame)

    def _pass_on(self, data: bytes) -> None:
        rules = self._link.rules
        leaves_at = max(self._free_at, monotonic())
        if rules.rate:
            leaves_at += len(data) / rules.rate
        self._free_at = leaves_at
        self._waiting.append((leaves_at + rules.delay, data))
        self._queued += len(data)
        # What is on its way is not in the queue.
        if self._queued - rules.delay * rules.rate > rules.queue and self._reading:
            self._reading = False
            cast(Connection, self.transport).pauseProducing()

    def deliver(self) -> None:
        """Write what has come to the other side, and come back when more has."""
        if self.far is None:
            return
        now = monotonic()
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(self._waiting.popleft()[1])
        if due:
            data = b"".join(due)
            self._queued -= len(data)
            self._write(data)
            rules = self._link.rules
            if not self._reading and self._queued - rules.delay * rules.rate < rules.queue / 2:
                self._reading = True
                cast(Connection, self.transport).resumeProducing()
        if self._waiting and self._timer is None:
            self._timer = reactor.callLater(max(self._waiting[0][0] - now, 0.0), self._timer_due)

    def _timer_due(self) -> None:
        self._timer = None
        self.deliver()

    def _write(self, data: bytes) -> None:
        link = self._link
        if self.far in link.ends and not link.swallowing:
            link.passed += len(data)
            assert self.far is not None
            assert self.far.transport is not None
            self.far.transport.write(data)

    def close(self) -> None:
        """End the connection at once."""
        cast(ITCPTransport, self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the other side with this one."""
        self._link.ends.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.far is not None and self.far in self._link.ends:
            self.far.close()


@final
class Dialled(ClientFactory):
    """Makes the far end of a link."""

    noisy = False

    def __init__(self, link: ThrottledLink, near: End) -> None:
        self._link: Final = link
        self._near: Final = near

    def buildProtocol(self, addr: IAddress | None) -> End:
        """Return the far end."""
        return End(self._link, self._near)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """End the near end: there is nobody."""
        self._near.close()


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Wait for links to be opened."""
    links: list[ThrottledLink] = []

    def open_link(target: str, **rules: Any) -> dict[str, Any]:
        links.append(ThrottledLink(target, Rules(**rules)))
        return {"link": len(links) - 1, "address": links[-1].address}

    return {}, {
        "open": open_link,
        "cut": lambda link: links[link].cut(),
        "mend": lambda link: links[link].mend(),
        "swallow": lambda link: links[link].swallow(),
        "passed": lambda: [link.passed for link in links],
    }


if __name__ == "__main__":
    run(begin)
