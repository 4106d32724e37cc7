"""Which kind of session a packet is of, and which kind a dial takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from pinecone_transport.errors import LocalProtocolError, UnreachableError
from pinecone_transport.identity import Identity
from pinecone_transport.session import Kind, Kinds, QuicLimits, Sessions, StreamConnected, StreamLost, UtpLimits
from pinecone_transport.session.budget import Budgets
from pinecone_transport.session.demux import is_syn, looks_like_quic, may_be_either
from pinecone_transport.session.quic import QuicSocket
from pinecone_transport.session.sessions import LATE_ANSWER, MOST_REMEMBERED, NATIVE_GRACE, STAGGER
from pinecone_transport.session.utp import UtpSocket, decode_packet
from pinecone_transport.session.utp.packet import encode_reset
from pinecone_transport.session.utp.remote import new_budget
from tests.support.quic_link import HIGH, LOW
from tests.support.raw_quic import GoLikeSocket
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


class Both:
    """A far end whose kinds know nothing of one another."""

    def __init__(self, quic: QuicSocket, utp: UtpSocket) -> None:
        self._sockets = {True: quic, False: utp}

    def receive_packet(self, key: bytes, packet: bytes, now: float) -> list[object]:
        is_quic = looks_like_quic(packet) and not is_syn(packet)
        return self._sockets[is_quic].receive_packet(key, packet, now)

    def ready_keys(self) -> list[bytes]:
        return list({key: None for socket in self._sockets.values() for key in socket.ready_keys()})

    def packets_to_send(self, key: bytes, limit: int, now: float) -> list[bytes]:
        return [packet for socket in self._sockets.values() for packet in socket.packets_to_send(key, limit, now)]

    def next_timer(self) -> float | None:
        times = [socket.next_timer() for socket in self._sockets.values()]
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, now: float) -> list[object]:
        return [event for socket in self._sockets.values() for event in socket.handle_timer(now)]


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
def test_a_go_node_that_speaks_quic_alone_is_reached_without_an_extra_round_trip(delay: float) -> None:
    # Its connection ids have 4 bytes, so nobody waits for a native answer once QUIC has one.
    link = SessionsLink(right_socket=GoLikeSocket(HIGH, connection_id_length=4), faults=Faults(delay=delay))
    link.filter = lambda side, packet: not is_syn(packet)  # which a Go node drops
    stream, seconds = link.dial(3.0)
    assert seconds < 2 * (2 * delay) + 0.006
    assert link.left.socket.is_authenticated(stream)


@pytest.mark.parametrize("delay", [0.001, 0.02, 0.2])
def test_a_node_that_speaks_quic_alone_is_reached_though_it_looks_as_if_it_were_of_our_kind(delay: float) -> None:
    link = SessionsLink(right_socket=quic_alone(), faults=Faults(delay=delay))
    stream, seconds = link.dial(3.0)
    assert seconds < 2 * (2 * delay + 0.005) + NATIVE_GRACE + 0.001
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
    link.filter = lambda side, packet: side is link.left or packet[0] != 0x21
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, b"hello", link.now)
    link.run_until(lambda: bool(link.right.accepted))
    link.right.socket.abort(link.right.accepted[0], link.now)
    link.run(3)
    assert list(link.left.lost) == [stream]
    assert link.left.socket.connection_count == link.right.socket.connection_count == 0
    assert len(link.right.accepted) == 1


def fill(link: SessionsLink, streams: dict[int, bytes]) -> None:
    """Write to streams of the left side as there is room, until all is written."""
    for _ in range(2000):
        for stream, data in list(streams.items()):
            room = link.left.socket.room(stream)
            link.left.socket.write(stream, data[:room], link.now)
            streams[stream] = data[room:]
        if not any(streams.values()):
            return
        link.run(0.01)
    raise AssertionError("there is no room for all")


def streams_of_both_kinds(**options: object) -> tuple[SessionsLink, int, int]:
    """Return a link with a stream of each kind, QUIC's first, by the left side's numbers."""
    right = Sessions(HIGH, random=Random(2), kinds=Kinds(Kind.UTP))
    link = SessionsLink(left_kinds=Kinds(Kind.QUIC), right_socket=right, **options)
    quic, _ = link.dial()
    utp = right.connect(LOW.key, link.now)
    right.write(utp, b"hello", link.now)
    link.run(0.5)
    return link, quic, link.left.accepted[-1]


def test_both_kinds_share_one_budget_and_both_go_on() -> None:
    link, quic, utp = streams_of_both_kinds(faults=Faults(delay=0.02))
    link.left.socket.write(quic, bytes(400_000), link.now)
    link.left.socket.write(utp, bytes(400_000), link.now)
    link.faults.cut = True
    link.recording = True
    link.pump()
    data = [packet for side, packet in link.carried if side is link.left and len(packet) > 1000]
    assert len(data) == 14 + 1, "QUIC may always have one packet under way"
    link.faults.cut = False
    link.run(20)
    assert sorted(map(len, link.right.data.values())) == [400_000, 400_000]


def test_turns_are_taken_by_both_kinds() -> None:
    link, quic, utp = streams_of_both_kinds(faults=Faults(delay=0.05))
    fill(link, {quic: bytes(300_000), utp: bytes(300_000)})
    link.run_until(lambda: len(link.right.data) == 2 and min(map(len, link.right.data.values())) > 100_000)
    assert link.right.lost == {}


@pytest.mark.parametrize("delay", [0.01, 0.1])
def test_the_dial_that_lost_leaves_no_trace_at_either_end(delay: float) -> None:
    link = SessionsLink(faults=Faults(delay=delay))
    link.dial(3.0)
    link.run(2 * delay + 0.001)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (1, 1)
    assert link.left.socket.ready_keys() == link.right.socket.ready_keys() == []


def test_a_late_attempt_is_withdrawn() -> None:
    link = SessionsLink(right_socket=quic_alone())
    link.dial()
    assert link.left.socket.connection_count == 2
    link.run(LATE_ANSWER)
    assert link.left.socket.connection_count == 1


def test_a_stream_that_is_closed_before_it_is_open_ends_when_it_is() -> None:
    link = SessionsLink(left_kinds=Kinds(Kind.QUIC), right_socket=quic_alone())
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.close(stream, link.now)
    assert link.left.socket.room(stream) == 0
    with pytest.raises(LocalProtocolError):
        link.left.socket.write(stream, b"too early", link.now)
    link.run(1)
    assert len(link.right.ended) == 1


def test_an_open_stream_is_closed_both_ways() -> None:
    for right in (quic_alone(), utp_alone()):
        link = SessionsLink(right_socket=right)
        stream, _ = link.dial()
        link.left.socket.write(stream, b"x", link.now)
        link.left.socket.close(stream, link.now)
        link.run(1)
        assert len(link.right.ended) == 1
        far = link.right.accepted[0]
        link.right.socket.close(far, link.now)
        link.run(1)
        assert link.left.closed == {stream}


def test_calls_for_streams_that_are_gone_do_nothing_and_for_others_are_refused() -> None:
    link = SessionsLink()
    stream, _ = link.dial()
    socket = link.left.socket
    socket.abort(stream, link.now)
    socket.abort(stream, link.now)
    socket.write(stream, b"x", link.now)
    socket.close(stream, link.now)
    socket.acknowledge_received_data(stream, 1, link.now)
    assert (socket.room(stream), socket.segment(stream), socket.is_authenticated(stream)) == (0, 1, False)
    assert socket.fail_connecting(stream, UnreachableError("no way"), link.now) == []
    for unknown in (0, stream + 1):
        with pytest.raises(LocalProtocolError):
            socket.room(unknown)


@pytest.mark.parametrize("right", [quic_alone, utp_alone])
def test_what_the_owner_hears_of_the_way_reaches_both_kinds(right: Callable[[], object]) -> None:
    link = SessionsLink(right_socket=right())
    stream, _ = link.dial()
    socket = link.left.socket
    assert socket.segment(stream) > 1000
    link.run(3)
    socket.wake(HIGH.key, link.now)
    link.run(0.5)
    for tell in (
        lambda: socket.acknowledge(HIGH.key, link.now),
        lambda: socket.acknowledge_all(link.now),
    ):
        tell()
        assert socket.packets_to_send(HIGH.key, 1 << 20, link.now)
        link.run(0.5)
    link.faults.cut = True
    socket.write(stream, b"x", link.now)
    link.run(3)
    assert socket.take_repeated_keys() == {HIGH.key}
    assert socket.take_repeated_keys() == set()
    link.faults.cut = False
    socket.wake_all(link.now)
    link.run(0.1)
    assert list(link.right.data.values()) == [bytearray(b"x")]


def test_a_dial_that_waits_can_be_given_up_and_an_open_one_not() -> None:
    link = SessionsLink(faults=Faults(cut=True))
    waiting = link.left.socket.connect(HIGH.key, link.now)
    link.run(0.1)
    error = UnreachableError("no way")
    assert link.left.socket.fail_connecting(waiting, error, link.now) == [StreamLost(waiting, error)]
    assert link.left.socket.connection_count == 0
    link.faults.cut = False
    stream, _ = link.dial()
    assert link.left.socket.fail_connecting(stream, error, link.now) == []


def test_a_shutdown_ends_streams_of_both_kinds() -> None:
    link, quic, _ = streams_of_both_kinds()
    link.left.socket.write(quic, b"hello", link.now)
    link.run(0.1)
    link.left.socket.abort_all(link.now)
    link.run(0.1)
    assert len(link.right.lost) == 2
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)


def test_counters_of_quic_go_by_that_name_and_who_speaks_utp_alone_has_none() -> None:
    link, _, _ = streams_of_both_kinds()
    assert link.left.socket.counters["QUIC packets sent"] > 0
    assert link.left.socket.counters["packets sent"] > 0
    alone = Sessions(LOW, random=Random(1))
    alone.connect(HIGH.key, 1.0)
    assert alone.ready_keys() == [HIGH.key]
    assert len(alone.packets_to_send(HIGH.key, 1 << 20, 1.0)) == 1
    assert not any(name.startswith("QUIC") for name in alone.counters)


def test_a_second_kind_that_has_no_place_is_left_out() -> None:
    socket = Sessions(LOW, random=Random(1), kinds=BOTH, quic_limits=QuicLimits(connections=0))
    socket.connect(HIGH.key, 1.0)
    assert socket.handle_timer(1.0 + STAGGER) == []
    assert socket.counters["second kinds not tried"] == 1
    assert socket.connection_count == 1


def test_a_first_kind_that_fails_at_once_makes_place_for_the_second() -> None:
    link = SessionsLink(right_socket=utp_alone())
    link.dial()
    link.left.socket.abort_all(link.now)
    link.run(1)
    link.right.socket = quic_alone()
    link.filter = lambda side, packet: side is link.left or bool(packet[0] & 0x40)
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run_until(lambda: StreamConnected(stream) in link.left.events, 3.0)
    assert link.left.socket.is_authenticated(stream)


def test_what_far_nodes_speak_is_remembered_of_a_bounded_number() -> None:
    socket = Sessions(LOW, random=Random(1), kinds=BOTH)
    far = UtpSocket(random=Random(2))
    for number in range(MOST_REMEMBERED + 2):
        key = number.to_bytes(32)
        stream = far.connect(LOW.key, 1.0)
        (syn,) = far.packets_to_send(LOW.key, 1 << 20, 1.0)
        socket.receive_packet(key, syn, 1.0)
        (answer,) = socket.packets_to_send(key, 1 << 20, 1.0)
        far.receive_packet(LOW.key, answer, 1.0)
        far.write(stream, b"x", 1.0)
        for packet in far.packets_to_send(LOW.key, 1 << 20, 1.0):
            socket.receive_packet(key, packet, 1.0)
        far.abort_all(1.0)
        for packet in far.packets_to_send(LOW.key, 1 << 20, 1.0):
            socket.receive_packet(key, packet, 1.0)
    assert socket.remembered_count == MOST_REMEMBERED


def test_budgets_live_as_long_as_somebody_uses_them() -> None:
    budgets = Budgets(partial(new_budget, UtpLimits()))
    one = budgets.of(HIGH.key)
    assert budgets.of(HIGH.key) is one
    assert budgets.of(LOW.key) is not one
    one.take(3, 300, 1.0)
    one.congestion.on_lost(0.5, 2.0)
    del one
    assert len(budgets) == 0
    assert budgets.of(HIGH.key).packets_in_flight == 0


def test_a_native_answer_that_quic_has_just_overtaken_carries_the_stream() -> None:
    link = SessionsLink(faults=Faults(delay=0.02))
    late: list[bytes] = []

    def hold_answers(side: Side, packet: bytes) -> bool:
        if side is link.right and packet[0] & 0x0F == 1 and not packet[0] & 0x80 and not late:
            late.append(packet)
            return False
        return True

    link.filter = hold_answers
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(0.0465)
    assert late
    assert StreamConnected(stream) not in link.left.events
    link.left.handle(link.left.socket.receive_packet(HIGH.key, late[0], link.now), link.now)
    assert StreamConnected(stream) in link.left.events
    assert not link.left.socket.is_authenticated(stream)
    link.run(20)
    assert link.left.socket.connection_count == 1


def test_a_native_answer_that_was_lost_is_asked_for_again_when_quic_has_one() -> None:
    link = SessionsLink(faults=Faults(delay=0.02))
    link.filter = lambda side, packet: side is link.left or packet[0] not in {0x21, 0x31} or link.now > 1000.041
    stream, seconds = link.dial()
    assert not link.left.socket.is_authenticated(stream)
    assert seconds == pytest.approx(0.045 + 0.04, abs=0.002)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.201, 0.25, 0.35])
@pytest.mark.parametrize("both", [False, True])
def test_a_greeting_that_is_under_way_draws_no_stream_from_the_native_kind(after: float, both: bool) -> None:
    # On a path of 200 ms the greeting's connection is open, and so has an answer at once, while the SYN has none yet.
    link = SessionsLink(faults=Faults(delay=0.1))
    link.left.socket.link_up(HIGH.key, link.now)
    if both:
        link.right.socket.link_up(LOW.key, link.now)
    link.run(after)
    stream, _ = link.dial(2.0)
    assert not link.left.socket.is_authenticated(stream)


def test_quic_carries_the_stream_if_no_native_answer_comes_soon() -> None:
    link = SessionsLink(faults=Faults(delay=0.02))
    link.filter = lambda side, packet: side is link.left or packet[0] not in {0x21, 0x31}
    stream, seconds = link.dial()
    assert link.left.socket.is_authenticated(stream)
    assert seconds == pytest.approx(2 * 0.045 + NATIVE_GRACE, abs=0.002)


@pytest.mark.parametrize("written", [b"", b"hello"])
@pytest.mark.parametrize("delay", [0.01, 0.2])
def test_a_native_dial_that_had_no_answer_is_withdrawn_at_the_far_end_too(delay: float, written: bytes) -> None:
    link = SessionsLink(faults=Faults(delay=delay))
    link.filter = lambda side, packet: side is link.left or packet[0] not in {0x21, 0x31}
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, written, link.now)
    link.run(2 * (2 * delay + 0.005) + NATIVE_GRACE + LATE_ANSWER - delay)
    assert link.left.socket.is_authenticated(stream)
    link.run(2 * delay + 0.001)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (1, 1)


def test_an_aborted_race_leaves_nothing_behind_at_the_far_end() -> None:
    link = SessionsLink(faults=Faults(delay=0.05))
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(0.09)
    assert link.right.socket.connection_count == 2
    link.left.socket.abort(stream, link.now)
    link.run(0.1)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)
    assert link.left.socket.ready_keys() == link.right.socket.ready_keys() == []


def test_links_matter_to_nodes_that_may_speak_quic() -> None:
    link = SessionsLink(right_socket=quic_alone())
    link.left.socket.link_up(HIGH.key, link.now)
    assert link.left.socket.connection_count == 1
    native = SessionsLink(left_kinds=Kinds(Kind.UTP))
    native.left.socket.link_up(HIGH.key, native.now)
    assert native.left.socket.connection_count == 0
    assert Sessions(LOW, random=Random(1)).link_lost(HIGH.key, 1.0) == []
    stream, _ = link.dial()
    link.left.socket.write(stream, b"question", link.now)
    link.run(0.5)
    link.right.socket.write(link.right.accepted[0], b"answer", link.now)
    link.run(0.5)
    (lost,) = link.left.socket.link_lost(HIGH.key, link.now)
    assert lost.stream == stream


def test_a_stream_that_is_given_up_before_its_owner_hears_of_it_is_not_told() -> None:
    link = SessionsLink(left_kinds=Kinds(Kind.QUIC))
    link.dial()
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.abort(stream, link.now)
    before = list(link.left.events)
    link.run(1)
    assert link.left.events == before


def test_a_kind_that_fails_soon_makes_place_for_the_other_at_once() -> None:
    link = SessionsLink(right_socket=quic_alone())
    link.dial()
    link.left.socket.abort_all(link.now)
    link.run(1)
    link.right.socket = Both(QuicSocket(Identity(b"\x07" * 32), random=Random(2)), utp_alone())
    stream, seconds = link.dial()
    assert not link.left.socket.is_authenticated(stream)
    assert seconds < 0.1


def test_an_answer_of_quic_that_is_taken_back_is_waited_for_no_longer() -> None:
    link = SessionsLink(faults=Faults(delay=0.02))
    link.filter = lambda side, packet: side is link.left or packet[0] not in {0x21, 0x31}
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(0.047)
    link.right.socket.abort_all(link.now)
    link.run(0.2)
    assert link.left.events == []
    link.filter = None
    link.run(3)
    assert link.left.events == [StreamConnected(stream)]
    assert not link.left.socket.is_authenticated(stream)


def test_nothing_native_is_waited_for_where_the_far_end_is_not_of_our_kind() -> None:
    far = GoLikeSocket(HIGH, connection_id_length=4)
    link = SessionsLink(right_socket=far, faults=Faults(delay=0.02))
    link.filter = lambda side, packet: side is link.right or (looks_like_quic(packet) and not is_syn(packet))
    stream, seconds = link.dial()
    assert link.left.socket.is_authenticated(stream)
    assert seconds == pytest.approx(STAGGER + 0.04, abs=0.002)


def test_a_refusal_that_is_late_shows_nothing_of_the_far_end() -> None:
    link = SessionsLink(right_socket=quic_alone())
    link.recording = True
    link.dial()
    syn = next(decode_packet(packet) for side, packet in link.carried if side is link.left and is_syn(packet))
    reset = encode_reset(syn.connection_id, 0, syn.seq_nr)
    before = list(link.left.events)
    link.left.handle(link.left.socket.receive_packet(HIGH.key, reset, link.now), link.now)
    assert link.left.events == before
    assert link.left.socket.connection_count == 1
    link.run(LATE_ANSWER + 1)
    stream, _ = link.dial()
    assert link.left.socket.is_authenticated(stream)
