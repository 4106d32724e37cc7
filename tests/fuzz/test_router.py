"""Whatever frames, links and times a router meets: it does not raise, it holds no more than its bounds, and all that it
sends is fit for any peer: it encodes, it decodes to the same, and its announcements are sane."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.errors import FrameError, LocalProtocolError
from pinecone_transport.identity import Identity
from pinecone_transport.router import PeerAtFault, Router
from pinecone_transport.wire import (
    BOOTSTRAP,
    FULL_MASK,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Announcement,
    Frame,
    PeerType,
    Watermark,
    decode_announcement,
    decode_frame,
    encode_frame,
    sign_bootstrap,
)
from tests.support.frames import identity
from tests.support.routers import NOW, router

NODES = sorted((identity(number) for number in range(6)), key=lambda node: node.key)
OWN = NODES[2]
PORTS = st.integers(0, 5)

node = st.sampled_from(NODES)
any_key = node.map(lambda each: each.key) | st.binary(min_size=32, max_size=32) | st.just(FULL_MASK)
number = st.integers(0, 3) | st.integers(0, (1 << 64) - 1)
coordinates = st.lists(st.integers(1, 4) | number, max_size=4).map(tuple)
watermark = st.builds(Watermark, any_key, number)


def chain(signers: list[Identity], sequence: int, hops: list[int]) -> bytes:
    announcement = Announcement(signers[0].key, sequence)
    for signer, hop in zip(signers, hops, strict=False):
        announcement = announcement.signed_by(signer, hop)
    return announcement.encode()


announcements = st.builds(
    lambda signers, sequence, hops: Frame(TREE_ANNOUNCEMENT, chain(signers, sequence, hops)),
    st.lists(node, min_size=1, max_size=4, unique_by=lambda each: each.key),
    number,
    st.lists(st.integers(1, 300), min_size=4, max_size=4),
)


def said_by(
    kind: int, speaker: Identity, sequence: int, root: Identity, root_sequence: int, *, hop_limit: int
) -> Frame:
    payload = sign_bootstrap(speaker, sequence, root.key, root_sequence).encode()
    if kind == BOOTSTRAP:
        return Frame(kind, payload, destination_key=speaker.key, watermark=Watermark(FULL_MASK, 0))
    return Frame(kind, payload, hop_limit=hop_limit, source_key=speaker.key)


speeches = st.builds(
    said_by,
    st.sampled_from([BOOTSTRAP, WAKEUP_BROADCAST]),
    node,
    number,
    st.just(NODES[-1]) | node,
    st.just(1) | number,
    hop_limit=st.integers(0, 255),
)
traffic = st.builds(
    lambda payload, hop_limit, destination, source, to, sender, mark: Frame(
        TRAFFIC,
        payload,
        hop_limit=hop_limit,
        destination=destination,
        source=source,
        destination_key=to,
        source_key=sender,
        watermark=mark,
    ),
    st.binary(max_size=20) | st.just(bytes(65_300)),
    st.integers(0, 255),
    coordinates,
    coordinates,
    any_key,
    any_key,
    watermark,
)
garbage = st.builds(
    lambda kind, payload, to, mark: Frame(kind, payload, destination_key=to, source_key=to, watermark=mark),
    st.integers(0, 255),
    st.binary(max_size=200),
    any_key,
    watermark,
)
steps = st.lists(
    st.tuples(st.just("frame"), PORTS | st.just(1), announcements | speeches | traffic | garbage)
    | st.tuples(st.just("heard"), PORTS, number)
    | st.tuples(st.just("add"), node, st.sampled_from(PeerType))
    | st.tuples(st.just("remove"), PORTS, st.none())
    | st.tuples(st.just("send"), any_key, st.binary(max_size=20))
    | st.tuples(st.just("time"), st.floats(0, 100) | st.floats(0, 5), st.none()),
    min_size=5,
    max_size=60,
)


def check_sent(router: Router) -> None:
    for port, frame in router.frames_to_send():
        assert 1 <= port <= 253
        assert decode_frame(encode_frame(frame)) == frame
        if frame.type == TREE_ANNOUNCEMENT:
            decode_announcement(frame.payload).check_sane(OWN.key)


def step(router: Router, now: float, kind: str, first: Any, second: Any) -> float:
    """Do one thing to the router and return the time after it."""
    if kind == "add" and len(router.peers) < 5:
        router.add_peer(first.key, second, now)
    elif kind == "remove":
        router.remove_peer(first, now)
    elif kind == "send":
        route = router.route(first, now)
        if route is not None:
            router.send_packet(route, second, now)
    elif kind == "time":
        now += first
        due = router.next_timer()
        if due is not None and due <= now:
            router.handle_timer(now)
    elif kind == "heard":
        # What a peer in good order says of itself, so that trees come about.
        speaker = next(
            (each for each in NODES if any(p.port == first and p.key == each.key for p in router.peers)), OWN
        )
        payload = Announcement(speaker.key, second).signed_by(speaker, 1).encode()
        receive(router, first, Frame(TREE_ANNOUNCEMENT, payload), now)
    elif kind == "frame":
        receive(router, first, second, now)
    return now


def receive(router: Router, port: int, frame: Frame, now: float) -> None:
    try:
        # Frames belong to the router once received; examples must not be changed, and odd ones come off a wire, too.
        frame = decode_frame(encode_frame(frame))
    except (LocalProtocolError, FrameError):
        frame = Frame(frame.type, frame.payload, destination_key=frame.destination_key, source_key=frame.source_key)
    for event in router.receive_frame(port, frame, now):
        if isinstance(event, PeerAtFault) and event.port % 2:
            router.remove_peer(event.port, now)


def joined() -> Router:
    """Return a router that has a parent, a child, and a cousin, so that there is something to upset."""
    tested = router(OWN)
    root = Announcement(NODES[-1].key, 1)
    beneath = root.signed_by(NODES[-1], 1)
    for port, (peer, announcement) in enumerate(
        [
            (NODES[-1], beneath),
            (NODES[0], beneath.signed_by(OWN, 2).signed_by(NODES[0], 1)),
            (NODES[3], root.signed_by(NODES[-1], 2).signed_by(NODES[3], 1)),
        ],
        1,
    ):
        assert tested.add_peer(peer.key, PeerType.REMOTE, NOW) == port
        tested.receive_frame(port, Frame(TREE_ANNOUNCEMENT, announcement.encode()), NOW)
    assert tested.parent == 1
    return tested


@settings(max_examples=400)
@given(steps)
def test_no_sequence_of_frames_upsets_a_router(todo: list[tuple[str, Any, Any]]) -> None:
    tested = joined()
    tested.state.table.limit = 4
    now = NOW
    for kind, first, second in todo:
        now = step(tested, now, kind, first, second)
        check_sent(tested)
        state = tested.state
        assert len(state.table) <= 4
        assert len(state.coordinates_cache) <= len(todo)
        assert len(state.wakeups) <= len(todo)
        assert state.parent is None or state.parent in state.peers
        if math.isinf(state.maintenance_at):
            assert not any(peer.up for peer in state.peers.values())
        else:
            assert state.peers
