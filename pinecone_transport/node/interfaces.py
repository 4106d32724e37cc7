"""All that endpoints need of a node: `INode`; and what a node needs of whoever uses a stream: `StreamReceiver`.

The rules of a turn: the node calls a receiver only from inside its own turn, never from inside a call that the
receiver makes. What a receiver asks for takes effect at once, but bytes leave at the end of the turn, when the node
asks each dirty stream for them with ``flush``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface

from pinecone_transport.identity import Identity, PublicKey


class StreamReceiver(Protocol):
    """One end of a stream, as the node sees it: in our case TLS."""

    def stream_connected(self, stream: int) -> None:
        """The stream is open and has this number. First call, unless the receiver dialled and asked for ``flush``."""

    def stream_data(self, data: bytes) -> None:
        """Bytes in order. They fill the receive window until given back by ``INode.acknowledge_received_data``."""

    def stream_ended(self) -> None:
        """The far end will send no more."""

    def stream_lost(self, error: Exception | None) -> None:
        """The stream is gone; None if both ends closed it. Last call."""

    def flush(self, room: int, segment: int) -> Sequence[bytes]:
        """Return what is to be written now, at most ``room`` bytes.

        Args:
            room: What the stream takes now, bytes.
            segment: Payload of one packet, bytes: more than one segment is best given in multiples of it.
        """


Acceptor = Callable[[PublicKey], StreamReceiver | None]
"""Called for each stream that a far node opens; None refuses it. The key is not authenticated yet,
unless ``INode.is_authenticated`` says so of the stream: TLS does that."""

NodeObserver = Callable[[object], None]
"""Called with each event of the overlay that is not a stream's: see ``INode.subscribe``."""


class INode(Interface):
    """A running node of the overlay."""

    identity: Identity = Attribute("The node's key, an `Identity`.")
    reactor: IReactorTime = Attribute("The reactor that the node runs in: the clock of whoever uses its streams.")

    def open_stream(key: PublicKey, receiver: StreamReceiver) -> int:  # noqa: N805
        """Dial the node with this key and return the stream's number; ``receiver`` hears how it went, never at once.

        After ``mark_dirty``, ``flush`` is called before it is open: the first bytes leave with the dial (§11).
        """

    def set_acceptor(acceptor: Acceptor | None) -> None:  # noqa: N805
        """Set who gets the streams that far nodes open; None refuses them all.

        Raises:
            LocalProtocolError: There is one already.
        """

    def is_authenticated(stream: int) -> bool:  # noqa: N805
        """Tell whether the session has made sure of the far end's key, and encrypts: once the stream is open.

        Streams of µTP are not, and need TLS around them; those of QUIC are, and must have none.
        """

    def mark_dirty(stream: int) -> None:  # noqa: N805
        """Have ``flush`` of the stream's receiver called at the end of the turn, if the stream has room."""

    def call_soon(call: Callable[[], None]) -> None:  # noqa: N805
        """Have something called in this turn, or else the next, behind what is being handed out: not from inside it.

        What it writes leaves at the end of that very turn.
        """

    def close_stream(stream: int) -> None:  # noqa: N805
        """Send what was flushed and then the end; reading goes on. ``flush`` is not called again."""

    def abort_stream(stream: int) -> None:  # noqa: N805
        """Reset the stream; the receiver hears nothing more. Unknown numbers are ignored."""

    def acknowledge_received_data(stream: int, length: int) -> None:  # noqa: N805
        """Give back receive window: ``length`` bytes given to ``stream_data`` are dealt with."""

    def subscribe(observer: NodeObserver) -> Callable[[], None]:  # noqa: N805
        """Hear of `LinkUp`, `LinkDown`, `TreeChanged`, `RouteLearned` and `WakeupReceived`; call the result to stop."""
