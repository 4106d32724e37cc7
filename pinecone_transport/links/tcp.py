"""Links over TCP, IPv4 and IPv6: listen and dial."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, cast, final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from pinecone_transport.links.address import HostPort, host_and_port, is_ip, plain_ip
from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.links.scratch import READ_SIZE, SCRATCH, SCRATCH_VIEW
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
CAREFUL: Final = 8.0
"""So many times as long as a piece took that was slow, what leaves at once says nothing."""

_UNSENT: Final = 16 * 1024
_UNSENT_FAST: Final = 1024 * 1024
# Bytes that the kernel takes beyond what is on its way; it takes more once half of them have gone. Left to itself it
# may take megabytes, and a slow network needs minutes for a third of them. Where `MAX_WRITE` was reached, it does not.
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_READS: Final = 4  # in a row, while there is more than one read brings
_BACKLOG: Final = 128
_MAX_PIECES: Final = 1024  # that the system takes in one call


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
    """A link over plain TCP that moves its own bytes, and keeps its buffers short where the network is slow.

    Twisted's transports make fresh bytes of each read and join what is written, one turn of the reactor later. That is
    most of what a frame costs on its way through a node. So this link takes the reading and writing over from a
    transport that the reactor asks to do either: it reads into the buffer of `scratch`, and writes at once; only what
    the socket does not take then waits. Other transports it uses as they are.

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
        self._careful_until = 0.0
        self._socket: socket.socket | None = None  # while we read and write it
        self._stock_write: Callable[[], Exception | None] = _nothing
        self._unread = b""
        self._reading_paused = False
        self._unwritten: deque[bytes | memoryview] = deque()

    # Link

    def write(self, data: Sequence[bytes]) -> None:
        """Write bytes, in order, or keep them until the socket takes them."""
        if not self._buffered:
            self._buffered_since = self._clock()
        self._buffered += sum(map(len, data))
        if self._buffered >= self.write_limit:
            self.writable = False
        if self._socket is None:
            super().write(data)
            return
        waiting = bool(self._unwritten)
        self._unwritten += data
        if not waiting and self._send(self._socket) and not self._unwritten:
            taken, self._buffered = self._buffered, 0
            self._taken_at_once(taken)
            self.writable = True

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write what the socket takes at once, if nothing waits."""
        if self._socket is None or self._unwritten:
            return 0
        try:
            taken = self._socket.sendmsg(pieces[:_MAX_PIECES])
        except OSError:
            return 0  # full, or lost: reading tells that
        self._taken_at_once(taken)
        return taken

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        self._reading_paused = True
        super().pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading_paused = False
        super().resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._let_go()
        super().abort()

    # IProtocol

    def connectionMade(self) -> None:
        """Take over what can be taken over, then tell the owner."""
        transport: object = self.transport
        if isinstance(transport, Connection):
            self._socket = transport.socket
            self._stock_write = transport.doWrite
            # The reactor calls these by name when the socket is ready. A subclass of each transport would do, too, but
            # the one that dials is made where no endpoint lets us in.
            transport.doRead = self._do_read  # type: ignore[method-assign]
            transport.doWrite = self._do_write  # type: ignore[method-assign]
            self._limit_kernel_buffer(_UNSENT)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, then whoever dialled."""
        self._let_go()
        super().connectionLost(reason)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._emptied()
        super().resumeProducing()

    # Inside

    def _do_read(self) -> ConnectionDone | ConnectionLost | None:
        """Read, and lend the owner what there is; in place of the transport's ``doRead``.

        While the socket fills the buffer, that is done a few times: a turn of the reactor costs as much as a read.
        """
        kept = len(self._unread)
        SCRATCH[:kept] = self._unread
        for _ in range(_READS):
            if self._socket is None or self._reading_paused:
                break
            try:
                fresh = self._socket.recv_into(SCRATCH_VIEW[kept : kept + READ_SIZE])
            except BlockingIOError:
                break
            except OSError:
                return CONNECTION_LOST
            if not fresh:
                return CONNECTION_DONE
            end = kept + fresh
            used = self._owner.link_received(self, SCRATCH, fresh, end)
            kept = end - used
            SCRATCH[:kept] = SCRATCH_VIEW[used:end]
            if fresh < READ_SIZE:
                break
        self._unread = bytes(SCRATCH_VIEW[:kept]) if self._socket is not None else b""
        return None

    def _do_write(self) -> Exception | None:
        """Write what has waited; in place of the transport's ``doWrite``."""
        if self._socket is not None and not self._send(self._socket):
            return CONNECTION_LOST
        # With nothing to write, the transport's own tells us so, and closes where it was asked to.
        return self._stock_write() if not self._unwritten else None

    def _send(self, sock: socket.socket) -> bool:
        """Write what waits, as far as the socket takes it; return False if the connection is lost."""
        waiting = self._unwritten
        while waiting:
            try:
                taken = sock.sendmsg(islice(waiting, _MAX_PIECES))
            except BlockingIOError:
                break
            except OSError:
                self._reactor_sees_to_it()
                return False
            while waiting and taken >= len(waiting[0]):  # pieces without bytes, too
                taken -= len(waiting.popleft())
            if taken:
                waiting[0] = memoryview(waiting[0])[taken:]
        if waiting:
            self._reactor_sees_to_it()
        return True

    def _reactor_sees_to_it(self) -> None:
        cast(Connection, self.transport).startWriting()

    def _let_go(self) -> None:
        self._socket = None
        self._unwritten.clear()
        self._unread = b""

    def _emptied(self) -> None:
        """Nothing waits any more: learn from how long that took."""
        buffered, self._buffered = self._buffered, 0
        if buffered >= self.write_limit:
            now = self._clock()
            seconds = now - self._buffered_since
            if seconds > SLOW_WRITE:
                self._careful_until = now + CAREFUL * seconds
            self._set_write_limit(next_write_limit(buffered, seconds))

    def _taken_at_once(self, length: int) -> None:
        """The kernel took bytes without delay, as it does of a slow network, too, each time that some have left."""
        if self.write_limit <= length and self.write_limit < MAX_WRITE and self._clock() >= self._careful_until:
            self._set_write_limit(min(self.write_limit + WRITE_STEP, MAX_WRITE))

    def _set_write_limit(self, limit: int) -> None:
        fast_before, fast = self.write_limit >= MAX_WRITE, limit >= MAX_WRITE
        self.write_limit = limit
        if fast is not fast_before:
            self._limit_kernel_buffer(_UNSENT_FAST if fast else _UNSENT)

    def _limit_kernel_buffer(self, unsent: int) -> None:
        if self._socket is not None and _NOTSENT_LOWAT is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, unsent)


def _nothing() -> None:
    return None


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
