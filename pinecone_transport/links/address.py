"""Addresses of links as people write them: ``host:port``, ``[2001:db8::1]:port``, ``tcp://host:port``."""

from __future__ import annotations

import re
from typing import Final

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address

_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^][]+)\]|(?P<plain>[^][:/\s]+)):(?P<port>[0-9]{1,5})")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_IPV4_MAPPED: Final = "::ffff:"


@attrs.frozen
class HostPort:
    """One end of a TCP link.

    Attributes:
        host: A DNS name or an IP address, the latter without brackets.
        port: 0 to 65535; 0 lets the system choose, where one listens.
    """

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address rather than a name."""
        return is_ip(self.host)

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


def is_ip(host: str) -> bool:
    """Tell whether the host is an IPv4 or IPv6 address."""
    return isIPAddress(host) or isIPv6Address(host)


def plain_ip(host: str) -> str:
    """Return an IPv4 address that a dual-stack socket shows as ``::ffff:192.0.2.1`` in its own form."""
    return host.removeprefix(_IPV4_MAPPED) if "." in host else host


def host_and_port(host: str, port: int) -> str:
    """Return the text of an address, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_host_port(text: str) -> HostPort:
    """Read ``host:port``; IPv6 addresses are in brackets.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an address; write host:port, or [address]:port for IPv6")
    port = int(match["port"])
    if port > 0xFFFF:
        raise ValueError(f"port {port} does not exist; ports end at 65535")
    bracketed, plain = match["bracketed"], match["plain"]
    if bracketed is not None:
        if not isIPv6Address(bracketed):
            raise ValueError(f"{bracketed!r} is not an IPv6 address; only those are written in brackets")
        return HostPort(bracketed, port)
    if not _HOST_NAME.fullmatch(plain):
        raise ValueError(f"{plain!r} is neither a host name nor an IP address")
    return HostPort(plain, port)


def parse_peer(text: str) -> HostPort:
    """Read the address of a peer to dial: as `parse_host_port`, ``tcp://`` may stand before it.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "tcp":
        raise ValueError(f"peerings over {scheme}:// are not supported; give the peer's TCP address as host:port")
    address = parse_host_port(rest if separator else text)
    if address.port == 0:
        raise ValueError(f"{text!r} has port 0, which nobody can dial; give the port that the peer listens on")
    return address


def parse_listen(text: str) -> HostPort:
    """Read an address to listen on: an IP address of this machine, or all of them, and a port.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    address = parse_host_port(text)
    if not address.is_ip:
        raise ValueError(
            f"{address.host!r} is not an IP address; listen on one, such as 127.0.0.1:{address.port}, or on all of "
            f"them with [::]:{address.port} (0.0.0.0:{address.port} where there is no IPv6)"
        )
    return address
