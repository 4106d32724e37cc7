"""A Go node and one of ours, each a process, of which one ends and comes back: the next request is soon answered."""

import logging
import os
from itertools import product
from typing import NamedTuple

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.go_peer import GoPeer
from tests.support.mixed_network import MixedNetwork, identities
from tests.support.own_process import OwnProcess
from tests.support.peer_process import PeerError

pytestmark = pytest.mark.interop

LOG = logging.getLogger(__name__)
"""What took how long, with ``--log-cli-level=info``."""
DOWN = float(os.environ.get("PINECONE_INTEROP_DOWN", "0.5"))
"""Seconds for which a node is away."""
ALL = "PINECONE_INTEROP_ALL" in os.environ
"""Whether every combination is tried, not only the most telling ones."""
BOTH = pytest.mark.parametrize("quic", ["0.37", "0.48"])


class Case(NamedTuple):
    """What is tried.

    Attributes:
        asker: Who asks after the restart.
        kept: Whether the request may go on a stream of before; else it has its own, and no client sends it twice.
        dialler: Who has dialled the connection of before.
        goodbye: Whether the node that ends closes its connections.
    """

    asker: str
    kept: bool
    dialler: str = "go"
    goodbye: bool = False

    @property
    def next_request(self) -> dict[str, object]:
        return {} if self.kept else UNREPEATED

    def __str__(self) -> str:
        return f"{self.asker}-{'kept' if self.kept else 'new'}-{self.dialler}-{'goodbye' if self.goodbye else 'killed'}"


UNREPEATED: dict[str, object] = {"path": "/upload", "upload": 100, "close": True}
EVERY_CASE = [Case(*case) for case in product(("go", "own"), (True, False), ("go", "own"), (False, True))]
CASES_OF_OURS = [Case("go", True), Case("go", False, "own"), Case("go", False, goodbye=True), Case("own", False)]
CASES_OF_GO = [Case("go", False), Case("own", True), Case("own", False, "own")]


class Pair:
    """A Go node, and one of ours that dials it: the Go node takes its time for a dial."""

    def __init__(self, network: MixedNetwork, quic: str) -> None:
        self.network = network
        self.quic = quic
        self.own_first, self.go_first = identities("restarts", 2)
        self.go: GoPeer
        self.own: OwnProcess

    async def start_go(self, listen: str = "127.0.0.1:0") -> None:
        self.go = await self.network.go(self.go_first, quic=self.quic, sessions="quic", listen=listen)

    async def start_own(self) -> None:
        self.own = OwnProcess(self.own_first, peers=[self.go.address])
        self.network.peers.append(self.own)
        await self.own.ready

    async def ask(self, asker: str, **options: object) -> None:
        """Have one ask the other."""
        client, server = (self.go, self.own) if asker == "go" else (self.own, self.go)
        answer = await client.request(server.name, **options)
        assert answer["status"] == 200


async def start_pair(network: MixedNetwork, quic: str, case: Case) -> Pair:
    """Start two that have asked each other."""
    pair = Pair(network, quic)
    await pair.start_go()
    await pair.start_own()
    await network.settled(1)
    for asker in (case.dialler, "go", "own"):
        await pair.ask(asker, close=not case.kept)
    return pair


@BOTH
@pytest.mark.parametrize("case", EVERY_CASE if ALL else CASES_OF_OURS, ids=str)
@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_ours(network: MixedNetwork, quic: str, case: Case) -> None:
    pair = await start_pair(network, quic, case)
    network.peers.remove(pair.own)
    await (pair.own.shut_down() if case.goodbye else pair.own.stop())
    await deferLater(reactor, DOWN)
    await pair.start_own()
    waiting = network.waiting()
    if not case.kept:
        await network.settled(1)  # what Go's client writes to a node that is not there, it does not write again
    await pair.ask(case.asker, **case.next_request)
    LOG.info("answered %.3f s after the start", waiting.passed())
    assert waiting.waited() < 3.0


@BOTH
@pytest_twisted.ensureDeferred
async def test_what_a_go_node_writes_to_a_dead_stream_fails_at_once_and_the_next_request_is_answered(
    network: MixedNetwork, quic: str
) -> None:
    pair = await start_pair(network, quic, Case("go", kept=True))
    await network.stop(pair.own)
    await pair.start_own()
    waiting = network.waiting()
    await network.settled(1)
    with pytest.raises(PeerError, match="stateless reset"):
        await pair.ask("go", **UNREPEATED)
    await pair.ask("go", **UNREPEATED)
    assert waiting.waited() < 3.0


@BOTH
@pytest.mark.parametrize("case", [case for case in EVERY_CASE if not case.goodbye] if ALL else CASES_OF_GO, ids=str)
@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_the_go_node(network: MixedNetwork, quic: str, case: Case) -> None:
    pair = await start_pair(network, quic, case)
    await network.stop(pair.go)
    await deferLater(reactor, DOWN)
    await pair.start_go(pair.go.address)
    waiting = network.waiting()
    await pair.ask(case.asker, **case.next_request)
    LOG.info("answered %.3f s after the start", waiting.passed())
    assert waiting.waited() < 3.0
