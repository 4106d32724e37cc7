"""The golden vectors of the spanning tree, and the rules that they do not reach."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.router import Peer, PeerAtFault, Root, Router, RouterState, TreeChanged
from pinecone_transport.router.constants import MAX_ANNOUNCEMENT_LENGTH
from pinecone_transport.router.tree import (
    AnnouncementAction,
    decide_announcement,
    replacement_parent,
    select_parent,
)
from pinecone_transport.wire import (
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Announcement,
    Frame,
    HopSignature,
    PeerType,
    decode_announcement,
    decode_varu64,
    encode_frame,
)
from tests.support.frames import identity, key
from tests.support.routers import FAR, NOW, entry, identities, router, state
from tests.support.vectors import load_vector, named

VECTOR = load_vector("parent_selection")
IDENTITIES = identities(VECTOR)
KEYS = [each.key for each in IDENTITIES]
KINDS = {TREE_ANNOUNCEMENT: "announcement", WAKEUP_BROADCAST: "wakeup"}


def described(port: int, frame: Frame) -> dict[str, Any]:
    """Return a frame that was sent as the vectors describe it."""
    sent: dict[str, Any] = {"to": port, "kind": KINDS[frame.type]}
    return sent | announcement_fields(frame.payload) if frame.type == TREE_ANNOUNCEMENT else sent


def announcement_fields(payload: bytes) -> dict[str, Any]:
    """Read an announcement without a look at its signatures: most of a vector's states have none."""
    root = KEYS.index(payload[:32])
    sequence, position = decode_varu64(payload, 32, len(payload))
    signers, hops = [], []
    while position < len(payload):
        hop, position = decode_varu64(payload, position, len(payload))
        hops.append(hop)
        signers.append(KEYS.index(payload[position : position + 32]))
        position += 96
    return {"root": {"key": root, "seq": sequence}, "signers": signers, "hops": hops}


def check(node: Router, expected: dict[str, Any], now: float) -> None:
    """Compare a router with a vector's result, and empty its output."""
    root = expected["root"]
    assert node.parent == expected["parent"]
    assert node.root == (KEYS[root["key"]], root["seq"])
    assert node.state.sequence == expected["own_seq"]
    assert (node.state.bootstrap_at <= now) == expected["bootstrap_soon"]
    if "coords_cache_kept" in expected:
        assert (len(node.state.coordinates_cache) == 1) == expected["coords_cache_kept"]
    frames = node.frames_to_send()
    wanted = [{name: value for name, value in sent.items() if name != "frame"} for sent in expected["sent"]]
    assert sorted([described(*sent) for sent in frames], key=str) == sorted(wanted, key=str)
    for sent in expected["sent"]:
        if "frame" in sent:
            [frame] = [frame for port, frame in frames if port == sent["to"] and frame.type == TREE_ANNOUNCEMENT]
            assert encode_frame(frame).hex() == sent["frame"]


def node_in(case: dict[str, Any]) -> Router:
    """Return a router in a vector's state, with one thing in its coordinates cache."""
    known = state(KEYS, case["state"], case.get("table", ()))
    if case.get("descending") is not None:
        known.descending = entry(KEYS, case["descending"])
    known.coordinates_cache.learn(KEYS[0], (9, 9), NOW)
    known.reparent_again_at = FAR  # the reference always waits
    return router(IDENTITIES[case["state"]["own"]], known)


@pytest.mark.parametrize("case", named(VECTOR["select"]))
def test_a_parent_selection_ends_as_in_the_reference(case: dict[str, Any]) -> None:
    assert not case["state"]["waiting"]
    node = node_in(case)
    known = node.state
    found = select_parent(known.peers.values(), known.root, Root(known.key, known.sequence), NOW)
    assert found == case["result"]["parent"]
    # The end of a reparent wait is what brings a selection about without anything else happening.
    node.state.reparent_at = NOW
    node.handle_timer(NOW)
    assert node.state.reparent_at is None
    check(node, case["result"], NOW)


