"""What is timed: large bodies each way and small requests, the same over both transports."""

from __future__ import annotations

import json
import time
from typing import IO, Any, Final, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

PIECE: Final = bytes(range(256)) * 256
"""64 KiB, as much as HTTP programs write at once."""


@final
class Sink:
    """The content of a request, counted and forgotten: a temporary file on disk is not what is measured here.

    Attributes:
        length: Bytes so far.
        longest_pause: Seconds between two pieces, at most.
    """

    def __init__(self) -> None:
        self.length = 0
        self.longest_pause = 0.0
        self._heard_at = time.perf_counter()

    def write(self, data: bytes) -> None:
        """Take a piece of the body."""
        now = time.perf_counter()
        self.longest_pause = max(self.longest_pause, now - self._heard_at)
        self._heard_at = now
        self.length += len(data)

    def seek(self, *_: int) -> None:
        """Go back to the beginning, for a reader that there is not."""

    def tell(self) -> int:
        """Return how much has been written."""
        return self.length

    def close(self) -> None:
        """Forget it."""


@final
class SinkRequest(Request):
    """A request whose body goes to a `Sink`."""

    def gotLength(self, length: int | None) -> None:
        """Called when the headers are there."""
        self.content: IO[bytes] | Any = Sink()


@final
class Measured(Resource):
    """GET ``/ping``, GET ``/download?bytes=N`` and POST ``/upload``, as the Go peer has them."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes | int:
        """Send four bytes, or as many as are asked for."""
        if request.path == b"/ping":
            return b"pong"
        length = int(request.args[b"bytes"][0])
        request.setHeader(b"Content-Length", str(length).encode())
        producer = Pieces(length)
        request.registerProducer(producer, True)
        finished = producer.startProducing(request)
        finished.addCallback(lambda _: (request.unregisterProducer(), request.finish()))
        return NOT_DONE_YET

    def render_POST(self, request: Request) -> bytes:
        """Say how many bytes came, and what the longest pause between two of them was."""
        sink = request.content
        assert isinstance(sink, Sink)
        return json.dumps({"bytes": sink.length, "pause": sink.longest_pause}).encode()


def measured_site() -> Site:
    """Return the site that both transports serve."""
    root: Resource = Measured()  # type: ignore[no-untyped-call]  # Twisted's Resource is not annotated
    return Site(root, requestFactory=SinkRequest)


@implementer(IBodyProducer, IPushProducer)
@final
class Pieces:
    """Writes so many bytes, in pieces of 64 KiB, for as long as the consumer wants them."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._left = length
        self._paused = False
        self._consumer: IConsumer | None = None
        self._finished: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Begin; the result fires when all is written."""
        self._consumer = consumer
        self.resumeProducing()
        return self._finished

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        while self._consumer is not None and not self._paused:
            piece = PIECE[: self._left]
            self._left -= len(piece)
            self._consumer.write(piece)
            if self._left == 0:
                self._consumer = None
                self._finished.callback(None)

    def pauseProducing(self) -> None:
        """Wait."""
        self._paused = True

    def stopProducing(self) -> None:
        """Give up."""
        self._consumer = None


@final
class Counted(Protocol):
    """The body of an answer.

    Attributes:
        length: Bytes so far.
        longest_pause: Seconds between two pieces, at most.
        beginning: The first of them.
    """

    def __init__(self, finished: Deferred[None]) -> None:
        self._finished = finished
        self._heard_at = time.perf_counter()
        self.length = 0
        self.longest_pause = 0.0
        self.beginning = b""

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the body."""
        now = time.perf_counter()
        self.longest_pause = max(self.longest_pause, now - self._heard_at)
        self._heard_at = now
        self.length += len(data)
        if len(self.beginning) < 256:
            self.beginning += data[:256]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called at the end of the body."""
        if reason.check(ResponseDone):
            self._finished.callback(None)
        else:
            self._finished.errback(reason)


async def read_body(response: IResponse) -> Counted:
    """Read an answer to its end."""
    finished: Deferred[None] = Deferred()
    body = Counted(finished)
    response.deliverBody(body)
    await finished
    return body


async def upload(agent: IAgent, server: str, length: int) -> dict[str, float]:
    """Send a body; return ``seconds`` until the answer was there, and the longest ``pause`` that the server saw."""
    began = time.perf_counter()
    body = await read_body(await agent.request(b"POST", f"{server}/upload".encode(), None, Pieces(length)))
    seconds = time.perf_counter() - began
    answer = json.loads(body.beginning)
    if answer["bytes"] != length:
        raise RuntimeError(f"of {length} bytes {answer['bytes']} came")
    return {"seconds": seconds, "pause": answer.get("pause", 0.0)}


async def download(agent: IAgent, server: str, length: int) -> dict[str, float]:
    """Fetch a body; return ``seconds`` until all of it was there, and the longest ``pause``."""
    began = time.perf_counter()
    body = await read_body(await agent.request(b"GET", f"{server}/download?bytes={length}".encode()))
    if body.length != length:
        raise RuntimeError(f"of {length} bytes {body.length} came")
    return {"seconds": time.perf_counter() - began, "pause": body.longest_pause}


async def ping(agent: IAgent, server: str) -> float:
    """Make a small request and return the seconds until the answer was there."""
    began = time.perf_counter()
    body = await read_body(await agent.request(b"GET", f"{server}/ping".encode()))
    if body.beginning != b"pong":
        raise RuntimeError(f"{body.beginning!r} came for an answer")
    return time.perf_counter() - began
