"""What a `Router` reports to its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pinecone_transport.errors import RemoteProtocolError
from pinecone_transport.identity import PublicKey


@dataclass(slots=True)
class PacketReceived:
    """Traffic ended here. ``destination`` need not be our key: the owner has to look (§5, §6)."""

    source: PublicKey
    destination: PublicKey
    payload: bytes


@dataclass(slots=True)
class CoordinatesLearned:
    """Traffic from the key (32 bytes) shows where it is in the tree, which was not known or not so. Source: §6."""

    key: PublicKey


@dataclass(slots=True)
class PeerAtFault:
    """What came from the peer on ``port`` ends its link; the owner closes it and calls ``remove_peer``."""

    port: int
    error: RemoteProtocolError


@dataclass(slots=True)
class TreeChanged:
    """Our root's key, our parent or our coordinates are not what they were. A new sequence alone is no change."""


@dataclass(slots=True)
class RouteLearned:
    """The key (32 bytes) is reachable and was not known a moment ago: a bootstrap or an announcement told us."""

    key: PublicKey


@dataclass(slots=True)
class WakeupReceived:
    """The node with this key (32 bytes) says that it is up (§7)."""

    key: PublicKey


RouterEvent: TypeAlias = PacketReceived | CoordinatesLearned | PeerAtFault | TreeChanged | RouteLearned | WakeupReceived
