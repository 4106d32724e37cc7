"""Coordinates: the port numbers from the root down to a node; the root has none (§1, §4)."""

from __future__ import annotations

from typing import TypeAlias

from pinecone_transport.errors import FrameError, LocalProtocolError
from pinecone_transport.wire.varu64 import decode_varu64, encode_varu64

Coordinates: TypeAlias = tuple[int, ...]
"""Port numbers from the root on, one per hop."""


def encode_coordinates(coordinates: Coordinates) -> bytes:
    """Return ``u16`` big-endian byte length and the ports as ``varu64``.

    Raises:
        LocalProtocolError: They take more than 65,535 bytes.

    Source: §1.
    """
    if not coordinates or max(coordinates) < 128:
        body = bytes(coordinates)  # the usual case: one byte a hop
    else:
        body = b"".join(map(encode_varu64, coordinates))
    if len(body) > 0xFFFF:
        raise LocalProtocolError(f"coordinates of {len(coordinates)} hops do not fit a frame")
    return len(body).to_bytes(2, "big") + body


def decode_coordinates(data: bytes, start: int, end: int) -> tuple[Coordinates, int]:
    """Read coordinates from ``data[start:end]``; return them and the offset of what follows them.

    Raises:
        FrameError: The length is not all there, or says more than there is.

    Source: §1.
    """
    position = start + 2
    if position > end:
        raise FrameError("coordinates have no length", "§1")
    stop = position + (data[start] << 8 | data[start + 1])
    if stop > end:
        raise FrameError("coordinates run over", "§1")
    body = data[position:stop]
    if body.isascii():
        return tuple(body), stop  # the usual case: one byte a hop
    ports = []
    while position < stop:
        port, position = decode_varu64(data, position, stop)
        ports.append(port)
    return tuple(ports), stop


def common_prefix(a: Coordinates, b: Coordinates) -> int:
    """Return how many hops from the root on two coordinates share."""
    count = 0
    for ours, theirs in zip(a, b, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def distance(a: Coordinates, b: Coordinates) -> int:
    """Return how many links of the tree lie between two nodes. Source: §4."""
    return len(a) + len(b) - 2 * common_prefix(a, b)