@pytest.mark.parametrize("case", named(VECTOR["announce"]))
def test_an_announcement_does_what_it_does_in_the_reference(case: dict[str, Any]) -> None:
    node = node_in(case)
    port = case["from"]
    events = node.receive_frame(port, Frame(TREE_ANNOUNCEMENT, bytes.fromhex(case["payload"])), NOW)
    expected = case["result"]
    assert [event.port for event in events if isinstance(event, PeerAtFault)] == (
        [port] if "closed" in expected else []
    )
    assert node.state.peers[port].up == ("closed" not in expected)
    assert node.state.peers[port].order == expected["stored_order"]
    assert (node.state.reparent_at is not None) == expected["waiting"]
    check(node, expected, NOW)
    later = expected.get("one_second_later")
    if later is not None:
        assert node.next_timer() == NOW + 1.0
        node.handle_timer(NOW + 1.0)
        assert (node.state.reparent_at is not None) == later["waiting"]
        check(node, later, NOW + 1.0)


@pytest.mark.parametrize("case", named(VECTOR["disconnect"]))
def test_a_lost_link_does_what_it_does_in_the_reference(case: dict[str, Any]) -> None:
    node = node_in(case)
    root = node.root
    node.remove_peer(case["lost"], NOW)
    expected = case["result"]
    # The reference takes the root for another one if the link to it was another one.
    kept = expected["coords_cache_kept"] or node.root == root
    check(node, expected | {"coords_cache_kept": kept}, NOW)
    assert [KEYS.index(each.key) for each in node.state.table] == expected["table_keys"]
    descending = expected["descending"]
    assert node.descending == (KEYS[descending] if descending is not None else None)
    assert [peer.port for peer in node.peers if peer.announcement is not None] == expected["announcements_kept"]


def said(root: int, sequence: int, *signers: int) -> Announcement:
    """Return an announcement by small keys; the signatures play no part."""
    signatures = tuple(HopSignature(1, key(signer), bytes(64)) for signer in (root, *signers))
    return Announcement(key(root), sequence, signatures)


# We are 5; our root is 8 with sequence 3. Announcement, what it means from the parent, and from another peer.
DECISIONS = [
    (said(9, 1, 7), AnnouncementAction.ANNOUNCE, AnnouncementAction.TAKE_PARENT),
    (said(8, 4, 7), AnnouncementAction.ANNOUNCE, AnnouncementAction.SELECT_PARENT),
    (said(8, 3, 7), AnnouncementAction.BECOME_ROOT, AnnouncementAction.SELECT_PARENT),
    (said(7, 9), AnnouncementAction.BECOME_ROOT, AnnouncementAction.TELL),
    (said(9, 1, 5, 7), AnnouncementAction.BECOME_ROOT, AnnouncementAction.NOTHING),
    (said(8, 4, 5, 7), AnnouncementAction.BECOME_ROOT, AnnouncementAction.NOTHING),
    (said(5, 1, 7), AnnouncementAction.BECOME_ROOT, AnnouncementAction.NOTHING),
]


@pytest.mark.parametrize(("announcement", "from_parent", "from_other"), DECISIONS)
def test_what_an_announcement_means(
    announcement: Announcement, from_parent: AnnouncementAction, from_other: AnnouncementAction
) -> None:
    root = Root(key(8), 3)
    assert decide_announcement(announcement, root, key(5), from_parent=True, first=False) is from_parent
    assert decide_announcement(announcement, root, key(5), from_parent=False, first=False) is from_other
    first = AnnouncementAction.NOTHING if from_other is AnnouncementAction.TELL else from_other
    assert decide_announcement(announcement, root, key(5), from_parent=False, first=True) is first


