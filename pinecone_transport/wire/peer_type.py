"""What kind of link a peering runs over; a lower number is the faster kind and wins (§2)."""

from __future__ import annotations

from enum import IntEnum


class PeerType(IntEnum):
    """The reference's peer types, in its order of preference. Source: §2."""

    PIPE = 0
    MULTICAST = 1
    BONJOUR = 2
    REMOTE = 3
    BLUETOOTH = 4
