"""States of a router as the golden vectors give them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pinecone_transport.identity import Identity
from pinecone_transport.router import Peer, Router, RouterState
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.wire import Announcement, HopSignature, PeerType, decode_announcement

NOW = 10_000.0
"""When a test's state is looked at, seconds."""
UNIX_TIME = 1_690_000_000.0 - NOW
"""What makes `NOW` the Unix time of the vectors' bootstraps."""
FAR = 1e12
"""For a timer that is to stay out of a test."""


def identities(vector: dict[str, Any]) -> list[Identity]:
    """Return the identities that a vector names by index."""
    return [Identity(bytes.fromhex(entry["seed"])) for entry in vector["identities"]]


def announcement(keys: list[bytes], case: dict[str, Any]) -> Announcement:
    """Return an announcement as a vector describes it: with its signatures if it has a payload, else without."""
    if "payload" in case:
        return decode_announcement(bytes.fromhex(case["payload"]))
    hops = case.get("hops") or [1] * len(case["signers"])
    signers = [keys[signer] for signer in case.get("signers", [0] * len(hops))]
    signatures = tuple(HopSignature(hop, signer, b"\0" * 64) for hop, signer in zip(hops, signers, strict=True))
    return Announcement(keys[case["root"]["key"]], case["root"]["seq"], signatures)


def peer(keys: list[bytes], case: dict[str, Any]) -> Peer:
    """Return a peer as a vector describes it."""
    known = Peer(case["id"], keys[case["key"]], PeerType(case["type"]), case["up"])
    heard = case["announcement"]
    if heard is not None:
        known.announcement = announcement(keys, heard)
        known.order = heard["order"]
        known.received_at = NOW - heard.get("age_s", 0)
    return known


def entry(keys: list[bytes], case: dict[str, Any]) -> SnakeEntry:
    """Return a route as a vector describes it."""
    root = case.get("root", {"key": 0, "seq": 0})
    return SnakeEntry(
        keys[case["key"]],
        case["source"],
        case.get("destination"),
        case["seq"],
        keys[root["key"]],
        root["seq"],
        NOW - case["age_s"],
    )


def state(keys: list[bytes], case: dict[str, Any], table: Sequence[dict[str, Any]] = ()) -> RouterState:
    """Return the state of a vector's node, which has bootstrapped just now and whose timers are far away."""
    peers = [peer(keys, each) for each in case["peers"]]
    return RouterState(
        keys[case["own"]],
        case["own_seq"],
        {each.port: each for each in peers},
        case["parent"],
        last_order=max((each.order for each in peers), default=0),
        reparent_at=NOW + 1.0 if case.get("waiting") else None,
        announce_at=FAR,
        table=SnakeTable([entry(keys, each) for each in table]),
        bootstrap_at=NOW + 5.0,
        maintenance_at=FAR,
        wakeup_at=FAR,
    )


def router(
    identity: Identity, known: RouterState | None = None, *, hop_limiting: bool = True, hop_limit: int = 64
) -> Router:
    """Return a router at `NOW` with this state."""
    return Router(
        identity,
        random=random.Random(1),
        unix_time=UNIX_TIME,
        now=NOW,
        hop_limiting=hop_limiting,
        hop_limit=hop_limit,
        state=known,
    )
