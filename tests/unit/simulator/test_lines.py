"""Lines are the worst case of tree and snake: the news has to pass every node (§4, §5)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import UnreachableError
from pinecone_transport.simulator import Dials
from tests.support.networks import all_pairs, assert_answers, half_of_the_pairs, line, settle


@pytest.mark.parametrize(("count", "timeout"), [(10, 30), (30, 60), (50, 90)])
def test_a_line_settles_and_all_pairs_reach_one_another_by_key(count: int, timeout: float) -> None:
    network = line(count)
    settle(network, timeout)
    assert_answers(Dials(network), all_pairs(network))


def test_a_line_of_100_settles_where_hops_are_not_limited() -> None:
    # Short links, so that an answer comes back over all of them before the dial is repeated.
    network = line(100, hop_limiting=False, latency=(0.0005, 0.0015))
    settle(network, 120)
    pairs = half_of_the_pairs(network)
    assert sum(map(len, pairs)) == 100 * 99 // 2
    assert_answers(Dials(network), pairs)


def test_hop_limiting_ends_what_goes_too_far() -> None:
    network = line(12, hop_limit=10)
    settle(network, 60)
    dials = Dials(network)
    assert dials.unanswered([(0, 9), (9, 0)]) == []
    assert [type(dial.error) for dial in dials.unanswered([(0, 11)])] == [UnreachableError]
    assert sum(network.stack(node).router.counters["hop limit reached"] for node in range(12)) > 0


def test_the_parts_of_a_line_live_on_and_become_one_again() -> None:
    network = line(16)
    settle(network, 60)
    network.cut(7)
    network.run(15)
    settle(network, 60)
    assert_answers(Dials(network), all_pairs(network))
    assert [len(pairs) for pairs in all_pairs(network)] == [7] * 16
    network.connect(0, 15)
    network.run(15)
    settle(network, 60)
    assert_answers(Dials(network), all_pairs(network))
    assert [len(pairs) for pairs in all_pairs(network)] == [15] * 16
