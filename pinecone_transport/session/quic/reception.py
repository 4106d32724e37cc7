"""Packets from a key that belong to no connection with it: they begin one, or get an answer, or are dropped."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.session.quic.connection import Connection
from pinecone_transport.session.quic.headers import (
    LONG,
    MAX_ID_LENGTH,
    MIN_FIRST_ID,
    MIN_INITIAL,
    LongHeader,
    destination_of,
    read_long_header,
    stateless_reset,
    version_negotiation,
)
from pinecone_transport.session.quic.placement import Placement
from pinecone_transport.session.quic.settings import VERSION_1, Settings
from pinecone_transport.session.quic.table import Table

_NOISE_BITS: Final = 208


@final
class Reception:
    """Takes packets of no connection.

    Args:
        settings: The node's.
        table: Where answers wait for being sent.
        placement: Makes connections of first packets.
        random: Fills packets that must look random.
    """

    def __init__(self, settings: Settings, table: Table, placement: Placement, random: RandomSource) -> None:
        self._settings: Final = settings
        self._table: Final = table
        self._counters: Final = table.counters
        self._placement: Final = placement
        self._random: Final = random

    def take(self, key: PublicKey, packet: bytes, now: float) -> Connection | None:
        """Return a new connection if the packet is one that begins it; else count it, and answer where that is due."""
        destination = destination_of(packet)
        header = read_long_header(packet)
        if header is None:
            self._reset(key, packet, destination)
        elif len(packet) < MIN_INITIAL:
            self._counters["packets of unknown connections"] += 1
        elif header.version != VERSION_1:
            self._negotiate(key, header)
        elif not header.is_initial or not MIN_FIRST_ID <= len(destination) <= MAX_ID_LENGTH:
            self._counters["packets of unknown connections"] += 1
        else:
            return self._placement.accept(key, header, now)
        return None

    def _reset(self, key: PublicKey, packet: bytes, destination: bytes) -> None:
        """Tell the sender of a packet for a connection that we do not know, perhaps of before a restart, to give it up.

        Source: RFC 9000, section 10.3.
        """
        if not packet or packet[0] & LONG:
            self._counters["malformed packets"] += 1
            return
        self._counters["packets of unknown connections"] += 1
        noise = self._random.getrandbits(_NOISE_BITS)
        answer = stateless_reset(len(packet), noise, self._settings.reset_token(destination))
        if answer is not None:
            self._answer(key, answer)

    def _negotiate(self, key: PublicKey, header: LongHeader) -> None:
        if header.version == 0 or max(len(header.source), len(header.destination)) > MAX_ID_LENGTH:
            self._counters["malformed packets"] += 1
            return
        self._counters["packets of unknown versions"] += 1
        self._answer(key, version_negotiation(header))

    def _answer(self, key: PublicKey, packet: bytes) -> None:
        if self._table.strays.answer(key, packet):
            self._table.mark(key)
        else:
            self._counters["answers withheld"] += 1
