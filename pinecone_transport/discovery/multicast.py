"""LAN discovery: nodes tell their local networks every 2 s that they are there, and dial whom they hear (§9)."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast, final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorSocket, IReactorTime

from pinecone_transport.discovery.group_port import AnnouncementPort, OpenPort, open_group_port
from pinecone_transport.discovery.interfaces import Admits, Candidate
from pinecone_transport.discovery.neighbour_links import NeighbourLinks
from pinecone_transport.discovery.neighbour_port import NeighbourPort
from pinecone_transport.discovery.neighbours import NeighbourDial, Neighbours
from pinecone_transport.discovery.network_interfaces import Interface, interface_of, network_interfaces
from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import HostPort, Link, LinkOwner, TcpLink, dial_tcp
from pinecone_transport.links.tcp import TcpKind
from pinecone_transport.wire import PeerType, decode_lan_announcement, encode_lan_announcement

logger = logging.getLogger("pinecone_transport.discovery")

NAME: Final = "lan"
LAN: Final = TcpKind(NAME, PeerType.MULTICAST)
ANNOUNCE_INTERVAL: Final = 2.0
EXPIRY: Final = 10.0
"""Seconds, five announcements, after which somebody who has fallen silent is forgotten."""
DIAL_TIMEOUT: Final = 5.0
NEWS_INTERVAL: Final = 10.0
"""Seconds that must pass between two neighbours whose coming lets other sources dial at once."""


@final
class LanSource:
    """A `LinkSource` of whoever announces itself on the local networks.

    Args:
        key: Our own, 32 bytes.
        owner: Gets the links.
        interfaces: Names of those to keep to; None for all that can multicast.
        admits: Asked before each dial.
        news: Called when somebody new spoke up, though not for each of many.
        reactor: Provides IReactorTCP, and IReactorSocket unless ``open_port`` needs none.
        clock: Monotonic seconds.
        look: Returns the interfaces that there are.
        open_port: Joins the group on one interface.

    Attributes:
        name: ``lan``.
        counters: What was ignored, by reason.
    """

    def __init__(
        self,
        key: PublicKey,
        owner: LinkOwner,
        *,
        interfaces: tuple[str, ...] | None,
        admits: Admits,
        news: Callable[[], None],
        reactor: IReactorTime,
        clock: Callable[[], float],
        look: Callable[[], tuple[Interface, ...]] = network_interfaces,
        open_port: OpenPort | None = None,
    ) -> None:
        self.name = NAME
        neighbours = Neighbours(NAME, key, expiry=EXPIRY)
        self.counters: Final[Counter[str]] = neighbours.counters
        self._key = key
        self._owner = owner
        self._names = interfaces
        self._news = news
        self._reactor = reactor
        self._clock = clock
        self._look = look
        self._open_port = open_port or partial(open_group_port, cast(IReactorSocket, reactor))
        self._neighbours = neighbours
        self._dials: Final = NeighbourLinks(
            NAME, neighbours, dial=self._dial, admits=admits, reactor=reactor, clock=clock
        )
        self._listening: Final = NeighbourPort(LAN, owner, takes=self._takes, reactor=reactor)
        self._interfaces: dict[str, Interface] = {}
        # Each as it was when it was last switched on.
        self._used: dict[str, Interface] = {}
        self._ports: dict[tuple[str, socket.AddressFamily], AnnouncementPort] = {}
        self._unusable: set[tuple[str, socket.AddressFamily]] = set()
        # Each with its zone and its version of IP.
        self._links: dict[Link, tuple[str, int]] = {}
        self._closing: list[Deferred[Any]] = []
        self._tick: IDelayedCall | None = None
        self._news_at = float("-inf")

    # LinkSource

    def listen(self) -> None:
        """Open the TCP port that is announced: any that is free, on all addresses.

        Raises:
            ConfigurationError: There is none.
        """
        self._listening.open()

    def start(self) -> None:
        """Begin to announce and to dial."""
        self._look_around()
        for name in set(self._names or ()) - self._interfaces.keys():
            logger.info("There is no network interface %s that can multicast; it is used once there is", name)
        self._dials.start()
        self._announce_repeatedly()

    def stop(self) -> Deferred[Any]:
        """Give up dials, announce no more, listen no more; links stay."""
        self._dials.stop()
        tick, self._tick = self._tick, None
        if tick is not None and tick.active():
            tick.cancel()
        for place in list(self._ports):
            self._close(place)
        closing, self._closing = self._closing, []
        return DeferredList([*closing, self._listening.close()])

    def network_changed(self) -> None:
        """Take over which interfaces there are now, announce ourselves there, and dial whoever is waited with."""
        if self._tick is not None:
            self._look_around()
            self._announce()
            self._dials.retry_now()

    def link_up(self, link: Link, key: PublicKey) -> None:
        """A link has shaken hands; it counts if it is one of this source."""
        if link.way == NAME:
            host = link.address.rpartition(":")[0].strip("[]")
            zone = self._zone(host)
            self._links[link] = (zone, 6 if ":" in host else 4)
            self._dials.link_up(link, key, zone)

    def link_down(self, link: Link, key: PublicKey) -> None:
        """A link is gone."""
        if self._links.pop(link, None) is not None:
            self._dials.link_down(link)

    def addresses(self) -> list[str]:
        """Return what is listened on; empty while there is no interface to announce it on."""
        address = self._listening.address()
        return [address] if address is not None and self._interfaces else []

    def candidates(self) -> list[Candidate]:
        """Return all who were heard of within the last 10 s, or are linked."""
        return self._neighbours.candidates()

    # Announcing

    def _announce_repeatedly(self) -> None:
        self._tick = self._reactor.callLater(ANNOUNCE_INTERVAL, self._announce_repeatedly)
        for interface in self._interfaces.values():
            self._join(interface)  # where that failed, or the system closed the socket
        self._announce()

    def _announce(self) -> None:
        own_port = self._listening.number
        if own_port is None or not self._ports:
            return
        announcement = encode_lan_announcement(self._key, own_port)
        for port in self._ports.values():
            try:
                port.send(announcement)
            except OSError:  # an IPv6 address that is a second old cannot be sent from yet
                self.counters["announcements that could not be sent"] += 1

    def _look_around(self) -> None:
        """Take over what has changed about the interfaces."""
        there = self._look()
        found = {each.name: each.near_by() for each in there if self._is_wanted(each)}
        before, self._interfaces = self._interfaces, found
        for name, interface in before.items():
            if name not in found or found[name].index != interface.index:
                self._leave(name)
        for interface in found.values():
            self._join(interface)
            self._use(interface)
        # One that is only switched off may be back soon enough for its links.
        for name in set(self._used) - {each.name for each in there}:
            del self._used[name]
            self._abort_links(name)

    def _is_wanted(self, interface: Interface) -> bool:
        return interface.multicast and (self._names is None or interface.name in self._names)

    def _leave(self, name: str) -> None:
        logger.info("Looking for peers on %s no more", name)
        for place in [place for place in self._ports if place[0] == name]:
            self._close(place)
        self._dials.forget_zone(name)

    def _join(self, interface: Interface) -> None:
        for family, address in ((socket.AF_INET, interface.ipv4()), (socket.AF_INET6, interface.ipv6())):
            place = (interface.name, family)
            port = self._ports.get(place)
            if port is not None and (address is None or port.closed):
                self._close(place)
            if address is not None and place not in self._ports:
                self._open(interface, family, f"{interface.name} ({address})")

    def _open(self, interface: Interface, family: socket.AddressFamily, where: str) -> None:
        place = (interface.name, family)
        try:
            self._ports[place] = self._open_port(interface, family, partial(self._heard, interface.name))
        except OSError as error:
            if place not in self._unusable:
                logger.info("Cannot look for peers on %s: %s", where, error.strerror)
            self._unusable.add(place)
        else:
            self._unusable.discard(place)
            logger.info("Looking for peers on %s", where)

    def _close(self, place: tuple[str, socket.AddressFamily]) -> None:
        self._closing = [each for each in self._closing if not each.called]
        self._closing.append(self._ports.pop(place).close())

    def _use(self, interface: Interface) -> None:
        """Give up links from addresses that the interface had when it was seen last, and has no more."""
        used = self._used.get(interface.name, interface)
        self._used[interface.name] = interface
        if used.index != interface.index:
            self._abort_links(interface.name)
        for version in {own.version for own in set(used.addresses) - set(interface.addresses)}:
            self._abort_links(interface.name, (version,))

    def _abort_links(self, zone: str, versions: tuple[int, ...] = (4, 6)) -> None:
        """Do not wait until links fall silent that lead nowhere any more."""
        for link in [link for link, place in self._links.items() if place[0] == zone and place[1] in versions]:
            link.abort()

    # Hearing and dialling

    def _heard(self, name: str, datagram: bytes, host: str) -> None:
        interface = self._interfaces.get(name)
        if interface is None:
            return  # it was still in the socket's buffer
        try:
            announcement = decode_lan_announcement(datagram)
        except AnnouncementError as error:
            self.counters[error.reason] += 1
            return
        if announcement.key == self._key:
            return
        if ":" in host:
            host = f"{host}%{name}"
        if not interface.has_neighbour(host):
            self.counters["announcements from elsewhere"] += 1
        elif interface.has_address(host) and announcement.port == self._listening.number:
            self.counters["announcements of our own port"] += 1
        elif self._dials.heard(announcement.key, name, HostPort(host, announcement.port)):
            self._spread_news()

    def _spread_news(self) -> None:
        now = self._clock()
        if now - self._news_at >= NEWS_INTERVAL:
            self._news_at = now
            self._news()

    def _dial(self, dial: NeighbourDial) -> Deferred[TcpLink]:
        interface = self._interfaces.get(dial.zone)
        own = interface.towards(dial.address.host) if interface is not None else None
        return dial_tcp(
            self._reactor,
            dial.address,
            self._owner,
            kind=LAN,
            timeout=DIAL_TIMEOUT,
            # Where two interfaces share a network, the one that the announcement came by counts, as in the reference.
            source=None if own is None else str(own),
        )

    def _takes(self, host: str) -> bool:
        if interface_of(host, self._interfaces.values()) is not None:
            return True
        self.counters["links from elsewhere"] += 1
        return False

    def _zone(self, host: str) -> str:
        interface = interface_of(host, self._interfaces.values())
        return interface.name if interface is not None else host
