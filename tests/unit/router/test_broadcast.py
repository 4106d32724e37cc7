"""The golden vectors of wakeup broadcasts, and the rules that they do not reach."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.router import PeerAtFault, Router, WakeupReceived
from pinecone_transport.router.constants import MAX_WAKEUPS
from pinecone_transport.router.state import SeenWakeup
from pinecone_transport.wire import (
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Announcement,
    Frame,
    PeerType,
    decode_bootstrap,
    decode_frame,
    encode_frame,
    sign_bootstrap,
)
from tests.support.frames import identity
from tests.support.routers import NOW, identities, router, state
from tests.support.vectors import load_vector, named

VECTOR = load_vector("wakeups")
IDENTITIES = identities(VECTOR)
KEYS = [each.key for each in IDENTITIES]


@pytest.mark.parametrize("case", named(VECTOR["verdicts"]))
def test_a_broadcast_is_accepted_dropped_or_a_fault_as_in_the_reference(case: dict[str, Any]) -> None:
    node_state = VECTOR["verdict_node"]
    node = router(IDENTITIES[node_state["own"]], state(KEYS, node_state))
    source = bytes.fromhex(case["key"])
    events = node.receive_frame(2, decode_frame(bytes.fromhex(case["frame"])), NOW)
    verdict = case["verdict"]
    assert [type(event) for event in events] == {"accept": [WakeupReceived], "drop": [], "close": [PeerAtFault]}[
        verdict
    ]
    assert (source in node.state.wakeups) == (verdict == "accept")


@pytest.mark.parametrize("case", named(VECTOR["decisions"]))
def test_a_broadcast_goes_where_it_goes_in_the_reference(case: dict[str, Any]) -> None:
    known = state(KEYS, case["state"])
    assert list(known.coordinates) == case["own_coords"]
    for seen in case["seen"]:
        known.wakeups[KEYS[seen["key"]]] = SeenWakeup(seen["seq"], NOW - seen["age_s"])
    node = router(IDENTITIES[case["state"]["own"]], known)
    before = known.wakeups.get(KEYS[case["key"]])
    frame = decode_frame(bytes.fromhex(case["frame"]))
    assert (frame.hop_limit, frame.source_key) == (case["hop_limit"], KEYS[case["key"]])
    events = node.receive_frame(case["from"], frame, NOW)
    expected = case["result"]
    # Our own broadcast is passed on like any other, but is no news for our application.
    accepted = expected["verdict"] == "accept"
    assert events == ([WakeupReceived(KEYS[case["key"]])] if accepted and frame.source_key != node.key else [])
    after = known.wakeups.get(KEYS[case["key"]])
    assert (after != before) == accepted
    assert (after.sequence if after is not None else 0) == expected["seen_seq"]
    sent = node.frames_to_send()
    assert sorted(port for port, _ in sent) == expected["forwarded_to"]
    for _, forwarded in sent:
        assert encode_frame(forwarded).hex() == expected["forwarded_frame"]


BY_KEY = sorted(range(1, 20), key=lambda number: identity(number).key)
LOW, HIGH = BY_KEY[0], BY_KEY[-1]


def child() -> Router:
    node = router(identity(LOW))
    for port in (1, 2):
        node.add_peer(identity(HIGH).key, PeerType.REMOTE, NOW)
        root = Announcement(identity(HIGH).key, 3)
        node.receive_frame(port, Frame(TREE_ANNOUNCEMENT, root.signed_by(identity(HIGH), port).encode()), NOW)
    node.frames_to_send()
    return node


def test_our_own_broadcast_goes_out_every_minute_by_one_link_to_each_neighbour() -> None:
    node = child()
    node.state.maintenance_at = NOW + 1e6
    node.state.wakeups[b"old"] = SeenWakeup(1, NOW + 60 - 180)
    node.state.wakeups[b"new"] = SeenWakeup(1, NOW + 60 - 179)
    assert node.next_timer() == NOW + 60
    node.handle_timer(NOW + 60)
    [(port, frame)] = node.frames_to_send()
    assert (port, frame.type, frame.hop_limit, frame.source_key) == (1, WAKEUP_BROADCAST, 5, node.key)
    broadcast = decode_bootstrap(frame.payload)
    assert broadcast.verify(node.key)
    assert (broadcast.root_key, broadcast.root_sequence) == node.root
    assert list(node.state.wakeups) == [b"new"]
    assert node.next_timer() == NOW + 120


def test_the_seen_broadcasts_are_bounded_and_the_oldest_goes_first() -> None:
    node = child()
    for number in range(MAX_WAKEUPS):
        node.state.wakeups[number.to_bytes(32, "big")] = SeenWakeup(1, NOW)
    signed = sign_bootstrap(identity(9), 5, identity(HIGH).key, 3)
    frame = Frame(WAKEUP_BROADCAST, signed.encode(), hop_limit=1, source_key=identity(9).key)
    assert node.receive_frame(1, frame, NOW) == [WakeupReceived(identity(9).key)]
    assert len(node.state.wakeups) == MAX_WAKEUPS
    assert bytes(32) not in node.state.wakeups
    assert node.counters["wakeup table full"] == 1
    assert node.frames_to_send() == []


def test_links_that_have_not_announced_come_after_those_that_have() -> None:
    node = child()
    node.add_peer(identity(9).key, PeerType.REMOTE, NOW)
    node.add_peer(identity(9).key, PeerType.REMOTE, NOW)
    root = Announcement(identity(9).key, 1)
    node.receive_frame(4, Frame(TREE_ANNOUNCEMENT, root.signed_by(identity(9), 1).encode()), NOW)
    node.frames_to_send()
    node.handle_timer(NOW + 60)
    sent = [port for port, frame in node.frames_to_send() if frame.type == WAKEUP_BROADCAST]
    assert sent == [1, 4]
