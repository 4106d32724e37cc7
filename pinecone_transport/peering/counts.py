"""Frames and bytes of one link by type, for people and metrics."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.wire import TRAFFIC, WAKEUP_BROADCAST

_NAMES: Final = ("keepalive", "tree_announcement", "bootstrap", "traffic", "wakeup_broadcast")


@final
class FrameCounts:
    """One direction of a link, counted by frame type; lists, as a frame in transit must not cost a dict."""

    __slots__ = ("_bytes", "_frames")

    def __init__(self) -> None:
        self._frames: Final = [0] * (WAKEUP_BROADCAST + 1)
        self._bytes: Final = [0] * (WAKEUP_BROADCAST + 1)

    def add(self, kind: int, length: int) -> None:
        """Count one frame of a known type."""
        self._frames[kind] += 1
        self._bytes[kind] += length

    def add_traffic(self, frames: int, length: int) -> None:
        """Count so many frames of traffic that have this length together."""
        self._frames[TRAFFIC] += frames
        self._bytes[TRAFFIC] += length

    def named(self, direction: str) -> dict[str, int]:
        """Return the counts as ``frames_in_traffic``, ``bytes_in_traffic`` and so on, for direction ``in``."""
        counts = {f"frames_{direction}_{name}": count for name, count in zip(_NAMES, self._frames, strict=True)}
        counts.update({f"bytes_{direction}_{name}": count for name, count in zip(_NAMES, self._bytes, strict=True)})
        return counts
