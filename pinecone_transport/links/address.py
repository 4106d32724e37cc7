"""Addresses of links as people write them.

They are ``host:port``, ``[2001:db8::1]:port``, URLs such as ``tcp://host:port``, and endpoint strings of Twisted, such
as ``unix:/run/pinecone.sock``.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, Protocol, cast

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^][]+)\]|(?P<plain>[^][:/\s]+)):(?P<port>[0-9]{1,5})")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_IPV4_MAPPED: Final = "::ffff:"
_ENDPOINT: Final = re.compile(r"(?P<kind>[a-z][a-z0-9_+.-]*):(?!//)(?P<rest>.*)")
_BUILT_IN: Final = frozenset({"serial", "ssl", "unix"})
_EXAMPLES: Final = {"serial": "serial:/dev/ttyUSB0", "unix": "unix:/run/pinecone.sock"}
_RECURSION: Final = re.compile(r"(?:^|:)pinecone:")


class LinkAddress(Protocol):
    """Where a link leads to, or where links come in. Its text is for people and in configurations.

    Attributes:
        way: The name of the source that dials it or listens there.
    """

    @property
    def way(self) -> str:
        """See above."""

    def __str__(self) -> str: ...


@attrs.frozen
class HostPort:
    """One end of a TCP link.

    Attributes:
        host: A DNS name or an IP address, the latter without brackets.
        port: 0 to 65535; 0 lets the system choose, where one listens.
    """

    way: ClassVar = "tcp"

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address rather than a name."""
        return is_ip(self.host)

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


@attrs.frozen
class EndpointString:
    """A string that Twisted's ``clientFromString`` or ``serverFromString`` takes.

    Attributes:
        text: All of it.
    """

    text: str

    @property
    def way(self) -> str:
        """The kind of endpoint, such as ``unix``: what stands before the first colon."""
        return self.text.partition(":")[0]

    def __str__(self) -> str:
        return self.text


def is_ip(host: str) -> bool:
    """Tell whether the host is an IPv4 or IPv6 address."""
    return isIPAddress(host) or isIPv6Address(host)


def plain_ip(host: str) -> str:
    """Return an IPv4 address that a dual-stack socket shows as ``::ffff:192.0.2.1`` in its own form."""
    return host.removeprefix(_IPV4_MAPPED) if "." in host else host


def host_and_port(host: str, port: int) -> str:
    """Return the text of an address, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_host_and_port(text: str) -> bool:
    """Tell whether the text has the shape of ``host:port``."""
    return _HOST_AND_PORT.fullmatch(text) is not None


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


def parse_endpoint(text: str) -> EndpointString | None:
    """Return the text as an endpoint string; None if it has not even the shape of one.

    Raises:
        ValueError: It is one that makes no link, with a sentence that says why.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        return None
    if not match["rest"]:
        if match["kind"] not in endpoint_kinds():
            return None
        example = _EXAMPLES.get(match["kind"], f"{match['kind']}:…")
        raise ValueError(f"{text!r} says how and not where; write what is meant behind the colon, as in {example}")
    if match["kind"] in ("tcp", "tcp4", "tcp6"):
        raise ValueError(f"{text!r} is TCP, whose addresses are written host:port, or [address]:port for IPv6")
    if _RECURSION.search(text):
        raise ValueError(f"{text!r} is a stream of the overlay itself, and the overlay cannot be carried by itself")
    if match["kind"] not in endpoint_kinds():
        raise ValueError(
            f"{text!r} is not an address; write host:port, or [address]:port for IPv6. Of endpoints of the kind "
            f"{match['kind']!r} nothing installed here knows"
        )
    return EndpointString(text)


def endpoint_kinds() -> set[str]:
    """Return what endpoint strings may begin with here: the kinds that Twisted has, and those of installed plug-ins."""
    # Twisted's own look-up needs a reactor; this one is for files that are only read.
    interfaces = (IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser)
    return {*_BUILT_IN, *(cast(Any, plugin).prefix for interface in interfaces for plugin in getPlugins(interface))}
