"""What single connections of QUIC do where far ends, owners or the library do what they seldom do."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from pinecone_transport.errors import StreamResetError
from pinecone_transport.session import StreamConnected, StreamWritable
from pinecone_transport.session.quic import QuicLimits, QuicSocket
from pinecone_transport.session.quic.headers import destination_of, read_long_header
from tests.support.quic_link import HIGH, LOW, QuicLink
from tests.support.raw_quic import GoLikeSocket, RawDialler
from tests.support.virtual_link import Side

YIELD_TIME = QuicLimits().yield_time


def crossing() -> QuicLink:
    """Return a link on which both sides dial, and nothing that the right one says to the left one's dial arrives."""
    link = QuicLink()
    dials: dict[bytes, bytes] = {}

    def is_let_through(side: Side, packet: bytes) -> bool:
        header = read_long_header(packet)
        if header is not None:
            dials.setdefault(side.key, header.source)
        return side is link.left or destination_of(packet) != dials[LOW.key]

    link.filter = is_let_through
    for side in (link.left, link.right):
        stream = side.socket.connect(side.peer_key, link.now)
        side.socket.write(stream, b"hello", link.now)
    return link


def test_a_dial_that_stood_back_for_one_that_gets_nowhere_goes_on_with_what_came_meanwhile() -> None:
    link = crossing()
    link.run(YIELD_TIME)
    assert link.right.socket.counters["dials that stood back"] == 1
    assert link.right.events == []
    link.right.socket.wake_all(link.now)
    link.run(0.2)
    assert StreamConnected(1) in link.right.events
    assert len(link.left.accepted) == 1


def test_few_packets_are_kept_for_a_dial_that_stands_back() -> None:
    link = crossing()
    link.recording = True
    link.run(0.1)
    answer = next(packet for side, packet in link.carried[2:] if side is link.left)
    for _ in range(100):
        assert link.right.socket.receive_packet(LOW.key, answer, link.now) == []
    assert link.right.events == []
    link.run(YIELD_TIME + 0.2)
    assert StreamConnected(1) in link.right.events


def test_noise_for_a_dial_does_not_end_it() -> None:
    link = QuicLink()
    stream = link.left.socket.connect(HIGH.key, link.now)
    (packet, *_) = link.left.socket.packets_to_send(HIGH.key, 1 << 20, link.now)
    header = read_long_header(packet)
    assert header is not None
    own = header.source
    for noise in (b"\x40" + own + bytes(30), b"\xc0\x00\x00\x00\x01\x08" + own + b"\x08" + bytes(1300)):
        assert link.left.socket.receive_packet(HIGH.key, noise, link.now) == []
    assert link.left.socket.connection_count == 1
    link.run(2)
    assert link.left.events == [StreamConnected(stream)]


@pytest.mark.parametrize("opened", [False, True])
def test_a_slip_of_the_library_ends_the_connection_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    link = QuicLink()
    if opened:
        link.open()
    other = link.right.socket.connection_count

    def slip(*_args: object) -> None:
        raise ValueError("not foreseen")

    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, b"hello", link.now)
    (packet, *_) = link.left.socket.packets_to_send(HIGH.key, 1 << 20, link.now)
    with monkeypatch.context() as patch:
        patch.setattr(QuicConnection, "receive_datagram", slip)
        link.right.handle(link.right.socket.receive_packet(LOW.key, packet, link.now), link.now)
    assert link.right.socket.counters["packets that the QUIC library failed on"] == 1
    assert link.right.socket.connection_count == 0
    assert len(link.right.lost) == other
    link.run(20)
    link.open()


def test_an_owner_that_asks_often_for_a_sign_sends_one_question() -> None:
    link = QuicLink()
    link.open()
    link.run(1)
    for _ in range(3):
        link.left.socket.acknowledge(HIGH.key, link.now)
    link.left.socket.wake(HIGH.key, link.now)
    assert len(link.left.socket.packets_to_send(HIGH.key, 1 << 20, link.now)) == 1
    link.left.socket.acknowledge(HIGH.key, link.now)
    assert link.left.socket.packets_to_send(HIGH.key, 1 << 20, link.now) == []


def test_a_certificate_of_another_kind_of_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOW.key.hex())])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 1) + timedelta(days=36500))
        .sign(key, SHA256())
    )
    link = QuicLink()
    raw = RawDialler(link.right, None, certificate=certificate, private_key=key)
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"hello")
    raw.exchange(link.now + 1)
    assert (link.right.accepted, link.right.socket.connection_count) == ([], 0)
    assert link.right.socket.counters["wrong certificates"] == 1


