"""Ports: the numbers of a node's links, and what is known of the peer behind each."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import PublicKey
from pinecone_transport.router.constants import FIRST_PORT, LAST_PORT
from pinecone_transport.wire import Announcement, PeerType


@dataclass(slots=True)
class Peer:
    """A link whose handshake is done.

    Attributes:
        port: 1 to 253.
        key: Of the node at the other end, 32 bytes. Several links may lead to one key.
        type: What the link runs over.
        up: False once the link is at fault, until its owner has removed it.
        announcement: The last one that came by this link.
        order: When it came, compared with those of other links: lower is earlier.
        received_at: The same in seconds.
    """

    port: int
    key: PublicKey
    type: PeerType
    up: bool = True
    announcement: Announcement | None = None
    order: int = 0
    received_at: float = 0.0


def lowest_free_port(taken: Container[int]) -> int:
    """Return the port of a new link.

    Raises:
        LocalProtocolError: All 253 are taken.

    Source: §2, "Ports".
    """
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken:
            return port
    raise LocalProtocolError(f"a node has at most {LAST_PORT} links")
