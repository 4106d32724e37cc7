"""The sequences of our bootstraps and wakeup broadcasts."""

from __future__ import annotations

from typing import Final, final


@final
class Sequences:
    """Unix time in milliseconds, but never the same twice and never going back.

    Args:
        unix_time: What is to be added to ``now`` for Unix time, seconds.
    """

    __slots__ = ("_last", "_unix_time")

    def __init__(self, unix_time: float) -> None:
        self._unix_time: Final = unix_time
        self._last = 0

    def next(self, now: float) -> int:
        """Return the sequence of what is sent now. Source: §3, "Bootstrap and wakeup payload"."""
        self._last = max(self._last + 1, int((self._unix_time + now) * 1000))
        return self._last
