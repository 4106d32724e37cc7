"""The search for users that nodes of Dendrite's network offer one another.

Found are only users of this homeserver that its own user directory would show to a user who shares no private room with
them, as Synapse's settings for it say; and only by a word of their name, so that nobody is handed the whole list.
"""

from __future__ import annotations

import re
from typing import Any, Final, final

from synapse_module.synapse_internals import (
    Codes,
    FoundUser,
    RestServlet,
    SynapseError,
    SynapseInternals,
    SynapseRequest,
    parse_json_object_from_request,
)

PATH: Final = "/_matrix/p2p"

MAX_PROFILES: Final = 50
"""As many as Synapse's own directory gives at once."""
DEFAULT_PROFILES: Final = 25
"""As many as Dendrite gives if it is not told how many."""
MAX_SEARCH_LENGTH: Final = 100
"""Characters. The database looks for each word."""


@final
class ProfileSearch(RestServlet):
    """``GET /_matrix/p2p/profiles`` with a body, unsigned both ways.

    Source: §10
    """

    PATTERNS = (re.compile(f"{PATH}/profiles$"),)

    def __init__(self, internals: SynapseInternals) -> None:
        super().__init__()
        self._internals = internals

    async def on_GET(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:
        """Answer ``{"Profiles": [...]}``, or null instead of an empty list, as Go does.

        Raises:
            SynapseError: The body is not a question, or this peer may not ask, or not so often.
        """
        peer: str = request.getClientAddress().host  # type: ignore[no-untyped-call]  # Twisted's Request
        self._internals.refuse_unless_allowed(peer)
        text, limit = parse_search(parse_json_object_from_request(request))
        found = await self._internals.search_own_users(peer, text, limit) if limit and is_searchable(text) else []
        return 200, {"Profiles": [self._profile(user) for user in found] or None}

    def _profile(self, user: FoundUser) -> dict[str, str]:
        return {
            "local_part": user.localpart,
            "server_name": self._internals.server_name,
            "display_name": user.display_name,
            "avatar_url": user.avatar_url,
        }


def parse_search(body: dict[str, Any]) -> tuple[str, int]:
    """Return the text to search for and how many users to return, `MAX_PROFILES` at most.

    Raises:
        SynapseError: One of them is of the wrong type.
    """
    text, limit = body.get("SearchString", ""), body.get("Limit", DEFAULT_PROFILES)
    if not isinstance(text, str) or not isinstance(limit, int) or isinstance(limit, bool):
        raise SynapseError(400, "SearchString should be a text, and Limit a whole number", Codes.BAD_JSON)
    return text, min(max(limit, 0), MAX_PROFILES)


def is_searchable(text: str) -> bool:
    """Tell whether there is a word in the text; a text without one would find everybody."""
    return len(text) <= MAX_SEARCH_LENGTH and any(character.isalnum() for character in text)