def test_a_stream_of_one_way_ends_the_connection() -> None:
    link = QuicLink()
    raw = RawDialler(link.right, LOW)
    raw.dial(link.now)
    raw.quic._remote_max_streams_uni = 1  # whatever we have said
    raw.quic.send_stream_data(raw.quic.get_next_available_stream_id(is_unidirectional=True), b"hello")
    raw.exchange(link.now + 1)
    assert (link.right.accepted, link.right.socket.connection_count) == ([], 0)


def test_ids_that_a_far_end_gives_back_are_forgotten_and_new_ones_known() -> None:
    link = QuicLink()
    raw = RawDialler(link.right, LOW)
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"hello")
    raw.exchange(link.now)
    before = raw.quic._peer_cid.cid
    socket = link.right.socket
    probe = b"\x40" + before + bytes(30)
    assert socket.knows(LOW.key, probe)
    for number in range(20):
        raw.quic.change_connection_id()
        raw.exchange(link.now + number)
    assert not socket.knows(LOW.key, probe)
    assert socket.knows(LOW.key, b"\x40" + raw.quic._peer_cid.cid + bytes(30))
    raw.quic.send_stream_data(0, b" again")
    raw.exchange(link.now + 20)
    assert link.right.received(link.right.accepted[0]) == b"hello again"


def test_what_still_comes_for_a_stream_that_was_given_up_is_dropped() -> None:
    link = QuicLink()
    left, right = link.open()
    link.right.socket.write(right, bytes(20_000), link.now)
    link.run(0.005)
    link.left.socket.abort(left, link.now)
    link.run(1)
    assert left not in link.left.data
    assert isinstance(link.right.lost[right], StreamResetError)


def test_a_stream_that_both_ends_give_up_at_once_is_over_without_a_word() -> None:
    link = QuicLink()
    left, right = link.open()
    link.run(1)
    events = (list(link.left.events), list(link.right.events))
    link.left.socket.abort(left, link.now)
    link.right.socket.abort(right, link.now)
    link.run(1)
    assert (link.left.events, link.right.events) == events
    link.open()


def test_streams_that_are_given_up_are_remembered_only_while_something_may_come() -> None:
    limits = QuicLimits(streams=3, spare_streams=0)
    link = QuicLink(quic_limits=limits)
    for _ in range(12):
        left, _ = link.open()
        link.left.socket.abort(left, link.now)
        link.run(0.1)
    assert len(link.right.lost) == 12
    left, right = link.open()
    link.right.socket.write(right, b"answer", link.now)
    link.run(0.1)
    assert link.left.received(left) == b"answer"


def test_a_far_end_that_reads_uses_the_connection_though_it_says_nothing() -> None:
    link = QuicLink()
    link.right.socket = GoLikeSocket(HIGH, max_data=20_000)
    stream = link.left.socket.connect(HIGH.key, link.now)
    length = 15_000
    link.left.socket.write(stream, bytes(length), link.now)
    link.run(1)
    (info,) = link.left.socket.sessions()
    assert info.packets_in_flight == 0
    assert link.left.socket.room(stream) == link.quic_limits.send_buffer, "and nothing is kept for another connection"


def test_an_owner_that_waits_for_room_hears_of_it_and_one_that_is_gone_does_not() -> None:
    link = QuicLink()
    link.right.acknowledging = False
    streams = [link.open()[0] for _ in range(2)]
    for stream in streams:
        while room := link.left.socket.room(stream):
            link.left.socket.write(stream, bytes(room), link.now)
    gone, kept = streams
    link.left.socket.abort(gone, link.now)
    link.run(8)
    assert [event for event in link.left.events if isinstance(event, StreamWritable)] == [StreamWritable(kept)]


def test_what_waits_for_a_connection_fills_the_room_and_is_told_when_there_is_some() -> None:
    link = QuicLink()
    stream = link.left.socket.connect(HIGH.key, link.now)
    data = b"".join(bytes([number]) * 1024 for number in range(256)) * 2
    assert link.left.socket.room(stream) == len(data)
    link.left.socket.write(stream, data, link.now)
    assert link.left.socket.room(stream) == 0
    link.left.socket.close(stream, link.now)
    assert link.left.socket.room(stream) == 0
    link.run(8)
    (right,) = link.right.accepted
    assert link.right.received(right) == data
    assert link.right.ended == {right}
    assert StreamWritable(stream) in link.left.events


