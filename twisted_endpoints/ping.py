"""Pings: a dial and one request, timed; and the request's answer, which every node of ours gives.

It is HTTP, as all that these endpoints are used for: so a homeserver of another make answers too, with an error that
says as much about the way there as an answer does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import PublicKey
from pinecone_transport.node.interfaces import INode
from pinecone_transport.node.node import Node
from twisted_endpoints.client import PineconeClientEndpoint, key_of
from twisted_endpoints.server import PineconeServerEndpoint

PATH: Final = "/_pinecone/ping"
DIAL_TIMEOUT: Final = 20.0
ANSWER_TIMEOUT: Final = 10.0
"""Seconds for a session, and for the answer after it."""
IDLE_TIMEOUT: Final = 10
"""Seconds that a connection to a node that answers nothing but pings may be silent."""

_PONG: Final = b'{"pong": true}'


@final
class PingResource(Resource):
    """Answers a ping: no more than that there is somebody."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Return the answer."""
        request.setHeader(b"Content-Type", b"application/json")
        return _PONG


def ping_resource() -> PingResource:
    """Return what answers pings, to be put at `PATH`."""
    return PingResource()  # type: ignore[no-untyped-call]  # Twisted's constructor


def answer_pings(node: Node) -> Deferred[IListeningPort]:
    """Have a node that serves nothing else answer pings, and send them for ``pinecone ping``."""
    root = Resource()
    branch = Resource()
    _, first, second = PATH.encode().split(b"/")
    root.putChild(first, branch)
    branch.putChild(second, ping_resource())
    offer_pings(node)
    return PineconeServerEndpoint(node).listen(Site(root, timeout=IDLE_TIMEOUT))


def offer_pings(node: Node) -> None:
    """Have the node's control socket know the command ``ping``, whose argument ``key`` is a server name."""

    def command(request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        name = request.get("key")
        if not isinstance(name, str):
            raise LocalProtocolError("a ping needs the key of a node, 64 lower-case hex digits")
        return ping(node, key_of(name))

    node.add_command("ping", command)


def ping(node: INode, key: PublicKey, *, clock: Callable[[], float] = time.monotonic) -> Deferred[Mapping[str, Any]]:
    """Dial a node, and ask it for an answer, on a stream of their own.

    The result has ``key``; ``set_up`` and ``request``, seconds, each None if it did not come to that; and ``outcome``,
    a clause for people. It fails with `LocalProtocolError` only: the key is our own.
    """
    return Deferred.fromCoroutine(_ping(node, key, clock))


async def _ping(node: INode, key: PublicKey, clock: Callable[[], float]) -> Mapping[str, Any]:
    if key == node.identity.key:
        raise LocalProtocolError("that is this node's own key")
    endpoint = _TimedEndpoint(PineconeClientEndpoint(node, key, DIAL_TIMEOUT), clock)
    agent = Agent.usingEndpointFactory(node.reactor, endpoint)
    headers = Headers({"Host": [key.hex()], "Connection": ["close"]})
    report: dict[str, Any] = {"key": key.hex(), "set_up": None, "request": None}
    begun = clock()
    try:
        request: Deferred[IResponse] = agent.request(b"GET", f"http://{key.hex()}{PATH}".encode(), headers)
        response = await request.addTimeout(DIAL_TIMEOUT + ANSWER_TIMEOUT, node.reactor)
        answered = clock()
        answer = _Answer(endpoint.hang_up)
        response.deliverBody(answer)
        body = await answer.body.addTimeout(ANSWER_TIMEOUT, node.reactor)
    except Exception as error:
        # Whatever it is, it is what the ping was to find out.
        endpoint.hang_up()
        return {**report, "set_up": _since(begun, endpoint.connected_at), "outcome": _failure(error, endpoint)}
    connected_at = cast(float, endpoint.connected_at)
    outcome = "the node answers" if body == _PONG else f"what answers is no node of this kind: HTTP {response.code}"
    return {**report, "set_up": connected_at - begun, "request": answered - connected_at, "outcome": outcome}


def _since(begun: float, connected_at: float | None) -> float | None:
    return connected_at - begun if connected_at is not None else None


def _failure(error: Exception, endpoint: _TimedEndpoint) -> str:
    if endpoint.connected_at is not None:
        return "the node is there, but has not answered the request"
    if isinstance(error, ConnectError):
        return f"not reached: {error}"
    return f"not reached: {type(error).__name__}"


@final
class _Answer(Protocol):
    """Reads an answer's body, and no more than ours has: another may have no end.

    Attributes:
        body: Fires with it once it is whole or too long.
    """

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self.body: Final[Deferred[bytes]] = Deferred()
        self._hang_up = hang_up
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        if self.body.called:
            return
        self._received += data
        if len(self._received) > len(_PONG):
            self.body.callback(self._received)
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.body.called:
            return
        if reason.check(ResponseDone):
            self.body.callback(self._received)
        else:
            self.body.errback(reason)


@final
@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _TimedEndpoint:
    """Notes when the connection is there."""

    def __init__(self, endpoint: IStreamClientEndpoint, clock: Callable[[], float]) -> None:
        self.connected_at: float | None = None
        self._protocol: IProtocol | None = None
        self._endpoint: Final = endpoint
        self._clock: Final = clock

    def endpointForURI(self, uri: URI) -> _TimedEndpoint:
        """Return this one: it has its key."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""

        def connected(protocol: IProtocol) -> IProtocol:
            self.connected_at = self._clock()
            self._protocol = protocol
            return protocol

        return self._endpoint.connect(protocolFactory).addCallback(connected)

    def hang_up(self) -> None:
        """Give the stream up, if there is one: whoever is at its other end may keep it for ever."""
        transport: Any = getattr(self._protocol, "transport", None)
        if transport is not None:
            transport.abortConnection()
