"""Bytes that nodes of a simulated network exchange, and that they are checked in earnest."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import StreamResetError
from pinecone_transport.simulator import Dials, Direction, Network, Transfers
from tests.support.networks import line, settle


def running() -> tuple[Network, Transfers]:
    """Return two nodes and a transfer between them."""
    network = line(2)
    settle(network, 20)
    transfers = Transfers(network)
    transfers.start(0, 1)
    transfers.run(10)
    return network, transfers


def test_bytes_go_both_ways_until_all_have_arrived() -> None:
    _, transfers = running()
    (transfer,) = transfers.all
    transfers.deliver(5)
    assert transfer.complete
    assert [direction.sent > 5_000 for direction in transfer.directions] == [True, True]
    assert transfer.ended == []


def test_other_streams_are_let_alone() -> None:
    network, transfers = running()
    assert Dials(network).unanswered([(1, 0)]) == []
    assert transfers.all[0].ended == []


def test_the_end_of_a_stream_is_kept_with_its_reason() -> None:
    network, transfers = running()
    (transfer,) = transfers.all
    stream = transfer.streams[0]
    assert stream is not None
    network.stack(0).abort(stream, network.now)
    network.turn(0)
    transfers.run(1)
    ((node, _, error),) = transfer.ended
    assert node == 1
    assert isinstance(error, StreamResetError)


def test_the_longest_pause_is_kept() -> None:
    direction = Direction(0, 100.0)
    for at in (101.0, 104.0, 105.0):
        direction.receive(direction.next_bytes(10), at)
    assert direction.longest_pause == 3.0
    assert direction.intact


@pytest.mark.parametrize(
    "arriving", [[0, 0], [1, 0], [0, 2], [1]], ids=["repeated", "in the wrong order", "with a gap", "without the first"]
)
def test_wrong_bytes_are_noticed(arriving: list[int]) -> None:
    direction = Direction(7, 100.0)
    pieces = [direction.next_bytes(500) for _ in range(3)]
    for number in arriving:
        direction.receive(pieces[number], 101.0)
    assert not direction.intact


def test_bytes_of_another_direction_are_noticed() -> None:
    direction, other = Direction(0, 100.0), Direction(499, 100.0)
    direction.receive(other.next_bytes(500), 101.0)
    assert not direction.intact
