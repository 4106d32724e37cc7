"""A packet that comes in fragments, until all of it is there."""

from __future__ import annotations

from typing import Final, final

MAX_PARTS: Final = 256
"""Of one packet. The largest packet in the smallest fragments makes half as many."""
_MAX_LENGTH: Final = 0xFFFF


@final
class Fragments:
    """The parts of one packet. They may overlap, if it was cut anew on the way; nothing is kept twice.

    Attributes:
        held: Bytes kept.
    """

    __slots__ = ("_length", "_parts", "held")

    def __init__(self) -> None:
        self._parts: Final[dict[int, bytes]] = {}
        self._length: int | None = None
        self.held = 0

    def missing(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Return which of so many bytes from the offset on are not here, from and to; none of what no packet has."""
        pieces = []
        end = offset + length
        if end > _MAX_LENGTH or len(self._parts) >= MAX_PARTS:
            return []
        for start in sorted(self._parts):
            stop = start + len(self._parts[start])
            if stop <= offset:
                continue
            if start >= end:
                break
            if start > offset:
                pieces.append((offset, start))
            offset = stop
        if offset < end:
            pieces.append((offset, end))
        return pieces

    def add(self, offset: int, payload: bytes, last: bool) -> None:
        """Keep what is missing of a fragment; the packet ends with the last one."""
        if last:
            self._length = offset + len(payload)
        for start, stop in self.missing(offset, len(payload)):
            self._parts[start] = payload[start - offset : stop - offset]
            self.held += stop - start

    def whole(self) -> bytes | None:
        """Return the payload if all of it is there."""
        if self.held != self._length:
            return None
        parts = sorted(self._parts.items())
        start, part = parts[-1]
        return b"".join(part for _, part in parts) if start + len(part) == self._length else None
