"""The network interfaces of this machine: which there are, and when that changes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import Final, final

import attrs
import psutil
from twisted.internet.interfaces import IDelayedCall, IReactorTime

RESCAN_INTERVAL: Final = 2.0
"""Seconds. A look costs a fifth of a millisecond; a node that moved is to have its links back within a few seconds."""
MAX_INTERFACES: Final = 64
"""Hosts of containers have hundreds; each that is used costs two sockets and a datagram a second."""


@attrs.frozen(kw_only=True)
class Interface:
    """A network interface as it is now.

    Attributes:
        name: Such as ``eth0``.
        index: The system's number; another when one of the same name was made anew.
        addresses: With their networks; link-local ones without scope.
        multicast: Whether it is switched on, can multicast, and has room for more than one node at its other end.
    """

    name: str
    index: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    multicast: bool = False

    def near_by(self) -> Interface:
        """Return it with those addresses alone that a neighbour may use: IPv4, and link-local IPv6.

        Global IPv6 addresses come and go by the hour, and nothing here depends on them.
        """
        return attrs.evolve(
            self, addresses=tuple(own for own in self.addresses if isinstance(own, IPv4Interface) or own.is_link_local)
        )

    def ipv4(self) -> IPv4Address | None:
        """Return its first address that others can reach, as the reference chooses (§9); None if there is none."""
        for address in self.addresses:
            if isinstance(address, IPv4Interface) and not (address.is_loopback or address.is_link_local):
                return address.ip
        return None

    def ipv6(self) -> IPv6Address | None:
        """Return its first link-local address; None if there is none."""
        for address in self.addresses:
            if isinstance(address, IPv6Interface) and address.is_link_local:
                return address.ip
        return None

    def has_neighbour(self, host: str) -> bool:
        """Tell whether an address is on this interface's network: link-local with its scope, or in its IPv4 network.

        Only such a one can have announced itself here, whatever it says.
        """
        address = _address(host)
        if isinstance(address, IPv6Address):
            return address.is_link_local and address.scope_id == self.name
        return self.towards(host) is not None

    def towards(self, host: str) -> IPv4Address | None:
        """Return its own address in the IPv4 network that an address is in; None if that is none of its networks."""
        address = _address(host)
        for own in self.addresses:
            if isinstance(own, IPv4Interface) and isinstance(address, IPv4Address) and address in own.network:
                return own.ip
        return None

    def has_address(self, host: str) -> bool:
        """Tell whether it is one of this interface's own addresses, with or without scope."""
        address = _address(host.partition("%")[0])
        return any(own.ip == address for own in self.addresses)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def network_interfaces() -> tuple[Interface, ...]:
    """Return the interfaces that there are, by name; those beyond the first 64 are left out."""
    addresses = psutil.net_if_addrs()
    found = []
    for name, status in sorted(psutil.net_if_stats().items()):
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            continue  # gone meanwhile
        flags = set(status.flags.split(","))
        own = tuple(_with_network(each.address, each.netmask) for each in addresses.get(name, ()) if _is_ip(each))
        # Not `isup`: that comes and goes with the cable, and what is open may stay so until it is back.
        multicast = {"up", "multicast"} <= flags and "pointopoint" not in flags
        found.append(Interface(name=name, index=index, addresses=own, multicast=multicast))
    return tuple(found[:MAX_INTERFACES])


def _is_ip(address: object) -> bool:
    return getattr(address, "family", None) in (socket.AF_INET, socket.AF_INET6)


def _with_network(address: str, netmask: str | None) -> IPv4Interface | IPv6Interface:
    address = address.partition("%")[0]
    if ":" not in address:
        return IPv4Interface((address, _prefix_length(int(IPv4Address(netmask)), 32) if netmask else 32))
    return IPv6Interface((address, _prefix_length(int(IPv6Address(netmask)), 128) if netmask else 128))


def _prefix_length(netmask: int, bits: int) -> int:
    """Return how many bits of an address name its network; all, as if there were none, for a mask with gaps."""
    length = netmask.bit_count()
    return length if netmask == (1 << bits) - (1 << (bits - length)) else bits


def interface_of(host: str, interfaces: Iterable[Interface]) -> Interface | None:
    """Return the interface on whose network an address is, None if on none; of two such networks the first."""
    for interface in interfaces:
        if interface.has_neighbour(host):
            return interface
    return None


@final
class InterfaceWatcher:
    """Looks at the interfaces every 2 s, and tells when anything about them has changed.

    Args:
        reactor: For the time between two looks.
        changed: Called, from the reactor, after a change.
        look: Returns what there is now.

    Attributes:
        interfaces: What there was at the last look.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        changed: Callable[[], None],
        *,
        look: Callable[[], tuple[Interface, ...]] = network_interfaces,
    ) -> None:
        self.interfaces: tuple[Interface, ...] = ()
        self._reactor = reactor
        self._changed = changed
        self._look = look
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to watch; what there is now is no change."""
        self.interfaces = self._look()
        self._next = self._reactor.callLater(RESCAN_INTERVAL, self._look_again)

    def stop(self) -> None:
        """Watch no more."""
        next_look, self._next = self._next, None
        if next_look is not None:
            next_look.cancel()

    def _look_again(self) -> None:
        self._next = self._reactor.callLater(RESCAN_INTERVAL, self._look_again)
        before, self.interfaces = self.interfaces, self._look()
        if self.interfaces != before:
            self._changed()
