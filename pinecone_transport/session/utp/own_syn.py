"""The SYN of a dial, and what of the stream it brings (BEP 29, connection setup; §11)."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.session.utp.extensions import (
    COMPRESSED,
    EARLY,
    FRAGMENTS,
    OPTIONS,
    OPTIONS_LENGTH,
    Options,
    compress,
    encode_options,
)
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.packet import HEADER_LENGTH, ST_SYN, UtpPacket, encode_packet

_LENGTH: Final = HEADER_LENGTH + 2 + OPTIONS_LENGTH
"""Bytes of a SYN besides its payload."""


@final
class OwnSyn:
    """Brings the same each time that it is sent, so that it is clear what was taken if it was.

    Args:
        connection_id: Of packets to us.
        seq_nr: Its number.
        largest: Bytes that it may have.
        limits: Bounds.

    Attributes:
        seq_nr: Its number.
        sends: How often it was sent.
        early: What it brings, before any compression.
    """

    __slots__ = ("_connection_id", "_flags", "_largest", "_limits", "_payload", "early", "sends", "seq_nr")

    def __init__(self, connection_id: int, seq_nr: int, largest: int, limits: UtpLimits) -> None:
        self._connection_id: Final = connection_id
        self._largest: Final = largest
        self._limits: Final = limits
        self._flags = FRAGMENTS
        self._payload = b""
        self.seq_nr: Final = seq_nr
        self.sends = 0
        self.early = b""

    def encode(self, beginning: bytes, now_us: int) -> bytes:
        """Return the packet; ``beginning`` is what there is of the stream, and counts the first time."""
        if not self.sends:
            self._take(beginning)
        self.sends += 1
        limits = self._limits
        options = (OPTIONS, encode_options(Options(self._flags, limits.largest_packet)))
        return encode_packet(
            UtpPacket(
                ST_SYN,
                self._connection_id,
                now_us,
                0,
                limits.receive_window,
                self.seq_nr,
                0,
                (options,),
                self._payload,
            )
        )

    def _take(self, beginning: bytes) -> None:
        """Bring all that fits, compressed where it does not else; nothing if it does not fit even so."""
        if not beginning:
            return
        payload = beginning
        flags = FRAGMENTS | EARLY
        if len(payload) > self._largest - _LENGTH:
            payload = compress(beginning)
            flags |= COMPRESSED
        if len(payload) <= self._largest - _LENGTH:
            self.early, self._payload, self._flags = beginning, payload, flags
