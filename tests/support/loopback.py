"""Nodes without an overlay: `INode` over queues in memory, so that the endpoints alone are under test.

Streams behave as the real node's do (a window, room, an end each way, resets, calls only from inside a turn), and can
be broken on purpose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamResetError, UnreachableError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.node.interfaces import Acceptor, INode, NodeObserver, StreamReceiver

WINDOW = 262_144


class LoopbackNetwork:
    """The nodes that can reach one another.

    Attributes:
        latency: Seconds until a node's next turn.
        silent: Keys whose nodes swallow everything.
        authenticated: Whether streams are like those of QUIC, which have no TLS around them.
        carried: All that was sent.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.latency = 0.0
        self.nodes: dict[PublicKey, LoopbackNode] = {}
        self.silent: set[PublicKey] = set()
        self.authenticated = False
        self.carried: list[bytes] = []

    def node(self, seed: int) -> LoopbackNode:
        """Add the node whose seed is this byte, 32 times."""
        node = LoopbackNode(self, Identity(bytes([seed]) * 32))
        self.nodes[node.identity.key] = node
        return node


class _End:
    """One end of a stream."""

    def __init__(self, node: LoopbackNode, number: int, receiver: StreamReceiver | None) -> None:
        self.node = node
        self.number = number
        self.receiver = receiver
        self.far: _End
        self.unacknowledged = 0  # what the far end has not given back yet
        self.closed = False
        self.mail: deque[Callable[[], None]] = deque()

    def post(self, call: Callable[[], None]) -> None:
        self.mail.append(call)
        self.node.turn_soon()


@implementer(INode)
class LoopbackNode:
    """A node of a `LoopbackNetwork`."""

    def __init__(self, network: LoopbackNetwork, identity: Identity) -> None:
        self.identity: Identity = identity
        self.reactor: IReactorTime = network.reactor
        self.network = network
        self.window = WINDOW
        self.segment = 1_416
        self.ends: dict[int, _End] = {}
        self._acceptor: Acceptor | None = None
        self._dirty: dict[int, None] = {}
        self._calls: list[Callable[[], None]] = []
        self._next_number = 1
        self._turn_scheduled = False

    def open_stream(self, key: PublicKey, receiver: StreamReceiver) -> int:
        if key == self.identity.key:
            raise LocalProtocolError("a node does not dial its own key")
        near = self._add(receiver)
        node = self.network.nodes.get(key)
        if node is None:
            near.post(lambda: self._lose(near, UnreachableError("no route")))
        elif key not in self.network.silent:
            far = node._add(None)
            near.far, far.far = far, near
            far.post(lambda: node._accept(far, self.identity.key))
        return near.number

    def set_acceptor(self, acceptor: Acceptor | None) -> None:
        if acceptor is not None and self._acceptor is not None:
            raise LocalProtocolError("there is an acceptor already")
        self._acceptor = acceptor

    def is_authenticated(self, stream: int) -> bool:
        return self.network.authenticated

    def mark_dirty(self, stream: int) -> None:
        self._dirty[stream] = None
        self.turn_soon()

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self.turn_soon()

    def close_stream(self, stream: int) -> None:
        end = self.ends.get(stream)
        if end is not None and not end.closed:
            end.closed = True
            far = end.far
            far.post(lambda: far.node._ended(far))

    def abort_stream(self, stream: int) -> None:
        end = self.ends.pop(stream, None)
        if end is not None and hasattr(end, "far"):
            far = end.far
            far.post(lambda: far.node._lose(far, StreamResetError("reset by the far end")))

    def acknowledge_received_data(self, stream: int, length: int) -> None:
        end = self.ends.get(stream)
        if end is not None:
            far = end.far
            far.post(lambda: far.node._acknowledged(far, length))

    def subscribe(self, observer: NodeObserver) -> Callable[[], None]:
        raise NotImplementedError

    # -- for tests

    def lose_streams(self, error: PineconeError) -> None:
        """Have all streams of this node end as if the network had failed; the far ends hear nothing."""
        for end in list(self.ends.values()):
            end.post(lambda end=end: self._lose(end, error))

    def turn_soon(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self.reactor.callLater(self.network.latency, self._turn)

    # -- inside

    def _add(self, receiver: StreamReceiver | None) -> _End:
        end = _End(self, self._next_number, receiver)
        self.ends[end.number] = end
        self._next_number += 1
        return end

    def _turn(self) -> None:
        self._turn_scheduled = False
        for end in list(self.ends.values()):
            while end.mail:
                end.mail.popleft()()
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        dirty, self._dirty = self._dirty, {}
        for stream in dirty:
            end = self.ends.get(stream)
            if end is not None and hasattr(end, "far"):  # else nobody will ever answer its dial
                self._flush(end)

    def _accept(self, end: _End, key: PublicKey) -> None:
        end.receiver = self._acceptor(key) if self._acceptor is not None else None
        if end.receiver is None:
            self.abort_stream(end.number)
            return
        end.receiver.stream_connected(end.number)
        far = end.far
        far.post(lambda: far.receiver is not None and far.receiver.stream_connected(far.number))

    def _flush(self, end: _End) -> None:
        far = end.far
        room = far.node.window - end.unacknowledged
        if room <= 0 or end.closed or end.receiver is None:
            return
        for piece in end.receiver.flush(room, self.segment):
            end.unacknowledged += len(piece)
            self.network.carried.append(piece)
            far.post(lambda piece=piece: far.node._data(far, piece))
        assert end.unacknowledged <= far.node.window, "flush gave more than there was room for"

    def _data(self, end: _End, data: bytes) -> None:
        if end.number in self.ends and end.receiver is not None and self.identity.key not in self.network.silent:
            end.receiver.stream_data(data)

    def _ended(self, end: _End) -> None:
        if end.number not in self.ends or end.receiver is None:
            return
        end.receiver.stream_ended()
        if end.closed:
            self._lose(end, None)
            end.far.post(lambda: end.far.node._lose(end.far, None))

    def _acknowledged(self, end: _End, length: int) -> None:
        end.unacknowledged -= length
        assert end.unacknowledged >= 0, "more was given back than was sent"
        self.mark_dirty(end.number)

    def _lose(self, end: _End, error: PineconeError | None) -> None:
        if self.ends.pop(end.number, None) is not None and end.receiver is not None:
            end.receiver.stream_lost(error)
