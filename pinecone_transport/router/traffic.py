"""What becomes of traffic: decided from what its header says, whatever is to be done with the frame (§6)."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from pinecone_transport.router.constants import LOCAL, ROUTE_TIMEOUT
from pinecone_transport.router.next_hop import snake_next_hop, tree_next_hop
from pinecone_transport.router.state import RouterState
from pinecone_transport.wire import NO_WATERMARK, Coordinates, Frame, Watermark

NO_PEER: Final = "frame from no peer"
TURNS_BACK: Final = "traffic would turn back"
HOP_LIMIT_REACHED: Final = "hop limit reached"


class Decision(NamedTuple):
    """Where a frame goes, and what its header says from there on. Good as long as the state's epoch stays.

    Attributes:
        port: `LOCAL` where it ends here, None where it is dropped.
        reason: Why it is dropped, for the counters.
        limited: Whether it costs a hop, so that it is dropped where none is left, before anything else.
        destination: Coordinates; empty from where it is routed by key.
        watermark: Of a frame that is routed by key.
        expires_at: When to decide anew, seconds: a route in it is too old then.
    """

    port: int | None
    reason: str
    limited: bool
    destination: Coordinates
    watermark: Watermark
    expires_at: float


def decide_traffic(state: RouterState, port: int, frame: Frame, now: float) -> Decision:
    """Decide about a frame of traffic from what it says of its way.

    Args:
        state: What is known.
        port: That it came by.
        frame: Its hop limit and payload are not looked at.
        now: Seconds, against which routes are too old.

    Source: §6.
    """
    neighbourhood = state.neighbourhood
    key, destination, watermark = frame.destination_key, frame.destination, frame.watermark
    if port not in neighbourhood.live:
        return Decision(None, NO_PEER, False, destination, watermark, math.inf)
    if key == state.key:
        return Decision(LOCAL, "", False, destination, watermark, math.inf)
    if destination:
        next_port = tree_next_hop(neighbourhood, destination, port)
        if next_port is not None:
            return Decision(next_port, "", True, destination, watermark, math.inf)
        watermark = NO_WATERMARK
    next_port, better = snake_next_hop(neighbourhood, state.table, key, watermark, now, bootstrap=False)
    # If a route gave this watermark, then the one to the watermark's key.
    entry = state.table.get(better.key)
    expires_at = entry.received_at + ROUTE_TIMEOUT if entry is not None and not entry.expired(now) else math.inf
    if next_port is None or next_port == port or better.is_worse_than(watermark):
        return Decision(None, TURNS_BACK, True, (), watermark, expires_at)
    return Decision(next_port, "", True, (), better, expires_at)
