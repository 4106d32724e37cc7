"""The golden vectors of traffic and ports, and what the router does besides them."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.router import CoordinatesLearned, PacketReceived, PeerAtFault, Router, RouterState, TreeChanged
from pinecone_transport.router.constants import FRAME_OVERHEAD, MAX_HOPS, MAX_LOOPBACK, MAX_OUTPUT_BYTES
from pinecone_transport.router.coordinates_cache import CoordinatesCache
from pinecone_transport.wire import (
    BOOTSTRAP,
    KEEPALIVE,
    NO_WATERMARK,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    Announcement,
    Coordinates,
    Frame,
    PeerType,
    Watermark,
    decode_frame,
    encode_frame,
)
from tests.support.frames import identity, key
from tests.support.routers import NOW, identities, router, state
from tests.support.vectors import load_vector, named

VECTOR = load_vector("forwarding")
IDENTITIES = identities(VECTOR)
KEYS = [each.key for each in IDENTITIES]
PORTS = load_vector("handshake")["ports"]


def send(node: Router, case: dict[str, Any]) -> None:
    """Send what a vector's application sends, if a route is found."""
    route = node.route(KEYS[case["send"]["to"]], NOW)
    if route is not None:
        node.send_packet(route, bytes.fromhex(case["send"]["payload"]), NOW)


@pytest.mark.parametrize("case", named(VECTOR["cases"]))
def test_a_frame_goes_where_it_goes_in_the_reference(case: dict[str, Any]) -> None:
    known = state(KEYS, case["state"], case["table"])
    assert list(known.coordinates) == case["own_coords"]
    for cached in case["coords_cache"]:
        known.coordinates_cache.learn(KEYS[cached["key"]], tuple(cached["coords"]), NOW - cached["age_s"])
    node = router(IDENTITIES[case["state"]["own"]], known, hop_limiting=case["hop_limiting"], hop_limit=10)
    if "send" in case:
        send(node, case)
        events = node.handle_timer(NOW)
        source = node.key
    else:
        frame = decode_frame(bytes.fromhex(case["frame"]))
        source = frame.source_key
        events = node.receive_frame(case["from"], frame, NOW)
    expected = case["result"]
    assert not expected["closed"]
    assert not any(isinstance(event, PeerAtFault) for event in events)
    frames = node.frames_to_send()
    assert [(port, encode_frame(frame).hex()) for port, frame in frames] == [
        (out["to"], out["frame"]) for out in expected["out"]
    ]
    local = [decode_frame(bytes.fromhex(frame)) for frame in expected["local"]]
    assert [event for event in events if isinstance(event, PacketReceived)] == [
        PacketReceived(frame.source_key, frame.destination_key, frame.payload) for frame in local
    ]
    learnt = expected["source_coords_learnt"]
    if "send" not in case:
        assert known.coordinates_cache.get(source, NOW) == tuple(learnt or ())
    stored = expected["route_stored"]
    if stored is not None:
        route = known.table.get(KEYS[stored["key"]])
        assert route is not None
        assert (route.source, route.destination, route.sequence) == (
            stored["source"],
            stored["destination"],
            stored["seq"],
        )
        assert (route.root_key, route.root_sequence) == (KEYS[stored["root"]["key"]], stored["root"]["seq"])
    else:
        assert len(known.table) == len(case["table"])
    assert node.descending == (KEYS[expected["descending"]] if expected["descending"] is not None else None)


def test_ports_are_numbered_as_in_the_reference() -> None:
    node = router(identity(1))
    ports = [node.add_peer(key(number), PeerType.PIPE, NOW) for number in range(PORTS["most_links"])]
    assert ports == list(range(PORTS["first"], PORTS["last"] + 1))
    with pytest.raises(LocalProtocolError):
        node.add_peer(key(1000), PeerType.PIPE, NOW)
    node.remove_peer(7, NOW)
    assert node.add_peer(key(1000), PeerType.PIPE, NOW) == PORTS["port_after_link_7_went"]
    assert [peer.port for peer in node.peers] == ports


