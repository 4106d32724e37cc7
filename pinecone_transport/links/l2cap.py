"""L2CAP channels of Bluetooth LE over the kernel's sockets, in Twisted's reactor."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

import attrs
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    ITransport,
    IWriteDescriptor,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.links.l2cap_socket import accept, connect, le_socket, psm_of, send_mtu_of

logger = logging.getLogger("pinecone_transport.links")

PAUSE: Final = 1.0
"""Seconds for which nobody is let in when the system has no room for another socket."""

_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BACKLOG: Final = 8
_READ: Final = 64 * 1024
_SEND_BUFFER: Final = 8 * 1024
"""Bytes that wait in the kernel; a slow radio needs a sixth of a second for them."""
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
        bound: A socket of `le_socket`; it is ours from now on.
        host: The adapter's address.
        accept: Called with the address of who has opened a channel; returns what is connected with it.
        reactor: For the socket.

    Attributes:
        psm: That the kernel chose.

    Raises:
        OSError: The kernel does not let us.
    """

    def __init__(
        self, bound: socket.socket, host: str, accept: Callable[[str], Protocol], reactor: L2capReactor
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._accept = accept
        self._socket = bound
        self._pause: IDelayedCall | None = None
        # Given up where there is no number for another socket, so that at least one can be taken and hung up on.
        self._reserve = -1
        try:
            self._reserve = os.open(os.devnull, os.O_RDONLY)
            self._socket.listen(_BACKLOG)
            self.psm: Final = psm_of(self._socket)
        except OSError:
            self._close_all()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the socket's number, -1 once it is closed."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Accept a channel."""
        try:
            accepted, peer = accept(self._socket)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._refuse(error)
            return  # else it has gone again
        try:
            transport = _transport(accepted, self._host, peer, self._reactor)
        except OSError:  # likewise
            accepted.close()
            return
        transport.connect(self._accept(peer))

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
            self._close_all()

    def _refuse(self, error: OSError) -> None:
        """Hang up on whom there is no room for, and let nobody in for a while: the reactor would ask at once again."""
        logger.warning("A Bluetooth channel is not taken: %s", error.strerror)
        self._close_reserve()
        with suppress(OSError):
            accept(self._socket)[0].close()
        with suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        self._reactor.removeReader(self)
        self._pause = self._reactor.callLater(PAUSE, self._reactor.addReader, self)

    def _close_all(self) -> None:
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._socket.close()
        self._close_reserve()

    def _close_reserve(self) -> None:
        reserve, self._reserve = self._reserve, -1
        if reserve >= 0:
            os.close(reserve)


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
            self._socket = opened = le_socket(self._host)
            self._peer = peer
            connect(opened, peer, address_type, psm)
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
        try:
            number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            transport = _transport(opened, self._host, self._peer, self._reactor)
        except OSError as error:
            self._fail(error)
            return
        self._reactor.removeWriter(self)
        self._socket = None
        transport.connect(self._protocol)
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
    return L2capTransport(connected, send_mtu_of(connected), host=host, peer=peer, reactor=reactor)
