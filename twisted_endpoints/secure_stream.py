"""TLS on one stream of a node: what the node calls, and what a transport asks for.

Ciphertext that comes in is given back to the node's receive window only when its plaintext was delivered, so an owner
that pauses closes the window. Plaintext that goes out waits until the node asks with ``flush``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, Protocol, final

from twisted.internet.interfaces import IDelayedCall

from pinecone_transport.identity import PublicKey
from pinecone_transport.node.interfaces import INode
from twisted_endpoints.errors import connect_error, connection_error
from twisted_endpoints.plain import PlainConnection
from twisted_endpoints.tls import TlsConnection

LINGER_TIMEOUT: Final = 120.0
"""Seconds that a stream may take to close behind an owner that is done with it. A slow link needs a while to carry
what the node has buffered; a peer that never closes its end must not hold the stream for ever."""


class SecureStreamOwner(Protocol):
    """Who uses a `SecureStream`.

    ``stream_failed`` and ``stream_broke`` are last calls; so is any call during which the owner resets the stream or
    lets it go.
    """

    def stream_established(self) -> None:
        """The handshake is done, the peer has shown its key. First call, unless it is ``stream_failed``."""

    def stream_failed(self, error: Exception) -> None:
        """There will be no connection, for a `ConnectError`."""

    def plaintext_received(self, data: bytes) -> None:
        """Data in order."""

    def plaintext_sent(self) -> None:
        """Some of what was written has left; called by the node's ``flush``, so nothing may be written here."""

    def reading_ended(self) -> None:
        """The peer has said that it sends no more."""

    def writing_ended(self) -> None:
        """All that was written, and the end, are with the node."""

    def stream_broke(self, error: Exception) -> None:
        """The open connection is gone, for a `ConnectionLost`."""


class _Phase(Enum):
    HANDSHAKE = auto()
    OPEN = auto()
    LINGERING = auto()  # the owner is done; what it wrote, and the end, still leave
    CLOSED = auto()  # the node does not know the stream any more