# We are 5; the parent, 7 on port 1, led to the root 8 with sequence 3. What it says now, what the peer 6 on port 2 said
# before, and which of them is the parent from now on.
REPLACEMENTS = [
    pytest.param(said(7, 9), said(8, 3, 6), 2, id="another leads to the same root"),
    pytest.param(said(7, 9), said(8, 4, 6), 2, id="another leads to the same root with news"),
    pytest.param(said(7, 9), said(8, 2, 6), None, id="another leads to what the root was before"),
    pytest.param(said(7, 9), said(8, 3, 7, 6), None, id="another leads through the parent"),
    pytest.param(said(7, 9), said(8, 3, 5, 6), None, id="another leads through us"),
    pytest.param(said(7, 9), None, None, id="another has said nothing"),
    pytest.param(said(8, 3, 4, 7), said(8, 3, 7, 6), 1, id="the parent has moved"),
    pytest.param(said(8, 3, 4, 7), said(8, 3, 6), 2, id="the parent has moved, and another was there before"),
    pytest.param(said(9, 1, 5, 7), said(8, 3, 6), 2, id="the parent is below us"),
    pytest.param(said(9, 1, 5, 7), None, None, id="the parent is below us, and there is nobody else"),
]


@pytest.mark.parametrize(("news", "other", "expected"), REPLACEMENTS)
def test_what_takes_the_place_of_a_parent_at_once(
    news: Announcement, other: Announcement | None, expected: int | None
) -> None:
    lost = Peer(1, key(7), PeerType.REMOTE, announcement=news, order=2, received_at=NOW)
    peers = [lost, Peer(2, key(6), PeerType.REMOTE, announcement=other, order=1, received_at=NOW)]
    assert replacement_parent(peers, lost, Root(key(8), 3), Root(key(5), 1), NOW) == expected


def fresh(number: int = 1) -> Router:
    return router(identity(number))


def announced_by(*signers: int, sequence: int = 1, to: int = 1) -> Frame:
    """Return the announcement of a chain of identities, the first being the root; each sends on port 1."""
    announcement = Announcement(identity(signers[0]).key, sequence)
    for signer in signers[:-1]:
        announcement = announcement.signed_by(identity(signer), 1)
    return Frame(TREE_ANNOUNCEMENT, announcement.signed_by(identity(signers[-1]), to).encode())


BY_KEY = sorted(range(1, 20), key=lambda number: identity(number).key)


def test_a_new_peer_hears_of_our_root_at_once() -> None:
    node = fresh()
    port = node.add_peer(identity(2).key, PeerType.REMOTE, NOW)
    [(to, frame)] = node.frames_to_send()
    assert to == port == 1
    announcement = decode_announcement(frame.payload)
    assert (announcement.root_key, announcement.root_sequence) == (node.key, 1)
    announcement.check_sane(node.key)


def test_a_root_announces_itself_every_half_hour_with_the_next_sequence() -> None:
    node = fresh()
    node.add_peer(identity(2).key, PeerType.REMOTE, NOW)
    node.frames_to_send()
    node.state.maintenance_at = node.state.wakeup_at = NOW + 1e6
    assert node.next_timer() == NOW + 1800
    assert node.handle_timer(NOW + 1800) == []
    [(_, frame)] = node.frames_to_send()
    assert decode_announcement(frame.payload).root_sequence == 2
    assert node.next_timer() == NOW + 3600


def test_a_child_does_not_announce_itself_every_half_hour() -> None:
    low, high = BY_KEY[0], BY_KEY[-1]
    node = fresh(low)
    node.add_peer(identity(high).key, PeerType.REMOTE, NOW)
    events = node.receive_frame(1, announced_by(high, to=4), NOW)
    assert TreeChanged() in events
    assert (node.parent, node.coordinates, node.root) == (1, (4,), (identity(high).key, 1))
    node.frames_to_send()
    node.handle_timer(NOW + 1800)
    assert not [frame for _, frame in node.frames_to_send() if frame.type == TREE_ANNOUNCEMENT]


def test_a_higher_sequence_alone_is_no_change_of_the_tree() -> None:
    low, high = BY_KEY[0], BY_KEY[-1]
    node = fresh(low)
    node.add_peer(identity(high).key, PeerType.REMOTE, NOW)
    node.receive_frame(1, announced_by(high), NOW)
    assert node.receive_frame(1, announced_by(high, sequence=2), NOW) == []
    assert node.root == (identity(high).key, 2)


