"""The golden vectors of bootstraps and of the snake's upkeep, and the rules that they do not reach."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.router import Peer, PeerAtFault, RouteLearned, Router, RouterState
from pinecone_transport.router.outbox import Outbox
from pinecone_transport.router.sequences import Sequences
from pinecone_transport.router.snake import Snake
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.wire import (
    BOOTSTRAP,
    TREE_ANNOUNCEMENT,
    Announcement,
    Frame,
    HopSignature,
    PeerType,
    Watermark,
    decode_bootstrap,
    decode_frame,
    sign_bootstrap,
)
from tests.support.frames import identity, key
from tests.support.routers import FAR, NOW, UNIX_TIME, entry, identities, router, state
from tests.support.vectors import load_vector, named

VECTOR = load_vector("descending")
IDENTITIES = identities(VECTOR)
KEYS = [each.key for each in IDENTITIES]
VERDICTS = load_vector("bootstraps")


def described(route: SnakeEntry | None) -> dict[str, Any] | None:
    """Return a route as the vectors describe it, but for its age."""
    if route is None:
        return None
    return {
        "key": KEYS.index(route.key),
        "source": route.source,
        "destination": route.destination,
        "seq": route.sequence,
        "root": {"key": KEYS.index(route.root_key), "seq": route.root_sequence},
    }


def ageless(route: dict[str, Any] | None) -> dict[str, Any] | None:
    return {name: value for name, value in route.items() if name != "age_s"} if route is not None else None


def below(root: dict[str, Any], own: int) -> RouterState:
    """Return the state of a node with this root, by a parent on port 9 if that is not itself."""
    known = RouterState(KEYS[own], root["seq"], bootstrap_at=NOW + 5.0, announce_at=FAR)
    if root["key"] != own:
        signature = HopSignature(1, KEYS[root["key"]], bytes(64))
        announcement = Announcement(KEYS[root["key"]], root["seq"], (signature,))
        known.peers[9] = Peer(9, KEYS[root["key"]], PeerType.REMOTE, announcement=announcement)
        known.parent = 9
    return known


@pytest.mark.parametrize("case", named(VECTOR["bootstrap"]))
def test_a_bootstrap_makes_the_route_and_the_neighbour_of_the_reference(case: dict[str, Any]) -> None:
    known = below(case["root"], case["own"])
    if case["entry"] is not None:
        known.table.store(entry(KEYS, case["entry"]))
    if case["descending"] is not None:
        known.descending = entry(KEYS, case["descending"])
    snake = Snake(IDENTITIES[case["own"]], known, Outbox(), Sequences(UNIX_TIME))
    frame = Frame(BOOTSTRAP, bytes.fromhex(case["payload"]), destination_key=KEYS[case["key"]])
    bootstrap = snake.accept(frame, NOW)
    expected = case["result"]
    assert (bootstrap is not None) == expected["handled"]
    if bootstrap is not None:
        snake.store(KEYS[case["key"]], bootstrap, case["from"], case["next_hop"], NOW)
    assert described(known.table.get(KEYS[case["key"]])) == ageless(expected["entry"])
    assert described(known.descending) == ageless(expected["descending"])
    assert (known.bootstrap_at <= NOW) == expected["bootstrap_soon"]


@pytest.mark.parametrize("case", named(VECTOR["maintenance"]))
def test_a_tick_does_what_it_does_in_the_reference(case: dict[str, Any]) -> None:
    known = state(KEYS, case["state"], case["table"])
    known.bootstrap_at = NOW + 5.0 - case["last_bootstrap_s_ago"]
    known.maintenance_at = NOW
    if case["descending"] is not None:
        known.descending = entry(KEYS, case["descending"])
    node = router(IDENTITIES[case["state"]["own"]], known)
    node.handle_timer(NOW)
    expected = case["result"]
    assert [KEYS.index(route.key) for route in known.table] == expected["table_keys"]
    assert node.descending == (KEYS[expected["descending"]] if expected["descending"] is not None else None)
    sent = expected["bootstrap_sent"]
    frames = node.frames_to_send()
    assert len(frames) == (sent is not None)
    if sent is not None:
        [(port, frame)] = frames
        bootstrap = decode_bootstrap(frame.payload)
        assert (port, frame.type, frame.hop_limit) == (sent["to"], BOOTSTRAP, sent["hop_limit"])
        assert frame.destination_key == KEYS[sent["key"]]
        assert frame.watermark == (KEYS[sent["watermark"]["key"]], sent["watermark"]["seq"])
        assert (bootstrap.root_key, bootstrap.root_sequence) == (KEYS[sent["root"]["key"]], sent["root"]["seq"])
        assert bootstrap.sequence == int((UNIX_TIME + NOW) * 1000)
        assert bootstrap.verify(frame.destination_key)


@pytest.mark.parametrize("case", named(VERDICTS["verdicts"]))
def test_a_bootstrap_is_accepted_or_dropped_as_in_the_reference(case: dict[str, Any]) -> None:
    nodes = identities(VERDICTS)
    node_state = VERDICTS["verdict_node"]
    node = router(nodes[node_state["own"]], state([each.key for each in nodes], node_state))
    events = node.receive_frame(2, decode_frame(bytes.fromhex(case["frame"])), NOW)
    assert not any(isinstance(event, PeerAtFault) for event in events)
    assert (bytes.fromhex(case["key"]) in node.state.table) == (case["verdict"] == "accept")
    assert node.counters.total() == (case["verdict"] == "drop")


BY_KEY = sorted(range(1, 20), key=lambda number: identity(number).key)
LOW, MIDDLE, OTHER, HIGH = BY_KEY[0], BY_KEY[5], BY_KEY[10], BY_KEY[-1]


def child() -> Router:
    """Return a router, below `HIGH` on port 1, that `OTHER` has joined on port 2; nothing waits to be sent."""
    node = router(identity(MIDDLE))
    for number in (HIGH, OTHER):
        node.add_peer(identity(number).key, PeerType.REMOTE, NOW)
    root = Announcement(identity(HIGH).key, 3)
    node.receive_frame(1, Frame(TREE_ANNOUNCEMENT, root.signed_by(identity(HIGH), 1).encode()), NOW)
    beside = root.signed_by(identity(HIGH), 2).signed_by(identity(OTHER), 1)
    node.receive_frame(2, Frame(TREE_ANNOUNCEMENT, beside.encode()), NOW)
    assert node.parent == 1
    node.frames_to_send()
    return node


def bootstrap_of(number: int, sequence: int = 1000) -> Frame:
    signed = sign_bootstrap(identity(number), sequence, identity(HIGH).key, 3)
    return Frame(BOOTSTRAP, signed.encode(), destination_key=identity(number).key)


def test_a_key_is_reported_when_it_becomes_known_and_not_again() -> None:
    node = child()
    learned = RouteLearned(identity(LOW).key)
    assert node.receive_frame(2, bootstrap_of(LOW), NOW) == [learned]
    assert node.receive_frame(2, bootstrap_of(LOW, 1001), NOW + 5) == []
    node.state.maintenance_at = NOW + 16
    node.handle_timer(NOW + 16)
    assert len(node.state.table) == 0
    assert node.receive_frame(2, bootstrap_of(LOW, 1002), NOW + 17) == [learned]


def test_keys_of_announcements_are_reported_when_they_become_known() -> None:
    node = router(identity(LOW))
    node.add_peer(identity(MIDDLE).key, PeerType.REMOTE, NOW)
    root = Announcement(identity(HIGH).key, 3).signed_by(identity(HIGH), 1)
    frame = Frame(TREE_ANNOUNCEMENT, root.signed_by(identity(MIDDLE), 1).encode())
    learned = [event for event in node.receive_frame(1, frame, NOW) if isinstance(event, RouteLearned)]
    assert learned == [RouteLearned(identity(HIGH).key), RouteLearned(identity(MIDDLE).key)]
    newer = Announcement(identity(HIGH).key, 4).signed_by(identity(HIGH), 1)
    frame = Frame(TREE_ANNOUNCEMENT, newer.signed_by(identity(MIDDLE), 1).encode())
    assert node.receive_frame(1, frame, NOW) == []


def test_a_full_table_refuses_new_keys_and_renews_old_ones() -> None:
    node = child()
    node.state.table.limit = 1
    node.receive_frame(2, bootstrap_of(LOW), NOW)
    node.receive_frame(2, bootstrap_of(BY_KEY[1]), NOW)
    assert [route.key for route in node.state.table] == [identity(LOW).key]
    assert node.counters["table full"] == 1
    node.receive_frame(2, bootstrap_of(LOW, 2000), NOW)
    assert [route.sequence for route in node.state.table] == [2000]


def test_a_route_is_used_and_expires() -> None:
    node = child()
    node.receive_frame(2, bootstrap_of(LOW, 77), NOW)
    node.frames_to_send()
    route = node.route(identity(LOW).key, NOW + 9)
    assert route is not None
    assert (route.port, route.watermark) == (2, Watermark(identity(LOW).key, 77))
    assert node.route(identity(LOW).key, NOW + 10) is None


def bootstraps_of(node: Router, ticks: int) -> list[tuple[int, int]]:
    """Let seconds pass from `NOW` on; return in which of them bootstraps left, and their sequences."""
    node.state.maintenance_at = NOW
    sent = []
    for tick in range(ticks):
        node.handle_timer(NOW + tick)
        sent += [(tick, decode_bootstrap(frame.payload).sequence) for _, frame in node.frames_to_send()]
    return sent


def test_bootstraps_leave_every_five_seconds_with_rising_sequences() -> None:
    node = child()
    node.state.hasty_until = NOW
    sent = bootstraps_of(node, 12)
    assert [tick for tick, _ in sent] == [0, 5, 10]
    assert sent[0][1] < sent[1][1] < sent[2][1]


def test_bootstraps_leave_every_second_for_ten_seconds_after_a_change_of_the_tree() -> None:
    assert [tick for tick, _ in bootstraps_of(child(), 25)] == [*range(10), 14, 19, 24]


def test_sequences_never_stand_still_even_where_the_clock_does() -> None:
    sequences = Sequences(1000.0)
    assert [sequences.next(1.0), sequences.next(1.0), sequences.next(0.5), sequences.next(2.0)] == [
        1_001_000,
        1_001_001,
        1_001_002,
        1_002_000,
    ]


def route_to(number: int, source: int = 1, age: float = 0.0, destination: int | None = None) -> SnakeEntry:
    return SnakeEntry(key(number), source, destination, 5, key(99), 1, NOW - age)


def test_a_table_goes_by_key_and_forgets_by_age() -> None:
    table = SnakeTable([route_to(3, age=1), route_to(1, age=11), route_to(2, age=10)])
    assert [route.key for route in table] == [key(1), key(2), key(3)]
    assert table.store(route_to(1))
    assert len(table) == 3
    table.drop_expired(NOW)
    assert [route.key for route in table] == [key(1), key(3)]
    assert key(2) not in table
    table.drop_expired(NOW)
    table.clear()
    assert list(table) == []


def test_a_lost_port_takes_the_routes_of_either_end() -> None:
    table = SnakeTable([route_to(1, 1), route_to(2, 2, destination=1), route_to(3, 2, destination=3)])
    table.drop_port(1)
    assert [route.key for route in table] == [key(3)]
