"""What the sockets of both kinds have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeAlias

from pinecone_transport.deadlines import Deadlines
from pinecone_transport.identity import PublicKey

Pieces: TypeAlias = tuple[bytes, ...]
"""A packet: bytes that leave one behind the other. To join them would be a copy of all that a stream sends."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """How things stand with one remote key.

    Attributes:
        key: The remote key.
        connections: Open, half-open and closing.
        rtt: Smoothed round trip time, seconds; 0.0 until known.
        window: Data packets that may be in flight.
        packets_in_flight: Data packets that are.
    """

    key: PublicKey
    connections: int
    rtt: float
    window: int
    packets_in_flight: int


class Socket:
    """A node's end of one kind of session.

    Attributes:
        counters: Packets sent and received, and what was dropped or given up, by reason.
    """

    def __init__(self) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._deadlines: Final = Deadlines()
        self._repeated: Final[set[PublicKey]] = set()

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        return self._deadlines.next()

    def take_repeated_keys(self) -> set[PublicKey]:
        """Return the keys that left a packet unanswered in its time, and forget them: the way to them may be wrong."""
        repeated = set(self._repeated)
        self._repeated.clear()
        return repeated
