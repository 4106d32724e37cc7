"""HTTP requests to servers that are named by their keys."""

from __future__ import annotations

from typing import Final, cast, final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, fail
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from pinecone_transport.identity import is_server_name
from pinecone_transport.node.interfaces import INode
from twisted_endpoints.client import DIAL_TIMEOUT, PineconeClientEndpoint
from twisted_endpoints.errors import NotAServerName
from twisted_endpoints.pool import BoundedConnectionPool


@final
@implementer(IAgent)
class PineconeAgent:
    """Sends requests for ``<any scheme>://<64 lower-case hex digits>/…`` to the node with that key.

    Connections are kept alive and shared; there are at most eight to one node.

    Args:
        node: Our own node.
        pool: Where connections are kept; a `BoundedConnectionPool` of this agent's own if None.
        connect_timeout: Seconds for a dial.
    """

    def __init__(
        self, node: INode, pool: HTTPConnectionPool | None = None, connect_timeout: float = DIAL_TIMEOUT
    ) -> None:
        self.pool: Final = BoundedConnectionPool(node.reactor, call_soon=node.call_soon) if pool is None else pool
        endpoints = _EndpointFactory(node, connect_timeout)
        self._agent: Final = Agent.usingEndpointFactory(node.reactor, endpoints, self.pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request. It fails with `NotAServerName` for other hosts; none of them is looked up anywhere."""
        # The host is matched as it stands: parsing lower-cases it, and another spelling is another server (or none).
        server_name = urlsplit(uri).netloc
        if not is_server_name(server_name.decode("latin-1")):
            return fail(NotAServerName(server_name))
        headers = Headers() if headers is None else headers.copy()
        if not headers.hasHeader(b"Host"):
            headers.setRawHeaders(b"Host", [server_name])
        return cast("Deferred[IResponse]", self._agent.request(method, uri, headers, bodyProducer))


@final
@implementer(IAgentEndpointFactory)
class _EndpointFactory:
    def __init__(self, node: INode, timeout: float) -> None:
        self._node: Final = node
        self._timeout: Final = timeout

    def endpointForURI(self, uri: URI) -> PineconeClientEndpoint:
        """Return the endpoint of the node that the URI names."""
        return PineconeClientEndpoint(self._node, uri.host.decode("ascii"), self._timeout)
