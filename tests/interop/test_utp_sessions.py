"""Streams over µTP and TLS between Go nodes and ours, each in both roles."""

import json
import os

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.mixed_network import GO, OWN, MixedNetwork, Peer, identities, side_by_side
from tests.support.nodes import eventually
from tests.support.own_peer import OwnPeer
from tests.support.streams import StreamEnd

pytestmark = pytest.mark.interop

BYTES = int(os.environ.get("PINECONE_INTEROP_BYTES", "1000000"))
"""Of a transfer, each way. To Go it takes 4 s for a megabyte: it holds its acknowledgements back for half a second."""
PINGS = 100


async def start_pair(network: MixedNetwork, kinds: str, **relay_options: float) -> tuple[Peer, Peer]:
    """Start two nodes of these kinds, with one link that has these faults."""
    first, second = identities("pair", 2)
    listener = await network.start(kinds[0], first)
    relay = network.relay(listener.address, **relay_options)
    dialler = await network.start(kinds[1], second, peers=[relay.address])
    await network.settled(1)
    return listener, dialler


async def transfer_both_ways(client: Peer, server: Peer, length: int = BYTES) -> None:
    """Have the client upload and download so much at the same time, and compare digests."""
    up, down = await side_by_side(
        [
            client.request(server.name, "/upload", upload=length),
            client.request(server.name, f"/download?bytes={length}"),
        ]
    )
    assert json.loads(up["text"]) == {"bytes": length, "sha256": up["sent"]}
    assert (down["bytes"], down["sha256"]) == (length, down["declared"])


@pytest.mark.parametrize("kinds", [GO + OWN, OWN + GO])
@pytest_twisted.ensureDeferred
async def test_first_requests_cross_and_are_answered(network: MixedNetwork, kinds: str) -> None:
    one, other = await start_pair(network, kinds)
    waiting = network.waiting()
    answers = await side_by_side([one.request(other.name), other.request(one.name)])
    assert waiting.waited() < 3.0
    assert [answer["text"] for answer in answers] == ["pong", "pong"]


@pytest_twisted.ensureDeferred
async def test_a_request_made_before_there_is_a_link_is_answered_once_there_is_one(network: MixedNetwork) -> None:
    theirs, ours = identities("cold", 2)
    go = await network.start(GO, theirs)
    own = await network.start(OWN, ours, peers=[go.address])
    waiting = network.waiting()
    answer = await own.request(go.name)
    assert waiting.waited() < 3.0
    assert answer["text"] == "pong"


@pytest_twisted.ensureDeferred
async def test_a_connection_is_kept_for_many_requests_in_both_directions(network: MixedNetwork) -> None:
    go, own = await start_pair(network, GO + OWN)
    assert isinstance(own, OwnPeer)
    reused = []
    for _ in range(PINGS):
        theirs, ours = await side_by_side([go.request(own.name), own.request(go.name)])
        assert (theirs["text"], ours["text"]) == ("pong", "pong")
        reused.append(theirs["reused"])
    assert reused == [False] + [True] * (PINGS - 1)
    assert sorted(stream["direction"] for stream in own.streams()) == ["in", "out"]


@pytest.mark.parametrize(("client", "server"), [(GO, OWN), (OWN, GO)])
@pytest_twisted.ensureDeferred
async def test_transfers_arrive_as_they_were_sent(network: MixedNetwork, client: str, server: str) -> None:
    listener, dialler = await start_pair(network, server + client)
    await transfer_both_ways(dialler, listener)


