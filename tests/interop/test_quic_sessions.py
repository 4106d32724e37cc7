"""Streams over QUIC between Go nodes and ours, each in both roles, with both generations of quic-go."""

import json
import os

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.mixed_network import MixedNetwork, Peer, identities, side_by_side

pytestmark = pytest.mark.interop

BYTES = int(os.environ.get("PINECONE_INTEROP_BYTES", "1000000"))
"""Of a transfer, each way."""
REQUESTS = int(os.environ.get("PINECONE_INTEROP_REQUESTS", "150"))
"""One after the other, each on a stream of its own."""
ROUNDS = int(os.environ.get("PINECONE_INTEROP_ROUNDS", "2"))
"""Of simultaneous dials, after 20 s of silence each."""
BOTH = pytest.mark.parametrize("quic", ["0.37", "0.48"])


async def start_pair(network: MixedNetwork, quic: str, **options: object) -> tuple[Peer, Peer]:
    """Start a Go node and one of ours that dials it."""
    theirs, ours = identities("QUIC pair", 2)
    go = await network.go(theirs, quic=quic, sessions="quic")
    own = await network.own(ours, peers=[go.address], **options)
    await network.settled(1)
    return go, own


@BOTH
@pytest_twisted.ensureDeferred
async def test_requests_are_answered_both_ways_without_configuration(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((own, go), (go, own), (own, go), (go, own)):
        answer = await client.request(server.name)
        assert answer["text"] == "pong"
        assert answer["seconds"] < 1.0


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_go_node_may_be_the_first_to_dial(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((go, own), (own, go)):
        answer = await client.request(server.name)
        assert answer["text"] == "pong"
        assert answer["seconds"] < 1.0


@BOTH
@pytest_twisted.ensureDeferred
async def test_transfers_arrive_as_they_were_sent(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((own, go), (go, own)):
        up, down = await side_by_side(
            [
                client.request(server.name, "/upload", upload=BYTES),
                client.request(server.name, f"/download?bytes={BYTES}"),
            ]
        )
        assert json.loads(up["text"]) == {"bytes": BYTES, "sha256": up["sent"]}
        assert (down["bytes"], down["sha256"]) == (BYTES, down["declared"])


@BOTH
@pytest_twisted.ensureDeferred
async def test_more_requests_than_a_connection_has_streams(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((own, go), (go, own)):
        slowest = 0.0
        for _ in range(REQUESTS):
            answer = await client.request(server.name, close=True)
            slowest = max(slowest, answer["seconds"])
        assert slowest < 1.0


@BOTH
@pytest_twisted.ensureDeferred
async def test_simultaneous_dials_after_silence(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for _ in range(ROUNDS):
        answers = await side_by_side([go.request(own.name), own.request(go.name)])
        assert max(answer["seconds"] for answer in answers) < 2.0
        await own.agent.pool.closeCachedConnections()
        await deferLater(reactor, 20)


@BOTH
@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_the_go_node_the_next_request_is_soon_answered(
    network: MixedNetwork, quic: str
) -> None:
    go, own = await start_pair(network, quic)
    await own.request(go.name)
    await network.stop(go)
    await deferLater(reactor, 2)
    started_at = reactor.seconds()
    go = await network.go(go.identity, quic=quic, sessions="quic", listen=go.address)
    own.node.redial_now()
    assert (await own.request(go.name))["text"] == "pong"
    assert reactor.seconds() - started_at < 3.0
    assert (await go.request(own.name))["seconds"] < 1.0


@BOTH
@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_ours_the_next_request_is_soon_answered(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    await go.request(own.name)
    await network.stop(own)
    await deferLater(reactor, 2)
    started_at = reactor.seconds()
    own = await network.own(own.identity, peers=[go.address])
    assert (await go.request(own.name))["text"] == "pong"
    assert reactor.seconds() - started_at < 3.0
    assert (await own.request(go.name))["seconds"] < 1.0
