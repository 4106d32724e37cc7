"""Frames: what a link carries after the handshake (§3)."""

from __future__ import annotations

import struct
from typing import Final, final

from pinecone_transport.errors import FrameError, LocalProtocolError
from pinecone_transport.identity import KEY_LENGTH, PublicKey
from pinecone_transport.wire.coordinates import Coordinates, decode_coordinates, encode_coordinates
from pinecone_transport.wire.varu64 import decode_varu64, encode_varu64
from pinecone_transport.wire.watermark import NO_WATERMARK, Watermark

MAGIC: Final = b"pine"
HEADER_LENGTH: Final = 10
MAX_FRAME_LENGTH: Final = 0xFFFF

KEEPALIVE: Final = 0
TREE_ANNOUNCEMENT: Final = 1
BOOTSTRAP: Final = 2
TRAFFIC: Final = 3
WAKEUP_BROADCAST: Final = 4

TRAFFIC_FIXED_LENGTH: Final = HEADER_LENGTH + 2
"""Bytes of a traffic frame's header in front of its way: coordinates, keys and watermark."""

_HEADER: Final = struct.Struct(">4sBBBBH")
_U16: Final = struct.Struct(">H")
_LEAST_TRAFFIC: Final = 2 + 2 + 2 * KEY_LENGTH


