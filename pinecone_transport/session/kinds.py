"""The kinds of sessions, and which one dials take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pinecone_transport.identity import PublicKey


class Kind(Enum):
    """A kind of session (§8)."""

    UTP = "utp"
    """µTP, and TLS around it: the native one."""
    QUIC = "quic"

    # Each packet looks things up by its kind; what Enum has for this is made of Python.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kind dials take, whatever far nodes use; far nodes may dial in either.

    Attributes:
        default: For keys that are not in ``by_key``; None for what the far node uses.
        by_key: The same for single keys.
    """

    default: Kind | None = None
    by_key: Mapping[PublicKey, Kind | None] = field(default_factory=dict)

    def of(self, key: PublicKey) -> Kind | None:
        """Return the kind that dials to the key must take; None if it is to be found out."""
        return self.by_key.get(key, self.default)
