"""DNS-SD over multicast DNS, as the iOS demo peers: nodes advertise a service, and dial the services that they see."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from pinecone_transport.discovery.interfaces import Admits, Candidate
from pinecone_transport.discovery.neighbour_links import NeighbourLinks
from pinecone_transport.discovery.neighbour_port import NeighbourPort
from pinecone_transport.discovery.neighbours import NeighbourDial, Neighbours
from pinecone_transport.discovery.network_interfaces import Interface, interface_of, network_interfaces
from pinecone_transport.identity import KEY_LENGTH, PublicKey
from pinecone_transport.links import HostPort, Link, LinkOwner, TcpLink, dial_tcp
from pinecone_transport.links.tcp import TcpKind
from pinecone_transport.wire import PeerType

logger = logging.getLogger("pinecone_transport.discovery")

NAME: Final = "mdns"
BONJOUR: Final = TcpKind(NAME, PeerType.BONJOUR)
SERVICE_TYPE: Final = "_pinecone._tcp.local."
TXT_KEY: Final = "key"
LONGEST_LABEL: Final = 63
"""Bytes of a DNS label; a key has a digit more, so the name of an instance never tells the key."""
DIAL_TIMEOUT: Final = 3.0
"""Seconds; of the addresses of a host on several networks not all are within reach."""
PATIENCE: Final = 4.0
"""Seconds in which LAN discovery, which is asked first, should have found whoever speaks both."""
MAX_SERVICES: Final = 256

_ANYWHERE: Final = ""
"""The one zone: a service is not seen on one interface, but on all."""
_LAN: Final = "lan"
_HEX_KEY: Final = re.compile(rb"[0-9a-fA-F]{%d}" % (2 * KEY_LENGTH))


@attrs.frozen(kw_only=True)
class Service:
    """What is known of one instance.

    Attributes:
        name: Of the instance, in full; it means nothing.
        text: The TXT record.
        port: From the SRV record.
        addresses: IP addresses; link-local ones with the name of the interface as scope.
    """

    name: str
    text: Mapping[bytes, bytes | None]
    port: int
    addresses: tuple[str, ...]


class Responder(Protocol):
    """What speaks multicast DNS. It calls back in the reactor's thread."""

    def start(self, interfaces: tuple[Interface, ...], key: PublicKey, port: int) -> None:
        """Advertise ourselves, and look for others, on these interfaces from now on, and on no others."""

    def stop(self) -> Deferred[Any]:
        """Say goodbye and end; the result fires when that is done."""


MakeResponder = Callable[[Callable[[Service], None], Callable[[str], None]], Responder]
"""Given what to call with each instance that is found or has changed, and with the name of each that is gone."""


def instance_name(key: PublicKey) -> str:
    """Return the name that a node with this key gives its instance: as much of the key as a label holds. Source: §9."""
    return f"{key.hex()[:LONGEST_LABEL]}.{SERVICE_TYPE}"


def key_of(text: Mapping[bytes, bytes | None]) -> PublicKey | None:
    """Return the key that a TXT record tells, None if it tells none. Source: §9."""
    for name, value in text.items():
        if name.lower() == TXT_KEY.encode() and value is not None and _HEX_KEY.fullmatch(value):
            return bytes.fromhex(value.decode())
    return None


