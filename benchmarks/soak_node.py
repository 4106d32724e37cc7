"""A process with a node that serves and asks without end, and checks every byte: for the soak.

Its part is ``{"options": {…}}``.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import time
from collections import Counter
from typing import Any, Final, final

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer, ResponseDone
from twisted.web.iweb import IAgent, IResponse
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from benchmarks.commands import Command, run
from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint

LONGEST: Final = 1 << 20
CONTENT: Final = random.Random(0).randbytes(LONGEST + 65_536)
SMALL: Final = 200
PATIENCE: Final = 120.0
"""Seconds after which a request that has neither been answered nor failed is a fault."""
BREAK: Final = 0.02
"""Seconds between two requests of a worker."""
AFTER_FAILURE: Final = 0.5


def content(seed: int, length: int) -> bytes:
    """Return bytes that differ from request to request."""
    return CONTENT[seed % 65_536 :][:length]


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


@final
class Collected(Protocol):
    """The body of an answer."""

    def __init__(self) -> None:
        self.whole: Final[Deferred[bytes]] = Deferred()
        self._pieces: Final[list[bytes]] = []

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called at the end of the body."""
        if reason.check(ResponseDone):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)


@final
class Checked(Resource):
    """POST: the digest of what came. GET ``?seed=S&bytes=N``: so many bytes."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Send bytes."""
        return content(int(request.args[b"seed"][0]), int(request.args[b"bytes"][0]))

    def render_POST(self, request: Request) -> bytes:
        """Say what came."""
        assert request.content is not None
        return digest(request.content.read()).encode()


@final
class Load:
    """Makes requests until it is told to stop, and counts what became of them."""

    def __init__(self, agent: IAgent) -> None:
        self._agent: Final = agent
        self._running = True
        self._done: Deferred[Any] | None = None
        self.counts: Final[Counter[str]] = Counter()

    def commands(self) -> dict[str, Command]:
        """Return what this can be told."""
        return {"start": self.start, "counts": lambda: dict(self.counts), "finish": self.finish}

    def start(self, server: str, workers: int, seed: int) -> None:
        """Have so many workers ask."""
        draws = [random.Random(seed + number) for number in range(workers)]
        self._done = gatherResults([Deferred.fromCoroutine(self._work(server, draw)) for draw in draws])

    async def finish(self) -> dict[str, int]:
        """Begin no more requests, wait for those that are under way, and return the counts."""
        self._running = False
        if self._done is not None:
            await self._done
        return dict(self.counts)

    async def _work(self, server: str, draw: random.Random) -> None:
        while self._running:
            began = time.monotonic()
            try:
                right = await self._ask(server, draw).addTimeout(PATIENCE, reactor)
            except Exception as error:
                hung = isinstance(error, CancelledError) or time.monotonic() - began >= PATIENCE
                self.counts["hung" if hung else f"failed: {type(error).__name__}"] += 1
                await deferLater(reactor, AFTER_FAILURE)
            else:
                self.counts["answered" if right else "wrong"] += 1
                await deferLater(reactor, BREAK)

    def _ask(self, server: str, draw: random.Random) -> Deferred[bool]:
        seed = draw.getrandbits(16)
        length = draw.choice((SMALL, SMALL, SMALL, draw.randrange(LONGEST)))
        asked = self._upload if draw.random() < 0.5 else self._download
        return Deferred.fromCoroutine(asked(server, seed, length))

    async def _upload(self, server: str, seed: int, length: int) -> bool:
        data = content(seed, length)
        response = await self._agent.request(b"POST", server.encode(), None, FileBodyProducer(io.BytesIO(data)))
        return await _body(response) == digest(data).encode()

    async def _download(self, server: str, seed: int, length: int) -> bool:
        response = await self._agent.request(b"GET", f"{server}?seed={seed}&bytes={length}".encode())
        return digest(await _body(response)) == digest(content(seed, length))


def _body(response: IResponse) -> Deferred[bytes]:
    collected = Collected()
    response.deliverBody(collected)
    return collected.whole


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Start the node."""
    node = Node(Identity.generate(), parse_node_config(json.loads(sys.argv[1])["options"]), reactor)
    node.startService()
    root: Resource = Checked()  # type: ignore[no-untyped-call]  # Twisted's Resource is not annotated
    await PineconeServerEndpoint(node).listen(Site(root))
    ready = {"server": f"http://{node.identity.server_name}/", "listen": node.listening_addresses()[0]}
    return ready, {**Load(PineconeAgent(node)).commands(), "state": node.status}


if __name__ == "__main__":
    run(begin)
