"""The way in: streams from afar become requests to Synapse's own federation servlets, and to little else.

What a peer asks for counts only if the origin that it signs as is the key of its session: the signature alone would
let anybody repeat a request that it was sent. Beside the servlets there are the downloads and the search for users that
servers of Dendrite's network ask for without a signature. The client API and keys are not offered: clients come in
elsewhere, and keys are names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast, final

from twisted.internet.interfaces import IAddress
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from synapse_module import directory, legacy_media
from synapse_module.directory import ProfileSearch
from synapse_module.legacy_media import LegacyDownload
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
    parse_json_value_from_request,
    resource_tree,
)
from twisted_endpoints import PineconeAddress, ping

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
        if content is None:
            # A GET may have a body, which is signed like any other, but Synapse would not look at it.
            content = parse_json_value_from_request(request, allow_empty_body=True)
            request.content.seek(0)  # type: ignore[union-attr]  # there is one once the request is complete
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
        profiles: Whether peers may search for users.
    """

    def __init__(self, internals: SynapseInternals, session_accepted: Callable[[str], None], *, profiles: bool) -> None:
        resources: dict[str, Resource] = {
            "/_matrix/federation": OverlayFederationServer(internals.hs),
            ping.PATH: ping.ping_resource(),
        }
        if internals.has_media:
            resources[legacy_media.PATH] = internals.resource_of(LegacyDownload(internals))
        if profiles:
            resources[directory.PATH] = internals.resource_of(ProfileSearch(internals))
        super().__init__(resource=resource_tree(resources), **internals.site_arguments(SITE_TAG))
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
