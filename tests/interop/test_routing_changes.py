"""One tree and one snake again, after links and nodes of a mixed network came and went."""

import pytest
import pytest_twisted

from pinecone_transport.identity import Identity
from tests.support.frame_relay import FrameRelay
from tests.support.mixed_network import GO, OWN, MixedNetwork, identities
from tests.support.nodes import eventually

pytestmark = pytest.mark.interop


async def ring_with_a_cut(network: MixedNetwork, kinds: str, keys: list[Identity]) -> FrameRelay:
    """Start a ring whose last link, from the last node to the first, can be cut."""
    await network.start_graph(kinds[:-1], [(number, number + 1) for number in range(len(kinds) - 2)], keys[:-1])
    relay = network.relay(network.peers[0].address)
    await network.start(kinds[-1], keys[-1], peers=[relay.address, network.peers[-1].address])
    await network.settled(len(kinds))
    return relay


@pytest.mark.parametrize("kinds", ["goggog", "oggoog"])
@pytest_twisted.ensureDeferred
async def test_a_ring_that_is_cut_becomes_a_line_and_a_ring_again(network: MixedNetwork, kinds: str) -> None:
    relay = await ring_with_a_cut(network, kinds, identities("ring", len(kinds)))
    relay.cut()
    await network.settled(len(kinds) - 1)
    await network.assert_all_reach_all()
    relay.mend()
    await network.settled(len(kinds))
    await network.assert_all_reach_all()


@pytest.mark.parametrize("killed", [2, 3])
@pytest_twisted.ensureDeferred
async def test_a_ring_heals_when_a_node_is_killed_and_when_it_starts_again(network: MixedNetwork, killed: int) -> None:
    kinds = "gogogo"
    keys = identities("killed", len(kinds))
    await ring_with_a_cut(network, kinds, keys)
    victim = network.peers[killed]
    before, address = network.peers[killed - 1].address, victim.address
    await network.stop(victim)
    await network.settled(len(kinds) - 1 - 1)
    await network.assert_all_reach_all()
    # Its neighbour dials it again by itself, and it the one before.
    await network.start(kinds[killed], keys[killed], listen=address, peers=[before])
    await network.settled(len(kinds))
    await network.assert_all_reach_all()


@pytest_twisted.ensureDeferred
async def test_stronger_roots_take_over_and_leave_again(network: MixedNetwork) -> None:
    kinds = "gogog"
    *keys, theirs, ours = identities("roots", len(kinds) + 2)
    await network.start_graph(kinds, [(number, number + 1) for number in range(len(kinds) - 1)], keys)
    await network.settled(len(kinds) - 1)
    first = await network.start(GO, theirs, peers=[network.peers[0].address])
    await network.settled(len(kinds))
    second = await network.start(OWN, ours, peers=[network.peers[-2].address])
    await network.settled(len(kinds) + 1)
    await network.assert_all_reach_all()
    for root in (second, first):
        await network.stop(root)
        await network.settled(len(network.peers) - 1)
    await network.assert_all_reach_all()


@pytest_twisted.ensureDeferred
async def test_a_second_link_between_two_nodes_takes_over_when_the_first_is_cut(network: MixedNetwork) -> None:
    theirs, ours = identities("two links", 2)
    go = await network.start(GO, theirs)
    relay = network.relay(go.address)
    own = await network.start(OWN, ours, peers=[relay.address, go.address])
    await network.settled(2)
    relay.cut()
    await network.settled(1)
    await network.assert_all_reach_all()
    assert len(own.lost_links) == 1


@pytest.mark.parametrize(("sessions", "quic"), [("utp", "0.37"), ("quic", "0.37"), ("quic", "0.48")])
@pytest_twisted.ensureDeferred
async def test_a_node_that_moved_is_reached_again_on_its_idle_stream(
    network: MixedNetwork, sessions: str, quic: str
) -> None:
    keys = identities("moves", 4)
    centre = await network.go(keys[3], sessions=sessions, quic=quic)
    hubs = [await network.go(key, sessions="none", peers=[centre.address]) for key in keys[1:3]]
    here, there = (network.relay(hub.address) for hub in hubs)
    there.cut()
    own = await network.own(keys[0], peers=[here.address, there.address])
    await network.settled(3)
    assert (await centre.request(own.name))["text"] == "pong"
    here.cut()
    there.mend()
    own.node.redial_now()
    await eventually(lambda: any(link["key"] == hubs[1].name for link in own.node.status()["links"]))
    waiting = network.waiting()
    answer = await centre.request(own.name)
    assert waiting.waited() < 5.0
    assert answer["text"] == "pong"
    assert answer["reused"]
