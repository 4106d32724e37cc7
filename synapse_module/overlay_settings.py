"""Which of Synapse's settings a homeserver on the overlay wants, and what happens without them."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from synapse_module.names import NameKind, kind_of_name


class Severity(enum.Enum):
    """How bad it is."""

    ERROR = "error"
    """It will not work."""

    WARNING = "warning"
    """It will work, but hardly as meant."""

    NOTE = "note"
    """What to expect."""


@attrs.frozen
class Finding:
    """One sentence about one setting; ``path`` says which, and is empty if it is about the whole."""

    severity: Severity
    path: str
    sentence: str


KEYS_ONLY: Final = (
    "This server is named by its key: it reaches servers that are named by their keys, and no server that has a DNS "
    "name, for those could not fetch its key."
)
RELAY_ONLY: Final = (
    "This server has a DNS name: it federates the ordinary way, and its node on the overlay relays for others; it does "
    "not reach servers that are named by their keys."
)

# Setting, and what happens without it. Each is in what `pinecone new-homeserver` writes.
_WANTED: Final = (
    (
        "public_baseurl",
        "is not set, and the default, https://<server name>/, leads nowhere: give the clients' address.",
    ),
    ("trusted_key_servers", "is not set, and then Synapse has matrix.org asked for keys: set it to []."),
    ("room_list_publication_rules", "is not set, and then no room gets onto the public list, without a word about it."),
    ("rc_federation", "is not set, and the default slows a server's join down to a few requests per second."),
    (
        "federation.client_timeout",
        "is not set: over slow links an answer may take more than the default of 60s; 180s is better.",
    ),
    (
        "federation.destination_min_retry_interval",
        "is not set: a server that was missed once is not called again for the default of 10m; 30s is better.",
    ),
    (
        "federation.destination_max_retry_interval",
        "is not set: above 1h, and the default is a week, typing notices and receipts are dropped.",
    ),
)


def check_overlay_settings(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is to be said about settings that have no wrong values, but unsuitable ones."""
    for path, sentence in _WANTED:
        if at(settings, path) is None:
            yield Finding(Severity.WARNING, path, sentence)
    if settings.get("trusted_key_servers"):
        yield Finding(
            Severity.WARNING,
            "trusted_key_servers",
            "should be []: on the overlay keys are names, and nobody has to be asked for them.",
        )
    if settings.get("room_list_publication_rules") == []:
        yield Finding(Severity.WARNING, "room_list_publication_rules", "is empty: no room gets onto the public list.")
    if settings.get("allow_public_rooms_over_federation") is not True:
        yield Finding(
            Severity.WARNING,
            "allow_public_rooms_over_federation",
            "should be true, or other servers do not see this one's public rooms.",
        )
    if at(settings, "presence.enabled") is not False:
        yield Finding(Severity.WARNING, "presence.enabled", "should be false: presence alone can fill a slow link.")
    whitelist = settings.get("federation_domain_whitelist")
    if isinstance(whitelist, list):
        for index, name in enumerate(whitelist):
            if kind_of_name(str(name)) is not NameKind.OVERLAY:
                yield Finding(
                    Severity.WARNING,
                    f"federation_domain_whitelist.{index}",
                    f"{name} is not the name of a server on the overlay, so it cannot be reached from here.",
                )
        if not whitelist:
            yield Finding(
                Severity.WARNING, "federation_domain_whitelist", "is empty: no server is let in, and none called."
            )


def at(settings: Mapping[str, Any], path: str) -> Any:
    """Return the setting at a path such as ``federation.client_timeout``; None if it is not set."""
    found: Any = settings
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