BY_KEY = sorted(range(1, 20), key=lambda number: identity(number).key)
LOW, MIDDLE, HIGH = BY_KEY[0], BY_KEY[9], BY_KEY[-1]


def child(**settings: Any) -> Router:
    """Return a router below `HIGH` on port 1, with `LOW` as child on port 2; nothing waits to be sent."""
    node = router(identity(MIDDLE), **settings)
    node.add_peer(identity(HIGH).key, PeerType.REMOTE, NOW)
    node.add_peer(identity(LOW).key, PeerType.REMOTE, NOW)
    root = Announcement(identity(HIGH).key, 3).signed_by(identity(HIGH), 4)
    node.receive_frame(1, Frame(TREE_ANNOUNCEMENT, root.encode()), NOW)
    beneath = root.signed_by(identity(MIDDLE), 2).signed_by(identity(LOW), 1)
    node.receive_frame(2, Frame(TREE_ANNOUNCEMENT, beneath.encode()), NOW)
    node.frames_to_send()
    return node


def traffic(to: bytes, payload: bytes = b"packet", **fields: Any) -> Frame:
    return Frame(TRAFFIC, payload, hop_limit=9, destination_key=to, source_key=key(5), source=(1, 2), **fields)


@pytest.mark.parametrize("hop_limit", [0, 1, 256])
def test_a_hop_limit_that_leads_nowhere_is_refused(hop_limit: int) -> None:
    with pytest.raises(LocalProtocolError):
        router(identity(1), hop_limit=hop_limit)


def test_what_a_router_tells_about_itself() -> None:
    node = child()
    assert node.key == identity(MIDDLE).key
    assert node.root == (identity(HIGH).key, 3)
    assert (node.parent, node.coordinates, node.descending) == (1, (4,), None)
    assert [(peer.port, peer.key) for peer in node.peers] == [(1, identity(HIGH).key), (2, identity(LOW).key)]
    assert (len(node.state.table), node.counters) == (0, {})


def test_our_own_traffic_starts_with_the_hop_limit_and_loses_one_at_once() -> None:
    for hop_limiting, expected in ((True, 63), (False, 64)):
        node = child(hop_limiting=hop_limiting)
        route = node.route(identity(LOW).key, NOW)
        assert route is not None
        node.send_packet(route, b"packet", NOW)
        [(port, frame)] = node.frames_to_send()
        assert (port, frame.hop_limit, frame.source, frame.source_key) == (2, expected, (4,), node.key)
        assert frame.watermark == Watermark(identity(LOW).key, 0)


def test_learnt_coordinates_are_used_until_they_are_forgotten() -> None:
    node = child()
    node.receive_frame(1, Frame(TRAFFIC, b"", destination_key=node.key, source_key=key(1), source=(4, 2, 7)), NOW)
    route = node.route(key(1), NOW)
    assert route is not None
    assert (route.port, route.coordinates) == (2, (4, 2, 7))
    node.forget_coordinates(key(1))
    node.forget_coordinates(key(2))
    route = node.route(key(1), NOW)
    assert route is None or route.coordinates == ()


def test_coordinates_are_news_once_and_again_when_they_change_or_were_forgotten() -> None:
    node = child()

    def is_news(source: Coordinates) -> bool:
        frame = Frame(TRAFFIC, b"x", destination_key=node.key, source_key=key(1), source=source)
        events = node.receive_frame(1, frame, NOW)
        assert events[0] == PacketReceived(key(1), node.key, b"x")
        return events[1:] == [CoordinatesLearned(key(1))]

    assert [is_news(source) for source in ((), (4, 2), (4, 2), (4, 3), ())] == [False, True, False, True, False]
    node.forget_coordinates(key(1))
    assert is_news((4, 3))


