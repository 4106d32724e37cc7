"""Packets that belong to no connection: resets for unknown ones, last words of those that are gone."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.packet import UtpPacket, encode_reset


@final
class Strays:
    """Packets by key. Answers to unknown packets are bounded; last words are, by the number of connections."""

    __slots__ = ("_count", "_counters", "_limits", "_packets")

    def __init__(self, limits: UtpLimits, counters: Counter[str]) -> None:
        self._limits: Final = limits
        self._counters: Final = counters
        self._packets: Final[dict[PublicKey, list[bytes]]] = {}
        self._count = 0

    def __contains__(self, key: PublicKey) -> bool:
        return key in self._packets

    def add(self, key: PublicKey, packet: bytes) -> None:
        """Have a packet sent."""
        self._packets.setdefault(key, []).append(packet)
        self._count += 1

    def add_reset(self, key: PublicKey, packet: UtpPacket, connection_id: int) -> None:
        """Tell who sent ``packet`` that we know no such connection, unless many are being told already. Source: §8."""
        limits = self._limits
        if self._count >= limits.resets or len(self._packets.get(key, ())) >= limits.resets_per_key:
            self._counters["resets withheld"] += 1
        else:
            self.add(key, encode_reset(connection_id, 0, packet.seq_nr))

    def take(self, key: PublicKey, left: int, packets: list[bytes]) -> int:
        """Move about ``left`` bytes of packets for the key to ``packets``; return how many bytes are left."""
        waiting = self._packets.get(key)
        if waiting is None:
            return left
        count = 0
        while count < len(waiting) and left > 0:
            left -= len(waiting[count])
            count += 1
        packets += waiting[:count]
        self._count -= count
        if count < len(waiting):
            del waiting[:count]
        else:
            del self._packets[key]
        return left
