"""What is used of aioquic that it does not offer in public does what we take it for."""

from __future__ import annotations

import pytest
from aioquic.tls import CipherSuite

from pinecone_transport.identity import Identity
from pinecone_transport.session.budget import Budget
from pinecone_transport.session.packet_size import FIRST_SIZE
from pinecone_transport.session.quic.engine import Engine
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.settings import Settings
from pinecone_transport.session.utp import UtpLimits
from pinecone_transport.session.utp.remote import new_budget
from tests.support.quic_link import HIGH, LOW, QuicLink
from tests.support.raw_quic import GoLikeSocket, RawDialler

LIMITS = QuicLimits()
ROOM = LIMITS.window_packets


def exchange(left: Engine, right: Engine, now: float) -> int:
    """Carry packets until both are silent; return how many there were."""
    count = 0
    for _ in range(100):
        packets = [(right, packet) for packet in left.packets(ROOM, 1 << 20, now)]
        packets += [(left, packet) for packet in right.packets(ROOM, 1 << 20, now)]
        if not packets:
            return count
        for engine, packet in packets:
            engine.receive(packet, now)
        count += len(packets)
    raise AssertionError("they never fall silent")


def pair(budget: Budget | None = None) -> tuple[Engine, Engine]:
    now = 1.0
    left = Engine(Settings(LOW, "matrix", LIMITS), budget or new_budget(UtpLimits()))
    left.start(now)
    right = Engine(Settings(HIGH, "matrix", LIMITS), new_budget(UtpLimits()), next(iter(left_destination(left, now))))
    for packet in FIRST:
        right.receive(packet, now)
    exchange(left, right, now)
    return left, right


FIRST: list[bytes] = []


def left_destination(left: Engine, now: float) -> set[bytes]:
    FIRST[:] = left.packets(ROOM, 1 << 20, now)
    return {FIRST[0][6 : 6 + FIRST[0][5]]}


def drain(engine: Engine) -> list[object]:
    events = []
    while (event := engine.take_event()) is not None:
        events.append(event)
    return events


def test_each_end_sees_the_certificate_of_the_other() -> None:
    left, right = pair()
    assert (left.certificates(), right.certificates()) == ([HIGH.certificate()], [LOW.certificate()])


def test_a_handshake_takes_no_time_of_timers_and_its_round_trip_is_known() -> None:
    left, right = pair()
    assert left.begun
    assert right.begun
    assert 0.0 < left.rtt < 0.01


def test_what_is_received_is_acknowledged_at_once_and_packets_are_not_paced() -> None:
    left, right = pair()
    stream = left.open()
    left.write(stream, bytes(15_000))
    packets = left.packets(ROOM, 1 << 20, 2.0)
    assert len(packets) == 11
    for packet in packets:
        right.receive(packet, 2.0)
    answers = right.packets(ROOM, 1 << 20, 2.0)
    assert len(answers) == 1
    left.receive(answers[0], 2.0)
    assert left.unacknowledged(stream) == 0
    assert left.packets_in_flight == 0


def test_no_more_is_sent_than_there_is_room_for() -> None:
    left, _ = pair()
    stream = left.open()
    left.write(stream, bytes(100_000))
    assert left.packets(14, 0, 2.0) == []
    assert left.packets(0, 1 << 20, 2.0) == []
    assert len(left.packets(3, 1 << 20, 2.0)) == 3
    assert len(left.packets(14, 2 * left.packet_size, 2.0)) == 2
    assert left.packets_in_flight == 5
    assert left.unacknowledged(stream) == 100_000


def test_packets_are_short_until_the_handshake_is_done_and_then_as_the_path_has_them() -> None:
    left, _ = pair()
    assert {len(packet) for packet in FIRST} == {LIMITS.first_packet}
    left.write(left.open(), bytes(100_000))
    assert max(map(len, left.packets(ROOM, 1 << 20, 2.0))) == left.packet_size == FIRST_SIZE


def test_lost_packets_shrink_the_window_of_the_key() -> None:
    budget = new_budget(UtpLimits())
    left, right = pair(budget)
    left.write(left.open(), bytes(100_000))
    lost, *arrived = left.packets(ROOM, 1 << 20, 2.0)
    assert lost
    assert (budget.packets_in_flight, budget.room()[0]) == (14, 0)
    for packet in arrived:
        right.receive(packet, 2.0)
    for packet in right.packets(ROOM, 1 << 20, 2.0):
        left.receive(packet, 2.0)
    assert budget.packets_in_flight == 0
    assert 7 <= budget.room()[0] < 14


def test_what_is_under_way_on_a_connection_that_is_gone_counts_no_more() -> None:
    budget = new_budget(UtpLimits())
    left, _ = pair(budget)
    left.write(left.open(), bytes(100_000))
    left.packets(ROOM, 1 << 20, 2.0)
    left.leave()
    assert (budget.packets_in_flight, budget.bytes_in_flight) == (0, 0)


