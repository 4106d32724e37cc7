"""What a settled network looks like, worked out from keys and links alone."""

from __future__ import annotations

from pinecone_transport.simulator import Settled, is_settled, parts, settled
from tests.support.frames import key
from tests.support.networks import line


def test_parts_are_the_nodes_that_reach_one_another() -> None:
    assert parts(0, []) == []
    assert parts(3, []) == [[0], [1], [2]]
    assert parts(6, [(4, 1), (5, 3), (1, 0), (0, 4), (4, 4)]) == [[0, 1, 4], [2], [3, 5]]


def test_the_highest_key_of_each_part_is_root_and_each_has_the_next_lower_below_it() -> None:
    keys = [key(5), key(2), key(9), key(7), key(1)]
    assert settled(keys, [(0, 1), (1, 2), (3, 4)]) == [
        Settled(key(9), key(2)),
        Settled(key(9), None),
        Settled(key(9), key(5)),
        Settled(key(7), key(1)),
        Settled(key(7), None),
    ]


def test_a_network_is_not_settled_before_its_nodes_have_heard_of_one_another() -> None:
    network = line(3)
    assert not is_settled(network)
    network.run(30)
    assert is_settled(network)
    network.cut(0)
    assert not is_settled(network)
