"""L2CAP channels of Bluetooth LE over the kernel's sockets, in Twisted's reactor.

Python knows no address type for LE before 3.14, and some builds know nothing of Bluetooth at all; so addresses are made
here, go to the kernel by ctypes, and constants are numbers: <bluetooth/bluetooth.h>, <bluetooth/l2cap.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, final

import attrs
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    ITransport,
    IWriteDescriptor,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

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
_BACKLOG: Final = 8
_READ: Final = 64 * 1024
_SEND_BUFFER: Final = 16 * 1024
"""Bytes that wait in the kernel; a slow radio needs a third of a second for them."""
_WRITE_BUFFER: Final = 4096
"""Bytes that wait here when the producer is paused."""


class L2capReactor(IReactorFDSet, IReactorTime):
    """What a channel needs of a reactor."""


@implementer(IAddress)
@attrs.frozen
class DeviceAddress:
    """A device's address, such as ``C0:11:22:33:44:55``."""

    address: str


@final
@implementer(ITransport)
class L2capTransport(FileDescriptor):
    """A connected socket that keeps the boundaries of what is sent, as a transport of bytes.

    Args:
        connected: The socket; it is ours from now on.
        send_mtu: Bytes that the far end takes at once.
        host: Our own address.
        peer: The far end's.
        reactor: For the socket.
    """

    bufferSize = _WRITE_BUFFER

    def __init__(self, connected: socket.socket, send_mtu: int, *, host: str, peer: str, reactor: L2capReactor) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._socket = connected
        self._socket.setblocking(False)
        self._send_mtu = send_mtu
        self._host = host
        self._peer = peer
        self._protocol: Protocol | None = None

    def connect(self, protocol: Protocol) -> None:
        """Begin."""
        self._protocol = protocol
        self.connected = 1
        protocol.makeConnection(self)
        self._reactor.addReader(self)

    def fileno(self) -> int:
        """Return the socket's number, -1 once it is closed."""
        return self._socket.fileno()

    def doRead(self) -> BaseException | None:
        """Read one packet."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return None
        except OSError as error:
            return ConnectionLost(str(error))
        if not data:
            return ConnectionDone()
        if self._protocol is not None:
            self._protocol.dataReceived(data)
        return None

    def writeSomeData(self, data: bytes) -> int | BaseException:
        """Send one packet, as long as the far end takes it."""
        try:
            return self._socket.send(data[: self._send_mtu])
        except BlockingIOError:
            return 0
        except OSError as error:
            return ConnectionLost(str(error))

    def abortConnection(self) -> None:
        """Close at once."""
        if self.connected and not self.disconnected:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """Close, and tell the protocol."""
        if self.disconnected:
            return
        FileDescriptor.connectionLost(self, reason)
        self._socket.close()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)

    def getPeer(self) -> IAddress:
        """Return the far end's address."""
        return DeviceAddress(self._peer)

    def getHost(self) -> IAddress:
        """Return our own address."""
        return DeviceAddress(self._host)


@final
@implementer(IReadDescriptor)
class L2capPort:
    """Listens for channels on an adapter.

    Args:
        host: The adapter's address.
        accept: Called with the address of who has opened a channel; returns what is connected with it.
        reactor: For the socket.

    Attributes:
        psm: That the kernel chose.

    Raises:
        OSError: The kernel does not let us.
    """

    def __init__(self, host: str, accept: Callable[[str], Protocol], reactor: L2capReactor) -> None:
        self._reactor = reactor
        self._host = host
        self._accept = accept
        self._socket = _le_socket(host)
        try:
            self._socket.listen(_BACKLOG)
            self.psm: Final = decode_address(_call_with_address("getsockname", self._socket.fileno())[1])[1]
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the socket's number, -1 once it is closed."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Accept a channel."""
        try:
            number, raw = _call_with_address("accept", self._socket.fileno())
        except OSError:  # it has gone again
            return
        accepted = socket.socket(_AF_BLUETOOTH, socket.SOCK_SEQPACKET, _BTPROTO_L2CAP, fileno=number)
        peer = decode_address(raw)[0]
        _transport(accepted, self._host, peer, self._reactor).connect(self._accept(peer))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found the socket broken."""
        self.close()

    def logPrefix(self) -> str:
        """Return what Twisted's log shows."""
        return "L2CAP port"

    def close(self) -> None:
        """Listen no more."""
        if self.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()


@final
@implementer(IWriteDescriptor)
class L2capConnector:
    """Opens a channel.

    Args:
        host: Our adapter's address.
        protocol: Is connected with it.
        reactor: For the socket.

    Attributes:
        done: Fires with None once it is open, or with a ConnectError; cancelling gives up.
    """

    def __init__(self, host: str, protocol: Protocol, reactor: L2capReactor) -> None:
        self._reactor = reactor
        self.done: Final[Deferred[None]] = Deferred(lambda _: self._close())
        self._host = host
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._peer = ""

    def connect(self, peer: str, address_type: int, psm: int) -> Deferred[None]:
        """Begin; the result is `done`."""
        try:
            self._socket = opened = _le_socket(self._host)
            self._peer = peer
            raw = encode_address(peer, address_type, psm)
            if _libc.connect(opened.fileno(), raw, len(raw)) and ctypes.get_errno() != errno.EINPROGRESS:
                raise _error()
        except OSError as error:
            self._fail(error)
        else:
            self._reactor.addWriter(self)
        return self.done

    def fileno(self) -> int:
        """Return the socket's number, -1 once it is closed or handed on."""
        return self._socket.fileno() if self._socket is not None else -1

    def doWrite(self) -> None:
        """It is open, or will never be."""
        opened = self._socket
        if opened is None:
            return
        number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(OSError(number, os.strerror(number)))
            return
        self._reactor.removeWriter(self)
        self._socket = None
        _transport(opened, self._host, self._peer, self._reactor).connect(self._protocol)
        self.done.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found the socket broken."""
        if self._socket is not None:
            self._fail(OSError(reason.getErrorMessage()))

    def logPrefix(self) -> str:
        """Return what Twisted's log shows."""
        return "L2CAP connector"

    def _fail(self, error: OSError) -> None:
        self._close()
        self.done.errback(ConnectError(error.errno, error.strerror or str(error)))

    def _close(self) -> None:
        opened = self._socket
        if opened is not None:
            self._reactor.removeWriter(self)
            self._socket = None
            opened.close()


def _transport(connected: socket.socket, host: str, peer: str, reactor: L2capReactor) -> L2capTransport:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    (send_mtu,) = struct.unpack("=H", connected.getsockopt(_SOL_BLUETOOTH, _BT_SNDMTU, 2))
    return L2capTransport(connected, send_mtu, host=host, peer=peer, reactor=reactor)


def _le_socket(host: str) -> socket.socket:
    """Return a socket bound to an adapter."""
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


def _call_with_address(name: str, number: int) -> tuple[int, bytes]:
    """Call ``accept`` or ``getsockname``; return its result and the address."""
    raw = ctypes.create_string_buffer(_SOCKADDR_L2.size)
    length = ctypes.c_uint(len(raw))
    result = getattr(_libc, name)(number, raw, ctypes.byref(length))
    if result < 0:
        raise _error()
    return result, raw.raw


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


_libc: Final = ctypes.CDLL(None, use_errno=True)
