"""Many timers behind one: a heap that is only touched when a deadline comes earlier than it was armed for."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, final

_SPARE: Final = 256
"""Entries that may lie in the heap for nobody, besides as many as there are owners."""


@final
class Deadlines:
    """When each of many numbered owners wants to be called.

    A deadline that moves later leaves its heap entry alone: the owner is then due too early once, says so by
    scheduling itself again, and nothing is lost. Deadlines that move later all the time, as keepalives do with each
    write, therefore cost a comparison. Memory: at most two entries per owner that is armed, and a few hundred.
    """

    __slots__ = ("_armed", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._armed: dict[int, float] = {}

    def schedule(self, owner: int, at: float | None) -> None:
        """Have the owner due at ``at`` (seconds on the ``now`` axis) or somewhat earlier; None asks for nothing."""
        if at is None:
            return
        armed_at = self._armed.get(owner)
        if armed_at is None or at < armed_at:
            self._armed[owner] = at
            heappush(self._heap, (at, owner))
            if len(self._heap) > 2 * len(self._armed) + _SPARE:
                self._sweep()

    def forget(self, owner: int) -> None:
        """The owner is gone."""
        self._armed.pop(owner, None)

    def _sweep(self) -> None:
        """Drop what nobody waits for: owners that come and go in a flood leave their entries until those are due."""
        self._heap = [(at, owner) for owner, at in self._armed.items()]
        heapify(self._heap)

    def next(self) -> float | None:
        """Return the earliest deadline, or None."""
        heap = self._heap
        while heap:
            at, owner = heap[0]
            if self._armed.get(owner) == at:
                return at
            heappop(heap)
        return None

    def take_due(self, now: float) -> list[int]:
        """Return the owners whose time has come, earliest first; each has to be scheduled again."""
        due = []
        at = self.next()
        while at is not None and at <= now:
            _, owner = heappop(self._heap)
            del self._armed[owner]
            due.append(owner)
            at = self.next()
        return due
