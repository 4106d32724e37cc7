"""A Twisted transport over one overlay stream: what protocols and their producers see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, final

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.node.interfaces import INode
from twisted_endpoints.address import PineconeAddress
from twisted_endpoints.producers import ProducerSlot
from twisted_endpoints.secure_stream import SecureStream
from twisted_endpoints.tls import TlsConnection

_log = Logger()


@final
@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport:
    """The transport of one connection, from the handshake on; a `SecureStreamOwner`.

    Args:
        node: The node that carries the stream.
        tls: A fresh connection; its ``key`` is the peer's.
        on_established: Called when the handshake is done; it attaches a protocol or abandons the transport.
        on_failed: Called with the reason if the stream ends before it is established.

    Attributes:
        stream: What the node calls.
        connected: Whether there is a protocol that has not been told of the connection's end.
        disconnecting: Whether the end has begun.
    """

    def __init__(
        self,
        node: INode,
        tls: TlsConnection,
        on_established: Callable[[StreamTransport], None],
        on_failed: Callable[[StreamTransport, Failure], None],
    ) -> None:
        self.stream: Final = SecureStream(node, tls, self)
        self.connected = False
        self.disconnecting = False
        self._node: Final = node
        self._on_established: Final = on_established
        self._on_failed: Final = on_failed
        self._protocol: IProtocol | None = None
        self._on_lost: Callable[[], None]
        self._producer: Final = ProducerSlot(self._call_application_later, lambda: self.stream.pending)
        self._write_close_wanted = False  # once the producer is done
        self._reading_ended = False

    def attach(self, protocol: IProtocol, on_lost: Callable[[], None]) -> None:
        """Make the connection known to its protocol. To be called in ``on_established``.

        Args:
            protocol: What is told of the connection and its data.
            on_lost: Called after the protocol's ``connectionLost``.
        """
        self._protocol = protocol
        self._on_lost = on_lost
        self.connected = True
        protocol.makeConnection(self)

    def abandon(self) -> None:
        """End a stream that has no protocol; nobody is called."""
        self.stream.reset()

    # -- ITransport ---------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data; dropped once the connection is closing, unless a producer is still at work."""
        if not isinstance(data, bytes):
            # It waits here, and its owner may change it meanwhile. Text is refused by ``bytes``, as it should be.
            data = bytes(data)
        if data and self.connected:
            self.stream.write(data)
            self._producer.data_added()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send the pieces as one."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Send what was written, and what a registered producer still gives, then close both ways."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self.stream.discard()
        if self.stream.end_sent:
            self._call_later(self._finish)
        else:
            self._end_when_fed()

    def abortConnection(self) -> None:
        """Close both ways at once; ``connectionLost`` follows in a later turn."""
        if self.connected:
            self.disconnecting = True
            self.stream.reset()
            self._call_later(lambda: self._lose(Failure(ConnectionAborted())))

    def loseWriteConnection(self) -> None:
        """Send what was written, and what a registered producer still gives, then the end; reading goes on."""
        if self.connected:
            self._end_when_fed()

    def getPeer(self) -> PineconeAddress:
        """Return who the peer is: TLS has authenticated the key."""
        return PineconeAddress(self.stream.peer)

    def getHost(self) -> PineconeAddress:
        """Return who we are."""
        return PineconeAddress(self._node.identity.key)

    # -- IConsumer, IPushProducer -------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the producer be paused and resumed as the stream takes data."""
        if self.connected:
            self._producer.register(producer, streaming)
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer; a close that waited for it goes on."""
        self._producer.unregister()
        if self.connected and self._write_close_wanted:
            self._end_when_fed()

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed: the receive window fills, and the peer waits."""
        self.stream.pause()

    def resumeProducing(self) -> None:
        """Deliver again, from a later turn on."""
        self.stream.resume()

    def stopProducing(self) -> None:
        """Close: nobody wants what comes."""
        self.loseConnection()

    # -- what Twisted's TCP transports have besides -------------------------------------------------------------

    def getTcpNoDelay(self) -> bool:
        """Tell that small writes are never held back."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: small writes are never held back."""

    def getTcpKeepAlive(self) -> bool:
        """Tell that dead peers are noticed: the session sees to it."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing: the session notices dead peers."""

    # -- SecureStreamOwner --------------------------------------------------------------------------------------

    def stream_established(self) -> None:
        """See `SecureStreamOwner`."""
        self._on_established(self)

    def stream_failed(self, error: Exception) -> None:
        """See `SecureStreamOwner`."""
        self._on_failed(self, Failure(error))

    def plaintext_received(self, data: bytes) -> None:
        """See `SecureStreamOwner`."""
        assert self._protocol is not None
        self._call_application(self._protocol.dataReceived, data)

    def plaintext_sent(self) -> None:
        """See `SecureStreamOwner`."""
        self._producer.data_left()

    def reading_ended(self) -> None:
        """See `SecureStreamOwner`."""
        self._reading_ended = True
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if self.stream.end_sent or half_closeable is None:
            self._finish()
        else:
            self._call_application(half_closeable.readConnectionLost)

    def writing_ended(self) -> None:
        """See `SecureStreamOwner`."""
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if self.disconnecting or self._reading_ended:
            self._finish()
        elif half_closeable is not None:
            self._call_application(half_closeable.writeConnectionLost)

    def stream_broke(self, error: Exception) -> None:
        """See `SecureStreamOwner`."""
        self._lose(Failure(error))

    # -- inside -------------------------------------------------------------------------------------------------

    def _end_when_fed(self) -> None:
        self._write_close_wanted = True
        if not self._producer:
            self.stream.end()

    def _finish(self) -> None:
        """Both ways are done as far as the protocol is concerned; what it wrote is still sent."""
        if self.connected:
            self.stream.let_go()
            self._lose(Failure(ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        """Tell the protocol, once, that the connection is gone."""
        if not self.connected:
            return
        self.connected = False
        self.disconnecting = True
        self._log_errors(self._producer.stop)
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        self._log_errors(lambda: protocol.connectionLost(reason))
        self._on_lost()

    def _call_application(self, method: Callable[..., None], *arguments: bytes) -> None:
        """Call the protocol or its producer; if it raises, the connection ends, as with Twisted's own transports."""
        reason = self._log_errors(lambda: method(*arguments))
        if reason is not None:
            self.stream.reset()
            self._lose(reason)

    def _call_application_later(self, method: Callable[[], None]) -> None:
        self._call_later(lambda: self._call_application(method))

    def _call_later(self, call: Callable[[], None]) -> None:
        self._node.reactor.callLater(0, call)

    def _log_errors(self, call: Callable[[], object]) -> Failure | None:
        try:
            call()
        except Exception:
            reason = Failure()
            _log.failure("Unhandled error of {protocol!r}", reason, protocol=self._protocol)
            return reason
        return None
