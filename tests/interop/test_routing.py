"""One tree and one snake of Go nodes and ours."""

from itertools import combinations
from random import Random

import pytest
import pytest_twisted

from tests.support.mixed_network import MixedNetwork, identities

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


# The root is the last of the identities, wherever the order puts it: so it is Go's in some, and ours in others.
@pytest.mark.parametrize(
    ("name", "kinds", "edges", "root_at"),
    [
        ("line, ours between Go's, root Go's", "gogogo", line(6), 0),
        ("line, root ours at its end", "gogogo", line(6), 5),
        ("ring, root ours", "ggoogo", ring(6), 3),
        ("star around ours, which is not root", "ogggog", star(6), 2),
        ("star around Go's, root one of our leaves", "gogogo", star(6), 1),
        ("random, root Go's", "goog" * 4, random_graph(16, 12), 3),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nodes_become_one_tree_and_one_snake_and_all_reach_all(
    network: MixedNetwork, name: str, kinds: str, edges: list[tuple[int, int]], root_at: int
) -> None:
    keys = identities(name, len(kinds))
    keys.insert(root_at, keys.pop())
    await network.start_graph(kinds, edges, keys)
    await network.settled(len(edges))
    await network.assert_all_reach_all()
    assert network.lost_links() == []
