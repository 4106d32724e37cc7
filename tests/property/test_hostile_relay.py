"""A relay that is on the way of streams and does its worst: under TLS the right bytes arrive, in order, or none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from pinecone_transport.identity import PublicKey
from pinecone_transport.node import Node, NodeConfig
from pinecone_transport.session import UtpLimits
from pinecone_transport.session.utp import ST_DATA, ST_FIN, ST_RESET, ST_STATE, UtpPacket, encode_packet
from tests.support.hostile_relay import TRICKS, HostileRelay, Passing, Tricks, honest
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint, WrongPeerKey
from twisted_endpoints.testing import MemoryNetwork

UP, DOWN = 30_000, 60_000
"""Bytes of a question and of an answer."""
TAG = 2


def question(number: int) -> bytes:
    """Return what the stream with this number asks; it begins with the number."""
    return number.to_bytes(TAG, "big") + hashlib.shake_256(b"question %d" % number).digest(UP - TAG)


def answer(number: int) -> bytes:
    return hashlib.shake_256(b"answer %d" % number).digest(DOWN)


class Asking(Protocol):
    """Asks, and takes the answer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.received = bytearray()
        self.lost: list[Failure] = []

    def connectionMade(self) -> None:
        self.transport.write(question(self.number))

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


class Answering(Protocol):
    """Takes a question of any stream, answers when all of it is there, and closes."""

    def __init__(self, factory: Answerers, address: IAddress | None) -> None:
        self.factory: Answerers = factory
        self.key: PublicKey = address.key
        self.received = bytearray()
        self.lost: list[Failure] = []

    @property
    def number(self) -> int | None:
        return int.from_bytes(self.received[:TAG], "big") if len(self.received) >= TAG else None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if len(self.received) == UP and not self.factory.waiting:
            self.answer()

    def answer(self) -> None:
        self.transport.write(answer(self.number))
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


class Answerers(Factory):
    """Makes them; while ``waiting``, they answer when the test says so."""

    noisy = False

    def __init__(self) -> None:
        self.waiting = False
        self.made: list[Answering] = []

    def buildProtocol(self, addr: IAddress | None) -> Answering:
        self.made.append(Answering(self, addr))
        return self.made[-1]


class Attacked:
    """Alice and Carol ask Bob; there is no way but the hostile relay."""

    def __init__(self) -> None:
        # The relay's tricks are made of µTP's fields.
        self.network = MemoryNetwork(config=NodeConfig(session="utp"))
        self.alice, self.bob, self.carol = (self.network.node() for _ in range(3))
        self.relay = HostileRelay(self.network, self.network.node())
        for node in (self.alice, self.bob, self.carol):
            self.relay.join(node)
        self.answerers = Answerers()
        self.network.settle()
        self.network.result_of(PineconeServerEndpoint(self.bob).listen(self.answerers))
        self.asking: dict[int, tuple[Node, Asking]] = {}

    def ask(self, node: Node) -> int:
        """Open a stream to Bob and ask; return its number."""
        number = len(self.asking)
        protocol = Asking(number)
        self.asking[number] = node, protocol
        factory = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        endpoint = PineconeClientEndpoint(node, self.bob.identity.key)
        endpoint.connect(factory).addErrback(protocol.lost.append)
        return number

    def is_over(self, number: int) -> bool:
        return bool(self.asking[number][1].lost)

    def is_answered(self, number: int) -> bool:
        return bytes(self.asking[number][1].received) == answer(number)

    def give_up(self) -> None:
        """Have the programs at both ends lose their patience."""
        for protocol in [asking for _, asking in self.asking.values()] + self.answerers.made:
            if not protocol.lost and protocol.transport is not None:
                protocol.transport.abortConnection()

    def check(self) -> None:
        """What came is what was sent, on the right stream, from the right key; and a clean end has all before it."""
        for number, (_, asking) in self.asking.items():
            assert answer(number).startswith(asking.received)
            assert len(asking.lost) <= 1
            if asking.lost and asking.lost[0].check(ConnectionDone):
                assert self.is_answered(number)
        numbers = [answering.number for answering in self.answerers.made if answering.number is not None]
        assert len(numbers) == len(set(numbers)), "no stream is another one's"
        for answering in self.answerers.made:
            assert answering.key in {self.alice.identity.key, self.carol.identity.key}
            if answering.number is not None:
                node, _ = self.asking[answering.number]
                assert answering.key == node.identity.key
                assert question(answering.number).startswith(answering.received)
            if answering.lost and answering.lost[0].check(ConnectionDone):
                assert len(answering.received) == UP
        for node in self.network.nodes:
            status = node.status()
            connections = [session["connections"] for session in status["sessions"]]
            assert sum(connections) <= UtpLimits().connections
            assert max(connections, default=0) <= UtpLimits().connections_per_key
            assert all(link["bytes_queued"] < 1 << 20 for link in status["links"])


@contextmanager
def nothing_is_complained_of() -> Iterator[None]:
    """Fail if anything is logged that somebody ought to look at: what a node or a transport catches is."""
    complaints: list[object] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = complaints.append  # type: ignore[method-assign]

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            complaints.append(event)

    logger = logging.getLogger("pinecone_transport")
    logger.addHandler(handler)
    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        globalLogPublisher.removeObserver(observe)
    assert complaints == []


