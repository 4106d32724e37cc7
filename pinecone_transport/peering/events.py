"""What a `Peering` reports to its owner. A received `Frame` is itself an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pinecone_transport.errors import RemoteProtocolError
from pinecone_transport.identity import PublicKey
from pinecone_transport.wire import Frame


@dataclass(slots=True)
class HandshakeCompleted:
    """The peer has shown a good handshake; frames follow. ``key`` is the peer's, 32 bytes."""

    key: PublicKey


@dataclass(slots=True)
class LinkFailed:
    """The link is to be closed, for ``error``. The last event of a peering; what came before it is good."""

    error: RemoteProtocolError


PeeringEvent: TypeAlias = HandshakeCompleted | Frame | LinkFailed
