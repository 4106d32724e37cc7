"""Streams over QUIC between Go nodes and ours, each in both roles, with both generations of quic-go."""

import json
import logging
import os
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.mixed_network import MixedNetwork, Peer, identities, side_by_side
from tests.support.nodes import eventually

pytestmark = pytest.mark.interop

LOG = logging.getLogger(__name__)
"""What took how long, with ``--log-cli-level=info``."""
BYTES = int(os.environ.get("PINECONE_INTEROP_BYTES", "1000000"))
"""Of a transfer, each way."""
REQUESTS = int(os.environ.get("PINECONE_INTEROP_REQUESTS", "300"))
"""One after the other, each on a stream of its own."""
KEPT_REQUESTS = int(os.environ.get("PINECONE_INTEROP_REQUESTS", "50"))
"""The same on streams that are kept."""
ROUNDS = int(os.environ.get("PINECONE_INTEROP_ROUNDS", "2"))
"""Of simultaneous dials, after `SILENCE` each."""
PAIRS = int(os.environ.get("PINECONE_INTEROP_PAIRS", "6"))
"""That dial each other at the same time in a round, half of them with each version."""
SILENCE = float(os.environ.get("PINECONE_INTEROP_SILENCE", "17"))
"""Seconds; connections end after 15 s of it."""
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
        waiting = network.waiting()
        answer = await client.request(server.name)
        assert waiting.waited() < 1.0
        assert answer["text"] == "pong"


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_go_node_may_be_the_first_to_dial(network: MixedNetwork, quic: str) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((go, own), (own, go)):
        waiting = network.waiting()
        answer = await client.request(server.name)
        assert waiting.waited() < 1.0
        assert answer["text"] == "pong"


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
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest_twisted.ensureDeferred
async def test_more_requests_than_a_connection_has_streams(network: MixedNetwork, quic: str, kept: bool) -> None:
    go, own = await start_pair(network, quic)
    for client, server in ((own, go), (go, own)):
        slowest = 0.0
        for _ in range(KEPT_REQUESTS if kept else REQUESTS):
            waiting = network.waiting()
            await client.request(server.name, close=not kept)
            slowest = max(slowest, waiting.waited())
        LOG.info("longest wait of %s: %.3f s", type(server).__name__, slowest)
        assert slowest < 1.0


async def soon_request(random: Random, client: Peer, server: Peer) -> dict[str, Any]:
    """Ask within some milliseconds, so that dials cross at any point of them."""
    await deferLater(reactor, random.random() * 0.01)
    return await client.request(server.name)


@pytest_twisted.ensureDeferred
async def test_simultaneous_dials_after_silence(network: MixedNetwork) -> None:
    keys = identities("simultaneous dials", 2 * PAIRS)
    pairs = []
    for number in range(PAIRS):
        # Half of the Go nodes have the higher key.
        theirs, ours = keys[2 * number : 2 * number + 2][:: 1 if number % 2 else -1]
        go = await network.go(theirs, quic=("0.37", "0.48")[number // 2 % 2], sessions="quic")
        pairs.append((go, await network.own(ours, peers=[go.address])))
    for _, own in pairs:
        await eventually(lambda own=own: own.node.status()["links"])
    random = Random(0)
    slowest = []
    for number in range(ROUNDS):
        if number:
            await deferLater(reactor, SILENCE)
        requests = [(client, server) for pair in pairs for client, server in (pair, pair[::-1])]
        waiting = network.waiting()
        await side_by_side(soon_request(random, client, server) for client, server in requests)
        slowest.append(waiting.waited())
    LOG.info("wait of each round: %s", " ".join(f"{seconds:.3f}" for seconds in slowest))
    assert max(slowest) < 2.0
