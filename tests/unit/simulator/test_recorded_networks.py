"""Networks of our own stacks reach what networks of the reference were seen to reach (§4, §5, §6)."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.simulator import Dials, Network, descending_of, parent_of, root_of
from pinecone_transport.wire import PeerType
from tests.support.networks import all_pairs, assert_answers, settle
from tests.support.vectors import load_vector, named


def assert_as_recorded(network: Network, recorded: list[dict[str, Any]]) -> None:
    for node, expected in enumerate(recorded):
        assert root_of(network, node) == expected["root"]
        assert descending_of(network, node) == expected.get("descending")
        if expected["parent_certain"]:
            assert parent_of(network, node) == expected["parent"]
        if "coords" in expected:
            assert list(network.stack(node).router.coordinates) == expected["coords"]


def assert_all_reach_one_another_both_ways(network: Network) -> None:
    """Dial all pairs by key and then by the coordinates that these dials have shown."""
    dials = Dials(network)
    assert_answers(dials, all_pairs(network))
    for pairs in all_pairs(network):
        for source, destination in pairs:
            route = network.stack(source).router.route(network.key(destination), network.now)
            assert route is not None
            assert route.coordinates == network.stack(destination).router.coordinates
        assert_answers(dials, [pairs], by_key=False)


@pytest.mark.parametrize("case", named(load_vector("simulated_networks")["networks"]))
def test_a_network_settles_as_recorded_and_so_it_does_after_cuts(case) -> None:
    network = Network(hop_limiting=False, hop_limit=10)
    for node in case["nodes"]:
        network.add_node(Identity(bytes.fromhex(node["seed"])))
    for edge in case["edges"]:
        link = network.links[network.connect(edge["a"], edge["b"], PeerType(edge["type"]))]
        network.run(0.1)
        for end, name in enumerate(("port_a", "port_b")):
            ports = {peer.port: peer.key for peer in network.stack(link.nodes[end]).router.peers}
            assert ports[edge[name]] == network.key(link.nodes[1 - end])
    settle(network, 90)
    assert_as_recorded(network, case["converged"])
    assert case["all_pairs_by_key"]
    assert case["all_pairs_by_coordinates"]
    assert_all_reach_one_another_both_ways(network)
    if "cut" not in case:
        return
    for index in case["cut"]:
        network.cut(index)
    network.run(15)  # what was learnt over the old links is gone by then
    settle(network, 105)
    assert_as_recorded(network, case["after_cut"])
    assert case["after_cut_all_pairs_by_key"]
    assert case["after_cut_all_pairs_by_coordinates"]
    assert_all_reach_one_another_both_ways(network)
