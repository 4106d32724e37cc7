"""What a network looks like, and what it must look like once it has settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pinecone_transport.identity import PublicKey
from pinecone_transport.simulator.network import Network


class Settled(NamedTuple):
    """What is certain of a node in a settled network, whatever came first. Source: §4, §5.

    Attributes:
        root: Its root's key.
        descending: Its descending neighbour's key, None for the lowest key.
    """

    root: PublicKey
    descending: PublicKey | None


def parts(nodes: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the parts of a graph of nodes 0 to ``nodes`` - 1: lists of nodes that reach one another, ascending."""
    part_of = [[node] for node in range(nodes)]
    for a, b in links:
        smaller, larger = sorted((part_of[a], part_of[b]), key=len)
        if smaller is not larger:
            larger += smaller
            for node in smaller:
                part_of[node] = larger
    return [sorted(part) for node, part in enumerate(part_of) if min(part) == node]


def settled(keys: Sequence[PublicKey], links: Iterable[tuple[int, int]]) -> list[Settled]:
    """Return what becomes of each node of a network whose links stay as they are."""
    result = [Settled(key, None) for key in keys]
    for part in parts(len(keys), links):
        order = sorted(part, key=keys.__getitem__)
        root = keys[order[-1]]
        below: PublicKey | None = None
        for node in order:
            result[node] = Settled(root, below)
            below = keys[node]
    return result


def is_settled(network: Network) -> bool:
    """Tell whether every node has the root and the descending neighbour that it must end with."""
    keys = [network.key(node) for node in range(len(network))]
    routers = (network.stack(node).router for node in range(len(network)))
    return [(router.root.key, router.descending) for router in routers] == settled(keys, network.live_links())


def root_of(network: Network, node: int) -> int:
    """Return the node that a node takes for the root."""
    return network.node(network.stack(node).router.root.key)


def parent_of(network: Network, node: int) -> int | None:
    """Return a node's parent, or None if it is its own root."""
    router = network.stack(node).router
    return next((network.node(peer.key) for peer in router.peers if peer.port == router.parent), None)


def descending_of(network: Network, node: int) -> int | None:
    """Return a node's descending neighbour, or None."""
    key = network.stack(node).router.descending
    return network.node(key) if key is not None else None
