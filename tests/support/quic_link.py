"""Two QUIC sockets with a virtual link between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pinecone_transport.identity import Identity
from pinecone_transport.session.quic import QuicLimits, QuicSocket
from tests.support.virtual_link import Side, VirtualLink

LOW, HIGH = sorted((Identity(bytes([number]) * 32) for number in (1, 2)), key=lambda identity: identity.key)


@dataclass
class QuicLink(VirtualLink):
    """``left`` has the lower key."""

    quic_limits: QuicLimits = field(default_factory=QuicLimits)

    def make_sides(self) -> tuple[Side, Side]:
        return self.make_side(LOW, HIGH), self.make_side(HIGH, LOW)

    def make_side(self, own: Identity, peer: Identity, **options: object) -> Side:
        socket = QuicSocket(own, random=Random(self.seed), limits=self.quic_limits, **options)
        return Side(own.key, peer.key, socket)

    def open(self, side: Side | None = None, data: bytes = b"hello") -> tuple[int, int]:
        """Open a stream from the side, the left one if None, with some bytes; return its number at either end."""
        side = side or self.left
        other = self.other(side)
        before = len(other.accepted)
        stream = side.socket.connect(side.peer_key, self.now)
        side.socket.write(stream, data, self.now)
        self.run_until(lambda: len(other.accepted) > before)
        return stream, other.accepted[-1]
