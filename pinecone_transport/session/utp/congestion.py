"""How many data packets may be in flight: a small interface, and the delay-based way of BEP 29 (LEDBAT, RFC 6817)."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol, final

from pinecone_transport.session.utp.rtt import RttEstimator

INITIAL_WINDOW: Final = 14
"""Packets. A Go node's fair queue holds 16 frames of a flow; two are left for acknowledgements (§6)."""
MIN_WINDOW: Final = 2
TARGET_DELAY_US: Final = 20_000
"""Queueing on the way that we put up with at least. 5 to 10 ms over the base was measured as loss-free; reactors that
do other things for a while add as much noise."""
LONGEST_TARGET_DELAY_US: Final = 100_000
"""And at most (RFC 6817 §2.4.2). Between the two it is a quarter of the shortest round trip: on a slow and long way a
single packet is a queue of 20 ms."""
BASE_DELAY_INTERVAL: Final = 60.0
"""Seconds after which the lowest delay is looked for afresh; it counts for twice as long."""

_RECENT_SAMPLES: Final = 4
_MASK: Final = 0xFFFFFFFF
_LONGEST_QUEUE_US: Final = 30_000_000
"""More than this above the base is below it (the circle is 71 minutes long), or the far end's clock was set anew."""


class CongestionControl(Protocol):
    """Says how many packets may be in flight, from what became of those that were."""

    window: float
    """Packets that may be in flight, at least 1."""
    delayed: bool
    """Whether packets wait on the way for longer than is put up with."""

    def on_acknowledged(self, packets: int, reply_micro: int, limited: bool, now: float) -> None:
        """So many packets arrived; the far end said ``reply_micro``, and the window was, or was not, the limit."""

    def on_lost(self, sent_at: float, now: float) -> None:
        """Packets were lost, the youngest of them sent at ``sent_at``."""

    def on_timeout(self, shrunk: float, now: float) -> None:
        """Nothing was heard for a whole retransmission timeout; packets are ``shrunk`` times smaller from now on."""


@final
class Ledbat:
    """Grows while the one-way delay stays near its minimum, shrinks when it rises and at each loss.

    Args:
        maximum: Packets that the window never exceeds.
        rtt: Round trip times of the path.
    """

    __slots__ = (
        "_base",
        "_base_at",
        "_delays",
        "_loss_free",
        "_maximum",
        "_next_base",
        "_reduced_at",
        "_rtt",
        "_threshold",
        "_timed_out",
        "delayed",
        "window",
    )

    def __init__(self, maximum: int, rtt: RttEstimator) -> None:
        self._rtt: Final = rtt
        self.window = float(min(INITIAL_WINDOW, maximum))
        self.delayed = False
        self._timed_out = False
        self._maximum: Final = float(maximum)
        self._threshold = 0.0
        self._loss_free = True
        self._reduced_at = float("-inf")
        self._delays: deque[int] = deque(maxlen=_RECENT_SAMPLES)
        self._base: int | None = None
        self._next_base: int | None = None
        self._base_at = 0.0

    def on_acknowledged(self, packets: int, reply_micro: int, limited: bool, now: float) -> None:
        """Grow or shrink by the delay that the packets met."""
        target = min(max(TARGET_DELAY_US, self._rtt.minimum * 250_000), LONGEST_TARGET_DELAY_US)
        above = (self._queueing_delay(reply_micro, now) - target) / target
        window = self.window
        self.delayed = above > 0
        self._timed_out = False
        if above > 0:
            # At most an eighth per round trip: the delay that we see is as old as one.
            window -= packets * min(above, 1.0) / 8
            self._loss_free = False
            self._threshold = 0.0
        elif not limited:
            return
        elif window < self._threshold:
            window += packets
        elif self._loss_free:
            window += packets / 8
        else:
            window -= above * packets / window
        self.window = min(max(window, MIN_WINDOW), self._maximum)

    def on_lost(self, sent_at: float, now: float) -> None:
        """Shrink, once for all packets that were under way together: to the first window, and then below it."""
        if sent_at <= self._reduced_at:
            return
        window = self.window
        self.window = max(INITIAL_WINDOW, window / 2) if window > INITIAL_WINDOW else max(MIN_WINDOW, window * 0.7)
        self._reduced_at = now
        self._loss_free = False
        self._threshold = 0.0

    def on_timeout(self, shrunk: float, now: float) -> None:
        """Begin anew with the smallest window, and grow fast up to half of what it was.

        Smaller packets may be more, up to the first window: what has to be sent again is in fragments of theirs.
        """
        self._threshold = max(self.window / 2, self._threshold)
        window = self.window if self._timed_out else MIN_WINDOW
        self.window = max(MIN_WINDOW, min(window * shrunk, INITIAL_WINDOW, self._maximum))
        self._timed_out = True
        self._reduced_at = now
        self._loss_free = False

    def _queueing_delay(self, reply_micro: int, now: float) -> int:
        """Return by how many microseconds the lowest of the last delays exceeds the lowest of the last minutes.

        The two clocks have nothing to do with each other, so a delay says nothing but how it differs from another.
        """
        if not reply_micro:
            return 0
        base = self._base
        if base is None or (reply_micro - base) & _MASK >= _LONGEST_QUEUE_US:
            self._base = self._next_base = base = reply_micro
            self._base_at = now
        elif self._next_base is None or (reply_micro - self._next_base) & _MASK >= _LONGEST_QUEUE_US:
            self._next_base = reply_micro
        if now - self._base_at >= BASE_DELAY_INTERVAL and self._next_base is not None:
            self._base = base = self._next_base
            self._next_base = None
            self._base_at = now
        self._delays.append((reply_micro - base) & _MASK)
        return min(self._delays)
