"""One stream, wherever its connection is at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.session.utp.memory import Holding

if TYPE_CHECKING:
    from pinecone_transport.session.quic.connection import Connection


@final
class Stream:
    """What its owner knows by a number. It waits for a connection, then lives on one.

    Args:
        number: The owner's.
        key: The far end's.
        opened_at: When.
        holding: What all streams to the key have to be sent.

    Attributes:
        number: The owner's.
        key: The far end's.
        opened_at: When.
        connection: Where it lives; None while it waits.
        stream_id: QUIC's number of it there.
        retained: What was written, kept as long as the connection may turn out not to be taken.
        retained_length: Bytes of it.
        connected: Whether the owner knows that it is open.
        finished: Whether the owner has written its end.
        ended: Whether the far end has.
        deaf: Whether the far end does not want what we write.
        full: Whether the owner has found no room.
        unread: Bytes that the owner was given and is not done with.
        unsent: Bytes that wait for being sent and acknowledged, when this was last seen to.
    """

    __slots__ = (
        "_holding",
        "_is_ours",
        "_unanswered",
        "connected",
        "connection",
        "deaf",
        "ended",
        "finished",
        "full",
        "key",
        "number",
        "opened_at",
        "retained",
        "retained_length",
        "stream_id",
        "unread",
        "unsent",
    )

    def __init__(self, number: int, key: PublicKey, opened_at: float, holding: Holding) -> None:
        self.number: Final = number
        self.key: Final = key
        self.opened_at: Final = opened_at
        self.connection: Connection | None = None
        self.stream_id = -1
        self.retained: list[bytes] = []
        self.retained_length = 0
        self.connected = False
        self.finished = False
        self.ended = False
        self.deaf = False
        self.full = False
        self.unread = 0
        self.unsent = 0
        self._holding: Final = holding
        self._is_ours = True
        self._unanswered = False

    def accept(self, connection: Connection, stream_id: int) -> None:
        """Be one that the far end has opened."""
        self.connected = True
        self._is_ours = False
        self.connection = connection
        self.stream_id = stream_id
        connection.streams[stream_id] = self

    def attach(self, connection: Connection) -> None:
        """Go on a connection, with all that was written."""
        engine = connection.engine
        self.connection = connection
        self.stream_id = engine.open()
        connection.streams[self.stream_id] = self
        engine.write(self.stream_id, b"".join(self.retained))
        if self.finished:
            engine.finish(self.stream_id)
        if connection.settled:
            self.release()
        connection.sending[self.stream_id] = self

    def detach(self) -> None:
        """The connection was not taken: wait for another."""
        self.connection = None
        self.stream_id = -1
        self.see_to_unsent()

    def release(self) -> None:
        """What was written is the connection's affair alone."""
        self.retained.clear()
        self.retained_length = 0
        self.see_to_unsent()

    def write(self, data: bytes) -> None:
        """Take bytes of the owner."""
        if self.deaf:
            return
        self._unanswered = self._is_ours
        connection = self.connection
        if connection is None or not connection.settled:
            self.retained.append(data)
            self.retained_length += len(data)
        if connection is not None:
            connection.engine.write(self.stream_id, data)
            connection.sending[self.stream_id] = self
        self.see_to_unsent()

    def receive(self, length: int) -> None:
        """So many bytes of the far end's go to the owner."""
        self._unanswered = not self._is_ours
        self.unread += length

    def is_pending(self) -> bool:
        """Tell whether one end waits for the other: the opener for an answer, or bytes for being taken.

        An answer is owed once the opener has written, or has ended its part, until the other end writes, or ends its.
        """
        connection = self.connection
        if self.unread or (
            connection is not None and not self.deaf and connection.engine.unacknowledged(self.stream_id)
        ):
            return True
        asked, answered = (self.finished, self.ended) if self._is_ours else (self.ended, self.finished)
        return not answered and (asked or self._unanswered)

    def finish(self) -> None:
        """Take the owner's end."""
        self.finished = True
        if self.connection is not None and not self.deaf:
            self.connection.engine.finish(self.stream_id)

    def see_to_unsent(self) -> int:
        """Count what waits for being sent and acknowledged; return how many bytes that are."""
        connection = self.connection
        unsent = self.retained_length
        if connection is not None:
            unsent = max(unsent, connection.engine.unacknowledged(self.stream_id))
        self._holding.change(unsent - self.unsent)
        self.unsent = unsent
        return unsent

    def leave(self) -> None:
        """The stream is over."""
        self._holding.change(-self.unsent)
        self.unsent = 0

    def space(self, send_buffer: int) -> int:
        """Return how many bytes may be written, of ``send_buffer`` and as there is memory."""
        return self._holding.room(max(0, send_buffer - self.see_to_unsent()))
