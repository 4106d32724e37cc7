"""Small requests beside a transfer over a radio link of 50 kB/s: none of them waits for a second (issue 7)."""

from __future__ import annotations

import pytest

from pinecone_transport.discovery.bluetooth.source import WRITE_LIMIT
from pinecone_transport.wire import PeerType
from tests.support.slow_network import Client, SlowNetwork

RATE = 50_000.0
ANSWER = 400
PAUSE = 0.2
LONGEST_WAIT = 1.0


def radio_network(count: int) -> SlowNetwork:
    """Return nodes in a row, the first two of them linked by radio, the others by something fast."""
    network = SlowNetwork(count)
    network.link(0, 1, PeerType.BLUETOOTH, RATE, WRITE_LIMIT)
    for number in range(1, count - 1):
        network.link(number, number + 1, PeerType.REMOTE, 10e6, 64 * 1024)
    network.run(20.0)
    return network


def ask_again_and_again(network: SlowNetwork, client: Client) -> list[float]:
    """Return where the seconds that each answer took are noted."""
    waits: list[float] = []
    asked_at = 0.0

    def ask() -> None:
        nonlocal asked_at
        asked_at = network.now
        client.ask(ANSWER)

    def answered(now: float) -> None:
        waits.append(now - asked_at)
        network.call_at(now + PAUSE, ask)

    client.answered = answered
    ask()
    return waits


@pytest.mark.parametrize(
    ("length", "transfers", "requests"),
    [
        (10_000_000, [(0, 1)], [(0, 1)]),
        (1_000_000, [(1, 0)], [(0, 1)]),
        (1_000_000, [(0, 1), (1, 0)], [(0, 1)]),
        (1_000_000, [(0, 2)], [(0, 2), (0, 1)]),
        (1_000_000, [(2, 0)], [(0, 2), (0, 1)]),
    ],
    ids=["same way", "other way", "both ways", "through another node", "from behind another node"],
)
def test_no_request_waits_for_a_second_while_a_transfer_runs(length, transfers, requests) -> None:
    network = radio_network(1 + max(max(ends) for ends in transfers + requests))
    large = [network.client(*ends) for ends in transfers]
    small = [network.client(*ends) for ends in requests]
    network.run(1.0)
    for client in large:
        client.ask(length)
    began_at = network.now
    waits = [ask_again_and_again(network, client) for client in small]
    while any(client.left for client in large):
        network.run(1.0)
    assert network.ended == []  # it has not died of its own traffic
    seconds = network.now - began_at
    assert length / seconds > 0.6 * RATE
    for each in waits:
        assert len(each) > seconds / (PAUSE + LONGEST_WAIT)
        assert max(each) < LONGEST_WAIT
