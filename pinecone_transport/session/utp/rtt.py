"""How long an answer takes, and how long to wait for one (RFC 6298)."""

from __future__ import annotations

from typing import Final, final

_INITIAL_RTO: Final = 1.0


@final
class RttEstimator:
    """Round trip times of one path.

    Attributes:
        smoothed: Seconds; 0.0 until the first sample.
        minimum: The shortest seen, seconds; 0.0 until the first sample.
        timeout: Seconds to wait for an acknowledgement, before any backoff.
    """

    __slots__ = ("_floor", "_variation", "minimum", "smoothed", "timeout")

    def __init__(self, floor: float) -> None:
        self._floor: Final = floor
        self._variation = 0.0
        self.smoothed = 0.0
        self.minimum = 0.0
        self.timeout = max(floor, _INITIAL_RTO)

    def add_sample(self, seconds: float) -> None:
        """Take the time from sending a packet, which was sent once only, to its acknowledgement."""
        if self.smoothed:
            self._variation += (abs(self.smoothed - seconds) - self._variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
            self.minimum = min(self.minimum, seconds)
        else:
            self._variation = seconds / 2
            self.smoothed = self.minimum = seconds
        self.timeout = max(self._floor, self.smoothed + 4 * self._variation)
