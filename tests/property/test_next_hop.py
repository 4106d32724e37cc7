"""The look-ups of the next hop have the outcome of the protocol's own walks, in any state, sane or not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.router import Peer, Root, RouterState
from pinecone_transport.router.next_hop import Neighbourhood, snake_next_hop, tree_next_hop
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.wire import FULL_MASK, Announcement, HopSignature, PeerType, Watermark
from tests.support.frames import key
from tests.support.literal_next_hop import literal_snake_next_hop, literal_tree_next_hop
from tests.support.routers import NOW

PORTS = range(1, 7)
OWN = key(6)
# Few keys, sequences and hops, so that they meet often.
keys = st.integers(0, 12).map(key)
sequences = st.integers(0, 3)
hops = st.integers(1, 3)
coordinates = st.lists(hops, max_size=4).map(tuple)
signatures = st.builds(HopSignature, hops, keys, st.just(bytes(64)))
announcements = st.builds(
    Announcement,
    st.sampled_from([key(11), key(12), key(5)]),
    st.integers(1, 2),
    st.lists(signatures, max_size=4).map(tuple),
)
peers = st.lists(
    st.builds(
        Peer,
        st.sampled_from(PORTS),
        keys,
        st.sampled_from([PeerType.PIPE, PeerType.REMOTE]),
        st.booleans() | st.just(True),
        st.none() | announcements | announcements,
        st.integers(1, 4),
    ),
    max_size=6,
    unique_by=lambda peer: peer.port,
)
entries = st.lists(
    st.builds(
        SnakeEntry,
        keys,
        st.sampled_from(PORTS),
        st.none(),
        sequences,
        keys,
        sequences,
        st.sampled_from([NOW, NOW - 9.5, NOW - 10.0]) | st.just(NOW),
    ),
    max_size=8,
    unique_by=lambda entry: entry.key,
)
watermarks = st.builds(Watermark, keys | st.just(FULL_MASK), sequences)


@settings(max_examples=1500)
@given(
    known_peers=peers,
    parent=st.none() | st.sampled_from(PORTS),
    known_entries=entries,
    destination=keys,
    watermark=watermarks,
    bootstrap=st.booleans(),
)
def test_the_snake_next_hop_is_that_of_the_literal_reading(
    *,
    known_peers: list[Peer],
    parent: int | None,
    known_entries: list[SnakeEntry],
    destination: bytes,
    watermark: Watermark,
    bootstrap: bool,
) -> None:
    state = RouterState(OWN, 2, {peer.port: peer for peer in known_peers}, parent, table=SnakeTable(known_entries))
    # Where the protocol draws, we take the parent's link and then the lowest port: one of the orders of its walk.
    ordered = sorted(known_peers, key=lambda peer: (peer.port != parent, peer.port))
    expected = literal_snake_next_hop(
        OWN, state.root, parent, ordered, known_entries, destination, watermark, bootstrap, NOW
    )
    found = snake_next_hop(state.neighbourhood, state.table, destination, watermark, NOW, bootstrap=bootstrap)
    assert found == expected


@settings(max_examples=500)
@given(peers, coordinates, coordinates, st.integers(0, 6))
def test_the_tree_next_hop_is_one_that_the_literal_reading_allows(
    known_peers: list[Peer], own: tuple[int, ...], destination: tuple[int, ...], source: int
) -> None:
    root = Root(key(12), 1)
    neighbourhood = Neighbourhood(OWN, root, own, None, known_peers)
    found = tree_next_hop(neighbourhood, destination, source)
    assert found in literal_tree_next_hop(own, root, known_peers, destination, source)


@settings(max_examples=200)
@given(entries, st.lists(st.sampled_from(["store", "expire", "port"]), max_size=10))
def test_the_table_stays_in_order_whatever_is_done_to_it(
    known_entries: list[SnakeEntry], operations: list[str]
) -> None:
    table = SnakeTable(known_entries, limit=10)
    model = {entry.key: entry for entry in known_entries}
    now = NOW
    for number, operation in enumerate(operations):
        now += number
        if operation == "store":
            fresh = SnakeEntry(key(number * 5 % 13), number % 3 + 1, 2, number, OWN, 1, now)
            if table.store(fresh):
                model[fresh.key] = fresh
            else:
                assert len(model) == 10
        elif operation == "expire":
            table.drop_expired(now)
            model = {each: entry for each, entry in model.items() if not entry.expired(now)}
        else:
            table.drop_port(number % 3 + 1)
            model = {
                each: entry for each, entry in model.items() if number % 3 + 1 not in (entry.source, entry.destination)
            }
        assert list(table) == [model[each] for each in sorted(model)]
        assert len(table) == len(model)
