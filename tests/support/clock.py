"""A clock that a test moves."""

from __future__ import annotations


class VirtualClock:
    """Monotonic seconds. ``now`` is handed to machines; nothing but `advance` changes it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> float:
        """Let time pass and return the new time."""
        assert seconds >= 0
        self.now += seconds
        return self.now
