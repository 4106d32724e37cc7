"""How many bytes the buffers of all connections hold, and so how many one of them may have."""

from __future__ import annotations

from typing import Final, final


@final
class Memory:
    """What buffers of one kind share: a few of them may be large, or many small.

    Args:
        total: Bytes above which a buffer gets no more than its share.
        share: Bytes that each buffer may have whatever the others have.

    Attributes:
        held: Bytes in all buffers.
    """

    __slots__ = ("_share", "_total", "held")

    def __init__(self, total: int, share: int) -> None:
        self._total: Final = total
        self._share: Final = share
        self.held = 0

    def room(self, capacity: int, held: int) -> int:
        """Return how many more bytes a buffer takes that may have ``capacity`` and has ``held``."""
        left = capacity - held
        if self.held + left > self._total:
            left = min(left, max(self._total - self.held, self._share - held))
        return max(0, left)


@final
class Memories:
    """Those of a socket.

    Attributes:
        received: Of all receive buffers.
        sent: Of all send buffers.
    """

    __slots__ = ("received", "sent")

    def __init__(self, total: int, share: int) -> None:
        self.received: Final = Memory(total, share)
        self.sent: Final = Memory(total, share)
