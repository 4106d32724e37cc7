"""A process with nodes that send back what streams bring, and open streams to others: for what streams cost.

Its part is ``{"nodes": 1, "options": {…}}``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final, final

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from benchmarks.commands import Command, run
from benchmarks.inside import state_with
from pinecone_transport.identity import Identity
from pinecone_transport.links import HostPort, dial_tcp
from pinecone_transport.node import Node, parse_node_config
from pinecone_transport.router.state import RouterState
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint

AT_ONCE: Final = 5
"""Dials of one node."""
REACH_TIMEOUT: Final = 30.0
DIAL_AGAIN: Final = 1.0
"""Seconds that a dial has to be answered before the next one."""
TICK: Final = 0.01
TICK_LENGTH: Final = 8
MAX_BEHIND: Final = 1.0
"""Seconds by which answers may be late when a stream is well again."""


@final
class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Take a piece and return it."""
        assert self.transport is not None
        self.transport.write(data)


@final
class Asker(Protocol):
    """Sends a byte and waits for it to come back."""

    def __init__(self) -> None:
        self._answer: Deferred[None] | None = None

    def ask(self) -> Deferred[None]:
        """Return what fires when the byte is back."""
        assert self.transport is not None
        self._answer = Deferred()
        self.transport.write(b"?")
        return self._answer

    def dataReceived(self, data: bytes) -> None:
        """Take the answer."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what waits."""
        if self._answer is not None:
            self._answer.errback(reason)


async def dial(node: Node, key: bytes) -> Asker:
    """Open a stream and use it once."""
    asker: Asker = await connectProtocol(PineconeClientEndpoint(node, key), Asker())
    await asker.ask()
    return asker


