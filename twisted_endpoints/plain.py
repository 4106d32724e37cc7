"""The face of `TlsConnection` without TLS: for streams of sessions that authenticate and encrypt themselves (§8)."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, final

from pinecone_transport.identity import PublicKey

_PIECE: Final = 65_536
"""Bytes that are given to the node in one piece; small writes are joined up to it."""


@final
class PlainConnection:
    """One end of a stream whose far end is known to have the key.

    Attributes:
        key: The far end's, 32 bytes.
        established: True from the beginning.
        ended: Whether the far end sends no more: set by who hears of the stream's end, when all was read.
        error: None.
        pending: Bytes that wait to be sent.
    """

    ends_with_stream: ClassVar = True

    __slots__ = ("_received", "_waiting", "ended", "error", "established", "key", "pending")

    def __init__(self, key: PublicKey) -> None:
        self.key: Final = key
        self.established: Final = True
        self.ended = False
        self.error: Exception | None = None
        self.pending = 0
        self._received: deque[bytes] = deque()
        self._waiting: deque[bytes | memoryview] = deque()

    def start(self) -> None:
        """There is nothing to do first."""

    def receive_data(self, data: bytes) -> None:
        """Take data of the far end."""
        self._received.append(data)

    def read(self) -> bytes:
        """Return received data; empty if there is none now."""
        return self._received.popleft() if self._received else b""

    def write(self, data: bytes) -> None:
        """Take data for the far end; ``data_to_send`` returns it."""
        self._waiting.append(data)
        self.pending += len(data)

    def end(self) -> None:
        """The end of the stream is the end of what it carries: nothing goes before it."""

    def is_drained(self) -> bool:
        """Tell whether all that was written has left through ``data_to_send``."""
        return not self.pending

    def data_to_send(self, room: int, segment: int) -> list[bytes]:
        """Return data, at most ``room`` bytes; a stream of QUIC cuts it as it likes."""
        pieces = []
        while room > 0 and self._waiting:
            piece = self._take(min(room, _PIECE))
            room -= len(piece)
            self.pending -= len(piece)
            pieces.append(piece)
        return pieces

    def _take(self, limit: int) -> bytes:
        taken: list[bytes | memoryview] = []
        left = limit
        while self._waiting and left > 0:
            first = self._waiting.popleft()
            if len(first) > left:
                view = memoryview(first)
                self._waiting.appendleft(view[left:])
                first = view[:left]
            left -= len(first)
            taken.append(first)
        return b"".join(taken)
