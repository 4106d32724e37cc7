"""Frames that wait for the owner to take them, and what was dropped for which reason."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.router.constants import FRAME_OVERHEAD, MAX_OUTPUT_BYTES
from pinecone_transport.wire import MAX_FRAME_LENGTH, Frame, encode_frame

# Of a frame whose coordinates take up to ten bytes a hop: header 12, two lengths 4, two keys 64, a watermark 42.
_MOST_OVERHEAD: Final = 12 + 4 + 64 + 42


def fits(frame: Frame) -> bool:
    """Tell whether the frame is at most 65,535 bytes long: the length field of a longer one would wrap. Source: §3."""
    hops = len(frame.destination) + len(frame.source)
    if _MOST_OVERHEAD + 10 * hops + len(frame.payload) <= MAX_FRAME_LENGTH:
        return True
    try:
        encode_frame(frame)
    except LocalProtocolError:
        return False
    return True


@final
class Outbox:
    """What a router sends, in order, and its counters.

    The owner empties it in every turn; the bound is for one that does not.
    """

    __slots__ = ("_frames", "_size", "counters")

    def __init__(self) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._frames: list[tuple[int, Frame]] = []
        self._size = 0

    def send(self, port: int, frame: Frame) -> None:
        """Queue a frame for a port."""
        size = self._size + FRAME_OVERHEAD + len(frame.payload)
        if size > MAX_OUTPUT_BYTES:
            self.counters["output full"] += 1
            return
        self._size = size
        self._frames.append((port, frame))

    def forward(self, port: int, frame: Frame) -> None:
        """Queue a frame that came from elsewhere, unless its new watermark has made it too long for the wire."""
        if fits(frame):
            self.send(port, frame)
        else:
            self.drop("frame too long")

    def drop(self, reason: str) -> None:
        """Count a frame, or something else, that goes no further."""
        self.counters[reason] += 1

    def take(self) -> list[tuple[int, Frame]]:
        """Return what is queued and start afresh."""
        frames = self._frames
        self._frames = []
        self._size = 0
        return frames