@final
class Frame:
    """One frame, decoded. Fields that a type does not have keep their defaults.

    Attributes:
        type: `KEEPALIVE`, `TREE_ANNOUNCEMENT`, `BOOTSTRAP`, `TRAFFIC`, `WAKEUP_BROADCAST`, or one that we do not know.
        version: Not looked at, and kept when forwarding; so is ``extra``.
        hop_limit: 0 to 255.
        destination: Of traffic; empty means that it is routed by key and has a watermark.
        source: Coordinates of traffic's sender.
        destination_key: Of traffic; of a bootstrap, the key of the node that it announces. 32 bytes.
        source_key: Of traffic and wakeup broadcasts. 32 bytes.
        watermark: Of bootstraps, and of traffic by key.
        payload: What the type carries.
    """

    __slots__ = (
        "destination",
        "destination_key",
        "extra",
        "hop_limit",
        "payload",
        "source",
        "source_key",
        "type",
        "version",
        "watermark",
    )

    def __init__(
        self,
        type: int,
        payload: bytes = b"",
        *,
        hop_limit: int = 0,
        destination: Coordinates = (),
        source: Coordinates = (),
        destination_key: PublicKey = b"",
        source_key: PublicKey = b"",
        watermark: Watermark = NO_WATERMARK,
        version: int = 0,
        extra: int = 0,
    ) -> None:
        self.type = type
        self.payload = payload
        self.hop_limit = hop_limit
        self.destination = destination
        self.source = source
        self.destination_key = destination_key
        self.source_key = source_key
        self.watermark = watermark
        self.version = version
        self.extra = extra

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # frames are changed on their way, so they are no keys

    def __repr__(self) -> str:
        return f"<Frame type={self.type} hop_limit={self.hop_limit} payload={len(self.payload)} bytes>"


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of a frame, header first.

    Raises:
        LocalProtocolError: It would be longer than 65,535 bytes (the length field of a longer one would wrap, and
            the link would be lost), or its type is none that we send.

    Source: §3.
    """
    payload = frame.payload
    kind = frame.type
    if kind == TRAFFIC:
        parts = [
            encode_traffic_way(
                frame.destination, frame.source, frame.destination_key, frame.source_key, frame.watermark
            )
        ]
    elif kind == BOOTSTRAP:
        parts = [frame.destination_key, frame.watermark.key, encode_varu64(frame.watermark.sequence)]
    elif kind == WAKEUP_BROADCAST:
        parts = [frame.source_key]
    elif kind == TREE_ANNOUNCEMENT:
        parts = []
    elif kind == KEEPALIVE:
        return _HEADER.pack(MAGIC, frame.version, kind, frame.extra, frame.hop_limit, HEADER_LENGTH)
    else:
        raise LocalProtocolError(f"frames of type {kind} are not ours to send")
    length = HEADER_LENGTH + 2 + sum(map(len, parts)) + len(payload)
    if length > MAX_FRAME_LENGTH:
        raise LocalProtocolError(f"a frame of {length} bytes is longer than {MAX_FRAME_LENGTH}")
    header = _HEADER.pack(MAGIC, frame.version, kind, frame.extra, frame.hop_limit, length)
    return b"".join((header, _U16.pack(len(payload)), *parts, payload))


def frame_length(data: bytes | bytearray, start: int, end: int) -> int | None:
    """Return the length of the frame that begins at ``data[start:end]``, or None while fewer than 10 bytes are there.

    Raises:
        FrameError: The magic is missing, or the length field is below 10.

    Source: §3.
    """
    if end - start < HEADER_LENGTH:
        return None
    if not data.startswith(MAGIC, start):
        raise FrameError("frame without its magic")
    length: int = data[start + 8] << 8 | data[start + 9]
    if length < HEADER_LENGTH:
        raise FrameError(f"frame with a length field of {length}")
    return length


def decode_frame(data: bytes) -> Frame:
    """Read one frame that is all there and nothing more.

    A frame of a type that we do not know comes back with its body as payload. Bytes after the body are left alone,
    except in traffic, where the lengths must add up.

    Raises:
        FrameError: Magic, length field, or a length inside do not fit.

    Source: §3.
    """
    end = len(data)
    if frame_length(data, 0, end) != end:
        raise FrameError("frame whose length field is not its length")
    _, version, kind, extra, hop_limit, _ = _HEADER.unpack_from(data)
    frame = Frame(kind, hop_limit=hop_limit, version=version, extra=extra)
    if kind == KEEPALIVE:
        return frame
    if kind > WAKEUP_BROADCAST:
        frame.payload = data[HEADER_LENGTH:]
        return frame
    position = HEADER_LENGTH + 2
    if end < position:
        raise FrameError("frame cut off in its payload length")
    payload_length: int = _U16.unpack_from(data, HEADER_LENGTH)[0]
    if kind == TRAFFIC:
        position = _decode_way(frame, data, position, end)
        if end - position != payload_length:
            raise FrameError("traffic whose payload length does not match")
    elif kind == BOOTSTRAP:
        frame.destination_key, position = _decode_key(data, position, end)
        frame.watermark, position = _decode_watermark(data, position, end)
    elif kind == WAKEUP_BROADCAST:
        frame.source_key, position = _decode_key(data, position, end)
    if end - position < payload_length:
        raise FrameError("frame cut off in its payload")
    frame.payload = data[position : position + payload_length]
    return frame


def traffic_payload_at(data: bytearray, start: int, end: int) -> int:
    """Return where the payload of the traffic frame at ``data[start:end]`` begins.

    0 where the bytes do not begin with a whole and well-formed frame of traffic.

    Source: §3.
    """
    coordinates_at = start + TRAFFIC_FIXED_LENGTH
    if end < coordinates_at + _LEAST_TRAFFIC or data[start + 5] != TRAFFIC or not data.startswith(MAGIC, start):
        return 0
    stop = start + (data[start + 8] << 8 | data[start + 9])
    source_at = coordinates_at + 2 + (data[coordinates_at] << 8 | data[coordinates_at + 1])
    if stop > end or source_at + 2 > stop:
        return 0
    position = source_at + 2 + (data[source_at] << 8 | data[source_at + 1]) + 2 * KEY_LENGTH
    if source_at == coordinates_at + 2:
        position += KEY_LENGTH
        while position < stop and data[position] & 0x80:
            position += 1
        position += 1
    return position if position + (data[start + 10] << 8 | data[start + 11]) == stop else 0


def traffic_keys(data: bytes, start: int) -> tuple[PublicKey, PublicKey]:
    """Return destination and source key of the well-formed frame of traffic at ``start``. Source: §3."""
    source_at = start + TRAFFIC_FIXED_LENGTH + 2 + (data[start + 12] << 8 | data[start + 13])
    keys_at = source_at + 2 + (data[source_at] << 8 | data[source_at + 1])
    middle = keys_at + KEY_LENGTH
    return data[keys_at:middle], data[middle : middle + KEY_LENGTH]


def encode_traffic_fixed(hop_limit: int, way_length: int, payload_length: int) -> bytes:
    """Return the first 12 bytes of a frame of traffic: what stands before its way.

    Args:
        hop_limit: 0 to 255.
        way_length: Of `encode_traffic_way`'s bytes.
        payload_length: The three parts together are at most 65,535 bytes.

    Source: §3.
    """
    length = TRAFFIC_FIXED_LENGTH + way_length + payload_length
    return _HEADER.pack(MAGIC, 0, TRAFFIC, 0, hop_limit, length) + _U16.pack(payload_length)


def encode_traffic_way(
    destination: Coordinates, source: Coordinates, key: PublicKey, source_key: PublicKey, watermark: Watermark
) -> bytes:
    """Return what a frame of traffic says of its way: its header behind the 12 bytes of the fixed part.

    Raises:
        LocalProtocolError: Coordinates take more than 65,535 bytes.

    Source: §3.
    """
    header = encode_coordinates(destination) + encode_coordinates(source) + key + source_key
    return header if destination else header + watermark.key + encode_varu64(watermark.sequence)


def decode_traffic_way(header: bytes) -> Frame:
    """Read what a frame of traffic says of its way; the frame that comes back has no payload.

    Raises:
        FrameError: It is cut off.

    Source: §3.
    """
    frame = Frame(TRAFFIC)
    if _decode_way(frame, header, 0, len(header)) != len(header):
        raise FrameError("traffic whose payload length does not match")
    return frame


def _decode_way(frame: Frame, data: bytes, position: int, end: int) -> int:
    """Read what traffic says of its way into the frame; return the offset of what follows it."""
    frame.destination, position = decode_coordinates(data, position, end)
    frame.source, position = decode_coordinates(data, position, end)
    source_at = position + KEY_LENGTH
    keys_end = source_at + KEY_LENGTH
    if keys_end > end:
        raise FrameError("frame cut off in a key")
    frame.destination_key = data[position:source_at]
    frame.source_key = data[source_at:keys_end]
    if frame.destination:
        return keys_end
    frame.watermark, position = _decode_watermark(data, keys_end, end)
    return position


def _decode_key(data: bytes, start: int, end: int) -> tuple[PublicKey, int]:
    stop = start + KEY_LENGTH
    if stop > end:
        raise FrameError("frame cut off in a key")
    return data[start:stop], stop


def _decode_watermark(data: bytes, start: int, end: int) -> tuple[Watermark, int]:
    key, position = _decode_key(data, start, end)
    sequence, position = decode_varu64(data, position, end)
    return Watermark(key, sequence), position
