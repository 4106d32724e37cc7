"""The TCP port that nodes near by are told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast, final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.links import HostPort, LinkOwner, host_and_port, listen_tcp
from pinecone_transport.links.tcp import TcpKind

_ALL_ADDRESSES: Final = ("::", "0.0.0.0")


@final
class NeighbourPort:
    """A port of its own, whichever is free, on all addresses: which of them neighbours can reach changes.

    Args:
        kind: What its links are taken for; ``way`` is the source's name.
        owner: Gets the links.
        takes: Asked with the address that a link comes from, whether it may come in at all.
        reactor: Provides IReactorTCP.
    """

    def __init__(self, kind: TcpKind, owner: LinkOwner, *, takes: Callable[[str], bool], reactor: IReactorTime) -> None:
        self._kind = kind
        self._owner = owner
        self._takes = takes
        self._reactor = reactor
        self._port: IListeningPort | None = None

    @property
    def number(self) -> int | None:
        """Which it is, while it is open."""
        return None if self._port is None else self._host(self._port).port

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: There is no port to be had.
        """
        errors = []
        for host in _ALL_ADDRESSES:  # the second is for systems without IPv6
            try:
                self._port = listen_tcp(
                    IReactorTCP(self._reactor), HostPort(host, 0), self._owner, kind=self._kind, takes=self._takes
                )
            except CannotListenError as error:
                errors.append(error)
            else:
                return
        raise ConfigurationError(f"sources.{self._kind.way}", f"cannot listen for peers near by: {errors[-1]}.")

    def close(self) -> Deferred[Any]:
        """Listen no more; the result fires when that is done."""
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening() or succeed(None)

    def address(self) -> str | None:
        """Return where it listens, for people, while it is open."""
        if self._port is None:
            return None
        host = self._host(self._port)
        return host_and_port(host.host, host.port)

    @staticmethod
    def _host(port: IListeningPort) -> IPv4Address | IPv6Address:
        return cast("IPv4Address | IPv6Address", port.getHost())
