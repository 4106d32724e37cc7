"""What Go nodes leave of QUIC connections that came to nothing, or that they died with, holds up no request."""

import logging
import os
from itertools import product

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.web.client import RequestTransmissionFailed, ResponseFailed

from tests.support.frame_relay import FrameRelay
from tests.support.go_peer import GoPeer
from tests.support.mixed_network import MixedNetwork, identities
from tests.support.nodes import eventually
from tests.support.own_peer import OwnPeer
from tests.support.peer_process import PeerError

pytestmark = pytest.mark.interop

LOG = logging.getLogger(__name__)
"""What took how long, with ``--log-cli-level=info``."""
ALL = "PINECONE_INTEROP_ALL" in os.environ
"""Whether every combination is tried, not only the most telling ones."""
BODY = 32 << 20
"""Bytes: seconds for a Go node."""
QUICS, ASKERS, DIRECTIONS = ("0.37", "0.48"), ("go", "own"), ("up", "down")


class Pair:
    """A Go node, and one of ours that dials it through a relay."""

    def __init__(self, network: MixedNetwork, quic: str) -> None:
        self.network = network
        self.quic = quic
        self.go_first, self.own_first = identities("corpses", 2)
        self.go: GoPeer
        self.own: OwnPeer
        self.relay: FrameRelay

    async def start(self) -> None:
        await self.start_go("127.0.0.1:0")
        self.relay = self.network.relay(self.go.address)
        self.own = await self.network.own(self.own_first, peers=[self.relay.address])
        await self.network.settled(1)

    async def start_go(self, listen: str) -> None:
        self.go = await self.network.go(self.go_first, quic=self.quic, sessions="quic", listen=listen)

    async def restart_go(self) -> None:
        await self.start_go(self.go.address)
        await self.network.settled(1)

    async def both_ask(self, first: str) -> None:
        """Have each ask the other, and none wait."""
        pair = (self.go, self.own) if first == "go" else (self.own, self.go)
        for client, server in (pair, pair[::-1]):
            waiting = self.network.waiting()
            answer = await client.request(server.name)
            LOG.info("%s answered after %.3f s", type(server).__name__, waiting.passed())
            assert waiting.waited() < 2.0
            assert answer["text"] == "pong"


@pytest.mark.parametrize(("quic", "first"), list(product(QUICS, ASKERS)))
@pytest_twisted.ensureDeferred
async def test_after_a_go_node_has_given_a_dial_up(network: MixedNetwork, quic: str, first: str) -> None:
    pair = Pair(network, quic)
    await pair.start()
    pair.relay.loss = 1.0
    with pytest.raises(PeerError):
        await pair.go.request(pair.own.name, timeout=0.5)
    assert pair.relay.dropped > 0
    pair.relay.loss = 0.0
    await pair.both_ask(first)


@pytest.mark.parametrize(("quic", "first"), list((product if ALL else zip)(QUICS, ASKERS)))
@pytest_twisted.ensureDeferred
async def test_after_a_go_node_has_died_with_a_dial(network: MixedNetwork, quic: str, first: str) -> None:
    pair = Pair(network, quic)
    await pair.start()
    asked = ensureDeferred(pair.go.request(pair.own.name))
    asked.addErrback(lambda failure: failure.trap(PeerError))
    await eventually(lambda: pair.own.node.status()["sessions"])
    await network.stop(pair.go)
    await asked
    await pair.restart_go()
    await pair.both_ask(first)


@pytest.mark.parametrize(("quic", "direction"), list((product if ALL else zip)(QUICS, DIRECTIONS)))
@pytest_twisted.ensureDeferred
async def test_a_request_that_a_go_node_dies_with_fails_and_the_next_one_is_answered(
    network: MixedNetwork, quic: str, direction: str
) -> None:
    pair = Pair(network, quic)
    await pair.start()
    await pair.both_ask("own")
    request = {"path": "/upload", "upload": BODY} if direction == "up" else {"path": f"/download?bytes={BODY}"}
    asked = ensureDeferred(pair.own.request(pair.go.name, **request))
    counted = "bytes_sent" if direction == "up" else "bytes_received"
    await eventually(lambda: any(stream[counted] > BODY // 64 for stream in pair.own.streams()))
    await network.stop(pair.go)
    waiting = network.waiting()
    await pair.restart_go()
    with pytest.raises((RequestTransmissionFailed, ResponseFailed)):
        await asked
    LOG.info("failed %.3f s after the start", waiting.passed())
    assert waiting.waited() < 8.0  # half of the silence that ends a connection
    await pair.both_ask("own")
