"""How large packets to one key are, where the far end lets us choose: as large as pays, as small as the path needs.

Hops cost time per packet, whatever its size, so large packets are fast. But a large packet on a slow path keeps all
others waiting, and a node on the way gives up a link on which one frame takes seconds.
"""

from __future__ import annotations

from typing import Final, final

FIRST_SIZE: Final = 1416
"""Bytes, header included. Even a slow radio link delivers as many in a fraction of a second."""
MIN_SIZE: Final = 512
ORDINARY_SIZE: Final = 8192
"""Up to this size a path that shows no queue is believed to take more: Go's nodes send as much to anybody (§8)."""

_PACKET_TIME: Final = 0.005
"""Seconds for which one packet should keep the path busy …"""
_IDLE_PACKET_TIME: Final = 0.02
"""… by the rate of a path that shows no queue, and so delivers no more than the window lets it …"""
_LONGEST_PACKET_TIME: Final = 0.05
"""… and above which it is cut down to that at once."""
_SHORTEST_SAMPLE: Final = 0.001
_KNOWN_FOR: Final = 10.0
"""Seconds for which what a busy path delivered says how large packets may be when it is not busy …"""
_DOUBTS: Final = 4
"""… times this, since a path may look busy whose nodes have had too little time."""
_SHORTER: Final = 0.9
"""By how much the round trip must have fallen for smaller packets to have been of use."""


@final
class PacketSize:
    """Follows the rate at which bytes arrive.

    Args:
        maximum: Bytes that it never exceeds, header included.

    Attributes:
        size: Bytes of a packet, header included.
    """

    __slots__ = ("_cut_round_trip", "_delivered", "_heard_at", "_known", "_known_until", "_maximum", "_since", "size")

    def __init__(self, maximum: int) -> None:
        self.size = min(FIRST_SIZE, maximum)
        self._maximum: Final = maximum
        self._since = 0.0
        self._heard_at = 0.0
        self._delivered = 0
        self._cut_round_trip = float("inf")
        self._known = ORDINARY_SIZE
        self._known_until = 0.0

    def begin(self, now: float) -> None:
        """Something leaves while nothing is under way: the time since the last answer says nothing of the path."""
        self._since += now - self._heard_at
        self._heard_at = now

    def on_acknowledged(self, length: int, round_trip: float, *, limited: bool, delayed: bool, now: float) -> None:
        """So many bytes have arrived; once per round trip, that is a rate.

        Args:
            length: Bytes.
            round_trip: Seconds.
            limited: Whether more would have been sent if the window had allowed it.
            delayed: Whether packets wait on the way.
            now: Seconds.
        """
        self._heard_at = now
        self._delivered += length
        elapsed = now - self._since
        if elapsed < round_trip or elapsed < _SHORTEST_SAMPLE:
            return
        rate = self._delivered / elapsed
        self._since = now
        self._delivered = 0
        fitting = int(rate * _PACKET_TIME)
        if not delayed:
            # The path may deliver more than was asked of it, but not less.
            idle = max(int(rate * _IDLE_PACKET_TIME), ORDINARY_SIZE)
            self._grow(max(fitting, idle if now >= self._known_until else self._known))
        elif limited:
            self._known = max(min(_DOUBTS * fitting, max(fitting, ORDINARY_SIZE)), FIRST_SIZE)
            self._known_until = now + _KNOWN_FOR
            self._fit(fitting, int(rate * _LONGEST_PACKET_TIME), round_trip)

    def _grow(self, fitting: int) -> None:
        size = min(2 * self.size, self._maximum, fitting)
        if size > self.size:
            self.size = size
            self._cut_round_trip = float("inf")

    def _fit(self, fitting: int, longest: int, round_trip: float) -> None:
        """Follow the rate of a path that is busy: there it is all that the path delivers.

        A path that is slow per packet, as one whose nodes have too little time, is faster with larger ones. So packets
        are halved once more only if that has made the way shorter.
        """
        if fitting >= self.size:
            self._grow(fitting)
        elif self.size > longest:
            self.size = max(fitting, min(FIRST_SIZE, longest), MIN_SIZE)
        elif self.size > 2 * max(fitting, FIRST_SIZE) and round_trip < _SHORTER * self._cut_round_trip:
            self.size //= 2
            self._cut_round_trip = round_trip

    def on_timeout(self) -> float:
        """Nothing arrives, perhaps for the packets' size; return by how much they are smaller now."""
        before = self.size
        self.size = min(before, max(before // 4, FIRST_SIZE))
        return before / self.size
