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
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.commands import Command, run
from benchmarks.inside import state_with
from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from pinecone_transport.router.state import RouterState
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint

AT_ONCE: Final = 5
"""Dials of one node."""
REACH_TIMEOUT: Final = 30.0


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
class Echoes:
    """The nodes of the process, and the streams that they have opened."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes: Final = nodes
        self._askers: list[Asker] = []
        self._routes: Final[list[RouterState]] = []

    def commands(self) -> dict[str, Command]:
        """Return what this can be told."""
        return {
            "open": self.open,
            "ask": self.ask,
            "routes": self.routes,
            "state": self._nodes[0].status,
        }

    async def open(self, key: str, count: int) -> None:
        """Open so many streams to a node and use each once; they stay open."""
        began = time.monotonic()
        for node in self._nodes:
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
            nodes = self._nodes * AT_ONCE
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

    def routes(self, links: int, count: int) -> None:
        """Keep what a node knows that has so many links and routes."""
        self._routes.append(state_with(Identity.generate(), links, count, time.monotonic()))


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Start the nodes."""
    part = json.loads(sys.argv[1])
    nodes = [
        Node(Identity.generate(), parse_node_config(part["options"]), reactor) for _ in range(part.get("nodes", 1))
    ]
    for node in nodes:
        node.startService()
        await PineconeServerEndpoint(node).listen(Factory.forProtocol(Echo))
    first = nodes[0]
    ready = {
        "listen": first.listening_addresses()[0] if part["options"].get("listen") else "",
        "key": first.identity.server_name,
    }
    return ready, Echoes(nodes).commands()


if __name__ == "__main__":
    run(begin)
