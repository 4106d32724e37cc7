"""The way in: streams from afar become requests to Synapse's own federation servlets, and to nothing else of it.

What a peer asks for counts only if the origin that it signs as is the key of its session: the signature alone would
let anybody repeat a request that it was sent. The client API, keys and the older media paths are not offered: clients
come in elsewhere, keys are names, and media are among the servlets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast, final

from twisted.internet.interfaces import IAddress
from twisted.web.resource import IResource
from twisted.web.server import Site

from synapse_module.synapse_internals import (
    AuthenticationError,
    Authenticator,
    Codes,
    SynapseInternals,
    SynapseProtocol,
    SynapseRequest,
    SynapseSite,
    TransportLayerServer,
    parse_auth_header,
    resource_tree,
)
from twisted_endpoints import PineconeAddress

IDLE_TIMEOUT: Final = 60
"""Seconds without a request after which a connection is closed. Our own agent keeps one for 25, Dendrite's for 30."""

SITE_TAG: Final = "pinecone"


@final
class PeerKeyAuthenticator(Authenticator):
    """Refuses a request whose origin is not the peer that it came from, before it looks for any key."""

    async def authenticate_request(self, request: SynapseRequest, content: dict[str, Any] | None) -> str:
        """Return the origin.

        Raises:
            AuthenticationError: The request is not signed, or not by the server that sent it.
        """
        peer: str = request.getClientAddress().host  # type: ignore[no-untyped-call]  # Twisted's Request
        for header in request.requestHeaders.getRawHeaders(b"Authorization", []):
            if header.startswith(b"X-Matrix") and parse_auth_header(header)[0] != peer:
                raise AuthenticationError(401, f"This session is {peer}'s and no other server's", Codes.UNAUTHORIZED)
        return await super().authenticate_request(request, content)


@final
class OverlayFederationServer(TransportLayerServer):
    """Synapse's federation servlets, with our authenticator."""

    def register_servlets(self) -> None:
        """Register them; called by the base class, whose choice of an authenticator is replaced here."""
        self.authenticator = PeerKeyAuthenticator(self.hs)
        super().register_servlets()


@final
class OverlaySite(SynapseSite):
    """Serves the streams of the overlay.

    Args:
        internals: The homeserver.
        session_accepted: Told the server name of the peer of each stream that comes in.
    """

    def __init__(self, internals: SynapseInternals, session_accepted: Callable[[str], None]) -> None:
        servlets = OverlayFederationServer(internals.hs)
        super().__init__(
            resource=resource_tree({"/_matrix/federation": servlets}), **internals.site_arguments(SITE_TAG)
        )
        self._session_accepted = session_accepted

    def buildProtocol(self, addr: IAddress | None) -> SynapseProtocol:  # type: ignore[override]  # as SynapseSite does
        """Return a protocol for one stream of the peer at ``addr``, a `PineconeAddress`."""
        protocol = super().buildProtocol(addr)
        # Synapse sets neither, so that an idle connection would stay for ever.
        protocol.timeOut = IDLE_TIMEOUT
        protocol.callLater = self.reactor.callLater  # type: ignore[method-assign,assignment]  # as Twisted does
        self._session_accepted(cast(PineconeAddress, addr).server_name)
        return protocol

    def getResourceFor(self, request: SynapseRequest) -> IResource:
        """Find the resource by its path alone.

        Synapse's own method would also forward requests for ``matrix-federation://`` addresses to other homeservers,
        which is meant for its workers.
        """
        resource: IResource = Site.getResourceFor(self, request)
        return resource
