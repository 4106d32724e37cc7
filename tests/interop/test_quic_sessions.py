"""Streams over QUIC between Go nodes and ours, each in both roles, with both generations of quic-go."""

import json
import os

import pytest
import pytest_twisted

from tests.support.mixed_network import MixedNetwork, Peer, identities, side_by_side

pytestmark = pytest.mark.interop

BYTES = int(os.environ.get("PINECONE_INTEROP_BYTES", "1000000"))
"""Of a transfer, each way."""
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
