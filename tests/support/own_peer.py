"""A node of ours with the same face as the Go peer: state, requests, and a site that answers the same paths."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from treq import collect
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.web.client import FileBodyProducer
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from pinecone_transport.identity import Identity
from pinecone_transport.node import LinkDown, Node, parse_node_config
from pinecone_transport.router import WakeupReceived
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint

DIGEST_HEADER = "X-Content-SHA256"


def content(length: int) -> bytes:
    """Return so many bytes that no compression and no lucky copy gets right."""
    return random.Random(length).randbytes(length)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Paths(Resource):
    """GET /ping, GET /close, POST /upload and GET /download?bytes=N, as the Go peer has them."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        if request.path == b"/ping":
            return b"pong"
        if request.path == b"/close":
            request.setHeader("Connection", "close")
            return b"closing"
        data = content(int(request.args[b"bytes"][0]))
        request.setHeader(DIGEST_HEADER, digest(data))
        return data

    def render_POST(self, request: Request) -> bytes:
        data = request.content.read()
        return json.dumps({"bytes": len(data), "sha256": digest(data)}).encode()


class OwnPeer:
    """A node of ours in this process.

    Args:
        identity: Its key.
        listen: Where it takes peerings; nowhere if empty.
        peers: Addresses that it dials.
        sources: Options of sources of links.

    Attributes:
        lost_links: The reasons of `LinkDown`s.
        woken: Names of nodes whose wakeup broadcasts came.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        listen: str = "127.0.0.1:0",
        peers: Sequence[str] = (),
        sources: Mapping[str, object] | None = None,
    ) -> None:
        self.identity = identity
        self.name = identity.server_name
        self.lost_links: list[str] = []
        self.woken: set[str] = set()
        options = {"listen": [listen] if listen else [], "peers": peers, "sources": sources}
        self.node = Node(identity, parse_node_config(options), reactor)
        self.node.subscribe(self._observe)
        self.node.startService()
        self.address = self.node.listening_addresses()[0] if listen else ""
        self.agent = PineconeAgent(self.node)
        PineconeServerEndpoint(self.node).listen(Site(_Paths()))

    async def state(self) -> dict[str, Any]:
        return {**self.node.status(), "wakeups": sorted(self.woken)}

    async def request(self, server: str, path: str = "/ping", **options: Any) -> dict[str, Any]:
        """Send a request, as `GoPeer.request` does."""
        data = content(options["upload"]) if "upload" in options else None
        headers = Headers({"Connection": ["close"]} if options.get("close") else {})
        body = FileBodyProducer(io.BytesIO(data)) if data is not None else None
        url = f"http://{server}{path}".encode()
        started_at = reactor.seconds()
        method = b"GET" if data is None else b"POST"
        asked = self.agent.request(method, url, headers, body)
        response = await asked.addTimeout(options.get("timeout", 60.0), reactor, _timed_out)
        pieces: list[bytes] = []
        times = [reactor.seconds()]

        def take(piece: bytes) -> None:
            pieces.append(piece)
            times.append(reactor.seconds())

        await collect(response, take)
        answer = b"".join(pieces)
        return {
            "status": response.code,
            "bytes": len(answer),
            "sha256": digest(answer),
            "declared": (response.headers.getRawHeaders(DIGEST_HEADER) or [""])[0],
            "sent": digest(data) if data is not None else "",
            "text": answer.decode() if len(answer) < 1024 else "",
            "seconds": reactor.seconds() - started_at,
            "pause": max((later - earlier for earlier, later in pairwise(times)), default=0.0),
        }

    def streams(self) -> list[dict[str, Any]]:
        """Return the streams that are open, as the node's status has them."""
        return self.node.status()["streams"]

    async def stop(self) -> None:
        await self.agent.pool.closeCachedConnections()
        await self.node.stopService()

    def _observe(self, event: object) -> None:
        if isinstance(event, LinkDown):
            self.lost_links.append(event.reason)
        elif isinstance(event, WakeupReceived):
            self.woken.add(event.key.hex())


def _timed_out(result: object, timeout: float) -> object:
    raise CancelledError(f"no answer in {timeout} s: {result}")
