"""Two peerings that face each other over a perfect link."""

from __future__ import annotations

from pinecone_transport.peering import Peering, PeeringEvent
from pinecone_transport.wire import PeerType
from tests.support.clock import VirtualClock
from tests.support.frames import identity

NO_LIMIT = 1 << 30


def written(peering: Peering, now: float, limit: int = NO_LIMIT) -> bytes:
    """Return what the peering has to send, as one piece."""
    return b"".join(peering.data_to_send(limit, now))


def carry(sender: Peering, receiver: Peering, now: float) -> list[PeeringEvent]:
    """Take to the receiver whatever the sender has to send; return the receiver's events."""
    return receiver.receive_data(written(sender, now), now)


def pair(clock: VirtualClock, peer_type: PeerType = PeerType.REMOTE) -> tuple[Peering, Peering]:
    """Return two peerings, of identities 1 and 2, that have shaken hands."""
    ours = Peering(identity(1), peer_type, clock.now)
    theirs = Peering(identity(2), peer_type, clock.now)
    carry(ours, theirs, clock.now)
    carry(theirs, ours, clock.now)
    return ours, theirs