def test_more_streams_than_the_far_end_allows_go_on_a_further_connection() -> None:
    link = QuicLink(quic_limits=QuicLimits(streams=3, spare_streams=0))
    streams = [link.left.socket.connect(HIGH.key, link.now) for _ in range(5)]
    for stream in streams:
        link.left.socket.write(stream, bytes([stream]), link.now)
    link.run(2)
    assert sorted(bytes(data) for data in link.right.data.values()) == [bytes([stream]) for stream in streams]
    assert link.left.socket.connection_count == 2


def deaf_stream() -> tuple[QuicLink, RawDialler, int]:
    """Return a link whose right side has a stream with a far end that does not want what it writes."""
    link = QuicLink()
    raw = RawDialler(link.right, LOW)
    raw.dial(link.now)
    raw.quic.send_stream_data(0, b"question", end_stream=True)
    raw.quic.stop_stream(0, 0)
    raw.exchange(link.now)
    (stream,) = link.right.accepted
    return link, raw, stream


def test_what_is_written_to_a_far_end_that_wants_nothing_is_dropped() -> None:
    link, raw, stream = deaf_stream()
    socket = link.right.socket
    length = 2 * link.quic_limits.send_buffer
    socket.write(stream, bytes(length), link.now)
    assert socket.room(stream) == link.quic_limits.send_buffer
    socket.close(stream, link.now)
    raw.exchange(link.now + 1)
    link.run(0.1)
    assert link.right.closed == {stream}
    assert sum(map(len, raw.received)) < 20_000


def test_a_stream_that_is_over_for_the_library_can_be_given_up() -> None:
    link, raw, stream = deaf_stream()
    raw.exchange(link.now + 1)
    link.right.socket.abort(stream, link.now + 2)
    raw.exchange(link.now + 2)
    assert (link.right.lost, link.right.closed) == ({}, set())
    assert link.right.socket.room(stream) == 0
    assert link.right.socket.connection_count == 1


def test_who_is_known_is_not_greeted_and_nobody_is_where_there_is_no_place() -> None:
    link = QuicLink()
    link.open()
    link.left.socket.link_up(HIGH.key, link.now)
    assert link.left.socket.connection_count == 1
    full = QuicSocket(LOW, random=Random(5), limits=QuicLimits(connections=0))
    full.link_up(HIGH.key, link.now)
    assert full.connection_count == 0


def test_packets_leave_as_the_limit_allows_and_the_rest_with_the_next() -> None:
    link = QuicLink()
    stream, _ = link.open()
    socket = link.left.socket
    socket.write(stream, bytes(20_000), link.now)
    assert len(socket.packets_to_send(HIGH.key, 1000, link.now)) == 1
    assert socket.ready_keys() == [HIGH.key]
    assert len(socket.packets_to_send(HIGH.key, 1 << 20, link.now)) > 1


def first_packet(now: float) -> bytes:
    fresh = QuicSocket(LOW, random=Random(3))
    fresh.connect(HIGH.key, now)
    return fresh.packets_to_send(HIGH.key, 1 << 20, now)[0]


def test_headers_that_no_version_has_are_malformed_and_get_no_answer() -> None:
    link = QuicLink()
    packet = first_packet(link.now)
    rest = bytes(1400)
    broken = [
        packet[:5] + b"\xff" + bytes(20),
        packet[:14] + b"\xff" + bytes(20),
        packet[:1] + bytes(4) + packet[5:],
        packet[:1] + b"\x1a\x2a\x3a\x4a" + b"\x15" + bytes(21) + b"\x08" + rest,
        packet[:1] + b"\x1a\x2a\x3a\x4a" + b"\x08" + bytes(8) + b"\x15" + rest,
    ]
    for one in broken:
        assert link.right.socket.receive_packet(LOW.key, one, link.now) == []
    assert link.right.socket.counters["malformed packets"] == len(broken)
    assert link.right.socket.packets_to_send(LOW.key, 1 << 20, link.now) == []


def test_the_answer_to_a_dial_that_was_withdrawn_is_not_malformed_and_nobody_stands_back_for_it() -> None:
    link = QuicLink()
    withdrawn = link.right.socket.connect(LOW.key, link.now)
    link.run(0.015)
    link.right.socket.abort(withdrawn, link.now)
    started_at = link.now
    link.open(link.right)
    assert link.now - started_at < 0.1
    counters = link.right.socket.counters
    assert (counters["malformed packets"], counters["packets of unknown connections"]) == (0, 1)
    assert counters["dials that stood back"] == 0


def test_a_dial_that_is_given_up_before_anything_was_sent_is_not_heard_of() -> None:
    link = QuicLink()
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.abort(stream, link.now)
    link.run(1)
    assert link.left.socket.counters["packets sent"] == 0
    assert link.left.socket.connection_count == 0
