"""The parts of QUIC packets that can be read without keys (RFC 8999, RFC 9000, section 17.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

from pinecone_transport.session.quic.settings import ID_LENGTH, VERSION_1

LONG: Final = 0x80
FIXED: Final = 0x40
MAX_ID_LENGTH: Final = 20
MIN_INITIAL: Final = 1200
"""Bytes that a packet has at least when it begins a connection (RFC 9000, section 14.1)."""
MIN_FIRST_ID: Final = 8
"""Bytes of the id that a dialler makes up for the far end, at least (RFC 9000, section 7.2)."""
RESET_LENGTH: Final = 42
"""Bytes of a reset at most: like any short packet, and shorter than what it answers (RFC 9000, section 10.3)."""

_INITIAL: Final = 0
_TOKEN_LENGTH: Final = 16


class LongHeader(NamedTuple):
    """What all versions have in common, and the type as version 1 has it."""

    type: int
    version: int
    destination: bytes
    source: bytes

    @property
    def is_initial(self) -> bool:
        """Whether it is the kind of packet that begins a connection."""
        return self.version == VERSION_1 and self.type == _INITIAL


def destination_of(packet: bytes) -> bytes:
    """Return the connection id that a packet is for; what is too short for one gives a short one."""
    if packet and packet[0] & LONG:
        return packet[6 : 6 + packet[5]] if len(packet) > 5 else b""
    return packet[1 : 1 + ID_LENGTH]


def read_long_header(packet: bytes) -> LongHeader | None:
    """Return the header, or None if it is none.

    Source: RFC 8999, section 5.1.
    """
    if len(packet) < 7 or not packet[0] & LONG:
        return None
    destination = packet[6 : 6 + packet[5]]
    at = 6 + packet[5]
    if len(packet) <= at:
        return None
    source = packet[at + 1 : at + 1 + packet[at]]
    if len(source) < packet[at]:
        return None
    return LongHeader(packet[0] >> 4 & 3, int.from_bytes(packet[1:5]), destination, source)


def version_negotiation(header: LongHeader) -> bytes:
    """Return the answer to a packet of a version that we do not speak. Source: RFC 9000, section 17.2.1."""
    ids = (header.source, header.destination)
    return b"".join(
        (
            bytes((LONG | FIXED, 0, 0, 0, 0)),
            *(bytes((len(id_),)) + id_ for id_ in ids),
            VERSION_1.to_bytes(4),
        )
    )


def stateless_reset(length: int, noise: int, token: bytes) -> bytes | None:
    """Return a packet that ends the connection whose token this is; None where the answered packet was too short.

    Args:
        length: Of the packet that it answers.
        noise: A random number of 208 bits.
        token: 16 bytes.

    Source: RFC 9000, section 10.3.
    """
    size = min(length - 1, RESET_LENGTH)
    if size < 5 + _TOKEN_LENGTH:
        return None
    filling = bytearray(noise.to_bytes(RESET_LENGTH - _TOKEN_LENGTH)[: size - _TOKEN_LENGTH])
    filling[0] = FIXED | filling[0] & 0x3F
    return bytes(filling) + token
