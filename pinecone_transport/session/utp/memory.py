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
class Holding:
    """What some buffers hold of a `Memory` together; they have one share among them.

    Attributes:
        held: Bytes.
    """

    __slots__ = ("_memory", "held")

    def __init__(self, memory: Memory) -> None:
        self._memory: Final = memory
        self.held = 0

    def change(self, length: int) -> None:
        """The buffers hold so many more bytes, or fewer."""
        self.held += length
        self._memory.held += length

    def room(self, wanted: int) -> int:
        """Return how many of so many more bytes there is memory for."""
        return self._memory.room(self.held + wanted, self.held)


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