def test_the_sequence_rises_at_once_when_the_last_peer_has_gone() -> None:
    low, high = BY_KEY[0], BY_KEY[-1]
    node = fresh(low)
    node.add_peer(identity(high).key, PeerType.REMOTE, NOW)
    node.receive_frame(1, announced_by(high), NOW)
    assert node.remove_peer(1, NOW + 1) == [TreeChanged()]
    assert node.next_timer() == NOW + 1
    node.handle_timer(NOW + 1)
    assert node.root == (node.key, 2)
    assert node.next_timer() == NOW + 1 + 1800


def test_an_announcement_that_no_frame_could_pass_on_is_dropped() -> None:
    node = fresh()
    node.add_peer(identity(2).key, PeerType.REMOTE, NOW)
    node.frames_to_send()
    assert node.receive_frame(1, Frame(TREE_ANNOUNCEMENT, bytes(MAX_ANNOUNCEMENT_LENGTH + 1)), NOW) == []
    assert node.counters == {"announcement too long": 1}
    assert node.frames_to_send() == []
    longest = Announcement(bytes(32), 1 << 63)
    while len(longest.encode()) + 98 <= MAX_ANNOUNCEMENT_LENGTH:
        longest = Announcement(bytes(32), 1 << 63, (*longest.signatures, HopSignature(255, bytes(32), bytes(64))))
    assert len(encode_frame(Frame(TREE_ANNOUNCEMENT, longest.signed_by(identity(1), 253).encode()))) <= 65_535


def test_whoever_was_at_fault_is_not_heard_any_more() -> None:
    node = fresh()
    node.add_peer(identity(2).key, PeerType.REMOTE, NOW)
    [fault] = node.receive_frame(1, Frame(TREE_ANNOUNCEMENT, bytes(40)), NOW)
    assert isinstance(fault, PeerAtFault)
    assert fault.error.section == "§3"
    assert node.receive_frame(1, announced_by(2), NOW) == []
    assert node.counters["frame from no peer"] == 1


def test_parents_are_compared_by_root_alone_and_never_by_depth() -> None:
    low, middle, other, high = BY_KEY[0], BY_KEY[1], BY_KEY[2], BY_KEY[-1]
    node = fresh(low)
    node.add_peer(identity(middle).key, PeerType.REMOTE, NOW)
    node.add_peer(identity(high).key, PeerType.REMOTE, NOW)
    node.receive_frame(1, announced_by(high, other, middle), NOW)
    node.receive_frame(2, announced_by(high), NOW)
    assert node.parent == 1


def test_a_parent_without_its_root_is_replaced_at_once_but_not_twice_within_a_second() -> None:
    low, middle, other, high = BY_KEY[0], BY_KEY[1], BY_KEY[2], BY_KEY[-1]
    node = fresh(low)
    node.add_peer(identity(middle).key, PeerType.REMOTE, NOW)
    node.add_peer(identity(other).key, PeerType.REMOTE, NOW)
    node.receive_frame(1, announced_by(high, middle), NOW)
    node.receive_frame(2, announced_by(high, other, to=7), NOW)
    assert node.parent == 1
    assert TreeChanged() in node.receive_frame(1, announced_by(middle), NOW)
    assert (node.parent, node.coordinates) == (2, (1, 7))
    node.receive_frame(1, announced_by(high, middle), NOW)
    node.receive_frame(2, announced_by(other), NOW + 0.9)
    assert (node.parent, node.root.key) == (None, node.key)
    node.handle_timer(NOW + 1.9)
    assert (node.parent, node.root.key) == (1, identity(high).key)


def test_a_state_without_peers_is_its_own_root() -> None:
    known = RouterState(b"\1" * 32, sequence=7, parent=3)
    assert known.root == Root(b"\1" * 32, 7)
    assert known.coordinates == ()
