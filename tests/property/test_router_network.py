"""Networks of routers, of any shape, find their tree and their snake, and find them again after links were cut."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.wire import PeerType
from tests.support.frames import identity
from tests.support.router_network import RouterNetwork

IDENTITIES = sorted((identity(number) for number in range(8)), key=lambda each: each.key)
Edge = tuple[int, int, PeerType]

nodes = st.integers(0, len(IDENTITIES) - 1)
edges = st.lists(
    st.tuples(nodes, nodes, st.sampled_from([PeerType.PIPE, PeerType.REMOTE])).filter(lambda edge: edge[0] != edge[1]),
    min_size=6,
    max_size=14,
)


def parts(links: Iterable[tuple[int, int]]) -> list[set[int]]:
    """Return the connected parts of the network."""
    found = [{node} for node in range(len(IDENTITIES))]
    for one, other in links:
        here = next(part for part in found if one in part)
        there = next(part for part in found if other in part)
        if here is not there:
            found.remove(there)
            here |= there
    return found


def check_converged(network: RouterNetwork, links: Iterable[tuple[int, int]]) -> None:
    """Check root, coordinates and descending neighbour of every node, and that all of a part reach one another."""
    routers = network.routers
    for part in parts(links):
        ordered = sorted(part)
        for place, node in enumerate(ordered):
            router = routers[node]
            assert router.root.key == routers[ordered[-1]].key
            assert router.descending == (routers[ordered[place - 1]].key if place else None)
            if router.parent is not None:
                parent = router.state.peers[router.parent]
                assert parent.announcement is not None
                upper = next(each for each in routers if each.key == parent.key)
                assert router.coordinates[:-1] == upper.coordinates == parent.announcement.sender_coordinates
            else:
                assert node == ordered[-1]
                assert router.coordinates == ()
        for one in part:
            for other in part - {one}:
                # Once by key, then by the coordinates that the answer has brought.
                assert network.reaches(one, other)
                assert network.reaches(other, one)
                assert (
                    network.routers[one].state.coordinates_cache.get(routers[other].key, network.clock.now)
                    == routers[other].coordinates
                )
                assert network.reaches(one, other)


@settings(max_examples=50)
@given(edges, st.sets(st.integers(0, 13), max_size=5))
def test_a_network_converges_and_converges_again_after_cuts(links: list[Edge], lost: set[int]) -> None:
    network = RouterNetwork(IDENTITIES)
    ends = [network.connect(*link) for link in links]
    network.run(60)
    check_converged(network, [link[:2] for link in links])
    for number in sorted(lost):
        if number < len(links):
            network.cut(ends[number])
    network.run(90)
    check_converged(network, [link[:2] for number, link in enumerate(links) if number not in lost])
