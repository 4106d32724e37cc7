"""Media for servers too old to ask for them with a signature: this homeserver's own, and nothing but downloads.

A newer server takes media from the federation servlets, and these paths are what it falls back to. What may go out here
is for Synapse's ``enable_authenticated_media`` to say: if it is true, only what was uploaded while it was not.
"""

from __future__ import annotations

import re
from typing import Final, final

from synapse_module.synapse_internals import (
    DownloadResource,
    NotFoundError,
    SynapseInternals,
    SynapseRequest,
)

PATH: Final = "/_matrix/media"


@final
class LegacyDownload(DownloadResource):
    """``GET /_matrix/media/{v3,r0}/download/{server name}/{media id}``, unsigned.

    Source: §10
    """

    PATTERNS = [  # noqa: RUF012  # as Synapse declares it
        re.compile(
            f"{PATH}/(r0|v3)/download/(?P<server_name>[^/]*)/(?P<media_id>[^/]*)(/(?P<file_name>[^/]*))?$", re.ASCII
        )
    ]

    def __init__(self, internals: SynapseInternals) -> None:
        super().__init__(internals.hs, internals.media_repository)
        self._internals = internals

    async def on_GET(
        self, request: SynapseRequest, server_name: str, media_id: str, file_name: str | None = None
    ) -> None:
        """Send the file.

        Raises:
            SynapseError: It is another server's, it is not there, or not for this peer.
        """
        self._internals.refuse_unless_allowed(request.getClientAddress().host)  # type: ignore[no-untyped-call]  # Twisted
        if server_name != self._internals.server_name:
            # Nothing is fetched from third servers on behalf of a peer, whatever `allow_remote` it sends.
            raise NotFoundError
        await super().on_GET(request, server_name, media_id, file_name)
