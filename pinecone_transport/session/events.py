"""What sessions report to their owner: the same for every kind of session.

A stream is an int, unique for the life of the session machine. For each stream the order is: `StreamConnected` (we
dialled) or `StreamAccepted` (the far end did), any number of `StreamData` and `StreamWritable`, at most one
`StreamEnded`, and last either `StreamClosed` or `StreamLost`. A dial that fails is a `StreamLost` alone. A stream that
a far node opens is reported with its first packet after the SYN, which shows that the node is where it says; or with
the SYN, if that carries the beginning of the stream (§11).

That a packet was not answered in its time is no event of a stream: whoever routes asks
``UtpSocket.take_repeated_keys`` for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pinecone_transport.errors import PineconeError
from pinecone_transport.identity import PublicKey


@dataclass(slots=True)
class StreamConnected:
    """A stream that we dialled is open."""

    stream: int


@dataclass(slots=True)
class StreamAccepted:
    """The node with ``key`` (32 bytes, not yet authenticated) has opened a stream to us."""

    stream: int
    key: PublicKey


@dataclass(slots=True)
class StreamData:
    """Bytes of a stream, in order. They count against the receive window until ``acknowledge_received_data``."""

    stream: int
    data: bytes


@dataclass(slots=True)
class StreamWritable:
    """``room(stream)`` was 0 and no longer is."""

    stream: int


@dataclass(slots=True)
class StreamEnded:
    """The far end will send nothing more; all that it sent has been delivered. We may still write."""

    stream: int


@dataclass(slots=True)
class StreamClosed:
    """Both ends have closed and everything was acknowledged. The stream's number is no longer valid."""

    stream: int


@dataclass(slots=True)
class StreamLost:
    """The stream is gone before its time, for ``error``. Its number is no longer valid."""

    stream: int
    error: PineconeError


SessionEvent: TypeAlias = (
    StreamConnected | StreamAccepted | StreamData | StreamWritable | StreamEnded | StreamClosed | StreamLost
)
