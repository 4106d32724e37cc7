"""A reading of frames of its own, stricter than any node's: what it objects to might harm or puzzle a Go node (§3)."""

from __future__ import annotations

HEADER_LENGTH = 10
KEY_LENGTH = 32
KEEPALIVE, TREE_ANNOUNCEMENT, BOOTSTRAP, TRAFFIC, WAKEUP_BROADCAST = range(5)


class _FaultError(Exception):
    """What is wrong with a frame."""


class _Fields:
    """The fields of a frame, in order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, length: int) -> bytes:
        taken = self.data[self.position : self.position + length]
        if len(taken) < length:
            raise _FaultError(f"cut off at {self.position}")
        self.position += length
        return taken

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def varu64(self) -> None:
        """Read a number in its shortest form."""
        first = self.take(1)[0]
        if first == 0x80:
            raise _FaultError("number with a leading group of zero")
        length = 1
        last = first
        while last & 0x80:
            last = self.take(1)[0]
            length += 1
        if length > 10 or (length == 10 and first > 0x81):
            raise _FaultError("number of more than 64 bits")

    def coordinates(self) -> int:
        """Return how many bytes of ports there are."""
        length = self.u16()
        ports = _Fields(self.take(length))
        while ports.position < length:
            ports.varu64()
        return length

    def watermark(self) -> None:
        self.take(KEY_LENGTH)
        self.varu64()


def fault_in_frame(frame: bytes) -> str | None:
    """Return what is wrong with the frame, or None.

    Right is: the magic, a known type, a length field that counts all bytes there are, numbers in their shortest form,
    and a payload of just as many bytes as it says behind the other fields.
    """
    fields = _Fields(frame)
    try:
        _read(fields)
    except _FaultError as fault:
        return str(fault)
    return None


def _read(fields: _Fields) -> None:
    magic, kind = fields.take(4), fields.take(4)[1]
    length = fields.u16()
    if magic != b"pine":
        raise _FaultError(f"magic {magic.hex()}")
    if length < HEADER_LENGTH or length != len(fields.data):
        raise _FaultError(f"length field {length} in {len(fields.data)} bytes")
    if kind > WAKEUP_BROADCAST:
        raise _FaultError(f"type {kind}")
    payload_length = fields.u16() if kind != KEEPALIVE else 0
    if kind == TRAFFIC:
        by_key = not fields.coordinates()
        fields.coordinates()
        fields.take(2 * KEY_LENGTH)
        if by_key:
            fields.watermark()
    elif kind == BOOTSTRAP:
        fields.take(KEY_LENGTH)
        fields.watermark()
    elif kind == WAKEUP_BROADCAST:
        fields.take(KEY_LENGTH)
    there = len(fields.data) - fields.position
    if there != payload_length:
        raise _FaultError(f"payload of {there} bytes that says {payload_length}, in a frame of type {kind}")
