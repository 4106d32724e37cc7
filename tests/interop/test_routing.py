"""One tree and one snake of Go nodes, of both versions of quic-go, and ours.

Every frame on a link between a Go node and one of ours is held to a strict reading; see the fixture.
"""

from itertools import combinations
from random import Random
from typing import Any

import pytest
import pytest_twisted

from pinecone_transport.identity import Identity
from tests.support.mixed_network import GO, MixedNetwork, identities

pytestmark = pytest.mark.interop


def line(count: int) -> list[tuple[int, int]]:
    return [(number, number + 1) for number in range(count - 1)]


def ring(count: int) -> list[tuple[int, int]]:
    return [*line(count), (0, count - 1)]


def star(count: int) -> list[tuple[int, int]]:
    return [(0, number) for number in range(1, count)]


def random_graph(count: int, extra: int) -> list[tuple[int, int]]:
    """A tree at random, and some more links."""
    random = Random(count)
    tree = [(random.randrange(number), number) for number in range(1, count)]
    others = sorted(set(combinations(range(count), 2)) - set(tree))
    return tree + random.sample(others, extra)


SHORT_WAYS = random_graph(16, 20)
"""With fewer links some ways by key are longer than the ten hops that a Go node gives a packet, whoever is on them."""


# The root is the last of the identities, wherever the order puts it: so it is Go's in some, and ours in others.
@pytest.mark.parametrize(
    ("name", "kinds", "edges", "root_at", "sessions"),
    [
        ("line, ours between Go's, root Go's", "gogogo", line(6), 0, "quic"),
        ("line, root ours at its end", "gogogo", line(6), 5, "utp"),
        ("longer line, root ours in the middle", "gooogoog", line(8), 3, "quic"),
        ("ring, root ours", "ggoogo", ring(6), 3, "quic"),
        ("star around ours, which is not root", "ogggog", star(6), 2, "quic"),
        ("star around Go's, root one of our leaves", "gogogo", star(6), 1, "utp"),
        ("random, root Go's", "goog" * 4, SHORT_WAYS, 3, "quic"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nodes_become_one_tree_and_one_snake_and_all_reach_all(  # noqa: PLR0917  # parameters
    network: MixedNetwork, name: str, kinds: str, edges: list[tuple[int, int]], root_at: int, sessions: str
) -> None:
    network.sessions = sessions
    await network.start_graph(kinds, edges, ordered(name, len(kinds), root_at))
    await network.settled(len(edges))
    await network.assert_all_reach_all()
    assert network.lost_links() == []


def ordered(name: str, count: int, root_at: int) -> list[Identity]:
    keys = identities(name, count)
    keys.insert(root_at, keys.pop())
    return keys


@pytest_twisted.ensureDeferred
async def test_processes_of_ours_carry_what_go_nodes_send_one_another(network: MixedNetwork) -> None:
    kinds, edges = "gppg" * 4, SHORT_WAYS
    network.sessions = "quic"
    await network.start_graph(kinds, edges, ordered("processes", len(kinds), 2))
    await network.settled(len(edges), timeout=60.0)
    await network.assert_all_reach_all()
    assert network.lost_links() == []


@pytest_twisted.ensureDeferred
async def test_a_tree_with_nodes_of_ours_is_what_it_is_without_them(network: MixedNetwork) -> None:
    edges = random_graph(8, 0)
    found = []
    for kinds in (GO * 8, "gogoogog"):
        await network.start_graph(kinds, edges, ordered("without", len(kinds), 4))
        await network.settled(len(edges))
        found.append([place(await peer.state()) for peer in network.peers])
        while network.peers:
            await network.stop(network.peers[-1])
    assert found[0] == found[1]


def place(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a node's state the keys and links of a tree prescribe."""
    return {
        "key": state["key"],
        "root": state["root"]["key"],
        "parent": state["parent"] and state["parent"]["key"],
        "depth": len(state["coordinates"]),
        "descending": state["descending"],
        "neighbours": sorted(link["key"] for link in state["links"]),
    }
