"""The kernel's sockets for L2CAP channels of Bluetooth LE.

Python knows no address type for LE before 3.14, and some builds know nothing of Bluetooth at all; so addresses are made
here, go to the kernel by ctypes, and constants are numbers: <bluetooth/bluetooth.h>, <bluetooth/l2cap.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Final

LE_PUBLIC: Final = 1
LE_RANDOM: Final = 2
"""Address types."""
MTU: Final = 4096
"""Bytes that we take at once."""

_AF_BLUETOOTH: Final = 31
_BTPROTO_L2CAP: Final = 0
_SOL_BLUETOOTH: Final = 274
_BT_SNDMTU: Final = 12
_BT_RCVMTU: Final = 13
_SOCKADDR_L2: Final = struct.Struct("=H2s6s2sBx")


def le_socket(host: str) -> socket.socket:
    """Return a socket that does not block, bound to the adapter with this address.

    Raises:
        OSError: The kernel does not let us.
    """
    opened = socket.socket(_AF_BLUETOOTH, socket.SOCK_SEQPACKET, _BTPROTO_L2CAP)
    try:
        opened.setblocking(False)
        raw = encode_address(host, LE_PUBLIC, 0)
        if _libc.bind(opened.fileno(), raw, len(raw)):
            raise _error()
        # It counts only before the socket listens or connects, and only once it is bound as one for LE.
        opened.setsockopt(_SOL_BLUETOOTH, _BT_RCVMTU, struct.pack("=H", MTU))
    except OSError:
        opened.close()
        raise
    return opened


def connect(opened: socket.socket, peer: str, address_type: int, psm: int) -> None:
    """Begin to connect; the socket is writable when that has ended.

    Raises:
        OSError: The kernel does not let us.
    """
    raw = encode_address(peer, address_type, psm)
    if _libc.connect(opened.fileno(), raw, len(raw)) and ctypes.get_errno() != errno.EINPROGRESS:
        raise _error()


def accept(listening: socket.socket) -> tuple[socket.socket, str]:
    """Return the socket of a channel that was opened to us, and the far end's address.

    Raises:
        OSError: There is none.
    """
    number, raw = _call_with_address("accept", listening)
    accepted = socket.socket(_AF_BLUETOOTH, socket.SOCK_SEQPACKET, _BTPROTO_L2CAP, fileno=number)
    return accepted, decode_address(raw)[0]


def psm_of(listening: socket.socket) -> int:
    """Return the PSM that the kernel chose for a socket that listens."""
    return decode_address(_call_with_address("getsockname", listening)[1])[1]


def send_mtu_of(connected: socket.socket) -> int:
    """Return how many bytes the far end takes at once."""
    (send_mtu,) = struct.unpack("=H", connected.getsockopt(_SOL_BLUETOOTH, _BT_SNDMTU, 2))
    return int(send_mtu)


def encode_address(address: str, address_type: int, psm: int) -> bytes:
    """Return a ``struct sockaddr_l2``, 14 bytes.

    Args:
        address: Such as ``C0:11:22:33:44:55``.
        address_type: `LE_PUBLIC` or `LE_RANDOM`.
        psm: 0 for any.
    """
    device = bytes.fromhex(address.replace(":", ""))[::-1]
    return _SOCKADDR_L2.pack(_AF_BLUETOOTH, psm.to_bytes(2, "little"), device, bytes(2), address_type)


def decode_address(raw: bytes) -> tuple[str, int]:
    """Return address and PSM of a ``struct sockaddr_l2``."""
    _, psm, device, _, _ = _SOCKADDR_L2.unpack(raw)
    return device[::-1].hex(":").upper(), int.from_bytes(psm, "little")


def _call_with_address(name: str, opened: socket.socket) -> tuple[int, bytes]:
    """Call ``accept`` or ``getsockname``; return its result and the address."""
    raw = ctypes.create_string_buffer(_SOCKADDR_L2.size)
    length = ctypes.c_uint(len(raw))
    result = getattr(_libc, name)(opened.fileno(), raw, ctypes.byref(length))
    if result < 0:
        raise _error()
    return result, raw.raw


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


_libc: Final = ctypes.CDLL(None, use_errno=True)
