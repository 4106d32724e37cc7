"""Which kind of session a packet is of, and which kind a dial takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.session import Kind, Kinds, Sessions, StreamConnected
from pinecone_transport.session.demux import is_syn, looks_like_quic, may_be_either
from pinecone_transport.session.quic import QuicSocket
from pinecone_transport.session.utp import UtpSocket
from tests.support.quic_link import HIGH, LOW
from tests.support.virtual_link import Faults, Side, VirtualLink

BOTH = Kinds()


@dataclass
class SessionsLink(VirtualLink):
    """Nodes that speak both kinds, unless told otherwise."""

    left_kinds: Kinds | None = field(default_factory=Kinds)
    right_socket: object = None

    def make_sides(self) -> tuple[Side, Side]:
        left = Sessions(LOW, random=Random(1), kinds=self.left_kinds)
        right = self.right_socket or Sessions(HIGH, random=Random(2), kinds=BOTH)
        return Side(LOW.key, HIGH.key, left), Side(HIGH.key, LOW.key, right)

    def dial(self, seconds: float = 1.0) -> tuple[int, float]:
        """Open a stream from the left; return its number, and the seconds that took."""
        started_at = self.now
        stream = self.left.socket.connect(HIGH.key, self.now)
        self.run_until(lambda: StreamConnected(stream) in self.left.events, seconds)
        return stream, self.now - started_at


def quic_alone() -> QuicSocket:
    return QuicSocket(HIGH, random=Random(2))


def utp_alone() -> UtpSocket:
    return UtpSocket(random=Random(2))


def test_nodes_that_speak_both_take_the_native_kind() -> None:
    link = SessionsLink()
    for _ in range(3):
        stream, _ = link.dial()
        assert not link.left.socket.is_authenticated(stream)
    link.run(20)
    assert link.left.socket.connection_count == 3


@pytest.mark.parametrize("delay", [0.001, 0.02, 0.2])
def test_a_node_that_speaks_quic_alone_is_reached_without_an_extra_round_trip(delay: float) -> None:
    link = SessionsLink(right_socket=quic_alone(), faults=Faults(delay=delay))
    stream, seconds = link.dial(3.0)
    assert seconds < 2 * delay + 2 * delay + 0.005
    assert link.left.socket.is_authenticated(stream)
    link.left.socket.write(stream, b"hello", link.now)
    link.run(1)
    assert list(link.right.data.values()) == [bytearray(b"hello")]


def test_what_a_node_speaks_is_remembered() -> None:
    link = SessionsLink(right_socket=quic_alone())
    link.dial()
    link.run(20)
    _, seconds = link.dial()
    assert seconds == pytest.approx(0.02)


def test_a_node_that_speaks_utp_alone_is_reached_and_the_other_dial_withdrawn() -> None:
    link = SessionsLink(right_socket=utp_alone())
    stream, _ = link.dial()
    assert not link.left.socket.is_authenticated(stream)
    link.run(5)
    assert link.left.socket.connection_count == 1


def test_a_node_that_changed_its_mind_is_reached_after_a_second() -> None:
    link = SessionsLink(right_socket=utp_alone())
    link.dial()
    link.right.socket = quic_alone()
    stream, seconds = link.dial(3.0)
    assert seconds == pytest.approx(1.02)
    assert link.left.socket.is_authenticated(stream)


def test_the_kind_of_a_dial_from_afar_is_remembered() -> None:
    link = SessionsLink(right_socket=quic_alone())
    far = link.right.socket.connect(LOW.key, link.now)
    link.right.socket.write(far, b"hello", link.now)
    link.run(1)
    assert len(link.left.accepted) == 1
    assert link.left.socket.is_authenticated(link.left.accepted[0])
    stream, _ = link.dial()
    assert link.left.socket.is_authenticated(stream)
    assert link.left.socket.connection_count == 1


@pytest.mark.parametrize("kinds", [Kinds(Kind.QUIC), Kinds(Kind.UTP, {HIGH.key: Kind.QUIC})])
def test_a_kind_can_be_prescribed(kinds: Kinds) -> None:
    link = SessionsLink(left_kinds=kinds)
    stream, _ = link.dial()
    assert link.left.socket.is_authenticated(stream)


def test_a_late_native_answer_makes_the_next_stream_a_native_one() -> None:
    link = SessionsLink()
    link.filter = lambda side, packet: packet[0] != 0x41 or link.now > 1000.5
    first, _ = link.dial()
    assert link.left.socket.is_authenticated(first)
    link.run(5)
    second, _ = link.dial()
    assert not link.left.socket.is_authenticated(second)


def test_an_aborted_race_leaves_nothing_behind() -> None:
    link = SessionsLink(faults=Faults(cut=True))
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(0.1)
    link.left.socket.abort(stream, link.now)
    link.run(1)
    assert (link.left.events, link.left.socket.connection_count) == ([], 0)


def test_a_lost_race_is_told_once() -> None:
    link = SessionsLink(faults=Faults(cut=True))
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(40)
    assert list(link.left.lost) == [stream]
    assert len(link.left.events) == 1


def test_both_kinds_live_side_by_side_with_one_key() -> None:
    link = SessionsLink(left_kinds=Kinds(Kind.QUIC))
    quic, _ = link.dial()
    utp = link.right.socket.connect(LOW.key, link.now)
    link.run(0.2)
    assert link.left.socket.is_authenticated(quic)
    link.left.socket.write(quic, b"one", link.now)
    assert link.right.socket.room(utp) > 0
    link.right.socket.write(utp, b"other", link.now)
    link.run(0.5)
    assert list(link.right.data.values()) == [bytearray(b"one")]
    assert list(link.left.data.values()) == [bytearray(b"other")]


def test_first_bytes_tell_the_kinds_apart_but_for_one() -> None:
    for first in range(256):
        packet = bytes((first,)) + bytes(40)
        assert looks_like_quic(packet) is bool(first & 0x40)
        assert may_be_either(packet) is (first == 0x41)
    assert not looks_like_quic(b"")


def test_only_a_well_formed_syn_is_one() -> None:
    socket = utp_alone()
    socket.connect(LOW.key, 1.0)
    (syn,) = socket.packets_to_send(LOW.key, 1 << 20, 1.0)
    assert is_syn(syn)
    assert not is_syn(syn + b"payload")
    assert not is_syn(syn[:-1])
    assert not is_syn(b"\x41" + Identity(b"\x01" * 32).key)


def test_a_run_of_packets_is_taken_as_one_by_one_and_may_be_lent() -> None:
    link = SessionsLink()
    stream, _ = link.dial()
    link.run(1)
    link.left.socket.write(stream, b"x" * 100_000, link.now)
    packets = link.left.socket.packets_to_send(HIGH.key, 1 << 20, link.now)
    lent = bytearray(b"".join(packets))
    views = []
    start = 0
    for packet in packets:
        views.append(memoryview(lent)[start : start + len(packet)])
        start += len(packet)
    link.right.handle(link.right.socket.receive_run(LOW.key, views, link.now), link.now)
    lent[:] = bytes(len(lent))
    received = link.right.received(link.right.accepted[0])
    assert received == b"x" * len(received)
    assert len(received) == sum(map(len, packets)) - 20 * len(packets)


def test_a_dial_to_a_node_of_unknown_kind_brings_the_first_bytes_in_a_packet_that_no_node_minds() -> None:
    link = SessionsLink()
    link.recording = True
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, bytes(1500), link.now)
    link.run(0.015)
    assert list(link.right.data.values()) == [bytearray(1500)]
    assert max(len(packet) for _, packet in link.carried) <= 1452


def test_a_refusal_is_final_and_no_other_kind_is_tried() -> None:
    link = SessionsLink()
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, b"hello", link.now)
    link.run_until(lambda: bool(link.right.accepted))
    link.right.socket.abort(link.right.accepted[0], link.now)
    link.run(3)
    assert list(link.left.lost) == [stream]
    assert link.left.socket.connection_count == link.right.socket.connection_count == 0
    assert len(link.right.accepted) == 1