@pytest.mark.parametrize(("client", "server"), [(GO, OWN), (OWN, GO)])
@pytest_twisted.ensureDeferred
async def test_transfers_survive_loss_and_reordering(network: MixedNetwork, client: str, server: str) -> None:
    listener, dialler = await start_pair(network, server + client, loss=0.02, reordering=0.05)
    await transfer_both_ways(dialler, listener, BYTES // 2)
    relay = network.relays[0]
    assert relay.dropped
    assert relay.delayed
    assert relay.faults == []


async def start_line(network: MixedNetwork, end: str, relay: str) -> tuple[Peer, Peer]:
    """Start two nodes of a kind on either side of one that only relays."""
    keys = identities("relayed", 3)
    middle = await network.start(relay, keys[1], **({"sessions": "none"} if relay == GO else {}))
    first = await network.start(end, keys[0], peers=[middle.address])
    last = await network.start(end, keys[2], peers=[middle.address])
    await network.settled(2)
    return first, last


@pytest_twisted.ensureDeferred
async def test_transfers_between_nodes_of_ours_through_a_relay_of_theirs(network: MixedNetwork) -> None:
    first, last = await start_line(network, OWN, GO)
    await side_by_side([transfer_both_ways(first, last), transfer_both_ways(last, first)])
    assert network.lost_links() == []


@pytest_twisted.ensureDeferred
async def test_transfers_between_nodes_of_theirs_through_a_relay_of_ours(network: MixedNetwork) -> None:
    first, last = await start_line(network, GO, OWN)
    # Short downloads only: their uploads to one another end early once in ten times, with their own relay as well,
    # and at a megabyte most transfers do, since they send 256 packets at once and keep 16.
    length = 100_000
    for client, server in ((first, last), (last, first)):
        answer = await client.request(server.name, f"/download?bytes={length}")
        assert (answer["bytes"], answer["sha256"]) == (length, answer["declared"])
    assert network.lost_links() == []


@pytest_twisted.ensureDeferred
async def test_connections_that_either_end_closes_are_gone_at_both_without_an_error(network: MixedNetwork) -> None:
    go, own = await start_pair(network, GO + OWN)
    assert isinstance(own, OwnPeer)
    for request in (
        go.request(own.name, close=True),
        go.request(own.name, "/close"),
        own.request(go.name, close=True),
        own.request(go.name, "/close"),
    ):
        await request
        await eventually(lambda: own.streams() == [], 3.0)
    await deferLater(reactor, 1.0)
    assert own.node.status()["counters"]["session"].get("streams reset", 0) == 0


@pytest_twisted.ensureDeferred
async def test_a_stream_that_go_closes_at_once_ends_in_order(network: MixedNetwork) -> None:
    go, own = await start_pair(network, GO + OWN)
    assert isinstance(own, OwnPeer)
    end = StreamEnd(own.node, b"this is no TLS record, so it closes")
    own.node.open_stream(go.identity.key, end)
    await eventually(lambda: end.errors, 5.0)
    assert end.calls == ["connected", "ended", "lost"]
    assert end.errors == [None]


@pytest.mark.parametrize("restarted", [GO, OWN])
@pytest_twisted.ensureDeferred
async def test_a_far_end_that_restarted_unheard_is_asked_again_at_once(network: MixedNetwork, restarted: str) -> None:
    stays, leaves = await start_pair(network, (OWN + GO) if restarted == GO else (GO + OWN))
    assert (await stays.request(leaves.name))["text"] == "pong"
    relay = network.relays[0]
    relay.cut()  # so that nobody hears it say goodbye
    await network.stop(leaves)
    relay.mend()
    await network.start(restarted, leaves.identity, peers=[relay.address])
    await network.settled(1)
    waiting = network.waiting()
    answer = await stays.request(leaves.name)
    assert waiting.waited() < 3.0
    assert answer["text"] == "pong"


@pytest.mark.parametrize("sessions", ["utp", "quic"])
@pytest_twisted.ensureDeferred
async def test_dials_that_are_given_up_before_or_after_their_answer_do_a_go_node_no_harm(
    network: MixedNetwork, sessions: str
) -> None:
    theirs, ours = identities("given up", 2)
    go = await network.go(theirs, sessions=sessions)
    own = await network.own(ours, peers=[go.address])
    await network.settled(1)
    for number in range(60):
        stream = own.node.open_stream(theirs.key, StreamEnd(own.node, b"hello"))
        await deferLater(reactor, number % 4 * 0.001, lambda: None)
        own.node.abort_stream(stream)
    waiting = network.waiting()
    answers = await side_by_side([go.request(own.name), own.request(go.name)])
    assert waiting.waited() < 3.0
    assert [answer["text"] for answer in answers] == ["pong", "pong"]
    assert network.lost_links() == []