@final
class DnsSdSource:
    """A `LinkSource` of whoever advertises a Pinecone service.

    Who is linked by LAN discovery is not dialled, and a link that we dialled is closed when one by LAN discovery comes.

    Args:
        key: Our own, 32 bytes.
        owner: Gets the links.
        interfaces: Names of those to keep to; None for all that can multicast.
        admits: Asked before each dial.
        make_responder: Makes what speaks multicast DNS.
        reactor: Provides IReactorTCP.
        clock: Monotonic seconds.
        look: Returns the interfaces that there are.

    Attributes:
        name: ``mdns``.
        counters: What was ignored, by reason.
    """

    def __init__(
        self,
        key: PublicKey,
        owner: LinkOwner,
        *,
        interfaces: tuple[str, ...] | None,
        admits: Admits,
        make_responder: MakeResponder,
        reactor: IReactorTime,
        clock: Callable[[], float],
        look: Callable[[], tuple[Interface, ...]] = network_interfaces,
    ) -> None:
        self.name = NAME
        self._key = key
        self._owner = owner
        self._names = interfaces
        self._reactor = reactor
        self._look = look
        self._neighbours = Neighbours(NAME, key, expiry=float("inf"), patience=PATIENCE)
        self.counters: Final[Counter[str]] = self._neighbours.counters
        self._dials: Final = NeighbourLinks(
            NAME, self._neighbours, dial=self._dial, admits=admits, reactor=reactor, clock=clock
        )
        self._listening: Final = NeighbourPort(BONJOUR, owner, takes=self._takes, reactor=reactor)
        self._responder: Final = make_responder(self._found, self._lost)
        self._interfaces: tuple[Interface, ...] = ()
        self._services: dict[str, PublicKey] = {}
        self._started = False

    # LinkSource

    def listen(self) -> None:
        """Open the TCP port that is advertised: any that is free, on all addresses.

        Raises:
            ConfigurationError: There is none.
        """
        self._listening.open()

    def start(self) -> None:
        """Begin to advertise and to dial."""
        self._started = True
        self._dials.start()
        self._look_around()

    def stop(self) -> Deferred[Any]:
        """Give up dials, advertise no more, listen no more; links stay."""
        self._started = False
        self._dials.stop()
        return DeferredList([self._responder.stop(), self._listening.close()])

    def network_changed(self) -> None:
        """Advertise on what interfaces there are now, and dial whoever is waited with."""
        if self._started:
            self._look_around()
            self._dials.retry_now()

    def link_up(self, link: Link, key: PublicKey) -> None:
        """A link has shaken hands; it counts if it came of this source, or of LAN discovery."""
        if link.way in (NAME, _LAN):
            self._dials.link_up(link, key, _ANYWHERE, own=link.way == NAME)

    def link_down(self, link: Link, key: PublicKey) -> None:
        """A link is gone."""
        if link.way in (NAME, _LAN):
            self._dials.link_down(link)

    def addresses(self) -> list[str]:
        """Return what is listened on; empty while there is no interface to advertise it on."""
        address = self._listening.address()
        return [address] if address is not None and self._interfaces else []

    def candidates(self) -> list[Candidate]:
        """Return all who advertise a service, or are linked by one."""
        return self._neighbours.candidates()

    # Inside

    def _look_around(self) -> None:
        """Advertise on the interfaces that there are now, if they are others than before."""
        found = tuple(each.near_by() for each in self._look() if self._is_usable(each))
        port = self._listening.number
        if found == self._interfaces or port is None:
            return
        self._interfaces = found
        for name in list(self._services):
            self._lost(name)
        logger.info("Advertising by multicast DNS on %s", ", ".join(each.name for each in found) or "no interface")
        self._responder.start(found, self._key, port)

    def _is_usable(self, interface: Interface) -> bool:
        wanted = interface.multicast and (self._names is None or interface.name in self._names)
        return wanted and (interface.ipv4() is not None or interface.ipv6() is not None)

    def _found(self, service: Service) -> None:
        key = key_of(service.text)
        if key is None or not 1 <= service.port <= 0xFFFF:
            self.counters["services without a key or a port"] += 1
            self._lost(service.name)
            return
        if key == self._key:
            return
        if service.name not in self._services and len(self._services) >= MAX_SERVICES:
            self.counters["services over the limit"] += 1
            return
        if self._services.get(service.name, key) != key:
            self._lost(service.name)
        self._services[service.name] = key
        for address in service.addresses:
            if interface_of(address, self._interfaces) is None:
                self.counters["addresses from elsewhere"] += 1
            else:
                self._dials.heard(key, _ANYWHERE, HostPort(address, service.port))

    def _lost(self, name: str) -> None:
        key = self._services.pop(name, None)
        if key is not None and key not in self._services.values():
            self._dials.forget(key, _ANYWHERE)

    def _dial(self, dial: NeighbourDial) -> Deferred[TcpLink]:
        return dial_tcp(self._reactor, dial.address, self._owner, kind=BONJOUR, timeout=DIAL_TIMEOUT)

    def _takes(self, host: str) -> bool:
        if interface_of(host, self._interfaces) is not None:
            return True
        self.counters["links from elsewhere"] += 1
        return False
