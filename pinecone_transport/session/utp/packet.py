"""The packets of µTP: a header of 20 bytes, extensions, a payload (BEP 29, §8)."""

from __future__ import annotations

import struct
from typing import Final, final

from pinecone_transport.errors import UtpError

ST_DATA: Final = 0
ST_FIN: Final = 1
ST_STATE: Final = 2
ST_RESET: Final = 3
ST_SYN: Final = 4

VERSION: Final = 1
HEADER_LENGTH: Final = 20
SELECTIVE_ACK: Final = 1
"""The type of the only extension of BEP 29 that is in use."""
MAX_SELECTIVE_ACK: Final = 32
"""Bytes of a selective acknowledgement: 256 packets."""
MAX_PAYLOAD: Final = 8138
"""What a Go node puts into a packet at most, so what we do: 8,192 less the header and the longest acknowledgement."""

HEADER: Final = struct.Struct(">BBHIIIHH")
"""Type and version, first extension, connection id, timestamp, its difference, window, ``seq_nr``, ``ack_nr``."""
BEGINNING: Final = struct.Struct(">BBHIII")
NUMBERS: Final = struct.Struct(">HH")
"""The two halves of a header: what packets that leave together have in common, and ``seq_nr`` and ``ack_nr``."""
KIND_AND_SEQUENCE: Final = struct.Struct(">I12xH")
"""Of a header: type and version, first extension and connection id as one number; ``seq_nr``."""


@final
class UtpPacket:
    """One packet, decoded.

    Attributes:
        type: `ST_DATA`, `ST_FIN`, `ST_STATE`, `ST_RESET` or `ST_SYN`.
        connection_id: 16 bits.
        timestamp: The sender's clock when it sent this, microseconds modulo 2^32.
        reply_micro: How old, by its clock, the last packet from us was when it came, microseconds modulo 2^32.
        wnd_size: Bytes that the sender takes.
        seq_nr: 16 bits.
        ack_nr: 16 bits.
        extensions: Type and content of each, in order.
        payload: What is left.
    """

    __slots__ = (
        "ack_nr",
        "connection_id",
        "extensions",
        "payload",
        "reply_micro",
        "seq_nr",
        "timestamp",
        "type",
        "wnd_size",
    )

    def __init__(  # noqa: PLR0917  # as on the wire; made for every packet, and keywords take time
        self,
        type: int,
        connection_id: int,
        timestamp: int,
        reply_micro: int,
        wnd_size: int,
        seq_nr: int,
        ack_nr: int,
        extensions: tuple[tuple[int, bytes], ...] = (),
        payload: bytes = b"",
    ) -> None:
        self.type = type
        self.connection_id = connection_id
        self.timestamp = timestamp
        self.reply_micro = reply_micro
        self.wnd_size = wnd_size
        self.seq_nr = seq_nr
        self.ack_nr = ack_nr
        self.extensions = extensions
        self.payload = payload

    @property
    def selective_ack(self) -> bytes:
        """The selective acknowledgement, least significant bit of the first byte first; empty if there is none."""
        content = self.extension(SELECTIVE_ACK)
        return content[:MAX_SELECTIVE_ACK] if content is not None else b""

    def extension(self, type: int) -> bytes | None:
        """Return the content of the first extension of this type, or None."""
        for kind, content in self.extensions:
            if kind == type:
                return content
        return None

    def __repr__(self) -> str:
        return (
            f"<UtpPacket type={self.type} id={self.connection_id} seq_nr={self.seq_nr} ack_nr={self.ack_nr} "
            f"payload={len(self.payload)} bytes>"
        )


def decode_packet(data: bytes) -> UtpPacket:
    """Read a packet; what follows header and extensions is payload.

    Raises:
        UtpError: It is shorter than a header, of another version or an unknown type, or an extension is cut off.

    Source: BEP 29, header format.
    """
    if len(data) < HEADER_LENGTH:
        raise UtpError("packet shorter than a header")
    first, extension, connection_id, timestamp, reply_micro, wnd_size, seq_nr, ack_nr = HEADER.unpack_from(data)
    if first & 0x0F != VERSION or first >> 4 > ST_SYN:
        raise UtpError("packet of another version or an unknown type")
    extensions: tuple[tuple[int, bytes], ...] = ()
    position = HEADER_LENGTH
    if extension:
        extensions, position = _decode_extensions(data, extension)
    return UtpPacket(
        first >> 4, connection_id, timestamp, reply_micro, wnd_size, seq_nr, ack_nr, extensions, data[position:]
    )


def _decode_extensions(data: bytes, kind: int) -> tuple[tuple[tuple[int, bytes], ...], int]:
    """Return the chain of extensions, of which the first is of type ``kind``, and where the payload begins."""
    extensions = []
    position = HEADER_LENGTH
    end = len(data)
    while kind:
        start = position + 2
        if start > end:
            raise UtpError("packet cut off in an extension")
        stop = start + data[position + 1]
        if stop > end:
            raise UtpError("packet cut off in an extension")
        extensions.append((kind, data[start:stop]))
        kind = data[position]
        position = stop
    return tuple(extensions), position


def encode_packet(packet: UtpPacket) -> bytes:
    """Return the bytes of a packet.

    Source: BEP 29, header format.
    """
    kinds = [kind for kind, _ in packet.extensions]
    header = HEADER.pack(
        packet.type << 4 | VERSION,
        kinds[0] if kinds else 0,
        packet.connection_id,
        packet.timestamp,
        packet.reply_micro,
        packet.wnd_size,
        packet.seq_nr,
        packet.ack_nr,
    )
    parts = [header]
    for following, (_, content) in zip([*kinds[1:], 0], packet.extensions, strict=False):
        parts += (bytes((following, len(content))), content)
    parts.append(packet.payload)
    return b"".join(parts)


def encode_reset(connection_id: int, seq_nr: int, ack_nr: int) -> bytes:
    """Return an ST_RESET; it has neither a time nor a window."""
    return HEADER.pack(ST_RESET << 4 | VERSION, 0, connection_id, 0, 0, 0, seq_nr, ack_nr)


def sequence_less(a: int, b: int) -> bool:
    """Tell whether sequence number ``a`` comes before ``b``, both 16 bits; half the circle apart, each does.

    Source: §8.
    """
    return a != b and (b - a) & 0xFFFF <= 0x8000
