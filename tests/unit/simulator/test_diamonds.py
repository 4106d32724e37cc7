"""Two nodes with two relays between them: how long a stream pauses when a link of its way is gone, at its worst."""

from __future__ import annotations

from itertools import permutations

import pytest

from pinecone_transport.peering.peering import SILENCE_TIMEOUT
from pinecone_transport.router.constants import REPARENT_WAIT
from pinecone_transport.simulator import Network, Transfer, Transfers
from tests.support.networks import identities, settle

NEAR, ONE, OTHER, FAR = range(4)
LINKS = ((NEAR, ONE), (NEAR, OTHER), (FAR, OTHER), (FAR, ONE))
BY_KEY = sorted(identities(4), key=lambda identity: identity.key)
ALL_ORDERS = list(permutations(range(4)))
# The lowest key is the far node's, the highest the first relay's, which is root. The other relay is below the near
# node, and the far one below that: when the link between them is gone, both of these move, and the near node does not.
WORST = (1, 3, 2, 0)

TICK = 0.1


def diamond(order: tuple[int, ...]) -> Network:
    """Return a diamond whose links came up one after the other; ``order`` says which keys the nodes have."""
    network = Network(latency=(0.0001, 0.0005))
    for place in order:
        network.add_node(BY_KEY[place])
    for ends in LINKS:
        network.connect(*ends)
        network.run(0.3)
    settle(network, 60)
    return network


def longest_pause(transfer: Transfer, now: float) -> float:
    return max(max(each.longest_pause, now - each.heard_at) for each in transfer.directions)


def pause(network: Network, lost: int, *, silent: bool, phase: float, echo: bool) -> float:
    """Lose a link beneath a stream that has been open for 12 s and ``phase``; return how long it paused."""
    transfers = Transfers(network, TICK, echo=echo)
    transfer = transfers.start(NEAR, FAR)
    transfers.run(12 + phase)
    for direction in transfer.directions:
        direction.longest_pause = 0.0
    if silent:
        network.silence(lost)
    else:
        network.cut(lost)
    transfers.run(12 if silent else 3)
    assert transfer.ended == []
    assert all(direction.intact for direction in transfer.directions)
    return longest_pause(transfer, network.now)


@pytest.mark.parametrize("echo", [True, False], ids=["which answers", "with both ends sending"])
@pytest.mark.parametrize("phase", [step / 2 for step in range(10)])
def test_a_stream_goes_on_as_soon_as_the_silent_link_is_given_up_whatever_the_timers_say(
    phase: float, echo: bool
) -> None:
    assert pause(diamond(WORST), 1, silent=True, phase=phase, echo=echo) < SILENCE_TIMEOUT + 2 * TICK


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("order", ALL_ORDERS[::3])
def test_a_silent_link_costs_no_more_than_it_takes_to_be_given_up(order: tuple[int, ...], lost: int) -> None:
    assert pause(diamond(order), lost, silent=True, phase=1.3 * lost, echo=True) < SILENCE_TIMEOUT + 2 * TICK


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("order", ALL_ORDERS[::3])
def test_a_link_that_is_closed_costs_a_reparent_wait_at_most(order: tuple[int, ...], lost: int) -> None:
    assert pause(diamond(order), lost, silent=False, phase=1.3 * lost, echo=True) < REPARENT_WAIT + 2 * TICK
