"""A Twisted transport over one overlay stream: plaintext on the protocol's side, TLS on the node's.

The node drives the lower side (`StreamReceiver`), the protocol the upper one (`ITransport` and its kin). Data that
comes in is given back to the node's receive window only when the protocol has had it, so a protocol that pauses closes
the window. Data that goes out waits as plaintext until the node asks with ``flush``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Final, final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
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
from twisted_endpoints.errors import connect_error, connection_error
from twisted_endpoints.producers import ProducerSlot
from twisted_endpoints.tls import TlsConnection

LINGER_TIMEOUT: Final = 120.0
"""Seconds that a stream may take to close behind a protocol that is done with it. A slow link needs a while to carry
what the node has buffered; a peer that never closes its end must not hold the stream for ever."""

_log = Logger()


class _Phase(Enum):
    HANDSHAKE = auto()  # no protocol yet
    OPEN = auto()  # a protocol is attached
    LINGERING = auto()  # the protocol is gone; what it wrote, and the end, still leave
    CLOSED = auto()  # the node does not know the stream any more


_SPENT: Final = (_Phase.LINGERING, _Phase.CLOSED)


@final
@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport:
    """One end of a stream, from the handshake to the end.

    Args:
        node: The node that carries the stream.
        tls: A fresh connection; its ``key`` is the peer's.
        on_established: Called when the handshake is done; it attaches a protocol or aborts.
        on_failed: Called with the reason if the stream ends before it is established.
    """

    def __init__(
        self,
        node: INode,
        tls: TlsConnection,
        on_established: Callable[[StreamTransport], None],
        on_failed: Callable[[StreamTransport, Failure], None],
    ) -> None:
        self.connected = False
        self.disconnecting = False
        self._node: Final = node
        self._tls: Final = tls
        self._on_established: Final = on_established
        self._on_failed: Final = on_failed
        self._phase = _Phase.HANDSHAKE
        self._stream: int | None = None
        self._protocol: IProtocol | None = None
        self._on_lost: Callable[[], None]
        self._producer: Final = ProducerSlot(self._call_application_later, lambda: tls.pending)
        self._received: deque[bytes] = deque()  # ciphertext that waits for the protocol to resume
        self._unacknowledged = 0  # ciphertext given to TLS that the node has not been told of, bytes
        self._paused = False
        self._stream_ended = False  # the node has said that nothing follows
        self._read_ended = False  # the protocol was told so
        self._write_close_wanted = False  # the protocol wants our data to end, once its producer is done …
        self._write_closing = False  # … TLS was told …
        self._write_closed = False  # … and it and all before it are on their way to the node
        self._linger_timer: IDelayedCall | None = None

    # -- the endpoints' side ------------------------------------------------------------------------------------

    def dial(self) -> None:
        """Open the stream."""
        self._stream = self._node.open_stream(self._tls.key, self)

    def attach(self, protocol: IProtocol, on_lost: Callable[[], None]) -> None:
        """Make the connection known to its protocol. To be called in ``on_established``.

        Args:
            protocol: What is told of the connection and its data.
            on_lost: Called after the protocol's ``connectionLost``.
        """
        self._phase = _Phase.OPEN
        self._on_lost = on_lost
        self._protocol = protocol
        self.connected = True
        protocol.makeConnection(self)

    def abandon(self) -> None:
        """End a stream that has no protocol yet; nobody is called."""
        self._close()

    # -- the node's side (StreamReceiver) -----------------------------------------------------------------------

    def stream_connected(self, stream: int) -> None:
        """See `StreamReceiver`."""
        self._stream = stream
        self._tls.start()
        self._node.mark_dirty(stream)

    def stream_data(self, data: bytes) -> None:
        """See `StreamReceiver`."""
        if self._phase is _Phase.LINGERING or self.disconnecting:
            self._acknowledge(len(data))
            return
        self._received.append(data)
        self._deliver()

    def stream_ended(self) -> None:
        """See `StreamReceiver`."""
        self._stream_ended = True
        self._deliver()

    def stream_lost(self, error: Exception | None) -> None:
        """See `StreamReceiver`."""
        self._stream = None
        if self._phase is _Phase.HANDSHAKE:
            self._fail(connect_error(error))
        elif error is not None:
            self._lose(Failure(connection_error(error)))
        elif self.disconnecting:
            self._finish()
        else:
            self._stream_ended = True
            self._deliver()
        if self._phase is _Phase.LINGERING:
            self._close()

    def flush(self, room: int, segment: int) -> Sequence[bytes]:
        """See `StreamReceiver`."""
        data = self._tls.data_to_send(room, segment)
        self._producer.data_left()
        if self._write_closing and not self._write_closed and self._tls.is_drained():
            self._write_closed = True
            # What we return is written after we return, and the end has to come behind it.
            self._call_later(self._finish_writing)
        return data

    # -- the protocol's side: ITransport ------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data; dropped once the connection is closing, unless a producer is still at work."""
        if not isinstance(data, bytes):
            # It waits here, and its owner may change it meanwhile. Text is refused by ``bytes``, as it should be.
            data = bytes(data)
        if not data or not self.connected or self._write_closing or self._stream is None:
            return
        self._tls.write(data)
        self._node.mark_dirty(self._stream)
        self._producer.data_added()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send the pieces as one."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Send what was written, and what a registered producer still gives, then close both ways."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self._discard_received()
        if self._write_closed:
            self._call_later(self._finish)
        else:
            self._close_writing_when_fed()

    def abortConnection(self) -> None:
        """Close both ways at once; ``connectionLost`` follows in a later turn."""
        if not self.connected:
            return
        self.disconnecting = True
        self._reset_stream()
        self._call_later(lambda: self._lose(Failure(ConnectionAborted())))

    def loseWriteConnection(self) -> None:
        """Send what was written, and what a registered producer still gives, then the end; reading goes on."""
        if self.connected:
            self._close_writing_when_fed()

    def getPeer(self) -> PineconeAddress:
        """Return who the peer is: TLS has authenticated the key."""
        return PineconeAddress(self._tls.key)

    def getHost(self) -> PineconeAddress:
        """Return who we are."""
        return PineconeAddress(self._node.identity.key)

    # -- the protocol's side: IConsumer, IPushProducer ----------------------------------------------------------

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
            self._close_writing_when_fed()

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed: the receive window fills, and the peer waits."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again, from a later turn on."""
        if self._paused and self.connected and not self.disconnecting:
            self._paused = False
            self._call_later(self._deliver)

    def stopProducing(self) -> None:
        """Close: nobody wants what comes."""
        self.loseConnection()

    # -- the protocol's side: what Twisted's TCP transports have besides ----------------------------------------

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

    # -- receiving ----------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Give the protocol what has come, as long as it wants it."""
        while self._deliver_piece():
            pass

    def _deliver_piece(self) -> bool:
        """Take one step; tell whether there may be another."""
        if self._paused or self.disconnecting or self._phase in _SPENT:
            return False
        tls = self._tls
        if self._phase is _Phase.HANDSHAKE and tls.established:
            self._on_established(self)
            return True
        data = tls.read() if self._protocol is not None else b""
        if data and self._protocol is not None:
            self._call_application(self._protocol.dataReceived, data)
            return True
        if tls.error is not None:
            self._fail(tls.error)
            return False
        self._acknowledge_delivered()
        if tls.ended and not self._read_ended:
            self._end_reading()
            return True
        if self._received:
            self._feed(self._received.popleft())
            return True
        if self._stream_ended:
            self._end_of_stream()
        return False

    def _feed(self, data: bytes) -> None:
        self._unacknowledged += len(data)
        self._tls.receive_data(data)
        if self._phase is _Phase.HANDSHAKE and self._stream is not None:
            self._node.mark_dirty(self._stream)

    def _end_reading(self) -> None:
        """The peer's close_notify has come."""
        self._read_ended = True
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if self._write_closed or half_closeable is None:
            self._finish()
        else:
            self._call_application(half_closeable.readConnectionLost)

    def _end_of_stream(self) -> None:
        """The node's stream has ended: all is well if TLS has said so before, else somebody has cut it short."""
        if self._phase is _Phase.HANDSHAKE:
            self._fail(connect_error(None))
        elif not self._tls.ended:
            self._fail(ConnectionLost("the stream ended without TLS saying so"))

    def _discard_received(self) -> None:
        self._unacknowledged += sum(map(len, self._received))
        self._received.clear()
        self._acknowledge_delivered()

    def _acknowledge_delivered(self) -> None:
        length, self._unacknowledged = self._unacknowledged, 0
        self._acknowledge(length)

    def _acknowledge(self, length: int) -> None:
        if length and self._stream is not None:
            self._node.acknowledge_received_data(self._stream, length)

    # -- closing ------------------------------------------------------------------------------------------------

    def _close_writing_when_fed(self) -> None:
        self._write_close_wanted = True
        if not self._producer:
            self._close_writing()

    def _close_writing(self) -> None:
        if self._write_closing:
            return
        self._write_closing = True
        self._tls.end()
        if self._stream is not None:
            self._node.mark_dirty(self._stream)

    def _finish_writing(self) -> None:
        """All that was written is with the node."""
        if self._stream is None:
            return
        self._node.close_stream(self._stream)
        if self._phase is not _Phase.OPEN:
            return
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if self.disconnecting or self._read_ended:
            self._finish()
        elif half_closeable is not None:
            self._call_application(half_closeable.writeConnectionLost)

    def _finish(self) -> None:
        """Both ways are done as far as the protocol is concerned."""
        self._close_writing()
        self._lose(Failure(ConnectionDone()))

    def _fail(self, error: Exception) -> None:
        """TLS or the stream is broken."""
        self._reset_stream()
        if self._phase is _Phase.HANDSHAKE:
            self._close()
            self._on_failed(self, Failure(error))
        else:
            self._lose(Failure(error if isinstance(error, ConnectionLost) else connection_error(error)))

    def _lose(self, reason: Failure) -> None:
        """Tell the protocol, once, that the connection is gone; then let the stream close behind it."""
        if self._phase is not _Phase.OPEN:
            return
        self._phase = _Phase.LINGERING
        self.connected = False
        self.disconnecting = True
        self._discard_received()
        if self._stream is None:
            self._close()
        else:
            self._linger_timer = self._node.reactor.callLater(LINGER_TIMEOUT, self._close)
        self._stop_producer()
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        try:
            protocol.connectionLost(reason)
        except Exception:
            _log.failure("Unhandled error in connectionLost of {protocol!r}", protocol=protocol)
        self._on_lost()

    def _stop_producer(self) -> None:
        try:
            self._producer.stop()
        except Exception:
            _log.failure("Unhandled error in stopProducing")

    def _close(self) -> None:
        """Have done with the node."""
        self._phase = _Phase.CLOSED
        self._reset_stream()
        if self._linger_timer is not None and self._linger_timer.active():
            self._linger_timer.cancel()

    def _reset_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._node.abort_stream(stream)

    def _call_application(self, method: Callable[..., None], *arguments: bytes) -> None:
        """Call the protocol or its producer; if it raises, the connection ends, as with Twisted's own transports."""
        try:
            method(*arguments)
        except Exception:
            reason = Failure()
            _log.failure("Unhandled error in {method}", reason, method=method)
            self._reset_stream()
            self._lose(reason)

    def _call_application_later(self, method: Callable[[], None]) -> None:
        self._call_later(lambda: self._call_application(method))

    def _call_later(self, call: Callable[[], None]) -> None:
        self._node.reactor.callLater(0, call)
