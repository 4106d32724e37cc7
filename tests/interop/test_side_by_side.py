"""A minute of Go nodes and ours on all links of a network, with traffic: nobody closes a link.

Every frame on a link between a Go node and one of ours is held to a strict reading; see the fixture.
"""

import os

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.go_peer import GoPeer
from tests.support.mixed_network import MixedNetwork, identities, side_by_side
from tests.support.own_peer import OwnPeer

pytestmark = pytest.mark.interop

SECONDS = float(os.environ.get("PINECONE_INTEROP_SECONDS", "66"))
"""Of watching. Wakeups come every 60 s; those at the start are dropped where nodes do not know the one root yet."""
PAUSE = 1.0
"""Seconds between two rounds of requests."""

MALFORMED = {"bootstrap malformed", "bootstrap with a bad signature", "frame of unknown type", "announcement too long"}
"""What a node of ours counts that a Go node never sends."""


@pytest_twisted.ensureDeferred
async def test_no_link_is_lost_while_nodes_run_side_by_side(network: MixedNetwork) -> None:
    kinds = "gogo"
    edges = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (1, 3)]
    network.sessions = "quic"
    await network.start_graph(kinds, edges, identities("side by side", len(kinds)))
    await network.settled(len(edges))
    until = reactor.seconds() + SECONDS
    while reactor.seconds() < until:
        await network.assert_all_reach_all()
        await deferLater(reactor, PAUSE)
    assert network.lost_links() == []
    states = await side_by_side(peer.state() for peer in network.peers)
    for kind in (GoPeer, OwnPeer):
        names = {peer.name for peer in network.peers if isinstance(peer, kind)}
        heard = [names & {*state["wakeups"]} for state in states if state["key"] not in names]
        assert all(some == names for some in heard)
    for state in states:
        reasons = {reason for machine in state.get("counters", {}).values() for reason in machine}
        assert not MALFORMED & reasons