def test_the_window_of_a_stream_opens_as_its_data_is_taken() -> None:
    left, right = pair()
    stream = left.open()
    left.write(stream, bytes(3 * LIMITS.receive_window))
    exchange(left, right, 2.0)
    got = sum(len(event.data) for event in drain(right) if hasattr(event, "data"))
    assert got == LIMITS.receive_window
    right.consumed(stream, LIMITS.receive_window // 8)
    exchange(left, right, 2.0)
    assert drain(right) == []
    right.consumed(stream, LIMITS.receive_window // 8)
    exchange(left, right, 2.0)
    got = sum(len(event.data) for event in drain(right) if hasattr(event, "data"))
    assert got == LIMITS.receive_window // 4


def test_how_it_ended_is_known_when_the_far_end_says_so() -> None:
    left, right = pair()
    assert left.ended() is None
    right.end(0, is_application=True, reason="connection replaced")
    exchange(left, right, 2.0)
    ended = left.ended()
    assert ended is not None
    assert (ended.by_far_end, ended.is_application, ended.code, ended.reason) == (True, True, 0, "connection replaced")
    own = right.ended()
    assert own is not None
    assert not own.by_far_end


def test_the_ids_of_packets_are_known() -> None:
    left, right = pair()
    left.write(left.open(), b"x")
    (packet,) = left.packets(ROOM, 1 << 20, 2.0)
    assert packet[1:9] in right.ids
    drain(right)
    assert len(right.ids) == 9  # what we gave, and what the dialler made up


def test_credit_for_streams_is_counted() -> None:
    left, right = pair()
    assert left.stream_credit() == right.stream_credit() == LIMITS.streams
    stream = left.open()
    assert left.stream_credit() == LIMITS.streams - 1
    assert left.is_ours(stream)
    assert not right.is_ours(stream)


def test_it_is_seen_when_the_far_end_takes_what_we_send() -> None:
    left = Engine(Settings(LOW, "matrix", LIMITS), new_budget(UtpLimits()))
    left.start(1.0)
    far = GoLikeSocket(HIGH, max_data=10_000)
    now = 1.0

    def carry() -> None:
        nonlocal now
        for _ in range(8):
            now += 0.005
            for packet in left.packets(ROOM, 1 << 20, now):
                far.receive_packet(LOW.key, packet, now)
            for packet in far.packets_to_send(LOW.key, 1 << 20, now):
                left.receive(packet, now)
            drain(left)

    carry()
    left.write(left.open(), bytes(1000))
    carry()
    assert not left.far_end_reads()
    left.write(left.open(), bytes(9_000))
    carry()
    assert left.far_end_reads()


def test_what_had_no_answer_is_sent_again_soon_and_never_later_than_two_seconds_apart() -> None:
    left, _ = pair()
    left.write(left.open(), b"x")
    now = 2.0
    assert len(left.packets(ROOM, 1 << 20, now)) == 1
    gaps = []
    for _ in range(10):
        at = left.timer()
        assert at is not None
        if at >= 16.0:
            break
        gaps.append(at - now)
        now = at
        left.handle_timer(now)
        assert left.repeated
        left.repeated = False
        assert left.packets(ROOM, 1 << 20, now)
    assert max(gaps) <= 2.0
    left.resend(now)
    assert left.packets(ROOM, 1 << 20, now)


def test_tokens_shown_to_far_ends_are_those_that_resets_carry() -> None:
    link = QuicLink()
    raw = RawDialler(link.right, LOW, max_datagram_size=1452)
    raw.dial(link.now)
    settings = Settings(HIGH, "matrix", LIMITS)
    shown = {id_.cid: id_.stateless_reset_token for id_ in raw.quic._peer_cid_available}
    assert len(shown) == 7
    assert shown == {cid: settings.reset_token(cid) for cid in shown}


@pytest.mark.parametrize(
    ("suite", "completes"),
    [
        (CipherSuite.AES_128_GCM_SHA256, True),
        (CipherSuite.CHACHA20_POLY1305_SHA256, True),
        (CipherSuite.AES_256_GCM_SHA384, False),
    ],
)
def test_only_suites_that_all_go_nodes_get_right_are_taken(suite: CipherSuite, completes: bool) -> None:
    link = QuicLink()
    raw = RawDialler(link.right, LOW, cipher_suites=[suite])
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"hello")
    raw.exchange(link.now + 1)
    assert bool(link.right.accepted) is completes


def test_a_stranger_to_the_application_is_refused() -> None:
    link = QuicLink()
    raw = RawDialler(link.right, LOW)
    raw.quic._configuration.alpn_protocols = ["h3"]
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"hello")
    raw.exchange(link.now + 1)
    assert link.right.accepted == []


@pytest.mark.parametrize("identity", [None, Identity(b"\x07" * 32)])
def test_a_dialler_without_the_keys_certificate_is_refused(identity: Identity | None) -> None:
    link = QuicLink()
    raw = RawDialler(link.right, identity)
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"hello")
    raw.exchange(link.now + 1)
    assert link.right.accepted == []
    assert link.right.socket.connection_count == 0
    assert link.right.socket.counters["wrong certificates"] == 1
