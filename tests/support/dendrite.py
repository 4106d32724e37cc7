"""A node of ours that plays Dendrite's demo: it sends what Dendrite sends, byte for byte, and answers what it must."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from synapse.api.room_versions import RoomVersion
from synapse.crypto.event_signing import add_hashes_and_signatures
from synapse.events import make_event_from_dict
from twisted.internet import reactor
from twisted.internet.error import NoRouteError
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from pinecone_transport.identity import Identity
from pinecone_transport.node.config import parse_node_config
from pinecone_transport.node.node import Node
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint

KEY_VERSION = "dendrite-demo-yggdrasil"

LONGEST_ANSWER = 10.0
"""Seconds. What takes longer does not come through where Dendrite is in the middle of it."""

ROUTE_TIMEOUT = 30.0
"""Seconds for a new node to find its way."""

_ROOM_VERSIONS = ("7", "10", "12", "org.matrix.msc3787", "1", "11", "2", "3", "9", "4", "5", "6", "8")
ALL_ROOM_VERSIONS = "&".join(f"ver={version}" for version in _ROOM_VERSIONS)
"""How a server says what it knows: everything, in no order, and some that are not stable."""


def path_escape(text: str) -> str:
    """Escape a segment of a path as Go does: ``!`` and ``#``, but not ``@``, ``:`` and ``$``."""
    return quote(text, safe="$&+=:@-_.~")


def query_escape(text: str) -> str:
    """Escape a value in a query as Go does."""
    return quote(text, safe="-_.~")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Headers
    content: bytes

    @property
    def json(self) -> Any:
        (content_type,) = self.headers.getRawHeaders("Content-Type")
        assert content_type == "application/json", content_type
        return json.loads(self.content)


class Dendrite:
    """The server, with a node that dials ``peer``.

    Attributes:
        received: Transactions that came, oldest first.
    """

    def __init__(self, peer: str) -> None:
        self.identity = Identity.generate()
        self.name = self.identity.server_name
        seed = base64.b64encode(self.identity.seed).decode()
        self.key = decode_signing_key_base64("ed25519", KEY_VERSION, seed)
        self.received: list[dict[str, Any]] = []
        self._node = Node(self.identity, parse_node_config({"peers": [peer]}), reactor)
        self._node.startService()
        self._agent = PineconeAgent(self._node)
        PineconeServerEndpoint(self._node).listen(Site(_Federation(self)))

    async def stop(self) -> None:
        await self._agent.pool.closeCachedConnections()
        await self._node.stopService()

    def redial(self) -> None:
        self._node.redial_now()

    def x_matrix(self, method: str, destination: str, uri: str, content: Any = None, origin: str | None = None) -> str:
        """Return the header that signs a request."""
        origin = origin or self.name
        request = {"method": method, "uri": uri, "origin": origin, "destination": destination}
        if content is not None:
            request["content"] = content
        ((key_id, signature),) = sign_json(request, origin, self.key)["signatures"][origin].items()
        assert key_id == f"ed25519:{KEY_VERSION}"
        return f'X-Matrix origin="{origin}",key="{key_id}",sig="{signature}",destination="{destination}"'

    async def request(
        self, method: str, server: str, uri: str, content: Any = None, *, authorization: str | None = "signed"
    ) -> Answer:
        """Send a request; ``authorization`` is a header, the default for one that is right, or None for none."""
        if authorization == "signed":
            authorization = self.x_matrix(method, server, uri, content)
        headers = Headers({"Host": [server], "User-Agent": ["Go-http-client/1.1"], "Accept-Encoding": ["gzip"]})
        if authorization is not None:
            headers.addRawHeader("Authorization", authorization)
        if content is not None:
            headers.addRawHeader("Content-Type", "application/json")
        give_up_at = time.monotonic() + ROUTE_TIMEOUT
        while True:
            body = None if content is None else FileBodyProducer(io.BytesIO(json.dumps(content).encode()))
            asked_at = time.monotonic()
            try:
                asked = self._agent.request(method.encode(), f"matrix://{server}{uri}".encode(), headers, body)
                response = await asked.addTimeout(LONGEST_ANSWER, reactor)
                answer = Answer(response.code, response.headers, await readBody(response))
            except NoRouteError:
                assert time.monotonic() < give_up_at, f"no route to {server}"
                continue
            assert time.monotonic() - asked_at < LONGEST_ANSWER
            return answer

    def signed_event(self, version: RoomVersion, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the event's id, and the event with our hashes and signature."""
        event = {"origin_server_ts": int(time.time() * 1000), **event}
        event.pop("hashes", None)
        event.pop("signatures", None)
        add_hashes_and_signatures(version, event, self.name, self.key)
        return make_event_from_dict(event, version).event_id, event

    @staticmethod
    def signed_id(version: RoomVersion, event: dict[str, Any]) -> str:
        """Return the id of an event that is signed already."""
        return make_event_from_dict(event, version).event_id

    def transaction(self, pdus: Sequence[dict[str, Any]] = (), edus: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        return {"origin": self.name, "origin_server_ts": int(time.time() * 1000), "pdus": [*pdus], "edus": [*edus]}


class _Federation(Resource):
    """Takes transactions and signs invites; what else there is of a server nobody asks for here."""

    isLeaf = True

    def __init__(self, server: Dendrite) -> None:
        super().__init__()
        self._server = server

    def render_PUT(self, request: Request) -> bytes:
        body = json.load(request.content)
        request.setHeader("Content-Type", "application/json")
        if request.path.startswith(b"/_matrix/federation/v1/send/"):
            self._server.received.append(body)
            return json.dumps({"pdus": {}}).encode()
        if request.path.startswith(b"/_matrix/federation/v2/invite/"):
            return json.dumps({"event": sign_json(body["event"], self._server.name, self._server.key)}).encode()
        request.setResponseCode(404)
        return b"{}"

    def render_GET(self, request: Request) -> bytes:
        request.setResponseCode(404)
        request.setHeader("Content-Type", "application/json")
        return b"{}"

    render_POST = render_GET
