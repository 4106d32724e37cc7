"""A stream while it is not yet clear which kind of session carries it, and after."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.session.kinds import Kind


@final
class AttemptedStream:
    """A stream as its owner knows it, and its one or two attempts.

    Attributes:
        number: The owner's.
        key: The far end's.
        attempts: Numbers in the sockets of each kind; one of them once it is open.
        second: The kind that is tried later, if the first has not answered by then.
        open: Whether it is.
        closing: Whether the owner has written its end before it was open.
        begins_native: Whether the first attempt is native, so that its SYN may bring the beginning of the stream.
        dialled_at: When.
        waits: Whether QUIC has answered, and the native kind has a little longer.
        is_known: Whether the far end's kind is known. If not, its SYN must not be longer than QUIC's packets are: a Go
            node that speaks QUIC ends with a panic when it gets one of more than 1,452 bytes.
    """

    __slots__ = (
        "attempts",
        "begins_native",
        "closing",
        "dialled_at",
        "is_known",
        "key",
        "number",
        "open",
        "second",
        "waits",
    )

    def __init__(self, number: int, key: PublicKey, now: float) -> None:
        self.dialled_at: Final = now
        self.number: Final = number
        self.key: Final = key
        self.attempts: Final[dict[Kind, int]] = {}
        self.second: Kind | None = None
        self.waits = False
        self.open = False
        self.closing = False
        self.begins_native = False
        self.is_known = False
