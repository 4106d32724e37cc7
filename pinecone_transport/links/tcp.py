"""Links over TCP, IPv4 and IPv6: listen and dial."""

from __future__ import annotations

from typing import Final, cast, final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ServerFactory

from pinecone_transport.links.address import HostPort, host_and_port, is_ip, plain_ip
from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.links.stream import StreamLink
from pinecone_transport.wire import PeerType

WAY: Final = "tcp"
CONNECT_TIMEOUT: Final = 10.0
"""Seconds until a dial is given up; a handshake has as long again (§2)."""

_BACKLOG: Final = 128


@final
class TcpLinkFactory(ServerFactory):
    """Makes a link of each TCP connection.

    Args:
        owner: Who gets the links.
        dialled: The address that was dialled, as configured; None for links that come in.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, dialled: HostPort | None = None) -> None:
        self._owner = owner
        self._dialled = dialled

    def buildProtocol(self, addr: IAddress | None) -> StreamLink:
        """Return a link that is not connected yet."""
        address = str(self._dialled) if self._dialled is not None else _text(addr)
        return StreamLink(
            self._owner,
            peer_type=PeerType.REMOTE,
            way=WAY,
            address=address,
            outbound=self._dialled is not None,
        )


def listen_tcp(reactor: IReactorTCP, address: HostPort, owner: LinkOwner) -> IListeningPort:
    """Listen; each connection becomes a link of the owner's.

    On ``[::]`` most systems take IPv4 as well.

    Raises:
        CannotListenError: The port is taken, or the address is not ours.
    """
    return reactor.listenTCP(address.port, TcpLinkFactory(owner), _BACKLOG, address.host)


def dial_tcp(reactor: IReactorTime, address: HostPort, owner: LinkOwner) -> Deferred[StreamLink]:
    """Dial; the result is the connected link, which the owner has been told of. Cancelling gives the dial up."""
    # The endpoint's own type says only that it is the factory's protocol.
    return cast("Deferred[StreamLink]", _client_endpoint(reactor, address).connect(TcpLinkFactory(owner, address)))


def _client_endpoint(reactor: IReactorTime, address: HostPort) -> IStreamClientEndpoint:
    # Names are looked up, and all their addresses tried; a literal needs neither a resolver nor its threads.
    host, port = address.host, address.port
    if not is_ip(host):
        return HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    if ":" in host:
        return TCP6ClientEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    return TCP4ClientEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)


def _text(address: object) -> str:
    return host_and_port(plain_ip(getattr(address, "host", "?")), getattr(address, "port", 0))
