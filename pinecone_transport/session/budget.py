"""What all connections with one remote key have in common: the path, and how much may be under way on it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import TYPE_CHECKING, Final, final
from weakref import WeakValueDictionary

from pinecone_transport.identity import PublicKey
from pinecone_transport.session.packet_size import PacketSize

if TYPE_CHECKING:
    from pinecone_transport.session.utp.congestion import CongestionControl
    from pinecone_transport.session.utp.rtt import RttEstimator

PACED_BURST: Final = 14
"""Packets per round trip, as on any path of which nothing is known (§6) …"""
PACED_PACKETS: Final = 256
PACED_BYTES: Final = 1 << 20
"""… and how much may be unacknowledged: what a Go node takes (§8)."""
SHORTEST_BURST: Final = 0.01
"""Seconds between two bursts at least."""
LONGEST_HOLD: Final = 0.5
"""Seconds for which a Go node holds acknowledgements back, and so what a round trip is taken for that is not known."""


@final
class Budget:
    """Data packets in flight to one key, whatever connection they belong to.

    Attributes:
        congestion: Says how many packets may be in flight.
        rtt: Round trip times of the path.
        packet_size: How large packets are, to connections whose far end says what it takes.
        packets_in_flight: Sent, and neither acknowledged nor taken for lost.
        bytes_in_flight: Their payload.
        paced: Whether the far end may hold acknowledgements back. Then what is in flight says little of what is on the
            path, and so many packets as may be on the path leave once per round trip.
        limited: Whether, since the last acknowledgement, more would have been sent if the budget had allowed it.
        held_back: Whether more would have been sent the last time if our own link had had room: then it is the
            slowest part of the path, and what arrives is what the path delivers.
    """

    __slots__ = (
        "__weakref__",
        "_acknowledged_at",
        "_burst",
        "_burst_until",
        "_window_bytes",
        "bytes_in_flight",
        "congestion",
        "held_back",
        "limited",
        "paced",
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
        self._burst = 0  # packets sent since the last burst began, if paced …
        self._burst_until = 0.0  # … and when the next one may
        self.paced = False
        self.packets_in_flight = 0
        self.bytes_in_flight = 0
        self.limited = False
        self.held_back = False

    def has_room(self) -> bool:
        """Tell whether one more packet may be sent."""
        packets, length = self.room()
        return packets > 0 and length > 0

    def room(self) -> tuple[int, int]:
        """Return how many packets may be sent, and how many bytes of payload there may be before the last of them."""
        if self.paced:
            packets = min(self._burst_limit() - self._burst, PACED_PACKETS - self.packets_in_flight)
            return packets, min(PACED_BYTES, self._window_bytes) - self.bytes_in_flight
        return ceil(self.congestion.window) - self.packets_in_flight, self._window_bytes - self.bytes_in_flight

    def _burst_limit(self) -> int:
        return ceil(min(self.congestion.window, PACED_BURST))

    def pass_time(self, now: float) -> None:
        """A burst that is a round trip old has left the path, whether or not it has been acknowledged."""
        if self._burst and now >= self._burst_until:
            self._burst = 0

    def room_at(self) -> float:
        """Return when the next burst may leave, if this one is what room lacks for; else infinity."""
        return self._burst_until if self.paced and self._burst >= self._burst_limit() else inf

    def take(self, packets: int, payload: int, now: float) -> None:
        """Packets with so many bytes of payload are sent."""
        if not self.packets_in_flight:
            self.packet_size.begin(now)
        if self.paced:
            if not self._burst:
                self._burst_until = now + max(self.rtt.minimum or LONGEST_HOLD, SHORTEST_BURST)
            self._burst += packets
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
            length, self.rtt.smoothed, limited=self.limited or self.held_back, delayed=self.congestion.delayed, now=now
        )
        self.limited = False
        self._acknowledged_at = now

    def timed_out(self, sent_at: float, now: float) -> None:
        """A packet sent at ``sent_at`` had no answer in its time: a loss like others, if others had answers since."""
        if self._acknowledged_at > sent_at:
            self.congestion.on_lost(sent_at, now)
        else:
            self.congestion.on_timeout(self.packet_size.on_timeout(), now)


@final
class Budgets:
    """The budgets of all keys. Connections with a key hold its budget, of whichever kind they are.

    Args:
        make: Makes one for a key that nobody has connections with.
    """

    __slots__ = ("_held", "_make")

    def __init__(self, make: Callable[[], Budget]) -> None:
        self._make: Final = make
        # Whoever uses a budget keeps it alive: nobody has to say when a key's last connection of any kind is gone.
        self._held: Final[WeakValueDictionary[PublicKey, Budget]] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._held)

    def of(self, key: PublicKey) -> Budget:
        """Return the key's budget, a new one if nobody has connections with it."""
        budget = self._held.get(key)
        if budget is None:
            self._held[key] = budget = self._make()
        return budget
