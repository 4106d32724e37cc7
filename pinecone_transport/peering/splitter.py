"""A link's bytes, cut anywhere, to whole frames (§3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from pinecone_transport.wire import HEADER_LENGTH, frame_length


@final
class FrameSplitter:
    """Keeps the frame that is not all there yet, below 65,535 bytes; others are only passed on.

    Bytes are copied once into the partial frame, however many reads it takes.
    """

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial: Final = bytearray()

    def split(self, data: bytes, start: int) -> Iterator[bytes]:
        """Iterate over the frames that ``data[start:]`` completes, encoded; to the end, or the rest is lost.

        Raises:
            FrameError: What follows the frames given so far is no frame. There is no going on after that.
        """
        end = len(data)
        partial = self._partial
        if partial:
            start = self._complete(data, start)
            length = frame_length(partial, 0, len(partial))
            if length is None or len(partial) < length:
                return
            frame = bytes(partial)
            partial.clear()
            yield frame
        while (length := frame_length(data, start, end)) is not None and start + length <= end:
            yield data[start : start + length]
            start += length
        partial += data[start:]

    def _complete(self, data: bytes, start: int) -> int:
        """Give the partial frame what it lacks, as far as the data goes; return the offset of what follows that."""
        partial = self._partial
        if len(partial) < HEADER_LENGTH:
            start = self._take(data, start, HEADER_LENGTH - len(partial))
        length = frame_length(partial, 0, len(partial))
        return start if length is None else self._take(data, start, length - len(partial))

    def _take(self, data: bytes, start: int, count: int) -> int:
        stop = min(start + count, len(data))
        partial = self._partial
        partial += data[start:stop]
        return stop
