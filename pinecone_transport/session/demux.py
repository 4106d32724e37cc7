"""Which kind of session a packet belongs to, where both are spoken with one key.

A µTP packet begins with 0x01, 0x11, 0x21, 0x31 or 0x41 (type and version); a QUIC one has the bit 0x40. So only 0x41,
a SYN, may be either: a QUIC packet with a short header begins with it in one case of 32.
"""

from __future__ import annotations

from typing import Final

from pinecone_transport.errors import UtpError
from pinecone_transport.session.utp.extensions import EARLY, options_of
from pinecone_transport.session.utp.packet import ST_SYN, decode_packet

_QUIC_BIT: Final = 0x40
_SYN: Final = 0x41


def may_be_either(packet: bytes | memoryview) -> bool:
    """Tell whether the first byte leaves it open. Then connections that are known decide, before `is_syn`."""
    return bool(packet) and packet[0] == _SYN


def looks_like_quic(packet: bytes | memoryview) -> bool:
    """Tell whether the first byte is one of QUIC's."""
    return bool(packet) and bool(packet[0] & _QUIC_BIT)


def is_syn(packet: bytes) -> bool:
    """Tell whether it is a well-formed SYN, which has no payload unless it says so: QUIC packets are longer than that.

    Source: BEP 29, connection setup; §11.
    """
    try:
        decoded = decode_packet(packet)
    except UtpError:
        return False
    if decoded.type != ST_SYN or not decoded.payload:
        return decoded.type == ST_SYN
    options = options_of(decoded)
    return options is not None and bool(options.flags & EARLY)
