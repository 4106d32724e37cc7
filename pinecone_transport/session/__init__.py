"""Streams between two keys: packets for a key go out below, bytes of streams come out above."""

from pinecone_transport.session.events import (
    SessionEvent,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
    StreamWritable,
)
from pinecone_transport.session.kinds import Kind, Kinds
from pinecone_transport.session.quic import QuicLimits
from pinecone_transport.session.sessions import Sessions
from pinecone_transport.session.socket import SessionInfo
from pinecone_transport.session.utp import UtpLimits, UtpSocket

__all__ = [
    "Kind",
    "Kinds",
    "QuicLimits",
    "SessionEvent",
    "SessionInfo",
    "Sessions",
    "StreamAccepted",
    "StreamClosed",
    "StreamConnected",
    "StreamData",
    "StreamEnded",
    "StreamLost",
    "StreamWritable",
    "UtpLimits",
    "UtpSocket",
]
