"""What all connections with one remote key have in common: the path, and how much may be under way on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from pinecone_transport.session.utp.congestion import CongestionControl
    from pinecone_transport.session.utp.rtt import RttEstimator


@final
class Budget:
    """Data packets in flight to one key, whatever connection they belong to.

    Attributes:
        congestion: Says how many packets may be in flight.
        rtt: Round trip times of the path.
        packets_in_flight: Sent, and neither acknowledged nor taken for lost.
        bytes_in_flight: Their payload.
        limited: Whether, since the last acknowledgement, more would have been sent if the budget had allowed it.
    """

    __slots__ = (
        "_acknowledged_at",
        "_window_bytes",
        "bytes_in_flight",
        "congestion",
        "limited",
        "packets_in_flight",
        "rtt",
    )

    def __init__(self, congestion: CongestionControl, rtt: RttEstimator, window_bytes: int) -> None:
        self.congestion: Final = congestion
        self.rtt: Final = rtt
        self._window_bytes: Final = window_bytes
        self._acknowledged_at = float("-inf")
        self.packets_in_flight = 0
        self.bytes_in_flight = 0
        self.limited = False

    def has_room(self) -> bool:
        """Tell whether one more packet may be sent."""
        return self.packets_in_flight < self.congestion.window and self.bytes_in_flight < self._window_bytes

    def take(self, payload: int) -> None:
        """A packet with so many bytes of payload is sent."""
        self.packets_in_flight += 1
        self.bytes_in_flight += payload

    def release(self, payload: int) -> None:
        """A packet with so many bytes of payload has arrived, is lost, or matters no more."""
        self.packets_in_flight -= 1
        self.bytes_in_flight -= payload

    def acknowledged(self, packets: int, reply_micro: int, now: float) -> None:
        """Packets have arrived; ``reply_micro`` is what the far end said of the delay, 0 for nothing."""
        self.congestion.on_acknowledged(packets, reply_micro, self.limited, now)
        self.limited = False
        self._acknowledged_at = now

    def timed_out(self, sent_at: float, now: float) -> None:
        """A packet sent at ``sent_at`` had no answer in its time: a loss like others, if others had answers since."""
        if self._acknowledged_at > sent_at:
            self.congestion.on_lost(sent_at, now)
        else:
            self.congestion.on_timeout(now)
