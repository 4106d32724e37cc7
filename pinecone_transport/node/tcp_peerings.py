"""Where a node listens for peerings, and whom it dials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast, final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery import StaticPeer
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.links import HostPort, Link, LinkOwner, TcpLink, dial_tcp, host_and_port, listen_tcp
from pinecone_transport.node.config import NodeConfig

ALL_IPV4: Final = "0.0.0.0"  # compared with, not listened on
ALL_IPV6: Final = "::"


@final
class TcpPeerings:
    """The listening ports and static peers of one node.

    Args:
        config: Says which.
        owner: Gets the links.
        failed: Told of an address that could not be dialled, and why.
        reactor: Provides IReactorTCP if there is anything to listen on or to dial.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: NodeConfig,
        owner: LinkOwner,
        *,
        failed: Callable[[str, Failure], None],
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self._listen_addresses: Final = config.listen
        self._owner = owner
        self._failed = failed
        self._reactor = reactor
        self._clock = clock
        self._peers = [self._static_peer(address) for address in config.peers]
        self._ports: list[IListeningPort] = []

    def listen(self) -> None:
        """Open the ports.

        Raises:
            ConfigurationError: One cannot be had; those opened before it stay open until `stop_listening`.
        """
        # The socket of [::] may take the port on IPv4 with it, so it comes first.
        for index, address in sorted(enumerate(self._listen_addresses), key=lambda item: item[1].host != ALL_IPV6):
            self._open_port(index, address)

    def dial(self) -> None:
        """Begin to dial."""
        for peer in self._peers:
            peer.start()

    def redial_now(self) -> None:
        """Dial the peers that are waited with."""
        for peer in self._peers:
            peer.redial_now()

    def stop_dialling(self) -> None:
        """Give up the dials that are under way, and dial no more."""
        for peer in self._peers:
            peer.stop()

    def stop_listening(self) -> Deferred[Any]:
        """Close the ports; links that came by them stay."""
        ports, self._ports = self._ports, []
        return DeferredList([port.stopListening() or succeed(None) for port in ports])

    def handshake_completed(self, link: Link) -> None:
        """Let static peers know that a link is up."""
        for peer in self._peers:
            peer.handshake_completed(link)

    def addresses(self) -> list[str]:
        """Return the addresses that are listened on, with the ports that the system chose."""
        hosts = [cast(IPv4Address | IPv6Address, port.getHost()) for port in self._ports]
        return [host_and_port(host.host, host.port) for host in hosts]

    def peers_status(self) -> list[dict[str, Any]]:
        """Return how it stands with each static peer."""
        return [{"address": peer.address, "state": peer.state, "failures": peer.failures} for peer in self._peers]

    def _open_port(self, index: int, address: HostPort) -> None:
        try:
            port = listen_tcp(IReactorTCP(self._reactor), address, self._owner)
        except CannotListenError as error:
            if address.host == ALL_IPV4 and HostPort(ALL_IPV6, address.port) in self._listen_addresses:
                return  # by that socket we listen there already
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigurationError(
                f"listen.{index}", f"cannot listen on {address}: {reason}; choose another port or address."
            ) from error
        self._ports.append(port)

    def _static_peer(self, address: HostPort) -> StaticPeer[TcpLink]:
        def dial() -> Deferred[TcpLink]:
            return dial_tcp(self._reactor, address, self._owner)

        return StaticPeer(str(address), dial=dial, failed=self._failed, reactor=self._reactor, clock=self._clock)
