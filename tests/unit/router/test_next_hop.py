"""The golden vectors of next hops, and the literal reading held to them, too."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pinecone_transport.router import Root
from pinecone_transport.router.next_hop import Neighbourhood, snake_next_hop, tree_next_hop
from pinecone_transport.wire import Watermark
from tests.support.literal_next_hop import literal_snake_next_hop, literal_tree_next_hop
from tests.support.routers import NOW, peer, state
from tests.support.vectors import load_vector, named

SNAKE = load_vector("snake_nexthop")
SNAKE_KEYS = [bytes.fromhex(key) for key in SNAKE["keys"]]
TREE = load_vector("tree_nexthop")
TREE_KEYS = [bytes.fromhex(key) for key in TREE["keys"]]


def as_port(next_hop: Any) -> int | None:
    return 0 if next_hop == "local" else next_hop


def snake_outcomes(case: dict[str, Any]) -> set[tuple[int | None, Watermark]]:
    return {
        (as_port(outcome["next"]), Watermark(SNAKE_KEYS[outcome["watermark"]["key"]], outcome["watermark"]["seq"]))
        for outcome in case["outcomes"]
    }


@pytest.mark.parametrize("case", named(SNAKE["cases"]))
def test_snake_next_hop_is_one_of_the_reference(case: dict[str, Any]) -> None:
    known = state(SNAKE_KEYS, case, case["table"])
    assert known.root == (SNAKE_KEYS[case["root"]["key"]], case["root"]["seq"])
    watermark = Watermark(SNAKE_KEYS[case["watermark"]["key"]], case["watermark"]["seq"])
    result = snake_next_hop(
        known.neighbourhood,
        known.table,
        SNAKE_KEYS[case["dest"]],
        watermark,
        NOW,
        bootstrap=case["bootstrap"],
    )
    assert result in snake_outcomes(case)


def test_the_literal_reading_draws_the_snake_outcomes_of_the_reference() -> None:
    for case in SNAKE["cases"]:
        known = state(SNAKE_KEYS, case, case["table"])
        expected = snake_outcomes(case)
        drawn = set()
        for seed in range(40 if len(expected) > 1 else 3):
            watermark = Watermark(SNAKE_KEYS[case["watermark"]["key"]], case["watermark"]["seq"])
            drawn.add(
                literal_snake_next_hop(
                    known.key,
                    known.root,
                    known.parent,
                    known.peers.values(),
                    known.table,
                    SNAKE_KEYS[case["dest"]],
                    watermark,
                    case["bootstrap"],
                    NOW,
                    random.Random(seed).shuffle,
                )
            )
        assert drawn == expected, case["name"]


@pytest.mark.parametrize("case", named(TREE["cases"]))
def test_tree_next_hop_is_one_of_the_reference(case: dict[str, Any]) -> None:
    root = Root(TREE_KEYS[case["root"]["key"]], case["root"]["seq"])
    coordinates = tuple(case["own_coords"])
    peers = [peer(TREE_KEYS, each) for each in case["peers"]]
    source = as_port(case["from"])
    assert source is not None
    destination = tuple(case["dest"])
    expected = {as_port(outcome) for outcome in case["outcomes"]}
    neighbourhood = Neighbourhood(b"\0" * 32, root, coordinates, None, peers)
    assert tree_next_hop(neighbourhood, destination, source) in expected
    assert literal_tree_next_hop(coordinates, root, peers, destination, source) == expected