@settings(max_examples=150)
@given(
    tricks=st.lists(st.sampled_from(sorted(TRICKS)), min_size=1, max_size=4, unique=True),
    share=st.sampled_from((0.02, 0.1, 0.5, 1.0)),
    seed=st.integers(0, 1 << 32),
)
def test_right_bytes_arrive_or_none_whatever_a_relay_does(tricks: list[str], share: float, seed: int) -> None:
    attacked = Attacked()
    with nothing_is_complained_of():
        attacked.relay.treat = Tricks(attacked.relay, tricks, share, Random(seed))
        for node in (attacked.alice, attacked.carol, attacked.alice):
            attacked.ask(node)
        for _ in range(10):
            attacked.network.advance(1.0)
            attacked.check()
        # Once it has had enough, streams are as if it had never been.
        attacked.relay.treat = honest
        later = [attacked.ask(node) for node in (attacked.alice, attacked.carol)]
        attacked.network.advance(5.0)
        assert all(attacked.is_answered(number) for number in later)
        # Whoever was told that bytes had arrived which had not waits for ever; that is for timeouts of programs.
        attacked.give_up()
        attacked.network.advance(45.0)
        attacked.check()
    assert all(node.status()["sessions"] == [] for node in attacked.network.nodes)


def test_a_stream_beside_those_that_a_relay_destroys_is_not_even_slowed() -> None:
    times = []
    for hostile in (False, True):
        attacked = Attacked()
        if hostile:
            attacked.relay.treat = Tricks(
                attacked.relay, sorted(TRICKS), 1.0, Random(3), victims={attacked.alice.identity.key}
            )
        with nothing_is_complained_of():
            broken = [attacked.ask(attacked.alice) for _ in range(5)]
            sound = attacked.ask(attacked.carol)
            began = attacked.network.clock.seconds()
            attacked.network.advance_until(lambda: attacked.is_answered(sound))  # noqa: B023  # called here
            times.append(attacked.network.clock.seconds() - began)
            attacked.network.advance(10.0)
            attacked.check()
        assert all(attacked.is_answered(number) for number in broken) is not hostile
    assert times[1] <= 1.5 * times[0]


def test_a_relay_that_gives_a_stream_another_key_is_refused_by_tls() -> None:
    attacked = Attacked()
    alice, carol = attacked.alice.identity.key, attacked.carol.identity.key

    def mask(passing: Passing) -> list[Passing]:
        """Show Alice to Bob as Carol."""
        if passing.source == alice:
            return [replace(passing, source=carol)]
        return [replace(passing, destination=alice)] if passing.destination == carol else [passing]

    attacked.relay.treat = mask
    number = attacked.ask(attacked.alice)
    attacked.network.advance(5.0)
    assert attacked.answerers.made == []
    assert attacked.is_over(number)
    attacked.check()


def test_a_relay_in_the_place_of_the_dialled_node_is_refused_by_tls() -> None:
    attacked = Attacked()
    network = attacked.network
    bob = attacked.bob.identity.key
    mallory = network.node()
    attacked.relay.join(mallory)
    network.settle()
    impostors = Answerers()
    network.result_of(PineconeServerEndpoint(mallory).listen(impostors))

    def take_the_place(passing: Passing) -> list[Passing]:
        if passing.destination == bob:
            return [replace(passing, destination=mallory.identity.key)]
        return [replace(passing, source=bob)] if passing.source == mallory.identity.key else [passing]

    attacked.relay.treat = take_the_place
    number = attacked.ask(attacked.alice)
    network.advance(5.0)
    (lost,) = attacked.asking[number][1].lost
    assert lost.check(WrongPeerKey)
    assert attacked.answerers.made == []
    assert not any(impostor.received for impostor in impostors.made)


def test_a_recorded_conversation_played_again_delivers_nothing() -> None:
    attacked = Attacked()
    number = attacked.ask(attacked.alice)
    attacked.network.advance(15.0)
    assert attacked.is_answered(number)
    assert attacked.is_over(number)
    recorded = list(attacked.relay.seen)
    for passing in recorded:
        attacked.relay.send(passing)
        attacked.network.advance(0.02)
    attacked.network.advance(60.0)
    attacked.check()
    assert len(attacked.answerers.made) == 1
    assert all(node.status()["sessions"] == [] for node in attacked.network.nodes)


def test_a_far_node_that_guesses_at_all_ids_neither_ends_a_stream_nor_reaches_its_bytes() -> None:
    attacked = Attacked()
    network, random = attacked.network, Random(2024)
    attacked.answerers.waiting = True
    number = attacked.ask(attacked.alice)
    network.advance_until(lambda: attacked.answerers.made and len(attacked.answerers.made[0].received) == UP)
    alice, bob = attacked.alice.identity.key, attacked.bob.identity.key

    def guess(source: PublicKey, destination: PublicKey, kind: int, connection_id: int) -> Passing:
        numbers = (random.getrandbits(bits) for bits in (32, 32, 32, 16, 16))
        packet = UtpPacket(kind, connection_id, *numbers, (), b"guess")
        return Passing(source, destination, encode_packet(packet))

    for start in range(0, 0x10000, 4096):
        ids = range(start, start + 4096)
        for source, destination in ((alice, bob), (bob, alice)):
            attacked.relay.send(*(guess(source, destination, ST_RESET, one) for one in ids))
            attacked.relay.send(
                *(guess(source, destination, random.choice((ST_FIN, ST_DATA, ST_STATE)), one) for one in ids)
            )
        network.advance(0.01)
    assert not attacked.is_over(number)
    attacked.answerers.made[0].answer()
    network.advance(10.0)
    attacked.check()
    assert attacked.is_answered(number)
    assert attacked.is_over(number)
