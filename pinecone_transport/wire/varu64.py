"""``varu64``: base 128, most significant group first; every byte but the last has bit 7 set (§1)."""

from __future__ import annotations

from typing import Final

from pinecone_transport.errors import LocalProtocolError

MAX_VARU64: Final = 0xFFFF_FFFF_FFFF_FFFF
_SHORT: Final = tuple(bytes((value,)) for value in range(128))


def encode_varu64(value: int) -> bytes:
    """Return the shortest form of the value, 1 to 10 bytes.

    Raises:
        LocalProtocolError: The value does not fit 64 bits.

    Source: §1.
    """
    if 0 <= value < 128:
        return _SHORT[value]
    if not 0 <= value <= MAX_VARU64:
        raise LocalProtocolError(f"{value} does not fit 64 bits")
    groups = bytearray((value & 0x7F,))
    value >>= 7
    while value:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.reverse()
    return bytes(groups)


def decode_varu64(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Read one number from ``data[start:end]``; return it and the offset of what follows it.

    Nothing is refused, as in the reference: reading stops after the first byte without bit 7 or at ``end``, leading
    zero groups count for nothing, and the low 64 bits are kept. An empty range reads as 0. Source: §1.
    """
    value = 0
    while start < end:
        byte = data[start]
        start += 1
        value = (value << 7 | byte & 0x7F) & MAX_VARU64
        if byte < 0x80:
            break
    return value, start
