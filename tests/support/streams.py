"""Receivers of streams, for tests of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from pinecone_transport.identity import PublicKey
from pinecone_transport.node import INode


class StreamEnd:
    """One end of a stream that keeps what it receives and sends what it is told to.

    Attributes:
        calls: Names of the calls that the node made, in order; repeated ones once.
        received: All bytes.
        sent: How many bytes the node took.
        errors: What ``stream_lost`` was called with.
    """

    def __init__(
        self,
        node: INode,
        to_send: bytes = b"",
        *,
        echo: bool = False,
        acknowledge: bool = True,
        close_after_sending: bool = False,
    ) -> None:
        self.node = node
        self.stream = 0
        self.to_send = bytearray(to_send)
        self.echo = echo
        self.acknowledge = acknowledge
        self.close_after_sending = close_after_sending
        self.calls: list[str] = []
        self.received = bytearray()
        self.unacknowledged = 0
        self.sent = 0
        self.errors: list[Exception | None] = []

    def _note(self, call: str) -> None:
        if self.calls[-1:] != [call]:
            self.calls.append(call)

    def stream_connected(self, stream: int) -> None:
        self._note("connected")
        self.stream = stream
        self.node.mark_dirty(stream)

    def stream_data(self, data: bytes) -> None:
        self._note("data")
        self.received += data
        if self.echo:
            self.to_send += data
            self.node.mark_dirty(self.stream)
        self.unacknowledged += len(data)
        if self.acknowledge:
            self.give_back()

    def stream_ended(self) -> None:
        self._note("ended")
        self.node.close_stream(self.stream)

    def stream_lost(self, error: Exception | None) -> None:
        self._note("lost")
        self.errors.append(error)

    def flush(self, room: int, segment: int) -> Sequence[bytes]:
        assert room > 0
        assert segment > 0
        data = bytes(self.to_send[:room])
        del self.to_send[: len(data)]
        self.sent += len(data)
        if self.close_after_sending and not self.to_send:
            self.node.close_stream(self.stream)
        return [data] if data else []

    def give_back(self) -> None:
        """Acknowledge what was received."""
        self.node.acknowledge_received_data(self.stream, self.unacknowledged)
        self.unacknowledged = 0


class StreamEnds:
    """An acceptor whose streams are `StreamEnd`s."""

    def __init__(self, node: INode, **options: object) -> None:
        self.node = node
        self.options = options
        self.made: list[StreamEnd] = []
        self.keys: list[PublicKey] = []

    def __call__(self, key: PublicKey) -> StreamEnd:
        self.keys.append(key)
        self.made.append(StreamEnd(self.node, **self.options))  # type: ignore[arg-type]  # options are the tests'
        return self.made[-1]
