"""Addresses of WebSockets as people write them, without the library that speaks WebSocket."""

from __future__ import annotations

from typing import ClassVar, Final
from urllib.parse import urlsplit

import attrs

from pinecone_transport.links.address import HostPort, is_ip, parse_host_port

WAY: Final = "ws"


@attrs.frozen
class WebSocketUrl:
    """Where to dial.

    Attributes:
        text: As it was written.
        secure: Whether TLS goes around it.
        host: A DNS name or an IP address, the latter without brackets.
        port: 1 to 65535.
    """

    way: ClassVar = WAY

    text: str
    secure: bool
    host: str
    port: int

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class WebSocketListen:
    """Where to listen for WebSockets.

    Attributes:
        where: An IP address and a port, 0 to let the system choose.
    """

    way: ClassVar = WAY

    where: HostPort

    def __str__(self) -> str:
        return f"ws://{self.where}"


def parse_websocket_url(text: str) -> WebSocketUrl:
    """Read ``ws://host[:port][/path]``, or ``wss://`` likewise.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not a URL; write wss://host/path or wss://host:port/path") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{text!r} is not a WebSocket URL; write wss://host/path or ws://host:port/path")
    if parts.fragment or parts.username is not None:
        raise ValueError(f"{text!r} has a fragment or a user name, and WebSocket URLs have neither")
    if not _is_host(parts.hostname):
        raise ValueError(f"{parts.hostname!r} is neither a host name nor an IP address")
    if port == 0:
        raise ValueError(f"{text!r} has port 0, which nobody can dial; give the port that the peer listens on")
    secure = parts.scheme == "wss"
    return WebSocketUrl(text, secure, parts.hostname, port or (443 if secure else 80))


def _is_host(host: str) -> bool:
    try:
        return is_ip(host) or bool(host.encode("idna"))
    except UnicodeError:
        return False


def parse_websocket_listen(text: str) -> WebSocketListen:
    """Read ``ws://address:port``: where to listen for WebSockets, at whatever path.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    address = text.removeprefix("ws://").rstrip("/")
    where = parse_host_port(address) if text.startswith("ws://") else None
    if where is None or not where.is_ip:
        raise ValueError(
            f"{text!r} is nowhere to listen for WebSockets; write ws:// and an IP address of this machine with a port, "
            "such as ws://127.0.0.1:8090, and let a reverse proxy add TLS"
        )
    return WebSocketListen(where)