@final
class SecureStream:
    """One end of a stream, a `StreamReceiver`.

    Args:
        node: The node that carries it.
        tls: A fresh connection; its ``key`` is the peer's.
        owner: Who is told.
    """

    def __init__(self, node: INode, tls: TlsConnection, owner: SecureStreamOwner) -> None:
        self._node: Final = node
        self._tls: TlsConnection | PlainConnection = tls
        self._owner: Final = owner
        self._phase = _Phase.HANDSHAKE
        self._stream: int | None = None
        self._received: deque[bytes] = deque()  # ciphertext that waits for the owner to resume
        self._unacknowledged = 0  # ciphertext given to TLS that the node has not been told of, bytes
        self._paused = False
        self._discarding = False
        self._stream_ended = False  # the node has said that nothing follows …
        self._reading_ended = False  # … and the owner was told that TLS has
        self._ending = False  # the end of our data was asked for …
        self._end_sent = False  # … and is, with all before it, on its way to the node
        self._linger_timer: IDelayedCall | None = None

    # -- the owner's side ---------------------------------------------------------------------------------------

    @property
    def peer(self) -> PublicKey:
        """The key that the peer has shown, once established; until then the one that it has to show."""
        return self._tls.key

    @property
    def pending(self) -> int:
        """Bytes that were written and not sent yet."""
        return self._tls.pending

    @property
    def end_sent(self) -> bool:
        """Whether the end of our data is on its way to the node."""
        return self._end_sent

    def dial(self) -> None:
        """Open the stream, and begin the handshake, so that its first words leave with the dial (§11).

        A listener's stream is open already.
        """
        self._stream = self._node.open_stream(self._tls.key, self)
        self._begin(self._stream)

    def write(self, data: bytes) -> None:
        """Send data; dropped behind ``end``."""
        if not self._ending and self._stream is not None:
            self._tls.write(data)
            self._node.mark_dirty(self._stream)

    def end(self) -> None:
        """Send the end behind what was written; reading goes on."""
        if self._ending:
            return
        self._ending = True
        self._tls.end()
        if self._stream is not None:
            self._node.mark_dirty(self._stream)

    def pause(self) -> None:
        """Deliver nothing until ``resume``: the receive window fills, and the peer waits."""
        self._paused = True

    def resume(self) -> None:
        """Deliver again, from a later turn on."""
        if self._paused:
            self._paused = False
            self._node.reactor.callLater(0, self._deliver)

    def discard(self) -> None:
        """Deliver nothing any more; what comes is thrown away, so that the peer can finish writing."""
        self._discarding = True
        self._unacknowledged += sum(map(len, self._received))
        self._received.clear()
        self._acknowledge()

    def let_go(self) -> None:
        """Be done: what was written is still sent, then the end; what comes is thrown away."""
        self._phase = _Phase.LINGERING
        self.discard()
        self.end()
        if self._stream is None:
            self._close()
        else:
            self._linger_timer = self._node.reactor.callLater(LINGER_TIMEOUT, self._close)

    def reset(self) -> None:
        """End the stream at once; the owner is not called any more."""
        self._discarding = True
        self._close()

    # -- the node's side (StreamReceiver) -----------------------------------------------------------------------

    def stream_connected(self, stream: int) -> None:
        """See `StreamReceiver`."""
        if self._node.is_authenticated(stream):
            # What TLS has begun to say went with a dial of another kind.
            self._tls = PlainConnection(self._tls.key)
        if self._stream is None:
            self._begin(stream)
        else:
            self._node.mark_dirty(stream)
        self._deliver()

    def stream_data(self, data: bytes) -> None:
        """See `StreamReceiver`."""
        if self._discarding:
            self._unacknowledged += len(data)
            self._acknowledge()
        else:
            self._received.append(data)
            self._deliver()

    def stream_ended(self) -> None:
        """See `StreamReceiver`."""
        self._stream_ended = True
        self._deliver()

    def stream_lost(self, error: Exception | None) -> None:
        """See `StreamReceiver`."""
        self._stream = None
        if self._phase is _Phase.LINGERING:
            self._close()
        elif error is None and self._phase is _Phase.OPEN:
            self.stream_ended()
        else:
            self._break(error)

    def flush(self, room: int, segment: int) -> Sequence[bytes]:
        """See `StreamReceiver`."""
        data = self._tls.data_to_send(room, segment)
        if self._phase is _Phase.OPEN:
            self._owner.plaintext_sent()
        if self._ending and not self._end_sent and self._tls.is_drained():
            self._end_sent = True
            # What we return is written after we return, and the end has to come behind it.
            self._node.reactor.callLater(0, self._close_writing)
        return data

    # -- inside -------------------------------------------------------------------------------------------------

    def _begin(self, stream: int) -> None:
        self._stream = stream
        self._tls.start()
        self._node.mark_dirty(stream)

    def _deliver(self) -> None:
        """Give the owner what has come, as long as it wants it."""
        while not (self._paused or self._discarding) and self._deliver_piece():
            pass

    def _deliver_piece(self) -> bool:
        """Take one step; tell whether there may be another."""
        tls = self._tls
        if tls.established and self._phase is _Phase.HANDSHAKE:
            self._phase = _Phase.OPEN
            self._owner.stream_established()
            return True
        data = tls.read() if tls.established else b""
        if data:
            self._owner.plaintext_received(data)
            return True
        if tls.error is not None:
            self._break(tls.error)
            return False
        self._acknowledge()
        if tls.ended and not self._reading_ended:
            self._reading_ended = True
            self._owner.reading_ended()
            return True
        if self._received:
            self._feed(self._received.popleft())
            return True
        if self._stream_ended and not tls.ended:
            if tls.ends_with_stream:
                tls.ended = True
                return True
            # Somebody has cut it short.
            self._break(None)
        return False

    def _feed(self, data: bytes) -> None:
        self._unacknowledged += len(data)
        self._tls.receive_data(data)
        if self._phase is _Phase.HANDSHAKE and self._stream is not None:
            self._node.mark_dirty(self._stream)

    def _acknowledge(self) -> None:
        length, self._unacknowledged = self._unacknowledged, 0
        if length and self._stream is not None:
            self._node.acknowledge_received_data(self._stream, length)

    def _break(self, error: Exception | None) -> None:
        """TLS or the stream is broken; None: the stream ended before TLS said so."""
        tell: Callable[[Exception], None]
        if self._phase is _Phase.HANDSHAKE:
            tell, error = self._owner.stream_failed, connect_error(error)
        else:
            tell, error = self._owner.stream_broke, connection_error(error)
        self.reset()
        tell(error)

    def _close_writing(self) -> None:
        """What ``flush`` has returned is with the node."""
        if self._stream is None:
            return
        self._node.close_stream(self._stream)
        if self._phase is _Phase.OPEN:
            self._owner.writing_ended()

    def _close(self) -> None:
        """Have done with the node."""
        self._phase = _Phase.CLOSED
        stream, self._stream = self._stream, None
        if stream is not None:
            self._node.abort_stream(stream)
        if self._linger_timer is not None and self._linger_timer.active():
            self._linger_timer.cancel()
