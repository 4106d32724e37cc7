"""Streams while the network below them changes: nobody notices more than a delay, until the far end is really gone."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from itertools import permutations
from statistics import median

import pytest

from pinecone_transport.errors import StreamTimeoutError
from pinecone_transport.simulator import Network, Transfers, parts
from tests.support.networks import identities, line, random_network, settle

logger = logging.getLogger(__name__)

COUNT = 30
LINKS = 45
STREAMS = 20


def transfers_over(network: Network, seed: int) -> Transfers:
    """Settle the network and have streams run between nodes drawn at random."""
    settle(network, 90)
    source = random.Random(seed)
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < STREAMS:
        first, second = source.sample(range(COUNT), 2)
        pairs[first, second] = None
    transfers = Transfers(network)
    for pair in pairs:
        transfers.start(*pair)
    transfers.run(5)
    assert all(None not in transfer.streams for transfer in transfers.all)
    return transfers


def assert_nothing_was_lost(transfers: Transfers) -> None:
    """Let everything arrive, and check that all streams are there and had every byte, in order, once."""
    transfers.deliver(30)
    assert [transfer for transfer in transfers.all if transfer.ended] == []
    directions = [direction for transfer in transfers.all for direction in transfer.directions]
    assert [direction for direction in directions if not direction.intact] == []
    assert [direction for direction in directions if direction.received != direction.sent] == []
    assert min(direction.sent for direction in directions) > 10_000
    pauses = sorted(direction.longest_pause for direction in directions)
    logger.info("longest pause of each direction: median %.1f s, at most %.1f s", median(pauses), pauses[-1])


def test_every_link_is_cut_and_restored_in_turn() -> None:
    network = random_network(COUNT, LINKS, seed=5)
    transfers = transfers_over(network, 5)
    for index in range(LINKS):
        network.cut(index)
        transfers.run(2)
        network.connect(*network.links[index].nodes)
        transfers.run(1)
    assert_nothing_was_lost(transfers)


def test_every_link_falls_silent_and_is_made_anew_in_turn() -> None:
    network = random_network(COUNT, LINKS, seed=6)
    transfers = transfers_over(network, 6)
    for index in range(LINKS):
        network.silence(index)
        transfers.run(6)
        assert not network.links[index].up
        network.connect(*network.links[index].nodes)
        transfers.run(1)
    assert_nothing_was_lost(transfers)


def nodes_that_may_leave(network: Network) -> Iterator[int]:
    """Yield each node, when it is its turn, without which the others can still reach one another."""
    for node in range(COUNT):
        links = [link for link in network.live_links() if node not in link]
        if len(parts(COUNT, links)) == 2:
            yield node


def test_nodes_move() -> None:
    network = random_network(COUNT, LINKS, seed=7)
    transfers = transfers_over(network, 7)
    source = random.Random(7)
    moved = 0
    for node in nodes_that_may_leave(network):
        network.isolate(node)
        transfers.run(2)
        for neighbour in source.sample([other for other in range(COUNT) if other != node], 2):
            network.connect(node, neighbour)
        transfers.run(3)
        moved += 1
    assert moved > COUNT // 2
    assert_nothing_was_lost(transfers)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_node_that_moves_is_heard_again_soon_whoever_has_the_higher_key(order: tuple[int, ...]) -> None:
    """A leaf, two relays and a leaf that moves from one relay to the other."""
    network = Network()
    by_key = sorted(identities(4), key=lambda identity: identity.key)
    for place in order:
        network.add_node(by_key[place])
    leaf, near, far, mover = range(4)
    network.connect(leaf, near)
    network.connect(near, far)
    link = network.connect(mover, near)
    settle(network, 30)
    transfers = Transfers(network, interval=0.05)
    transfer = transfers.start(leaf, mover)
    transfers.run(5)
    for relay in (far, near, far, near, far, near):
        network.cut(link)
        transfers.run(0.2)
        link = network.connect(mover, relay)
        transfers.run(4.1)  # so that each move meets another moment of the nodes' intervals
    transfers.deliver(10)
    assert transfer.ended == []
    assert transfer.complete
    assert max(direction.longest_pause for direction in transfer.directions) < 3.0


def two_halves(seed: int) -> tuple[Network, list[int]]:
    """Return a network of two connected halves, and the links between these."""
    source = random.Random(seed)
    network = Network(seed)
    for identity in identities(COUNT, seed):
        network.add_node(identity)
    half = COUNT // 2
    for first in (0, half):
        for node in range(1, half):
            network.connect(first + node, first + source.randrange(node))
        for _ in range(5):
            network.connect(*source.sample(range(first, first + half), 2))
    return network, [network.connect(source.randrange(half), source.randrange(half, COUNT)) for _ in range(5)]


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_network_is_split_in_two_and_merged_again(seed: int) -> None:
    network, between = two_halves(seed)
    transfers = transfers_over(network, seed)
    for index in between:
        network.cut(index)
    assert [len(part) for part in parts(COUNT, network.live_links())] == [COUNT // 2] * 2
    transfers.run(15)
    for index in between:
        network.connect(*network.links[index].nodes)
    transfers.run(20)
    assert_nothing_was_lost(transfers)


def test_a_stronger_root_comes_and_goes() -> None:
    network = random_network(COUNT, LINKS, seed=8)
    transfers = transfers_over(network, 8)
    strongest = max(network.key(node) for node in range(COUNT))
    stronger = max(identities(200, seed=9), key=lambda identity: identity.key)
    assert stronger.key > strongest
    root = network.add_node(stronger)
    for neighbours in ((0, 1), (2,), (3, 4, 5)):
        for neighbour in neighbours:
            network.connect(root, neighbour)
        transfers.run(8)
        assert {network.stack(node).router.root.key for node in range(COUNT)} == {stronger.key}
        network.isolate(root)
        transfers.run(8)
        assert {network.stack(node).router.root.key for node in range(COUNT)} == {strongest}
    assert_nothing_was_lost(transfers)


@pytest.mark.parametrize("writes", [True, False], ids=["one that sends", "one that waits"])
@pytest.mark.parametrize("silent", [True, False], ids=["silently", "by a cut"])
@pytest.mark.parametrize("phase", [0.0, 1.5, 3.5])
def test_a_far_end_that_vanishes_is_noticed_between_30_and_35_seconds_later(
    writes: bool, silent: bool, phase: float
) -> None:
    network = line(3)
    settle(network, 60)
    transfers = Transfers(network)
    transfer = transfers.start(0, 2)
    transfers.run(10)
    transfers.run(40 + phase, write=writes)
    assert transfer.ended == []
    gone_at = network.now
    if silent:
        network.silence(1)
    else:
        network.cut(1)
    transfers.run(30, write=writes)
    assert transfer.ended == []
    transfers.run(5, write=writes)
    assert sorted(node for node, _, _ in transfer.ended) == [0, 2]
    assert {type(error) for _, _, error in transfer.ended} == {StreamTimeoutError}
    logger.info("lost after %s", [f"{at - gone_at:.1f} s" for _, at, _ in transfer.ended])


@pytest.mark.parametrize("writes", [True, False], ids=["one that sends", "one that waits"])
@pytest.mark.parametrize("outage", [1.0, 12.0, 29.0])
def test_an_interruption_of_up_to_30_seconds_is_a_delay_and_not_longer_than_need_be(
    writes: bool, outage: float
) -> None:
    network = line(3)
    settle(network, 60)
    transfers = Transfers(network)
    transfer = transfers.start(0, 2)
    transfers.run(30, write=writes)
    network.cut(1)
    transfers.run(outage, write=writes)
    network.connect(1, 2)
    heard_at = [direction.heard_at for direction in transfer.directions]
    transfers.run(5, write=True)
    assert transfer.ended == []
    assert all(direction.heard_at > before for direction, before in zip(transfer.directions, heard_at, strict=True))
    transfers.deliver(5)
    assert transfer.complete