def test_coordinates_seen_since_a_time_are_not_doubted() -> None:
    node = child()
    node.receive_frame(1, Frame(TRAFFIC, b"", destination_key=node.key, source_key=key(1), source=(4, 2, 7)), NOW)
    node.doubt_coordinates(key(1), NOW)
    route = node.route(key(1), NOW)
    assert route is not None
    assert route.coordinates == (4, 2, 7)
    node.doubt_coordinates(key(1), NOW + 0.1)
    route = node.route(key(1), NOW)
    assert route is None or route.coordinates == ()


def test_the_parent_is_asked_as_if_we_had_looked_nowhere() -> None:
    node = child()
    route = node.route_by_parent(key(1))
    assert route is not None
    node.send_packet(route, b"packet", NOW)
    [(port, frame)] = node.frames_to_send()
    assert (port, frame.destination, frame.destination_key, frame.watermark) == (1, (), key(1), NO_WATERMARK)


def test_coordinates_that_are_doubted_are_tried_again_when_a_link_is_gone() -> None:
    node = child()
    node.add_peer(key(2), PeerType.REMOTE, NOW)
    node.receive_frame(1, Frame(TRAFFIC, b"", destination_key=node.key, source_key=key(1), source=(4, 2, 7)), NOW)
    node.doubt_coordinates(key(1), NOW + 0.1)
    route = node.route(key(1), NOW)
    assert route is None or route.coordinates == ()
    node.remove_peer(3, NOW)
    route = node.route(key(1), NOW)
    assert route is not None
    assert route.coordinates == (4, 2, 7)


def test_nothing_leads_anywhere_without_peers() -> None:
    node = router(identity(1))
    assert node.route(key(1), NOW) is None
    assert node.route_by_parent(key(1)) is None
    assert node.next_timer() == NOW + 1800


def test_packets_to_ourselves_come_back_with_the_next_timer_which_is_due_at_once() -> None:
    node = router(identity(1))
    route = node.route(node.key, NOW)
    assert route is not None
    assert route.port == 0
    for _ in range(MAX_LOOPBACK + 1):
        node.send_packet(route, b"packet", NOW)
    assert node.next_timer() == NOW
    assert node.handle_timer(NOW) == [PacketReceived(node.key, node.key, b"packet")] * MAX_LOOPBACK
    assert node.counters == {"loopback full": 1}
    assert node.handle_timer(NOW) == []
    assert node.next_timer() == NOW + 1800


def test_frames_from_nobody_and_of_unknown_types_are_counted_and_keepalives_ignored() -> None:
    node = child()
    assert node.receive_frame(1, Frame(KEEPALIVE), NOW) == []
    assert node.counters == {}
    for frame in (Frame(0x80, b"?"), Frame(5)):
        assert node.receive_frame(1, frame, NOW) == []
    for frame in (traffic(node.key), Frame(BOOTSTRAP)):
        assert node.receive_frame(9, frame, NOW) == []
    assert node.counters == {"frame of unknown type": 2, "frame from no peer": 2}


def test_a_malformed_bootstrap_is_dropped() -> None:
    node = child()
    assert node.receive_frame(2, Frame(BOOTSTRAP, b"short", destination_key=key(1)), NOW) == []
    assert node.counters == {"bootstrap malformed": 1}


def test_frames_that_grow_too_long_on_their_way_are_dropped() -> None:
    node = child()
    # By coordinates it is as long as a frame can be; without them, and with a watermark, longer.
    frame = traffic(identity(LOW).key, bytes(65_535 - 12 - 4 - 3 - 64), destination=(9,))
    assert len(encode_frame(frame)) == 65_535
    assert node.receive_frame(1, frame, NOW) == []
    assert node.frames_to_send() == []
    assert node.counters == {"frame too long": 1}
    fitting = traffic(identity(LOW).key, bytes(65_535 - 12 - 4 - 2 - 64 - 33))
    assert node.receive_frame(1, fitting, NOW) == []
    [(port, frame)] = node.frames_to_send()
    assert port == 2
    assert len(encode_frame(frame)) == 65_535


