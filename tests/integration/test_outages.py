"""Streams between real nodes while relays, as processes of their own, are killed and links move.

How long the streams pause is logged (``--log-cli-level=INFO`` shows it), not judged: that depends on the machine. That
nothing is lost does not.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.links import TcpLink, dial_tcp, parse_peer
from pinecone_transport.node import Node
from tests.support.nodes import Nodes, eventually
from tests.support.relay_processes import RelayProcess, RelayProcesses
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint

logger = logging.getLogger(__name__)

STREAMS = 3
INTERVAL = 0.02
WRITE = 8_000
"""Bytes that each end writes in each interval: 400 kB/s, so that a pause is the overlay's and not the machine's."""
ROUNDS = 5
SETTLE_TIME = 1.0


@implementer(IPushProducer)
class Talker(Protocol):
    """Writes all the time, and keeps the digests of what it wrote and what it got.

    Attributes:
        sent: Bytes written.
        received: Bytes that came.
        pause: The longest time without any since this was last set to 0.0.
        lost: Why the connection was lost.
    """

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.pause = 0.0
        self.lost: list[Failure] = []
        self._sent_digest = hashlib.sha256()
        self._received_digest = hashlib.sha256()
        self._may_write = True
        self._random = random.Random(id(self))
        self._talking = LoopingCall(self._write)

    def connectionMade(self) -> None:
        self._heard_at = reactor.seconds()
        self.transport.registerProducer(self, True)
        self._talking.start(INTERVAL)

    def dataReceived(self, data: bytes) -> None:
        now = reactor.seconds()
        self.pause = max(self.pause, now - self._heard_at)
        self._heard_at = now
        self.received += len(data)
        self._received_digest.update(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted has a default here
        self.lost.append(reason)
        self.be_silent()

    def pauseProducing(self) -> None:
        self._may_write = False

    def resumeProducing(self) -> None:
        self._may_write = True

    def stopProducing(self) -> None:
        self.be_silent()

    def be_silent(self) -> None:
        if self._talking.running:
            self._talking.stop()

    def digests(self) -> tuple[str, str]:
        """Return the digests of what was sent and received."""
        return self._sent_digest.hexdigest(), self._received_digest.hexdigest()

    def _write(self) -> None:
        if self._may_write:
            data = self._random.randbytes(WRITE)
            self.sent += len(data)
            self._sent_digest.update(data)
            self.transport.write(data)


class Talkers(Factory):
    """Makes talkers and keeps them."""

    noisy = False
    protocol = Talker

    def __init__(self) -> None:
        self.made: list[Talker] = []

    def buildProtocol(self, addr: object) -> Talker:
        self.made.append(Talker())
        return self.made[-1]


class Conversations:
    """Streams from one node to another on which both ends talk."""

    def __init__(self, a: Node, b: Node) -> None:
        self._a, self._b = a, b
        self._clients, self._servers = Talkers(), Talkers()

    async def start(self) -> None:
        await PineconeServerEndpoint(self._b).listen(self._servers)
        for _ in range(STREAMS):
            await PineconeClientEndpoint(self._a, self._b.identity.key).connect(self._clients)
        await eventually(lambda: len(self._servers.made) == STREAMS)
        await self.take_pause()

    @property
    def _talkers(self) -> list[Talker]:
        return self._clients.made + self._servers.made

    async def go_on(self) -> None:
        """Wait until all talkers hear one another, by what is written from now on or has just been."""
        received = [talker.received for talker in self._talkers]

        def heard() -> bool:
            assert [talker.lost for talker in self._talkers if talker.lost] == []
            return all(talker.received > before for talker, before in zip(self._talkers, received, strict=True))

        await eventually(heard)

    async def take_pause(self) -> float:
        """Return the longest pause of any talker since this was called last, once all hear one another again."""
        await deferLater(reactor, SETTLE_TIME)  # what was on the way does not count as hearing
        await self.go_on()
        pause = max(talker.pause for talker in self._talkers)
        for talker in self._talkers:
            talker.pause = 0.0
        return pause

    async def end(self) -> None:
        """Check that everything arrives, once and in order, and that the streams end in order."""
        for talker in self._talkers:
            talker.be_silent()
        clients, servers = self._clients.made, self._servers.made
        assert len(clients) == len(servers) == STREAMS
        await eventually(lambda: sum(t.received for t in clients) == sum(t.sent for t in servers))
        await eventually(lambda: sum(t.received for t in servers) == sum(t.sent for t in clients))
        said = {client.digests() for client in clients}
        assert {(heard, sent) for sent, heard in (server.digests() for server in servers)} == said
        assert len(said) == STREAMS
        for client in clients:
            client.transport.unregisterProducer()
            client.transport.loseConnection()
        for server in servers:
            server.transport.unregisterProducer()
        await eventually(lambda: all(talker.lost for talker in self._talkers))
        assert [str(talker.lost[0].value) for talker in self._talkers if not talker.lost[0].check(ConnectionDone)] == []


def log_pauses(what: str, pauses: list[float]) -> None:
    shown = ", ".join(f"{pause:.2f}" for pause in sorted(pauses))
    logger.info("%s: pauses %s s, median %.2f s", what, shown, median(pauses))


@pytest_twisted.async_yield_fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.stop_all()


@pytest_twisted.async_yield_fixture
async def relays(tmp_path: Path) -> AsyncIterator[RelayProcesses]:
    made = RelayProcesses(tmp_path)
    yield made
    await made.kill_all()


def links_up(node: Node) -> int:
    return sum(link["key"] is not None for link in node.status()["links"])


async def busiest(node: Node, relays: list[RelayProcess]) -> RelayProcess:
    """Return the relay by which the node's streams leave just now."""

    def sent() -> dict[str, int]:
        return {link["address"]: link["bytes_sent"] for link in node.status()["links"]}

    before = sent()
    await deferLater(reactor, 0.5)
    rates = {address: count - before[address] for address, count in sent().items()}
    assert max(rates.values()) > STREAMS * WRITE
    return max(relays, key=lambda relay: rates[relay.address])


