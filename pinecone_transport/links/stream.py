"""Any connected Twisted stream transport as a link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.wire import PeerType


class LinkTransport(ITransport, IConsumer, IPushProducer):
    """What a link needs of a transport; all of Twisted's stream transports have it."""

    def abortConnection() -> None:
        """Close at once."""


@implementer(IPushProducer)
class StreamLink(Protocol):
    """A `Link` over the transport that it is connected to.

    It registers itself with the transport as a producer: that is how it learns when to hold back.

    Attributes:
        lost: Fires with None when the link is gone, after the owner was told.
    """

    streaming: ClassVar[bool] = True
    """Whether it asks to be paused and resumed, or to be called whenever the transport's buffer is empty."""

    def __init__(self, owner: LinkOwner, *, peer_type: PeerType, way: str, address: str, outbound: bool) -> None:
        self.peer_type = peer_type
        self.way = way
        self.address = address
        self.outbound = outbound
        self.writable = True
        self.write_limit = 64 * 1024
        self.lost: Deferred[None] = Deferred()
        self._owner = owner
        self._connected: LinkTransport | None = None

    # Link

    def write(self, data: Sequence[bytes]) -> None:
        """Hand bytes to the transport, in order."""
        if self._connected is not None:
            self._connected.writeSequence(data)

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write nothing: who knows how long it would wait in the transport."""
        return 0

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        if self._connected is not None:
            self._connected.pauseProducing()

    def resume_reading(self) -> None:
        """Read again."""
        if self._connected is not None:
            self._connected.resumeProducing()

    def close(self) -> None:
        """Write what is queued, then close."""
        if self._connected is not None:
            # A transport with a producer waits for it before it closes.
            self._connected.unregisterProducer()
            self._connected.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if self._connected is not None:
            self._connected.abortConnection()

    # IProtocol

    def connectionMade(self) -> None:
        """Tell the owner that the link is there."""
        self._connected = transport = cast(LinkTransport, self.transport)
        if ITCPTransport.providedBy(transport):
            # Whole frames are written, many at once where there are many: waiting for more gains nothing.
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, self.streaming)
        self._owner.link_made(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes up."""
        self._owner.link_data(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, then whoever dialled."""
        self._connected = None
        self.writable = False
        self._owner.link_lost(self, reason)
        self.lost.callback(None)

    # IPushProducer

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.writable = False

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if not self.writable:
            self.writable = True
            self._owner.link_writable(self)

    def stopProducing(self) -> None:
        """The transport is closing; ``connectionLost`` follows."""
        self.writable = False
