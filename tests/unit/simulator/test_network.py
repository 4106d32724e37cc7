"""The simulated network itself: links, time, and that it is the same in every run."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import LinkTimeoutError, UnreachableError
from pinecone_transport.simulator import Dials, Network, descending_of, parent_of, root_of
from pinecone_transport.stack import LinkLost, LinkUp
from tests.support.networks import identities, line, random_network, settle


def two(**options: float) -> Network:
    """Return two nodes and a link."""
    network = Network()
    for identity in identities(2):
        network.add_node(identity)
    network.connect(0, 1, **options)
    return network


def seen_by(network: Network) -> list:
    """Return a list that fills with (time, node, event)."""
    seen: list = []
    network.observers.append(lambda node, event: seen.append((network.now, node, event)))
    return seen


def test_a_link_comes_up_after_its_latency() -> None:
    network = two(latency=0.25)
    seen = seen_by(network)
    started_at = network.now
    network.run(1.0)
    ups = sorted((at, node, event.key) for at, node, event in seen if isinstance(event, LinkUp))
    assert ups == [(started_at + 0.25, 0, network.key(1)), (started_at + 0.25, 1, network.key(0))]
    assert network.now == started_at + 1.0


def test_two_nodes_agree_on_root_parent_and_snake() -> None:
    network = two()
    settle(network, 20)
    high, low = sorted((0, 1), key=network.key, reverse=True)
    assert [root_of(network, node) for node in (high, low)] == [high, high]
    assert [parent_of(network, node) for node in (high, low)] == [None, high]
    assert [descending_of(network, node) for node in (high, low)] == [low, None]
    assert network.node(network.key(low)) == low
    assert len(network) == 2


def test_a_cut_link_is_gone_at_once_at_both_ends_and_stays_gone() -> None:
    network = two()
    settle(network, 20)
    network.cut(0)
    network.cut(0)
    assert network.live_links() == []
    assert [network.stack(node).router.peers for node in (0, 1)] == [[], []]
    network.run(60)
    assert network.lost == []
    assert [root_of(network, node) for node in (0, 1)] == [0, 1]


def test_a_link_that_is_cut_with_bytes_on_the_way_loses_them() -> None:
    network = two(latency=1.0)
    network.run(0.5)
    network.cut(0)
    network.run(10.0)
    assert [network.stack(node).router.peers for node in (0, 1)] == [[], []]


def test_a_silent_link_is_given_up_by_both_ends_within_five_seconds() -> None:
    network = two()
    settle(network, 20)
    seen = seen_by(network)
    network.silence(0)
    network.run(5.5)
    lost = [node for _, node, event in seen if isinstance(event, LinkLost)]
    assert sorted(lost) == [0, 1]
    assert {type(error) for _, error in network.lost} == {LinkTimeoutError}
    assert network.live_links() == []


def test_a_link_that_one_end_gives_up_is_closed_at_the_other() -> None:
    network = Network()
    (identity,) = identities(1)
    network.add_node(identity)
    network.add_node(identity)
    seen = seen_by(network)
    network.connect(0, 1)
    network.run(1.0)
    assert network.live_links() == []
    assert [node for _, node, event in seen if isinstance(event, LinkLost)]
    assert [network.stack(node).router.peers for node in (0, 1)] == [[], []]


def test_lost_traffic_is_sent_again_and_the_tree_never_notices() -> None:
    network = two(loss=0.3)
    settle(network, 20)
    dials = Dials(network)
    answered = 0
    for _ in range(30):
        answered += not dials.unanswered([(0, 1)], timeout=30)
    assert answered == 30
    sent, received = (network.stack(0).peering(1), network.stack(1).peering(1))
    assert sent.counters["frames_out_traffic"] > received.counters["frames_in_traffic"]
    assert sent.counters["frames_out_bootstrap"] == received.counters["frames_in_bootstrap"]
    assert network.lost == []


def test_a_dial_without_a_way_fails() -> None:
    network = Network()
    for identity in identities(2):
        network.add_node(identity)
    (dial,) = Dials(network).unanswered([(0, 1)])
    assert isinstance(dial.error, UnreachableError)
    assert dial.connected_at is None


def test_a_dial_takes_two_ways_of_the_latency() -> None:
    network = two(latency=0.1)
    settle(network, 20)
    dials, others = Dials(network), Dials(network)
    dial = dials.dial(0, 1)
    network.run(1.0)
    assert dial.connected_at == pytest.approx(dial.started_at + 0.2)
    dials.hang_up([dial])
    assert others.unanswered([(1, 0)], by_key=False) == []


def test_a_node_that_moves_is_reached_where_it_is() -> None:
    network = line(8)
    settle(network, 60)
    dials = Dials(network)
    assert dials.unanswered([(7, 0), (3, 0)]) == []
    network.isolate(0)
    network.connect(0, 7)
    network.run(15)
    settle(network, 60)
    # Coordinates from before are of no use: they lead to its former neighbour, and from there on by key.
    assert dials.unanswered([(node, 0) for node in range(1, 8)], by_key=False, timeout=10) == []


def test_what_does_not_come_about_times_out() -> None:
    network = two()
    started_at = network.now
    with pytest.raises(TimeoutError):
        network.run_until(lambda: False, 3.0)
    assert network.now == started_at + 3.0
    assert network.run_until(lambda: network.now >= started_at + 4.0, 3.0) == 1.0


def test_a_seed_gives_the_same_run_every_time() -> None:
    runs = []
    for _ in range(2):
        network = random_network(15, 25, seed=9)
        seen = seen_by(network)
        network.run(20)
        runs.append([(at, node, str(event)) for at, node, event in seen])
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100
