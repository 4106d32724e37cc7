"""A local network without sockets: announcements between sources, and dials that a test connects by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection

from pinecone_transport.discovery.network_interfaces import Interface
from pinecone_transport.links import Link, StreamLink
from pinecone_transport.wire import PeerType


def interface(name: str, *addresses: str, index: int = 2, multicast: bool = True) -> Interface:
    return Interface(name=name, index=index, addresses=tuple(map(ip_interface, addresses)), multicast=multicast)


class Reactor(MemoryReactorClock):
    """Gives every port that the system is to choose the same number."""

    chosen_port = 40_001

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        listening = super().listenTCP(port or self.chosen_port, factory, backlog, "")
        return listening

    def dialled(self) -> list[tuple[str, int]]:
        return [(client[0], client[1]) for client in self.tcpClients]

    def connect(self, number: int) -> StringTransportWithDisconnection:
        """Let a dial succeed; return its transport."""
        factory = self.tcpClients[number][2]
        return connect(factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)))


def connect(protocol: Any) -> StringTransportWithDisconnection:
    transport = StringTransportWithDisconnection()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    return transport


class Owner:
    """Gets the links."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.lost: list[Link] = []

    def link(self, way: str) -> Link:
        """Return a link that came in by another source."""
        return StreamLink(self, peer_type=PeerType.MULTICAST, way=way, address="192.0.2.7:5000", outbound=False)

    def link_made(self, link: Link) -> None:
        self.links.append(link)

    def link_data(self, link: Link, data: bytes) -> None:
        pass

    def link_writable(self, link: Link) -> None:
        pass

    def link_lost(self, link: Link, reason: object) -> None:
        self.lost.append(link)


class Port:
    """An `AnnouncementPort` that a test speaks into."""

    def __init__(self, name: str, family: socket.AddressFamily, heard: Callable[[bytes, str], None]) -> None:
        self.place = (name, family)
        self.hear = heard
        self.sent: list[bytes] = []
        self.closed = False
        self.error: OSError | None = None

    def send(self, announcement: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(announcement)

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)