@pytest_twisted.ensureDeferred
async def test_the_relay_that_carries_the_traffic_is_killed_and_replaced(nodes: Nodes, relays: RelayProcesses) -> None:
    both = [await relays.start(), await relays.start()]
    a, b = (nodes.start(peers=[relay.address for relay in both]) for _ in range(2))
    await eventually(lambda: links_up(a) == links_up(b) == 2)
    conversations = Conversations(a, b)
    await conversations.start()
    pauses, pauses_after = [], []
    for _ in range(ROUNDS):
        relay = await busiest(a, both)
        await relay.kill()
        pauses.append(await conversations.take_pause())
        await relay.start()
        for node in (a, b):
            node.redial_now()
        await eventually(lambda: links_up(a) == links_up(b) == 2)
        pauses_after.append(await conversations.take_pause())
    await conversations.end()
    log_pauses("relay killed", pauses)
    log_pauses("relay back", pauses_after)


@pytest_twisted.ensureDeferred
async def test_the_only_relay_is_killed_and_replaced(nodes: Nodes, relays: RelayProcesses) -> None:
    relay = await relays.start()
    a, b = (nodes.start(peers=[relay.address]) for _ in range(2))
    await eventually(lambda: links_up(a) == links_up(b) == 1)
    conversations = Conversations(a, b)
    await conversations.start()
    await relay.kill()
    await relay.start()
    log_pauses("only relay killed", [await conversations.take_pause()])
    await conversations.end()


async def dial(node: Node, relay: RelayProcess) -> TcpLink:
    link = await dial_tcp(reactor, parse_peer(relay.address), node)
    await eventually(lambda: links_up(node) == 1)
    return link


@pytest_twisted.ensureDeferred
async def test_a_node_moves_from_one_relay_to_another(nodes: Nodes, relays: RelayProcesses) -> None:
    first = await relays.start()
    second = await relays.start(first)
    a, b = nodes.start(peers=[first.address]), nodes.start()
    link = await dial(b, first)
    await eventually(lambda: links_up(a) == 1)
    conversations = Conversations(a, b)
    await conversations.start()
    pauses = []
    for number in range(2 * ROUNDS):
        link.abort()
        await eventually(lambda: links_up(b) == 0)
        link = await dial(b, (second, first)[number % 2])
        pauses.append(await conversations.take_pause())
    await conversations.end()
    log_pauses("link moved", pauses)
