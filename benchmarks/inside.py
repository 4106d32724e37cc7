"""Parts of a node without a network, timed in a process of their own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.commands import Command, run
from pinecone_transport.identity import Identity
from pinecone_transport.router import Router
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.state import RouterState
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.wire import (
    NO_WATERMARK,
    TREE_ANNOUNCEMENT,
    Announcement,
    Frame,
    HopSignature,
    PeerType,
    encode_traffic_way,
)

NOW: Final = 1000.0
UNIX_TIME: Final = 1_700_000_000.0
BATCH: Final = 256
"""Frames whose decisions are timed together: one alone is shorter than what the clock's own reading costs."""


def state_with(identity: Identity, links: int, routes: int, now: float) -> RouterState:
    """Return what a root knows that has so many links, each to a node that announced, and so many routes."""
    draw = random.Random(links * routes)
    state = RouterState(identity.key)
    for port in range(1, links + 1):
        key = draw.randbytes(32)
        signatures = (HopSignature(port, identity.key, b""), HopSignature(1, key, b""))
        announcement = Announcement(identity.key, state.sequence, signatures)
        state.peers[port] = Peer(port, key, PeerType.REMOTE, announcement=announcement, order=port, received_at=now)
    state.table = SnakeTable(
        SnakeEntry(draw.randbytes(32), draw.randrange(1, links + 1), None, 1, identity.key, state.sequence, now)
        for _ in range(routes)
    )
    return state


def a_root() -> Identity:
    """Return an identity whose key is higher than nearly all."""
    return max((Identity.generate() for _ in range(64)), key=lambda identity: identity.key)


def decisions(links: int, routes: int, seconds: float) -> dict[str, list[float]]:
    """Return the microseconds of CPU that one decision takes, from batches: for ever other keys, and for the same."""
    identity = a_root()
    state = state_with(identity, links, routes, NOW)
    router = Router(identity, random=random.Random(1), unix_time=UNIX_TIME, now=NOW, state=state)
    draw = random.Random(2)
    known = [entry.key for entry in state.table]
    source = known[0]

    def batch(key: Callable[[], bytes]) -> list[tuple[int, bytes]]:
        return [(draw.randrange(1, links + 1), _way(key(), source)) for _ in range(BATCH)]

    def took(ways: list[tuple[int, bytes]]) -> float:
        began = time.process_time()
        for port, way in ways:
            router.decide_traffic(port, way, NOW)
        return (time.process_time() - began) / len(ways) * 1e6

    until = time.perf_counter() + seconds
    result: dict[str, list[float]] = {"cold": [], "again": []}
    while time.perf_counter() < until or not result["cold"]:
        # Another source each time: whatever was decided before is of no use.
        source = draw.randbytes(32)
        result["cold"].append(took(batch(lambda: draw.choice(known))))
        key, port = draw.choice(known), draw.randrange(1, links + 1)
        result["again"].append(took([(port, _way(key, source)) for _ in range(BATCH)]))
    return result


def _way(key: bytes, source: bytes) -> bytes:
    return encode_traffic_way((), (), key, source, NO_WATERMARK)


def announcements(links: int, depth: int) -> float:
    """Return the seconds of CPU that news of a stronger root costs, by all peers, in chains that share all but one."""
    identity = Identity.generate()
    router = Router(identity, random=random.Random(1), unix_time=UNIX_TIME, now=NOW)
    peers = [Identity.generate() for _ in range(links)]
    ports = [router.add_peer(peer.key, PeerType.REMOTE, NOW) for peer in peers]
    router.frames_to_send()
    root = a_root()
    chain = Announcement(root.key, 1).signed_by(root, 1)
    for _ in range(depth - 2):
        chain = chain.signed_by(Identity.generate(), 1)
    payloads = [chain.signed_by(peer, 1).encode() for peer in peers]
    began = time.process_time()
    for port, payload in zip(ports, payloads, strict=True):
        router.receive_frame(port, Frame(TREE_ANNOUNCEMENT, payload), NOW)
    router.frames_to_send()
    return time.process_time() - began


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Be there."""
    return {}, {"decisions": decisions, "announcements": announcements}


if __name__ == "__main__":
    run(begin)
