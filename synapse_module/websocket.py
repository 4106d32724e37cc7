"""Peerings over WebSocket through the listeners that Synapse has anyway, so that one reverse proxy serves all (§9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from twisted.internet.interfaces import IAddress, IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from pinecone_transport.links import LinkOwner, host_and_port
from synapse_module.synapse_internals import PreserveLoggingContext

if TYPE_CHECKING:
    from pinecone_transport.links.websocket import WebSocketLinkFactory

_WANTED: Final = b"This is where nodes of the Pinecone overlay peer by WebSocket.\n"


@final
class PeeringResource(Resource):
    """Takes over the connection of each request that asks for a WebSocket, and makes it a link.

    Args:
        owner: Who gets the links.
        reactor: For the time that an upgrade has.
    """

    isLeaf = True

    def __init__(self, owner: LinkOwner, reactor: IReactorTime) -> None:
        Resource.__init__(self)
        self._owner = owner
        self._reactor = reactor
        self._door: _Door | None = None

    def render(self, request: Request) -> bytes | int:
        """Answer 426 to whatever else is asked, HTTP/2 included."""
        upgrade = request.getHeader(b"upgrade")
        if upgrade is None or upgrade.lower() != b"websocket" or request.channel.transport is None:
            request.setResponseCode(426)
            request.setHeader(b"Upgrade", b"websocket")
            request.setHeader(b"Content-Type", b"text/plain")
            return _WANTED
        if self._door is None:
            # The library takes megabytes, and most homeservers have no peers that come this way.
            self._door = _Door(self._owner, self._reactor)
        # The link outlives the request, and what it does must not be booked on it.
        with PreserveLoggingContext():
            return self._door.render(request)


@final
class _Door:
    """Autobahn's resource and our factory."""

    def __init__(self, owner: LinkOwner, reactor: IReactorTime) -> None:
        from pinecone_transport.links.websocket import WebSocketLinkFactory

        self._factory = WebSocketLinkFactory(owner, reactor)

    def render(self, request: Request) -> int:
        from autobahn.twisted.resource import WebSocketResource

        # Until now it was the HTTP channel that the transport held back when its buffer was full.
        cast(IConsumer, request.channel.transport).unregisterProducer()
        answer: int = WebSocketResource(_ForOne(self._factory, request)).render(request)
        return answer


@final
class _ForOne:
    """A factory as autobahn's resource uses it, for one request: knows the client behind a proxy, and its end.

    Synapse counts a request until it is finished or its connection is lost; taken over, it would be neither.
    """

    def __init__(self, factory: WebSocketLinkFactory, request: Request) -> None:
        self._factory = factory
        self._request = request

    def buildProtocol(self, addr: IAddress) -> object:
        client = self._request.getClientAddress()
        address = host_and_port(getattr(client, "host", "?"), getattr(client, "port", 0))
        return self._factory.accept(address, self._closed)

    def _closed(self, reason: Failure) -> None:
        with PreserveLoggingContext():
            self._request.connectionLost(reason)
