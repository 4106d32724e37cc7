"""Addresses to dial and to listen on, of all kinds, told apart by how they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from pinecone_transport.links.address import (
    HostPort,
    LinkAddress,
    is_host_and_port,
    parse_endpoint,
    parse_host_port,
)
from pinecone_transport.links.websocket_url import parse_websocket_listen, parse_websocket_url

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def _tcp_url(text: str) -> HostPort:
    return parse_host_port(text.removeprefix("tcp://"))


_PEERS: Final[dict[str, Callable[[str], LinkAddress]]] = {
    "tcp": _tcp_url,
    "ws": parse_websocket_url,
    "wss": parse_websocket_url,
}
_LISTEN: Final[dict[str, Callable[[str], LinkAddress]]] = {"ws": parse_websocket_listen, "wss": parse_websocket_listen}


def parse_peer(text: str) -> LinkAddress:
    """Read the address of a peer to dial: ``host:port``, a URL of ``tcp``, ``ws`` or ``wss``, or an endpoint string.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    address = _parse_url(text, _PEERS) or _parse_plain(text)
    if isinstance(address, HostPort) and address.port == 0:
        raise ValueError(f"{text!r} has port 0, which nobody can dial; give the port that the peer listens on")
    return address


def parse_listen(text: str) -> LinkAddress:
    """Read where to listen: an IP address of this machine, or all of them, and a port; or an endpoint string.

    ``ws://`` before address and port takes WebSockets there.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    address = _parse_url(text, _LISTEN) or _parse_plain(text)
    if isinstance(address, HostPort) and not address.is_ip:
        raise ValueError(
            f"{address.host!r} is not an IP address; listen on one, such as 127.0.0.1:{address.port}, or on all of "
            f"them with [::]:{address.port} (0.0.0.0:{address.port} where there is no IPv6)"
        )
    return address


def _parse_url(text: str, schemes: Mapping[str, Callable[[str], LinkAddress]]) -> LinkAddress | None:
    scheme, separator, _ = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return None
    if scheme not in schemes:
        known = ", ".join(f"{name}://" for name in schemes)
        raise ValueError(f"peerings over {scheme}:// are not supported here; write host:port for TCP, or {known}")
    return schemes[scheme](text)


def _parse_plain(text: str) -> LinkAddress:
    # "unix:5" could be a host and its port as well as a path; it is the former, as it was before there were the latter.
    if is_host_and_port(text):
        return parse_host_port(text)
    return parse_endpoint(text) or parse_host_port(text)
