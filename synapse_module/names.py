"""Which server names are of the overlay, which only look it, and which are none of our business."""

from __future__ import annotations

import enum
import re
from typing import Final

_KEY: Final = re.compile(r"[0-9a-f]{64}")
# With any case, with a port, and as DNS may write the end of a name: Matrix's grammar lets all of them through.
_LOOKS_LIKE_KEY: Final = re.compile(r"[0-9a-fA-F]{64}\.?(:\d*)?")


class NameKind(enum.Enum):
    """What a server name means to us."""

    OVERLAY = enum.auto()
    """64 lower-case hex digits: a key."""

    MISSPELT = enum.auto()
    """A key in upper case or with a port: no server has that name, and nobody may be asked about it."""

    ORDINARY = enum.auto()
    """Everything else."""


def kind_of_name(server_name: str) -> NameKind:
    """Return what kind of server name this is."""
    if _KEY.fullmatch(server_name):
        return NameKind.OVERLAY
    if _LOOKS_LIKE_KEY.fullmatch(server_name):
        return NameKind.MISSPELT
    return NameKind.ORDINARY
