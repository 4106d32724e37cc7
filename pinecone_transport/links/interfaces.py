"""What a link is to the node, and the node to a link. Links never import the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.python.failure import Failure

from pinecone_transport.wire import PeerType


class Link(Protocol):
    """A connected, reliable, ordered byte stream to a direct peer.

    Attributes:
        peer_type: What kind of link the protocol takes it for.
        way: How it came about, for people: ``tcp``, ``ws``, ``lan``, ``ble``, ``pipe``.
        address: The far end, for people, such as ``192.0.2.1:65432``.
        outbound: Whether we dialled.
        writable: False from when the transport asked for a pause until it asks for more.
        write_limit: How many bytes are best handed over at once: what the link takes in a fraction of a second.
    """

    peer_type: PeerType
    way: str
    address: str
    outbound: bool
    writable: bool
    write_limit: int

    def write(self, data: Sequence[bytes]) -> None:
        """Hand bytes to the transport, in order; while not ``writable`` that only adds to its queue."""

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write what goes at once of lent bytes; return how many that were: none of them is kept.

        The rest of a frame that is cut goes to ``write``, before anything else.
        """

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``, as far as the link can."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Write what is queued, then close; `LinkOwner.link_lost` follows."""

    def abort(self) -> None:
        """Close at once; `LinkOwner.link_lost` follows."""


class LinkOwner(Protocol):
    """The node, as links see it. Calls come from the reactor, never from inside a `Link` method."""

    def link_made(self, link: Link) -> None:
        """A link is connected; the handshake may begin."""

    def link_data(self, link: Link, data: bytes) -> None:
        """Bytes have come."""

    def link_received(self, link: Link, buffer: bytearray, fresh: int, end: int) -> int:
        """Bytes have come into a buffer that the link lends; for links that can do that instead of ``link_data``.

        Args:
            link: Which.
            buffer: Begins with what was not used the last time. It is changed.
            fresh: How many of its bytes have just come.
            end: How many bytes there are.

        Returns:
            How many of them, from the first on, were used: all but less than a frame.
        """

    def link_writable(self, link: Link) -> None:
        """``link.writable`` was False and is True again."""

    def link_lost(self, link: Link, reason: Failure) -> None:
        """The link is gone; last call about it."""
