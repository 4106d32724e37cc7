"""Simulated networks to test with."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from pinecone_transport.identity import Identity
from pinecone_transport.simulator import Dials, Network, is_settled, parent_of, parts


def identities(count: int, seed: int = 1) -> list[Identity]:
    """Return as many identities, in no order of their keys."""
    source = random.Random(seed)
    return [Identity(source.randbytes(32)) for _ in range(count)]


def line(count: int, seed: int = 1, **options: Any) -> Network:
    """Return nodes in a row, each linked to the one before; no time has passed yet."""
    network = Network(seed, **options)
    for identity in identities(count, seed):
        network.add_node(identity)
    for node in range(1, count):
        network.connect(node - 1, node)
    return network


def random_network(count: int, links: int, seed: int = 1) -> Network:
    """Return a connected network with as many links, between nodes drawn at random; no time has passed yet."""
    source = random.Random(seed)
    network = Network(seed)
    for identity in identities(count, seed):
        network.add_node(identity)
    for node in range(1, count):
        network.connect(node, source.randrange(node))
    while len(network.links) < links:
        network.connect(*source.sample(range(count), 2))
    return network


def assert_a_tree_leads_to_each_root(network: Network) -> None:
    """Check that parents are neighbours and lead to the root, and that coordinates are the parent's plus its port."""
    for part in parts(len(network), network.live_links()):
        for node in part:
            router = network.stack(node).router
            parent = parent_of(network, node)
            if parent is None:
                assert (router.root.key, router.coordinates) == (router.key, ())
                assert node == max(part, key=network.key)
                continue
            assert (node, parent) in network.live_links() or (parent, node) in network.live_links()
            above = network.stack(parent).router
            assert router.root == above.root
            assert router.coordinates[:-1] == above.coordinates
            assert router.key in [peer.key for peer in above.peers if peer.port == router.coordinates[-1]]


def settle(network: Network, timeout: float) -> float:
    """Let time pass until tree and snake are as they must be; return the seconds that it took."""
    seconds = network.run_until(lambda: is_settled(network), timeout)
    assert_a_tree_leads_to_each_root(network)
    return seconds


def all_pairs(network: Network) -> list[list[tuple[int, int]]]:
    """Return all (source, destination) that have a way to each other, a list for each source."""
    return [
        [(source, destination) for destination in part if destination != source]
        for part in parts(len(network), network.live_links())
        for source in part
    ]


def half_of_the_pairs(network: Network) -> list[list[tuple[int, int]]]:
    """Return each pair of `all_pairs` once, half of them either way round: an answer proves both directions."""
    return [[pair for pair in pairs if (pair[0] < pair[1]) is (sum(pair) % 2 == 0)] for pairs in all_pairs(network)]


def assert_answers(dials: Dials, pairs: Iterable[list[tuple[int, int]]], *, by_key: bool = True) -> None:
    """Dial list by list, and check that every dial is answered."""
    for dialled in pairs:
        assert dials.unanswered(dialled, by_key=by_key) == []
