"""Networks of our routers come to rest where those of the reference did."""

from __future__ import annotations

from typing import Any

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.wire import PeerType
from tests.support.router_network import RouterNetwork
from tests.support.vectors import load_vector, named


def check_places(network: RouterNetwork, expected: list[dict[str, Any]]) -> None:
    """Compare every node's place in tree and snake with the recorded one, as far as that is certain."""
    routers = network.routers
    for node, place in enumerate(expected):
        router = routers[node]
        assert router.root.key == routers[place["root"]].key
        descending = place["descending"]
        assert router.descending == (routers[descending].key if descending is not None else None)
        parent = None if router.parent is None else router.state.peers[router.parent].key
        if place["parent_certain"]:
            assert parent == (routers[place["parent"]].key if place["parent"] is not None else None)
        if "coords" in place:
            assert list(router.coordinates) == place["coords"]
        assert (parent is None) == (router.coordinates == ()) == (place["root"] == node)


def check_deliveries(network: RouterNetwork, expected: list[dict[str, Any]]) -> None:
    """Let every node of a part reach every other, by key and then by coordinates."""
    for one, place in enumerate(expected):
        for other, its_place in enumerate(expected):
            if one != other and place["root"] == its_place["root"]:
                router = network.routers[one]
                key = network.routers[other].key
                router.forget_coordinates(key)
                assert network.reaches(one, other)
                router.state.coordinates_cache.learn(key, network.routers[other].coordinates, network.clock.now)
                route = router.route(key, network.clock.now)
                assert route is not None
                assert route.coordinates == network.routers[other].coordinates
                assert network.reaches(one, other)


@pytest.mark.parametrize("case", named(load_vector("simulated_networks")["networks"]))
def test_a_network_comes_to_rest_as_in_the_reference(case: dict[str, Any]) -> None:
    network = RouterNetwork([Identity(bytes.fromhex(node["seed"])) for node in case["nodes"]])
    links = []
    for edge in case["edges"]:
        here, port = network.connect(edge["a"], edge["b"], PeerType(edge["type"]))
        assert port == edge["port_a"]
        assert network.routers[edge["b"]].state.peers[edge["port_b"]].key == network.routers[here].key
        links.append((here, port))
    network.run(90)
    assert case["all_pairs_by_key"]
    assert case["all_pairs_by_coordinates"]
    check_places(network, case["converged"])
    check_deliveries(network, case["converged"])
    if "cut" in case:
        for cut in case["cut"]:
            network.cut(links[cut])
        network.run(120)
        assert case["after_cut_all_pairs_by_key"]
        assert case["after_cut_all_pairs_by_coordinates"]
        check_places(network, case["after_cut"])
        check_deliveries(network, case["after_cut"])
