"""Which receiver has which stream, and which of them have something to write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, final

from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamError
from pinecone_transport.identity import PublicKey
from pinecone_transport.node.interfaces import Acceptor, StreamReceiver
from pinecone_transport.session import (
    SessionEvent,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
    StreamWritable,
)
from pinecone_transport.stack import Stack

logger = logging.getLogger("pinecone_transport.node")


@final
class StreamRecord:
    """What the node knows of one stream.

    Attributes:
        receiver: Who hears of it.
        key: The far end's, 32 bytes.
        outbound: Whether we dialled.
        opened_at: When.
        bytes_received: Given to the receiver.
        bytes_sent: Taken from it.
    """

    __slots__ = ("bytes_received", "bytes_sent", "key", "opened_at", "outbound", "receiver")

    def __init__(self, receiver: StreamReceiver, key: PublicKey, outbound: bool, opened_at: float) -> None:
        self.receiver: Final = receiver
        self.key: Final = key
        self.outbound: Final = outbound
        self.opened_at: Final = opened_at
        self.bytes_received = 0
        self.bytes_sent = 0


@final
class Streams:
    """The streams of one node. Receivers are called by `handle`, `flush` and `abort_all` only."""

    def __init__(self, stack: Stack) -> None:
        self._stack: Final = stack
        self._acceptor: Acceptor | None = None
        self._records: Final[dict[int, StreamRecord]] = {}
        # Ordered: who asked first is asked first.
        self._dirty: dict[int, None] = {}
        self._closing: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> dict[int, StreamRecord]:
        """Return all streams by number, oldest first."""
        return dict(self._records)

    @property
    def has_work(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._dirty or self._closing)

    def set_acceptor(self, acceptor: Acceptor | None) -> None:
        """Set who gets streams from afar; see ``INode.set_acceptor``."""
        if acceptor is not None and self._acceptor is not None:
            raise LocalProtocolError("the node's streams have an acceptor already")
        self._acceptor = acceptor

    def open(self, key: PublicKey, receiver: StreamReceiver, now: float) -> int:
        """Dial; return the stream's number."""
        stream = self._stack.connect(key, now)
        self._records[stream] = StreamRecord(receiver, key, True, now)
        return stream

    def mark_dirty(self, stream: int) -> None:
        """Have the stream's receiver asked for bytes."""
        if stream in self._records and stream not in self._closing:
            self._dirty[stream] = None

    def close(self, stream: int) -> None:
        """Have the end sent, behind what a ``flush`` that is under way returns."""
        if stream in self._records:
            self._dirty.pop(stream, None)
            self._closing[stream] = None

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream."""
        if self._forget(stream) is not None:
            self._stack.abort(stream, now)

    def acknowledge(self, stream: int, length: int, now: float) -> None:
        """Give back receive window."""
        if stream in self._records:
            self._stack.acknowledge_received_data(stream, length, now)

    def handle(self, event: SessionEvent, now: float) -> None:
        """Tell the receiver what has happened to its stream."""
        stream = event.stream
        if isinstance(event, StreamAccepted):
            self._accept(stream, event.key, now)
            return
        record = self._records.get(stream)
        if record is None:
            return
        receiver = record.receiver
        if isinstance(event, StreamData):
            record.bytes_received += len(event.data)
            self._call(stream, now, receiver.stream_data, event.data)
        elif isinstance(event, StreamWritable):
            self.mark_dirty(stream)
        elif isinstance(event, StreamConnected):
            self._call(stream, now, receiver.stream_connected, stream)
        elif isinstance(event, StreamEnded):
            self._call(stream, now, receiver.stream_ended)
        elif isinstance(event, StreamClosed):
            self._end(stream, receiver, None)
        elif isinstance(event, StreamLost):
            self._end(stream, receiver, event.error)

    def flush(self, now: float) -> None:
        """Ask each dirty stream that has room for bytes, then close those that are to be closed."""
        dirty, self._dirty = self._dirty, {}
        for stream in dirty:
            record = self._records.get(stream)
            if record is None:
                continue
            room = self._stack.room(stream)
            if room > 0:
                self._flush_stream(stream, record, room, now)
        closing, self._closing = self._closing, {}
        for stream in closing:
            if stream in self._records:
                self._stack.close(stream, now)

    def abort_all(self, now: float) -> None:
        """Reset every stream and tell the receivers."""
        records = self.records()
        self._records.clear()
        self._dirty.clear()
        self._closing.clear()
        self._stack.abort_all(now)
        for stream, record in records.items():
            self._end(stream, record.receiver, StreamError("the node was stopped"))

    def _flush_stream(self, stream: int, record: StreamRecord, room: int, now: float) -> None:
        try:
            chunks = record.receiver.flush(room, self._stack.segment(stream))
        except Exception:
            self._receiver_failed(stream, now)
            return
        if stream in self._records:
            record.bytes_sent += sum(map(len, chunks))
            self._stack.write_pieces(stream, chunks, now)

    def _accept(self, stream: int, key: PublicKey, now: float) -> None:
        receiver: StreamReceiver | None = None
        if self._acceptor is not None:
            try:
                receiver = self._acceptor(key)
            except Exception:
                logger.exception("The acceptor of streams failed; the stream is refused")
        if receiver is None:
            self._stack.abort(stream, now)
            return
        self._records[stream] = StreamRecord(receiver, key, False, now)
        self._call(stream, now, receiver.stream_connected, stream)

    def _call(self, stream: int, now: float, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:
            self._receiver_failed(stream, now)

    def _receiver_failed(self, stream: int, now: float) -> None:
        """A receiver raised: its stream ends, the node goes on. To be called in an ``except`` clause."""
        logger.exception("The receiver of a stream failed; the stream is reset")
        receiver = self._forget(stream)
        if receiver is not None:
            self._stack.abort(stream, now)
            self._end(stream, receiver, StreamError("its receiver failed"))

    def _end(self, stream: int, receiver: StreamReceiver, error: PineconeError | None) -> None:
        self._forget(stream)
        try:
            receiver.stream_lost(error)
        except Exception:
            logger.exception("The receiver of a stream failed at the stream's end")

    def _forget(self, stream: int) -> StreamReceiver | None:
        self._dirty.pop(stream, None)
        self._closing.pop(stream, None)
        record = self._records.pop(stream, None)
        return record.receiver if record is not None else None
