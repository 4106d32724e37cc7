"""How long an answer takes, and how long to wait for one (RFC 6298)."""

from __future__ import annotations

from typing import Final, final

NEVER: Final = float("inf")

_INITIAL_RTO: Final = 1.0
_LONGEST_RTO: Final = 2.0
"""Seconds, unless no answer has ever come sooner. Queues and lost acknowledgements look like a long way; a few of them
must not use up the patience of a stream."""
_MAX_BACKOFF: Final = 8
_SHORTEST_TAIL: Final = 0.1
"""Seconds. A reactor that does other things for a while is no loss."""


@final
class RttEstimator:
    """Round trip times of one path.

    Attributes:
        smoothed: Seconds; 0.0 until the first sample.
        minimum: The shortest seen, seconds; 0.0 until the first answer.
        timeout: Seconds to wait for an acknowledgement, before any backoff.
        overtaken: Seconds after which a packet is lost if one that was sent later has arrived; `NEVER` until known.
        tail: Seconds without news after which the last packet is sent again to bring some; `NEVER` until known.
    """

    __slots__ = ("_floor", "_variation", "minimum", "overtaken", "smoothed", "tail", "timeout")

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._variation = 0.0
        self.smoothed = 0.0
        self.minimum = 0.0
        self.overtaken = self.tail = NEVER
        self.timeout = max(floor, _INITIAL_RTO)

    def lower_floor(self, floor: float) -> None:
        """The far end is known not to hold acknowledgements back."""
        self._floor = min(self._floor, floor)

    def bound(self, seconds: float) -> None:
        """The path takes so long at most: an answer came, though not to data, after this time."""
        self.minimum = min(self.minimum or seconds, seconds)

    def add_sample(self, seconds: float) -> None:
        """Take the time from sending a packet, which was sent once only, to its acknowledgement."""
        if self.smoothed:
            self._variation += (abs(self.smoothed - seconds) - self._variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
        else:
            self._variation = seconds / 2
            self.smoothed = seconds
        self.bound(seconds)
        longest = max(_LONGEST_RTO, 2 * self.minimum)
        usual = self.smoothed + 4 * self._variation
        self.timeout = max(self._floor, min(usual, longest))
        self.overtaken = usual + self.smoothed / 4
        self.tail = max(usual + self.smoothed, _SHORTEST_TAIL)


@final
class RepeatTimer:
    """When to send again what has not been answered: later each time in a row.

    Attributes:
        at: Seconds on the ``now`` axis, or `NEVER`.
    """

    __slots__ = ("_backoff", "_maximum", "_rtt", "at")

    def __init__(self, rtt: RttEstimator, maximum: float) -> None:
        self._rtt: Final = rtt
        self._maximum: Final = maximum
        self._backoff = 0
        self.at = NEVER

    def timeout(self) -> float:
        """Return how long to wait: the path's timeout, doubled up to the maximum each time that it was in vain."""
        timeout = self._rtt.timeout
        return max(timeout, min(timeout * (1 << self._backoff), self._maximum))

    def start(self, now: float) -> None:
        """Something was sent."""
        self.at = now + self.timeout()

    def restart(self, now: float) -> None:
        """An answer came, or may come again: patience begins anew."""
        self._backoff = 0
        self.at = now + self.timeout()

    def stop(self) -> None:
        """All is answered."""
        self._backoff = 0
        self.at = NEVER

    def back_off(self, now: float) -> None:
        """No answer came."""
        self._backoff = min(self._backoff + 1, _MAX_BACKOFF)
        self.at = now + self.timeout()
