"""Random networks of 200 nodes, as they are made, cut apart and moved about (§4, §5, §6)."""

from __future__ import annotations

import random

from pinecone_transport.simulator import Dials
from tests.support.networks import all_pairs, assert_answers, half_of_the_pairs, random_network, settle

COUNT = 200


def test_200_nodes_settle_and_all_pairs_reach_one_another_by_key() -> None:
    network = random_network(COUNT, 400)
    settle(network, 90)
    pairs = all_pairs(network)
    assert sum(map(len, pairs)) == 39_800
    assert_answers(Dials(network), pairs)
    assert network.lost == []


def test_200_nodes_settle_again_after_links_are_cut_and_nodes_move() -> None:
    network = random_network(COUNT, 400, seed=2)
    source = random.Random(2)
    settle(network, 90)
    for index in source.sample(range(400), 60):
        network.cut(index)
    for node in source.sample(range(COUNT), 20):
        network.isolate(node)
        for neighbour in source.sample([other for other in range(COUNT) if other != node], 2):
            network.connect(node, neighbour)
    network.run(15)  # what was learnt over the old links is gone by then
    settle(network, 90)
    assert_answers(Dials(network), half_of_the_pairs(network))


def test_the_strongest_node_s_leaving_and_coming_back_leaves_one_tree() -> None:
    network = random_network(60, 120, seed=4)
    settle(network, 90)
    root = max(range(60), key=network.key)
    network.isolate(root)
    network.run(15)
    settle(network, 90)
    assert_answers(Dials(network), half_of_the_pairs(network))
    network.connect(root, (root + 1) % 60)
    network.run(15)
    settle(network, 90)
    assert_answers(Dials(network), half_of_the_pairs(network))
