"""The multicast group of LAN announcements, on one interface, in one address family (§9)."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast, final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorSocket
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port

from pinecone_transport.discovery.network_interfaces import Interface

IPV4_GROUP: Final = "224.0.0.114"
IPV6_GROUP: Final = "ff02::114"
GROUP_PORT: Final = 60606

_RECEIVE_BUFFER: Final = 64 * 1024
_LONGEST: Final = 512
"""Bytes of a datagram that the reference reads."""
_TURN: Final = 8 * 1024
"""Bytes that are read at once, so that a flood leaves the reactor time for other things."""

# Python has no name for it: <linux/in.h>.
_IP_MULTICAST_ALL: Final = 49

Heard = Callable[[bytes, str], None]
"""Gets each datagram and its sender's IP address, the latter without scope."""


class AnnouncementPort(Protocol):
    """Where announcements are sent and heard.

    Attributes:
        closed: Whether it is, by itself or by `close`.
    """

    closed: bool

    def send(self, announcement: bytes) -> None:
        """Send to the group.

        Raises:
            OSError: It cannot be sent now.
        """

    def close(self) -> Deferred[Any]:
        """Listen no more; the result fires when that is done."""


OpenPort = Callable[[Interface, socket.AddressFamily, Heard], AnnouncementPort]
"""Opens a port; raises OSError if it cannot be had."""


@final
class GroupPort(DatagramProtocol):
    """An `AnnouncementPort` over a real socket."""

    noisy = False

    def __init__(self, group: str, heard: Heard) -> None:
        self.closed = False
        self._group = group
        self._heard = heard

    def send(self, announcement: bytes) -> None:
        """Send to the group."""
        cast(Port, self.transport).write(announcement, (self._group, GROUP_PORT))

    def close(self) -> Deferred[Any]:
        """Listen no more."""
        self.closed = True
        if self.transport is None:  # the system closed the socket, and Twisted has forgotten it
            return succeed(None)
        return cast(Port, self.transport).stopListening() or succeed(None)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand up."""
        if not self.closed:
            self._heard(datagram, addr[0])

    def stopProtocol(self) -> None:
        """The socket is gone."""
        self.closed = True


def open_group_port(
    reactor: IReactorSocket, interface: Interface, family: socket.AddressFamily, heard: Heard
) -> GroupPort:
    """Join the group on this interface alone.

    Raises:
        OSError: The system does not let us.
    """
    with _group_socket(interface, family) as opened:
        protocol = GroupPort(IPV4_GROUP if family == socket.AF_INET else IPV6_GROUP, heard)
        port = reactor.adoptDatagramPort(opened.fileno(), family, protocol, _LONGEST)
        cast(Port, port).maxThroughput = _TURN
        return protocol


def _group_socket(interface: Interface, family: socket.AddressFamily) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        # Several nodes on one machine; Go's set only the latter.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if sys.platform == "linux":
            # Without it each socket hears what comes in by any interface. Old kernels want a privilege for it, and are
            # kept apart by what `_join_ipv4` and the scope in `_join_ipv6` do.
            with suppress(PermissionError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode())
        if family == socket.AF_INET:
            _join_ipv4(opened, interface)
        else:
            _join_ipv6(opened, interface)
    except OSError:
        opened.close()
        raise
    return opened


# Both bind to the group: what is sent to one of our own addresses, from wherever, is no announcement.


def _join_ipv4(opened: socket.socket, interface: Interface) -> None:
    membership = struct.pack("=4s4si", socket.inet_aton(IPV4_GROUP), bytes(4), interface.index)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    if sys.platform == "linux":
        opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    opened.bind((IPV4_GROUP, GROUP_PORT))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _join_ipv6(opened: socket.socket, interface: Interface) -> None:
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    opened.bind((IPV6_GROUP, GROUP_PORT, 0, interface.index))
    membership = socket.inet_pton(socket.AF_INET6, IPV6_GROUP) + struct.pack("=I", interface.index)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
