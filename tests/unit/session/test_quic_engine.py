"""What is used of aioquic that it does not offer in public does what we take it for."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import NoneType

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import Limit, QuicConnection, QuicConnectionId, QuicConnectionState
from aioquic.quic.packet import pull_quic_transport_parameters
from aioquic.quic.recovery import QuicPacketRecovery
from aioquic.tls import CipherSuite, Epoch

from pinecone_transport.identity import Identity
from pinecone_transport.session.budget import Budget
from pinecone_transport.session.packet_size import FIRST_SIZE
from pinecone_transport.session.quic.congestion import NoPacer
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


def parameters_of(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


HOOKS = {
    "_initialize": ["self", "peer_cid"],
    "_serialize_transport_parameters": ["self"],
    "_parse_transport_parameters": ["self", "data", "from_session_ticket"],
    "_replenish_connection_ids": ["self"],
    "_write_stream_limits": ["self", "builder", "space", "stream"],
}


@pytest.mark.parametrize(("name", "parameters"), HOOKS.items())
def test_what_we_put_in_the_place_of_the_librarys_is_called_as_ours_is(name: str, parameters: list[str]) -> None:
    assert parameters_of(getattr(QuicConnection, name)) == parameters


def test_what_we_call_of_the_librarys_own_takes_what_we_give() -> None:
    assert parameters_of(QuicConnection._on_max_stream_data_delivery) == ["self", "delivery", "stream"]
    assert parameters_of(QuicPacketRecovery.get_probe_timeout) == ["self", "include_max_ack_delay"]
    assert parameters_of(QuicPacketRecovery.reschedule_data) == ["self", "now", "speed_up_handshake"]
    assert parameters_of(QuicConnection.close) == ["self", "error_code", "frame_type", "reason_phrase"]


def test_what_we_read_and_set_of_the_librarys_own_is_there_with_the_type_that_we_take_it_for() -> None:
    left, right = pair()
    stream_id = left.open()
    left.write(stream_id, b"x")
    for engine in (left, right):
        quic = engine._quic
        stream = quic._streams.get(stream_id)
        types = {
            "_close_event": NoneType,
            "_handshake_confirmed": bool,
            "_host_cids": list,
            "_is_client": bool,
            "_loss": QuicPacketRecovery,
            "_max_datagram_size": int,
            "_peer_cid": QuicConnectionId,
            "_ping_pending": list,
            "_remote_max_data": int,
            "_remote_max_streams_bidi": int,
            "_spaces": dict,
            "_state": QuicConnectionState,
            "_streams": dict,
            "_local_max_streams_bidi": Limit,
            "_local_max_streams_uni": Limit,
        }
        assert {name: type(getattr(quic, name)) for name in types} == types
        assert quic._loss._cc is quic.control
        assert type(quic._loss._pacer) is NoPacer
        assert (type(quic._loss._pto_count), type(quic._loss._rtt_smoothed)) == (int, float)
        assert type(quic._spaces[Epoch.ONE_RTT].largest_received_time) in {float, NoneType}
        assert (quic._local_max_streams_bidi.value, quic._local_max_streams_uni.value) == (LIMITS.streams, 0)
        assert (type(quic.tls._peer_certificate_chain), len(quic.tls._peer_certificate_chain)) == (list, 0)
        assert quic.tls._request_client_certificate is (engine is right)
        if stream is not None:
            assert stream.sender._buffer_stop - stream.sender._buffer_start == 1


def test_attributes_that_we_set_are_the_librarys_and_not_only_ours() -> None:
    plain = QuicConnection(configuration=QuicConfiguration())
    for name in ("_max_datagram_size", "_loss", "_local_max_streams_bidi", "_local_max_streams_uni", "_host_cids"):
        assert hasattr(plain, name)
    for name in ("_cc", "_pacer", "_pto_count"):
        assert hasattr(plain._loss, name)
    plain.connect("", 1.0)
    assert plain.tls._request_client_certificate is False
    assert hasattr(plain._host_cids[0], "stateless_reset_token")


def test_each_end_hears_in_the_transport_parameters_how_long_packets_the_other_takes() -> None:
    small = replace(LIMITS, largest_packet=3000)
    left = Engine(Settings(LOW, "matrix", small), new_budget(UtpLimits()))
    left.start(1.0)
    destination = next(iter(left_destination(left, 1.0)))
    right = Engine(Settings(HIGH, "matrix", LIMITS), new_budget(UtpLimits()), destination)
    assert right._quic.far_limit == LIMITS.packet
    for packet in FIRST:
        right.receive(packet, 1.0)
    exchange(left, right, 1.0)
    assert (left._quic.far_limit, right._quic.far_limit) == (3000, 3000)
    said = pull_quic_transport_parameters(Buffer(data=left._quic._serialize_transport_parameters()))
    assert said.max_udp_payload_size == 3000


def test_a_connection_is_asked_once_for_a_sign_however_often_it_is_wanted() -> None:
    left, _ = pair()
    left.ping()
    left.ping()
    assert len(left._quic._ping_pending) == 1
    assert len(left.packets(ROOM, 1 << 20, 2.0)) == 1
    assert left.packets(ROOM, 1 << 20, 2.0) == []
