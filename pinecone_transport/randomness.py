"""Where the core gets its randomness from: given to it, so that a simulation can be repeated."""

from __future__ import annotations

from typing import Protocol


class RandomSource(Protocol):
    """What ``random.Random`` and ``random.SystemRandom`` have in common."""

    def random(self) -> float:
        """Return a number from 0 up to, but not including, 1."""

    def getrandbits(self, k: int, /) -> int:
        """Return a number of ``k`` bits."""

    def randrange(self, stop: int, /) -> int:
        """Return a number from 0 up to, but not including, ``stop``."""
