"""How a QUIC connection shares what may be under way to its key with the others, µTP's included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from aioquic.quic.congestion.base import QuicCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer

from pinecone_transport.session.budget import Budget

_DELAYED: Final = 0.02
"""Seconds by which a round trip may exceed the shortest one before packets count as waiting on the way."""
_UNSENT: Final = float("-inf")


@final
class Congestion(QuicCongestionControl):
    """The packets of one connection in the budget of its key.

    The window is what the owner says before it asks for packets: it knows what the other connections have under way.

    Args:
        budget: The key's.
        window: Packets up to which acknowledgements that say nothing of the delay open the budget's window.

    Attributes:
        allowance: Bytes that may be sent now.
        packets_in_flight: Sent, and neither acknowledged nor taken for lost.
    """

    def __init__(self, budget: Budget, window: int) -> None:
        self._budget: Final = budget
        self._window: Final = window
        self._rtt = 0.0
        self._shortest_rtt = float("inf")
        self._lost_at = 0.0
        self._acknowledged = 0
        self._acknowledged_bytes = 0
        self._was_full = False
        self.allowance = 0
        self.packets_in_flight = 0

    @property
    def congestion_window(self) -> int:  # type: ignore[override]  # what may be sent depends on who asks
        """Bytes that may be in flight."""
        return self.bytes_in_flight + self.allowance

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """It is on its way."""
        self.bytes_in_flight += packet.sent_bytes
        self.packets_in_flight += 1
        self._budget.take(1, packet.sent_bytes, packet.sent_time or 0.0)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """It has arrived: `settle` says so, of all that came with one packet."""
        if not self._acknowledged:
            self._was_full = not self._budget.has_room()
        self._acknowledged += 1
        self._acknowledged_bytes += packet.sent_bytes
        self._release(packet)

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """They matter no more."""
        for packet in packets:
            self._release(packet)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """They are lost; those that were under way together are one loss."""
        newest = _UNSENT
        for packet in packets:
            self._release(packet)
            newest = max(newest, packet.sent_time or 0.0)
        self._lost_at = now
        self._budget.congestion.on_lost(newest, now)

    def on_persistent_congestion(self) -> None:
        """Nothing arrived for several round trips."""
        self._budget.congestion.on_timeout(1.0, self._lost_at)

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """A round trip took so long."""
        self._rtt = rtt
        self._shortest_rtt = min(self._shortest_rtt, rtt)

    def settle(self, now: float) -> None:
        """Tell the budget what has arrived."""
        count, length = self._acknowledged, self._acknowledged_bytes
        if not count:
            return
        self._acknowledged = self._acknowledged_bytes = 0
        budget = self._budget
        # Beyond the first window only delays may open it, which QUIC's acknowledgements say nothing of.
        if budget.congestion.window < self._window:
            budget.congestion.on_acknowledged(count, 0, self._was_full, now)
        delayed = self._rtt - self._shortest_rtt > _DELAYED
        budget.packet_size.on_acknowledged(length, self._rtt, limited=self._was_full, delayed=delayed, now=now)

    def end(self) -> None:
        """The connection is gone, and all that it has under way."""
        self._budget.release(self.packets_in_flight, self.bytes_in_flight)
        self.packets_in_flight = self.bytes_in_flight = 0

    def _release(self, packet: QuicSentPacket) -> None:
        self.bytes_in_flight -= packet.sent_bytes
        self.packets_in_flight -= 1
        self._budget.release(1, packet.sent_bytes)


@final
class NoPacer(QuicPacketPacer):
    """Packets leave at the end of a turn: a timer for each would cost more than it saves."""

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """Leave it at none."""
