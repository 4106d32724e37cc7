"""Links over TCP, IPv4 and IPv6: listen and dial."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, cast, final

import attrs
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

MIN_WRITE: Final = 4 * 1024
FIRST_WRITE: Final = 16 * 1024
SAFE_WRITE: Final = 64 * 1024
MAX_WRITE: Final = 256 * 1024
"""Bytes handed to the transport at once. The first pieces vanish into buffers on the way, however slow the network, so
that a slow link is found out by a piece that should leave within the time for which a write may block (§2). Beyond
`SAFE_WRITE` a piece therefore grows slowly: by the time that it is a long one, megabytes have left quickly."""
WRITE_STEP: Final = 8 * 1024
SLOW_WRITE: Final = 0.25
"""Seconds that a piece should take to leave at most: a twelfth of what kills the link."""

_UNSENT: Final = 32 * 1024
# Bytes that the kernel takes beyond what is on its way; it takes more once half of them have gone. Left to itself it
# may take megabytes, and a slow network needs minutes for a third of them.
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_BACKLOG: Final = 128


@attrs.frozen
class TcpKind:
    """What links over TCP are taken for, by how their ends found one another.

    Attributes:
        way: For people, and the name of the source.
        peer_type: For the protocol.
    """

    way: str
    peer_type: PeerType


REMOTE: Final = TcpKind(WAY, PeerType.REMOTE)
"""Somebody configured the address."""


@final
class TcpLink(StreamLink):
    """A link over plain TCP that keeps its buffers short where the network is slow.

    Twisted would ask for a pause at 64 KiB, which a slow uplink takes longer to send than a peer waits for a frame
    that matters (§2). So this link notes how long its buffer takes to empty, and asks for no more than that at once.
    """

    streaming = False

    def __init__(
        self,
        owner: LinkOwner,
        *,
        address: str,
        outbound: bool,
        kind: TcpKind = REMOTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(owner, peer_type=kind.peer_type, way=kind.way, address=address, outbound=outbound)
        self.write_limit = FIRST_WRITE
        self._clock = clock
        self._buffered = 0
        self._buffered_since = 0.0

    def write(self, data: Sequence[bytes]) -> None:
        """Hand bytes to the transport, in order."""
        if not self._buffered:
            self._buffered_since = self._clock()
        self._buffered += sum(map(len, data))
        if self._buffered >= self.write_limit:
            self.writable = False
        super().write(data)

    def connectionMade(self) -> None:
        """Keep the kernel's buffer short, too, then tell the owner."""
        sock = getattr(self.transport, "socket", None)
        if sock is not None and _NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT)
        super().connectionMade()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        buffered, self._buffered = self._buffered, 0
        if buffered >= self.write_limit:
            self.write_limit = next_write_limit(buffered, self._clock() - self._buffered_since)
        super().resumeProducing()


def next_write_limit(length: int, seconds: float) -> int:
    """Return how much to write at once, when the last ``length`` bytes took so many seconds to leave."""
    if seconds > SLOW_WRITE:
        return max(int(length * SLOW_WRITE / seconds), MIN_WRITE)
    if seconds >= SLOW_WRITE / 4:
        return min(length, MAX_WRITE)
    if length < SAFE_WRITE:
        return min(2 * length, SAFE_WRITE)
    return min(length + WRITE_STEP, MAX_WRITE)


@final
class TcpLinkFactory(ServerFactory):
    """Makes a link of each TCP connection.

    Args:
        owner: Who gets the links.
        dialled: The address that was dialled, as configured; None for links that come in.
        kind: What the links are taken for.
        takes: Asked with the IP address that a link comes from, with scope, whether it may come in at all.
    """

    noisy = False

    def __init__(
        self,
        owner: LinkOwner,
        dialled: HostPort | None = None,
        *,
        kind: TcpKind = REMOTE,
        takes: Callable[[str], bool] = lambda host: True,
    ) -> None:
        self._owner = owner
        self._dialled = dialled
        self._kind = kind
        self._takes = takes

    def buildProtocol(self, addr: IAddress | None) -> TcpLink | None:
        """Return a link that is not connected yet; None closes the connection."""
        if self._dialled is None and not self._takes(plain_ip(getattr(addr, "host", "?"))):
            return None
        address = str(self._dialled) if self._dialled is not None else _text(addr)
        return TcpLink(self._owner, address=address, outbound=self._dialled is not None, kind=self._kind)


def listen_tcp(
    reactor: IReactorTCP,
    address: HostPort,
    owner: LinkOwner,
    *,
    kind: TcpKind = REMOTE,
    takes: Callable[[str], bool] = lambda host: True,
) -> IListeningPort:
    """Listen; each connection becomes a link of the owner's, if it is from where ``takes`` wants it from.

    On ``[::]`` most systems take IPv4 as well.

    Raises:
        CannotListenError: The port is taken, or the address is not ours.
    """
    return reactor.listenTCP(address.port, TcpLinkFactory(owner, kind=kind, takes=takes), _BACKLOG, address.host)


def dial_tcp(
    reactor: IReactorTime,
    address: HostPort,
    owner: LinkOwner,
    *,
    kind: TcpKind = REMOTE,
    timeout: float = CONNECT_TIMEOUT,
    source: str | None = None,
) -> Deferred[TcpLink]:
    """Dial; the result is the connected link, which the owner has been told of. Cancelling gives the dial up.

    Args:
        reactor: Provides IReactorTCP, and what looks up names if the host is one.
        address: Whom.
        owner: Gets the link.
        kind: What the link is taken for.
        timeout: Seconds until the dial is given up.
        source: Our own IP address to dial from; the system's choice if None.
    """
    endpoint = _client_endpoint(reactor, address, timeout, None if source is None else (source, 0))
    # The endpoint's own type says only that it is the factory's protocol.
    return cast("Deferred[TcpLink]", endpoint.connect(TcpLinkFactory(owner, address, kind=kind)))


def _client_endpoint(
    reactor: IReactorTime, address: HostPort, timeout: float, source: tuple[str, int] | None
) -> IStreamClientEndpoint:
    # Names are looked up, and all their addresses tried; a literal needs neither a resolver nor its threads.
    host, port = address.host, address.port
    if not is_ip(host):
        return HostnameEndpoint(reactor, host, port, timeout=timeout, bindAddress=source)
    if ":" in host:
        return TCP6ClientEndpoint(reactor, host, port, timeout=timeout, bindAddress=source)
    return TCP4ClientEndpoint(reactor, host, port, timeout=timeout, bindAddress=source)


def _text(address: object) -> str:
    return host_and_port(plain_ip(getattr(address, "host", "?")), getattr(address, "port", 0))
