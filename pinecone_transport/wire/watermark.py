"""Watermarks: how near to its key a frame has come, so that it never turns back (§1, §5)."""

from __future__ import annotations

from typing import Final, NamedTuple

from pinecone_transport.identity import KEY_LENGTH, PublicKey

FULL_MASK: Final[PublicKey] = b"\xff" * KEY_LENGTH
"""The key of a watermark that says nothing yet (§1)."""


class Watermark(NamedTuple):
    """The best key that a node on the way knew, 32 bytes, and the sequence of its bootstrap there, or 0."""

    key: PublicKey
    sequence: int

    def is_worse_than(self, other: Watermark) -> bool:
        """Tell whether a frame that carries ``other`` may not go on with this one. Source: §5, "Watermarks"."""
        if self.key != other.key:
            return self.key > other.key
        return self.sequence != 0 and self.sequence < other.sequence


NO_WATERMARK: Final = Watermark(FULL_MASK, 0)