def test_what_the_owner_does_not_take_is_bounded() -> None:
    node = child()
    size = 60_000
    fitting = MAX_OUTPUT_BYTES // (size + FRAME_OVERHEAD)
    for _ in range(fitting + 3):
        node.receive_frame(1, traffic(identity(LOW).key, bytes(size)), NOW)
    assert node.counters == {"output full": 3}
    assert len(node.frames_to_send()) == fitting
    assert node.frames_to_send() == []


def test_a_lost_child_changes_nothing_and_an_unknown_port_even_less() -> None:
    node = child()
    assert node.remove_peer(9, NOW) == []
    assert node.remove_peer(2, NOW) == []
    assert node.remove_peer(1, NOW) == [TreeChanged()]


def test_ticks_run_while_there_are_peers_and_not_without() -> None:
    node = router(identity(1))
    node.add_peer(key(1), PeerType.PIPE, NOW)
    first = node.next_timer()
    assert first is not None
    assert NOW <= first <= NOW + 1
    node.handle_timer(first)
    assert node.next_timer() == first + 1
    node.remove_peer(1, first)
    node.handle_timer(first)
    assert node.next_timer() == first + 1800


def test_a_state_without_timers_waits_for_nothing() -> None:
    node = router(identity(1), RouterState(identity(1).key))
    assert node.next_timer() is None


def test_new_coordinates_are_saved_from_doubt_once_however_often_they_are_sent() -> None:
    cache = CoordinatesCache()
    for _ in range(2):
        cache.learn(key(1), (1,), NOW)
        cache.doubt(key(1), NOW)
        assert cache.get(key(1), NOW) == (1,)
        cache.learn(key(1), (2,), NOW + 1)
        cache.doubt(key(1), NOW)
        assert cache.get(key(1), NOW + 1) == ()


def test_coordinates_are_doubted_until_there_are_new_ones_or_none_are() -> None:
    cache = CoordinatesCache()
    cache.doubt(key(1), NOW)
    cache.learn(key(1), (1,), NOW)
    for _ in range(2):
        cache.doubt(key(1), NOW + 1)
        assert cache.get(key(1), NOW) == ()
    cache.trust()
    assert cache.get(key(1), NOW) == (1,)
    cache.doubt(key(1), NOW + 1)
    assert cache.learn(key(1), (1,), NOW + 2)
    assert cache.get(key(1), NOW + 2) == (1,)


def test_what_was_doubted_and_makes_room_is_forgotten_altogether() -> None:
    cache = CoordinatesCache(limit=1)
    cache.learn(key(1), (1,), NOW)
    cache.doubt(key(1), NOW + 1)
    cache.learn(key(2), (2,), NOW)
    assert list(cache) == [key(2)]
    cache.trust()
    assert cache.get(key(1), NOW) == ()


def test_the_coordinates_cache_is_bounded_and_what_was_seen_least_recently_goes_first() -> None:
    cache = CoordinatesCache(limit=2)
    cache.learn(key(1), (1,), NOW)
    cache.learn(key(2), (2,), NOW)
    cache.learn(key(1), (1, 1), NOW)
    cache.learn(key(3), (3,), NOW)
    assert list(cache) == [key(1), key(3)]
    cache.learn(key(4), (), NOW)
    cache.learn(key(4), (1,) * (MAX_HOPS + 1), NOW)
    assert list(cache) == [key(1), key(3)]
    assert cache.get(key(1), NOW + 59) == (1, 1)
    assert cache.get(key(1), NOW + 60) == ()


def test_a_route_says_what_its_frame_will_say() -> None:
    node = child()
    route = node.route(identity(HIGH).key, NOW)
    assert route is not None
    assert (route.port, route.destination, route.coordinates) == (1, identity(HIGH).key, ())
    assert route.watermark == Watermark(identity(HIGH).key, 0)
    assert not route.watermark.is_worse_than(NO_WATERMARK)
