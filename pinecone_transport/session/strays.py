"""Packets that belong to no connection: answers to what belongs to none, last words of those that are gone."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.identity import PublicKey


@final
class Strays:
    """Packets by key. Answers are bounded; last words are, by the number of connections.

    Args:
        most: Packets that wait for being sent, all keys, beyond which there are no answers.
        most_per_key: The same for one key.
    """

    __slots__ = ("_count", "_most", "_most_per_key", "_packets")

    def __init__(self, most: int, most_per_key: int) -> None:
        self._most: Final = most
        self._most_per_key: Final = most_per_key
        self._packets: Final[dict[PublicKey, list[bytes]]] = {}
        self._count = 0

    def __contains__(self, key: PublicKey) -> bool:
        return key in self._packets

    def add(self, key: PublicKey, packet: bytes) -> None:
        """Have a packet sent."""
        self._packets.setdefault(key, []).append(packet)
        self._count += 1

    def answer(self, key: PublicKey, packet: bytes) -> bool:
        """Have an answer sent, unless many wait already; tell which."""
        if self._count >= self._most or len(self._packets.get(key, ())) >= self._most_per_key:
            return False
        self.add(key, packet)
        return True

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
