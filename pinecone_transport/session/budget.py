"""What all connections with one remote key have in common: the path, and how much may be under way on it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, final

from pinecone_transport.session.packet_size import PacketSize

if TYPE_CHECKING:
    from pinecone_transport.session.utp.congestion import CongestionControl
    from pinecone_transport.session.utp.rtt import RttEstimator


@final
class Budget:
    """Data packets in flight to one key, whatever connection they belong to.

    Attributes:
        congestion: Says how many packets may be in flight.
        rtt: Round trip times of the path.
        packet_size: How large packets are, to connections whose far end says what it takes.
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
        "packet_size",
        "packets_in_flight",
        "rtt",
    )

    def __init__(
        self, congestion: CongestionControl, rtt: RttEstimator, window_bytes: int, largest_packet: int
    ) -> None:
        self.congestion: Final = congestion
        self.rtt: Final = rtt
        self.packet_size: Final = PacketSize(largest_packet)
        self._window_bytes: Final = window_bytes
        self._acknowledged_at = float("-inf")
        self.packets_in_flight = 0
        self.bytes_in_flight = 0
        self.limited = False

    def has_room(self) -> bool:
        """Tell whether one more packet may be sent."""
        return self.packets_in_flight < self.congestion.window and self.bytes_in_flight < self._window_bytes

    def room(self) -> tuple[int, int]:
        """Return how many packets may be sent, and how many bytes of payload there may be before the last of them."""
        return ceil(self.congestion.window) - self.packets_in_flight, self._window_bytes - self.bytes_in_flight

    def take(self, packets: int, payload: int, now: float) -> None:
        """Packets with so many bytes of payload are sent."""
        if not self.packets_in_flight:
            self.packet_size.begin(now)
        self.packets_in_flight += packets
        self.bytes_in_flight += payload

    def release(self, packets: int, payload: int) -> None:
        """Packets with so many bytes of payload have arrived, are lost, or matter no more."""
        self.packets_in_flight -= packets
        self.bytes_in_flight -= payload

    def acknowledged(self, packets: int, length: int, reply_micro: int, now: float) -> None:
        """Packets have arrived.

        Args:
            packets: How many.
            length: Their payload, bytes.
            reply_micro: What the far end said of the delay; 0 for nothing.
            now: Seconds.
        """
        self.congestion.on_acknowledged(packets, reply_micro, self.limited, now)
        self.packet_size.on_acknowledged(
            length, self.rtt.smoothed, limited=self.limited, delayed=self.congestion.delayed, now=now
        )
        self.limited = False
        self._acknowledged_at = now

    def timed_out(self, sent_at: float, now: float) -> None:
        """A packet sent at ``sent_at`` had no answer in its time: a loss like others, if others had answers since."""
        if self._acknowledged_at > sent_at:
            self.congestion.on_lost(sent_at, now)
        else:
            self.congestion.on_timeout(self.packet_size.on_timeout(), now)
