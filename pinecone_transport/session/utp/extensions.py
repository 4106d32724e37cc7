"""This project's extensions of µTP: what the ends of a connection tell each other in its SYN, and fragments (§11)."""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from pinecone_transport.session.utp.packet import UtpPacket

OPTIONS: Final = 0x70
"""On a SYN, and on the ST_STATE that answers it."""
FRAGMENT: Final = 0x71
"""On a part of a packet that had been sent whole."""

EARLY: Final = 1
"""On a SYN: its payload is the beginning of the stream. On the answer: that was taken."""
FRAGMENTS: Final = 2
"""The sender understands fragments."""
COMPRESSED: Final = 4
"""On a SYN: its payload is compressed."""

DICTIONARY: Final = bytes.fromhex(
    "16030105a20100059e030300061302130313010100054f000a0018001611ec11eb11ee001d0017001e0018001900290100010100"
    "16000000170000000d002c002a09050906090404030503060308070808081a081b081c0809080a080b0804080508060401050106"
    "010708002b0003020304002d00020101003304ea04e811ec04c0001d0020"
)
"""What the beginning of a stream is compressed with: what a ClientHello has besides random bytes and keys (§11)."""

_VERSION: Final = 1
_OPTIONS: Final = struct.Struct(">BBH")
_FRAGMENT: Final = struct.Struct(">IB")
_LAST: Final = 1

OPTIONS_LENGTH: Final = _OPTIONS.size
"""Bytes of the extension's content."""
FRAGMENT_OVERHEAD: Final = 2 + _FRAGMENT.size
"""Bytes by which the extension makes a packet longer."""


class Options(NamedTuple):
    """What one end says of itself.

    Attributes:
        flags: `EARLY`, `FRAGMENTS`, `COMPRESSED`.
        largest: The largest packet that it receives, bytes, header included.
    """

    flags: int
    largest: int


class Fragment(NamedTuple):
    """Where a fragment belongs.

    Attributes:
        offset: In the packet's payload, bytes.
        last: Whether the packet ends with it.
    """

    offset: int
    last: bool


def encode_options(options: Options) -> bytes:
    """Return the extension's content. Source: §11."""
    return _OPTIONS.pack(_VERSION, options.flags, options.largest)


def options_of(packet: UtpPacket) -> Options | None:
    """Return what the sender says of itself; None if it does not, or in a version that we do not know. Source: §11."""
    content = packet.extension(OPTIONS)
    if content is None or len(content) != _OPTIONS.size:
        return None
    version, flags, largest = _OPTIONS.unpack(content)
    return Options(flags, largest) if version == _VERSION else None


def compress(data: bytes) -> bytes:
    """Return the beginning of a stream as deflate has it, without a header. Source: §11."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=DICTIONARY)
    return compressor.compress(data) + compressor.flush()


def expand(data: bytes, limit: int) -> bytes | None:
    """Return what was compressed, at most ``limit`` bytes; None if it is longer, or not compressed so. Source: §11."""
    expander = zlib.decompressobj(-zlib.MAX_WBITS, DICTIONARY)
    try:
        expanded = expander.decompress(data, limit)
    except zlib.error:
        return None
    return expanded if expander.eof and not expander.unused_data else None


def encode_fragment(fragment: Fragment) -> bytes:
    """Return the extension's content. Source: §11."""
    return _FRAGMENT.pack(fragment.offset, _LAST if fragment.last else 0)


def fragment_of(packet: UtpPacket) -> Fragment | None:
    """Return where the packet's payload belongs if it is a fragment, else None. Source: §11."""
    content = packet.extension(FRAGMENT)
    if content is None or len(content) != _FRAGMENT.size:
        return None
    offset, flags = _FRAGMENT.unpack(content)
    return Fragment(offset, bool(flags & _LAST))