@final
class Ticks(Protocol):
    """Sends a number every hundredth of a second, which the far end sends back.

    Attributes:
        longest_pause: Seconds between two answers, at most; may be set to 0 at any time.
        wrong: Whether anything but the next number has come.
    """

    def __init__(self) -> None:
        self.longest_pause = 0.0
        self.wrong = False
        self.lost: str | None = None
        self._sent = 0
        self._received = 0
        self._input = b""
        self._heard_at = time.perf_counter()
        self._call: Final = LoopingCall(self._tick)

    @property
    def unanswered(self) -> int:
        """How many numbers are on their way."""
        return self._sent - self._received

    def connectionMade(self) -> None:
        """Begin."""
        self._heard_at = time.perf_counter()
        self._call.start(TICK)

    def _tick(self) -> None:
        assert self.transport is not None
        self.transport.write(self._sent.to_bytes(TICK_LENGTH, "big"))
        self._sent += 1

    def dataReceived(self, data: bytes) -> None:
        """Take answers."""
        now = time.perf_counter()
        self.longest_pause = max(self.longest_pause, now - self._heard_at)
        self._heard_at = now
        self._input += data
        while len(self._input) >= TICK_LENGTH:
            self.wrong |= int.from_bytes(self._input[:TICK_LENGTH], "big") != self._received
            self._received += 1
            self._input = self._input[TICK_LENGTH:]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that it is over."""
        self.lost = reason.getErrorMessage()
        if self._call.running:
            self._call.stop()


@final
class Reach:
    """A stream that is only to be opened: a `StreamReceiver`."""

    def __init__(self) -> None:
        self.answered: Final[Deferred[bool]] = Deferred()

    def stream_connected(self, stream: int) -> None:
        """The far end has answered."""
        self._fire(True)

    def stream_data(self, data: bytes) -> None:
        """Take no notice of what comes."""

    def stream_ended(self) -> None:
        """Take no notice of its end."""

    def stream_lost(self, error: Exception | None) -> None:
        """There was no answer."""
        self._fire(False)

    def flush(self, room: int, segment: int) -> list[bytes]:
        """Write nothing."""
        return []

    def give_up(self) -> None:
        """Wait no longer."""
        self._fire(False)

    def _fire(self, answered: bool) -> None:
        if not self.answered.called:
            self.answered.callback(answered)


async def reach(node: Node, key: bytes, until: float) -> None:
    """Dial a key until it answers."""
    while time.monotonic() < until:
        receiver = Reach()
        stream = node.open_stream(key, receiver)
        timer = reactor.callLater(DIAL_AGAIN, receiver.give_up)
        answered = await receiver.answered
        node.abort_stream(stream)
        if timer.active():
            timer.cancel()
        if answered:
            return
        await deferLater(reactor, 0.01)
    raise TimeoutError(f"{key.hex()} did not answer")


@final
class Echoes:
    """The nodes of the process, and the streams that they have opened."""

    def __init__(self) -> None:
        self.nodes: Final[list[Node]] = []
        self._askers: list[Asker] = []
        self._ticks: Final[list[Ticks]] = []
        self._routes: Final[list[RouterState]] = []

    def commands(self) -> dict[str, Command]:
        """Return what this can be told."""
        return {
            "node": self.node,
            "connect": self.connect,
            "open": self.open,
            "ask": self.ask,
            "reach": self.reach,
            "ticks": self.ticks,
            "pause": self.pause,
            "routes": self.routes,
            "state": lambda node=0: self.nodes[node].status(),
        }

    async def node(self, **options: Any) -> dict[str, Any]:
        """Start one more node; return its number, its key and where it takes links."""
        node = Node(Identity.generate(), parse_node_config(options), reactor)
        node.startService()
        await PineconeServerEndpoint(node).listen(Factory.forProtocol(Echo))
        self.nodes.append(node)
        address = node.listening_addresses()[0] if options.get("listen") else ""
        return {"node": len(self.nodes) - 1, "key": node.identity.server_name, "listen": address}

    async def connect(self, node: int, address: str) -> None:
        """Have a node dial an address, once."""
        host, _, port = address.rpartition(":")
        await dial_tcp(reactor, HostPort(host, int(port)), self.nodes[node])

    async def open(self, key: str, count: int) -> None:
        """Open so many streams to a node and use each once; they stay open."""
        began = time.monotonic()
        for node in self.nodes:
            while True:
                try:
                    self._askers.append(await dial(node, bytes.fromhex(key)))
                except Exception:
                    if time.monotonic() - began > REACH_TIMEOUT:
                        raise
                    await deferLater(reactor, 0.1)
                else:
                    break
        while len(self._askers) < count:
            nodes = self.nodes * AT_ONCE
            dials = [Deferred.fromCoroutine(dial(node, bytes.fromhex(key))) for node in nodes]
            self._askers += await gatherResults(dials, consumeErrors=True)

    async def ask(self, seconds: float, spacing: float) -> list[float]:
        """Go on asking on the first stream for so long; return the seconds that each answer took."""
        until = time.perf_counter() + seconds
        took = []
        while time.perf_counter() < until:
            asked_at = time.perf_counter()
            await self._askers[0].ask()
            took.append(time.perf_counter() - asked_at)
            await deferLater(reactor, spacing)
        return took

    async def reach(self, keys: list[str], timeout: float) -> float:
        """Have every node dial every key but its own until it answers; return the seconds until all had."""
        began = time.monotonic()
        dials = [
            Deferred.fromCoroutine(reach(node, bytes.fromhex(key), began + timeout))
            for node in self.nodes
            for key in keys
            if key != node.identity.server_name
        ]
        await gatherResults(dials, consumeErrors=True)
        return time.monotonic() - began

    async def ticks(self, node: int, key: str) -> int:
        """Open a stream on which numbers go there and back; return its number, for `pause`."""
        endpoint = PineconeClientEndpoint(self.nodes[node], bytes.fromhex(key))
        self._ticks.append(await connectProtocol(endpoint, Ticks()))
        return len(self._ticks) - 1

    async def pause(self, stream: int, seconds: float) -> dict[str, Any]:
        """Watch a stream for so long; return its longest ``pause``, and what is not as it should be, if anything."""
        ticks = self._ticks[stream]
        ticks.longest_pause = 0.0
        await deferLater(reactor, seconds)
        fault = ticks.lost or ("wrong numbers" if ticks.wrong else None)
        if fault is None and ticks.unanswered * TICK > MAX_BEHIND:
            fault = f"{ticks.unanswered} numbers without an answer"
        return {"pause": ticks.longest_pause, "fault": fault}

    def routes(self, links: int, count: int) -> None:
        """Keep what a node knows that has so many links and routes."""
        self._routes.append(state_with(Identity.generate(), links, count, time.monotonic()))


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Start the first nodes."""
    part = json.loads(sys.argv[1])
    echoes = Echoes()
    ready: dict[str, Any] = {}
    for number in range(part.get("nodes", 1)):
        node = await echoes.node(**part["options"])
        if not number:
            ready = node
    return ready, echoes.commands()


if __name__ == "__main__":
    run(begin)
