"""This project's extensions of µTP: what the ends of a connection tell each other in its SYN, and fragments (§11)."""

from __future__ import annotations

import struct
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

_VERSION: Final = 1
_OPTIONS: Final = struct.Struct(">BBH")
_FRAGMENT: Final = struct.Struct(">IB")
_LAST: Final = 1

FRAGMENT_OVERHEAD: Final = 2 + _FRAGMENT.size
"""Bytes by which the extension makes a packet longer."""


class Options(NamedTuple):
    """What one end says of itself.

    Attributes:
        flags: `EARLY`, `FRAGMENTS`.
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
