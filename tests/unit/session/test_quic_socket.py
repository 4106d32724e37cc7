"""Two QUIC sockets talk over a virtual link, or one with a far end that behaves as a Go node does."""

from __future__ import annotations

from random import Random

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StreamDataReceived

from pinecone_transport.errors import (
    CertificateError,
    LocalProtocolError,
    StreamResetError,
    StreamTimeoutError,
    UnreachableError,
)
from pinecone_transport.identity import Identity
from pinecone_transport.session import StreamAccepted, StreamConnected
from pinecone_transport.session.quic import QuicLimits, QuicSocket
from tests.support.quic_link import HIGH, LOW, QuicLink
from tests.support.raw_quic import GoLikeSocket, RawDialler
from tests.support.virtual_link import Faults, Side

DATA = bytes(range(256)) * 4000


def send(link: QuicLink, side: Side, stream: int, data: bytes) -> None:
    """Write it all as there is room."""
    socket = side.socket
    sent = 0
    while sent < len(data):
        room = socket.room(stream)
        if room:
            socket.write(stream, data[sent : sent + room], link.now)
            sent += room
        else:
            before = len(side.events)
            link.run_until(lambda before=before: len(side.events) > before)


def test_a_stream_opens_carries_bytes_both_ways_and_closes() -> None:
    link = QuicLink()
    left, right = link.open(data=b"question")
    assert link.left.events == [StreamConnected(left)]
    assert link.right.events == [StreamAccepted(right, LOW.key)]
    link.right.socket.write(right, b"answer", link.now)
    link.right.socket.close(right, link.now)
    link.left.socket.close(left, link.now)
    link.run(1)
    assert (link.right.received(right), link.left.received(left)) == (b"question", b"answer")
    assert (link.left.closed, link.right.closed) == ({left}, {right})


def test_the_first_bytes_arrive_after_two_trips() -> None:
    link = QuicLink(faults=Faults(delay=0.05))
    started_at = link.now
    link.open()
    assert link.now - started_at == pytest.approx(0.15)


def test_either_side_opens_streams_on_the_one_connection() -> None:
    link = QuicLink()
    for side in (link.left, link.right, link.left, link.right):
        link.open(side)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (1, 1)


@pytest.mark.parametrize("faults", [Faults(), Faults(loss=0.05, reordering=0.1, duplication=0.05, corruption=0.01)])
def test_bulk_arrives_whole(faults: Faults) -> None:
    link = QuicLink(faults=faults)
    left, right = link.open(data=b"x")
    send(link, link.left, left, DATA)
    link.run_until(lambda: len(link.right.received(right)) == len(DATA) + 1)
    assert link.right.received(right)[1:] == DATA


def test_no_more_comes_than_the_owner_takes() -> None:
    link = QuicLink()
    link.right.acknowledging = False
    left, right = link.open(data=b"x")
    window = link.quic_limits.receive_window
    send(link, link.left, left, bytes(window))
    link.run(2)
    assert len(link.right.received(right)) == window
    assert link.left.socket.room(left) < link.quic_limits.send_buffer
    link.right.socket.acknowledge_received_data(right, window, link.now)
    link.run(2)
    assert len(link.right.received(right)) == window + 1


def test_writing_beyond_the_room_is_refused() -> None:
    link = QuicLink()
    stream, _ = link.open()
    with pytest.raises(LocalProtocolError):
        link.left.socket.write(stream, bytes(link.left.socket.room(stream) + 1), link.now)
    link.left.socket.close(stream, link.now)
    with pytest.raises(LocalProtocolError):
        link.left.socket.write(stream, b"late", link.now)


def test_an_aborted_stream_is_lost_at_the_far_end_and_the_others_go_on() -> None:
    link = QuicLink()
    gone, far_gone = link.open()
    kept, far_kept = link.open()
    link.left.socket.abort(gone, link.now)
    link.run(0.5)
    assert isinstance(link.right.lost[far_gone], StreamResetError)
    link.right.socket.write(far_kept, b"still here", link.now)
    link.run(0.5)
    assert link.left.received(kept) == b"still here"


def test_a_shutdown_is_noticed_at_once() -> None:
    link = QuicLink()
    _, right = link.open()
    link.left.socket.abort_all(link.now)
    link.run(0.05)
    assert isinstance(link.right.lost[right], StreamResetError)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)


def test_a_connection_lives_as_long_as_an_answer_is_owed_and_fifteen_seconds_longer() -> None:
    for asking in ("left", "right"):
        link = QuicLink()
        client = getattr(link, asking)
        server = link.other(client)
        left, right = link.open(client, b"question")
        link.run(60)
        assert (client.lost, server.lost) == ({}, {})
        server.socket.write(right, b"answer", link.now)
        link.run(14.5)
        assert client.received(left) == b"answer"
        assert (client.lost, server.lost) == ({}, {})
        link.run(1.5)
        assert (list(client.lost), list(server.lost)) == ([left], [right])
        assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)


def test_a_stream_that_is_kept_for_more_questions_sends_nothing_between_them() -> None:
    link = QuicLink()
    left, right = link.open(data=b"question")
    link.right.socket.write(right, b"answer", link.now)
    link.run(1)
    link.recording = True
    link.run(13)
    assert link.carried == []
    link.left.socket.write(left, b"another", link.now)
    link.run(60)
    assert link.right.received(right) == b"questionanother"
    assert (link.left.lost, link.right.lost) == ({}, {})


def test_an_end_without_the_other_is_waited_for() -> None:
    link = QuicLink()
    left, right = link.open(data=b"question")
    link.right.socket.write(right, b"half of the answer", link.now)
    link.left.socket.close(left, link.now)
    link.run(60)
    link.right.socket.close(right, link.now)
    link.run(1)
    assert (link.left.closed, link.right.closed) == ({left}, {right})
    link.run(16)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)


@pytest.mark.parametrize("length", [3, 1 << 20])
def test_an_answer_that_its_owner_does_not_take_is_waited_for(length: int) -> None:
    link = QuicLink()
    left, right = link.open(data=b"question")
    link.left.acknowledging = False
    link.right.socket.write(right, bytes(min(length, link.right.socket.room(right))), link.now)
    link.run(60)
    assert (link.left.lost, link.right.lost) == ({}, {})
    link.left.socket.acknowledge_received_data(left, len(link.left.received(left)), link.now)
    link.left.acknowledging = True
    link.run(16)
    assert (list(link.left.lost), list(link.right.lost)) == ([left], [right])


def test_a_cut_way_ends_streams_after_fifteen_seconds() -> None:
    link = QuicLink()
    left, _ = link.open()
    link.faults.cut = True
    link.run(14)
    assert link.left.lost == {}
    link.run(8)
    assert isinstance(link.left.lost[left], StreamTimeoutError)
    assert link.left.socket.connection_count == 0


def test_an_interruption_is_over_when_the_way_is_back() -> None:
    link = QuicLink()
    left, right = link.open()
    link.faults.cut = True
    link.left.socket.write(left, b"into the void", link.now)
    link.run(8)
    link.faults.cut = False
    link.left.socket.wake_all(link.now)
    link.run(0.05)
    assert link.right.received(right) == b"hellointo the void"


def test_a_dial_that_nobody_answers_fails_in_fifteen_seconds() -> None:
    link = QuicLink(faults=Faults(cut=True))
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(16)
    assert isinstance(link.left.lost[stream], StreamTimeoutError)
    assert link.left.socket.take_repeated_keys() == {HIGH.key}
    assert link.left.socket.connection_count == 0


def test_a_dial_can_be_given_up() -> None:
    link = QuicLink(faults=Faults(cut=True))
    socket = link.left.socket
    one, other = socket.connect(HIGH.key, link.now), socket.connect(HIGH.key, link.now)
    error = UnreachableError("no way")
    link.left.handle(socket.fail_connecting(one, error, link.now), link.now)
    assert link.left.lost == {one: error}
    assert socket.connection_count == 1
    socket.abort(other, link.now)
    assert socket.connection_count == 0


def test_another_key_than_the_dialled_one_is_refused() -> None:
    link = QuicLink()
    link.right.socket = QuicSocket(Identity(b"\x07" * 32), random=Random(0))
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.run(1)
    assert isinstance(link.left.lost[stream], CertificateError)


def test_simultaneous_dials_end_up_on_one_connection() -> None:
    link = QuicLink()
    for side in (link.left, link.right):
        stream = side.socket.connect(side.peer_key, link.now)
        side.socket.write(stream, b"hello", link.now)
    link.run(0.2)
    assert (len(link.left.accepted), len(link.right.accepted)) == (1, 1)
    assert link.right.socket.counters["dials withdrawn"] == 1
    link.run(11)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (1, 1)


@pytest.mark.parametrize("refusals", [1, 2, 4])
def test_a_replaced_connection_is_dialled_anew_with_what_was_written(refusals: int) -> None:
    link = QuicLink()
    link.right.socket = far = GoLikeSocket(HIGH, refusals=refusals)
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, b"GET / HTTP/1.1", link.now)
    link.run_until(lambda: bool(far.data), 2.0)
    assert far.data == {(refusals, 0): bytearray(b"GET / HTTP/1.1")}
    assert link.left.events == [StreamConnected(stream)]
    assert link.left.socket.counters["connections replaced"] == refusals


@pytest.mark.parametrize("dialled_at", [0.011, 0.015, 0.019])
def test_a_connection_of_the_far_ends_that_crossed_a_replaced_one_is_not_used(dialled_at: float) -> None:
    link = QuicLink()
    link.right.socket = far = GoLikeSocket(HIGH, refusals=1)
    stream = link.left.socket.connect(HIGH.key, link.now)
    link.left.socket.write(stream, b"GET / HTTP/1.1", link.now)
    link.run(dialled_at)
    far.dial(LOW.key, link.now)
    link.run(0.3)
    assert link.left.socket.counters["connections replaced"] == 1
    assert link.left.socket.connection_count == 2
    assert far.data == {(2, 0): bytearray(b"GET / HTTP/1.1")}


def upload(link: QuicLink, far: GoLikeSocket, length: int) -> bytes:
    """Send so many bytes to the far end; return what it got."""
    stream = link.left.socket.connect(HIGH.key, link.now)
    left = length
    while left:
        room = link.left.socket.room(stream)
        link.left.socket.write(stream, bytes(min(room, left)), link.now)
        left -= min(room, left)
        link.run(0.02)
    link.run_until(lambda: sum(map(len, far.data.values())) == length)
    return bytes(far.data[0, 0])


@pytest.mark.parametrize("takes", [1200, 1452, None])
def test_a_far_end_never_gets_a_longer_packet_than_it_takes_or_than_a_go_node_takes(takes: int | None) -> None:
    link = QuicLink()
    link.right.socket = far = GoLikeSocket(HIGH, takes=takes)
    assert upload(link, far, 300_000) == bytes(300_000)
    assert far.longest == (1280 if takes == 1200 else 1452)
    link.run(1)
    (info,) = link.left.socket.sessions()
    assert (info.window, info.packets_in_flight) == (14, 0)


def test_packets_between_nodes_of_ours_grow_both_ways_after_the_handshake() -> None:
    link = QuicLink(faults=Faults(delay=0.001))
    link.recording = True
    left, right = link.open(data=b"x")
    first = {
        side.key: max(len(packet) for one, packet in link.carried if one is side) for side in (link.left, link.right)
    }
    assert max(first.values()) == 1280
    for side, stream in ((link.left, left), (link.right, right)):
        send(link, side, stream, DATA)
        link.run(1)
        longest = max(len(packet) for one, packet in link.carried if one is side)
        assert 15_000 < longest <= link.quic_limits.largest_packet
        assert side.socket.segment(stream) > 15_000
    assert link.right.received(right)[1:] == link.left.received(left) == DATA


def test_a_path_that_loses_long_packets_is_served_with_short_ones() -> None:
    link = QuicLink(faults=Faults(delay=0.001))
    left, right = link.open(data=b"x")
    send(link, link.left, left, DATA)
    link.faults.largest = 1500
    link.recording = True
    send(link, link.left, left, DATA)
    link.run_until(lambda: len(link.right.received(right)) == 2 * len(DATA) + 1)
    assert link.right.received(right)[1:] == DATA + DATA
    assert link.left.lost == {}
    lost = sum(len(packet) > 1500 for side, packet in link.carried if side is link.left)
    assert 0 < lost < len(link.carried) / 2


def test_a_far_end_that_has_forgotten_us_is_found_out_before_the_next_stream() -> None:
    link = QuicLink()
    left, _ = link.open()
    link.left.socket.close(left, link.now)
    link.run(5)
    link.right.socket = QuicSocket(HIGH, random=Random(5))
    started_at = link.now
    link.open()
    assert link.now - started_at < 1.2
    assert link.left.socket.counters["connections that gave no sign"] == 1


def test_a_far_end_that_comes_back_is_asked_whether_it_knows_us() -> None:
    link = QuicLink()
    left, _ = link.open()
    link.run(1)
    link.right.socket = QuicSocket(HIGH, random=Random(5))
    link.left.socket.wake(HIGH.key, link.now)
    link.run(1.2)
    assert isinstance(link.left.lost[left], StreamTimeoutError)


def test_a_new_connection_from_a_far_end_puts_the_old_one_in_doubt() -> None:
    link = QuicLink()
    left, _ = link.open()
    link.run(1)
    link.right.socket = QuicSocket(HIGH, random=Random(5))
    link.open(link.right)
    link.run(1.2)
    assert list(link.left.lost) == [left]
    assert link.left.socket.connection_count == 1


def test_a_node_that_has_just_begun_shows_its_first_peers_that_it_is_there_anew() -> None:
    link = QuicLink()
    left, _ = link.open()
    link.run(1)
    link.right.socket = QuicSocket(HIGH, random=Random(5))
    link.right.socket.link_up(LOW.key, link.now)
    link.run(1.2)
    assert list(link.left.lost) == [left]
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (0, 0)


def test_streams_that_are_wanted_go_on_the_connection_that_greets() -> None:
    link = QuicLink()
    link.left.socket.link_up(HIGH.key, link.now)
    link.open()
    link.open(link.right)
    assert (link.left.socket.connection_count, link.right.socket.connection_count) == (1, 1)


def test_few_are_greeted_and_only_at_first() -> None:
    link = QuicLink(quic_limits=QuicLimits(greetings=2), faults=Faults(cut=True))
    socket = link.left.socket
    for number in range(3, 7):
        socket.link_up(bytes([number]) * 32, link.now)
    assert socket.connection_count == 2
    link.run(16)
    assert socket.connection_count == 0
    later = QuicSocket(LOW, random=Random(5))
    later.link_up(HIGH.key, link.now)
    assert later.connection_count == 1
    later.link_up(b"\x03" * 32, link.now + 15.1)
    assert later.connection_count == 1


def test_a_lost_link_ends_the_streams_that_are_kept_for_questions_and_no_others() -> None:
    link = QuicLink()
    kept, far_kept = link.open()
    link.right.socket.write(far_kept, b"answer", link.now)
    link.open()
    theirs, ours = link.open(link.right)
    link.run(0.5)
    link.left.socket.write(ours, b"answer", link.now)
    link.run(0.5)
    link.left.handle(link.left.socket.link_lost(HIGH.key, link.now), link.now)
    link.run(0.5)
    assert list(link.left.lost) == [kept]
    assert list(link.right.lost) == [far_kept]
    link.right.socket.write(theirs, b"question", link.now)
    link.run(0.5)
    assert link.left.received(ours) == b"helloquestion"


@pytest.mark.parametrize(("restarted", "seconds"), [(False, 0.2), (True, 1.3)])
def test_after_a_lost_link_the_far_end_is_asked_for_a_sign_before_the_next_stream(
    restarted: bool, seconds: float
) -> None:
    link = QuicLink()
    link.open()
    link.run(1)
    link.left.socket.link_lost(HIGH.key, link.now)
    if restarted:
        link.right.socket = QuicSocket(HIGH, random=Random(5))
    started_at = link.now
    link.open()
    assert link.now - started_at < seconds
    assert link.left.socket.counters["connections that gave no sign"] == restarted


def test_packets_of_forgotten_connections_are_answered_with_what_ends_them() -> None:
    link = QuicLink()
    link.open()
    link.right.socket = restarted = QuicSocket(HIGH, random=Random(5))
    link.recording = True
    link.left.socket.acknowledge_all(link.now + 1)
    link.run(1)
    resets = [packet for side, packet in link.carried if side is link.right]
    assert resets
    assert all(21 <= len(packet) <= 42 and packet[0] & 0xC0 == 0x40 for packet in resets)
    assert restarted.connection_count == 0


def test_streams_one_after_the_other_outlast_the_credit_of_a_far_end_that_returns_none() -> None:
    link = QuicLink()
    slowest = 0.0
    for _ in range(250):
        started_at = link.now
        link.open()  # and neither end is ever closed
        slowest = max(slowest, link.now - started_at)
    assert slowest < 0.1
    assert link.left.socket.connection_count == 3


def test_the_streams_of_a_key_that_wait_are_bounded() -> None:
    link = QuicLink(quic_limits=QuicLimits(waiting_per_key=3), faults=Faults(cut=True))
    for _ in range(3):
        link.left.socket.connect(HIGH.key, link.now)
    with pytest.raises(LocalProtocolError):
        link.left.socket.connect(HIGH.key, link.now)


def test_how_things_stand_can_be_seen() -> None:
    link = QuicLink()
    link.open()
    link.run(0.1)
    (info,) = link.left.socket.sessions()
    assert (info.key, info.connections, info.window, info.packets_in_flight) == (HIGH.key, 1, 14, 0)
    assert 0.0 < info.rtt < 0.1


def initial(link: QuicLink) -> bytes:
    """Return a packet that begins a connection, from the left."""
    fresh = QuicSocket(LOW, random=Random(3))
    fresh.connect(HIGH.key, link.now)
    return fresh.packets_to_send(HIGH.key, 1 << 20, link.now)[0]


def test_a_flood_of_first_packets_is_bounded_per_key_and_in_all() -> None:
    limits = QuicLimits(half_open_per_key=3, half_open=5)
    link = QuicLink(quic_limits=limits)
    socket = link.right.socket
    for key in (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32):
        for _ in range(6):
            assert socket.receive_packet(key, initial(link), link.now) == []
    assert socket.connection_count == 5
    assert socket.counters["half-open connections dropped"] == 13
    _, right = link.open()
    assert right in link.right.accepted


def test_short_first_packets_and_what_only_looks_like_one_create_nothing() -> None:
    link = QuicLink()
    packet = initial(link)
    socket = link.right.socket
    for broken in (packet[:1199], packet[:40] + bytes(1400), packet[:5] + b"\x04" + packet[6:], packet[:6]):
        assert socket.receive_packet(LOW.key, broken, link.now) == []
    assert socket.connection_count == 0


def test_other_versions_are_told_which_one_is_spoken() -> None:
    link = QuicLink()
    packet = initial(link)
    unknown = packet[:1] + b"\x1a\x2a\x3a\x4a" + packet[5:]
    socket = link.right.socket
    socket.receive_packet(LOW.key, unknown, link.now)
    (answer,) = socket.packets_to_send(LOW.key, 1 << 20, link.now)
    assert answer[1:5] == bytes(4)
    assert answer[-4:] == b"\x00\x00\x00\x01"
    assert answer[5] == 8
    assert answer[6:14] == unknown[15:23]
    for _ in range(100):
        socket.receive_packet(LOW.key, unknown, link.now)
    assert len(socket.packets_to_send(LOW.key, 1 << 20, link.now)) == link.quic_limits.strays_per_key
    assert socket.counters["answers withheld"] == 100 - link.quic_limits.strays_per_key


def test_calls_for_streams_that_are_gone_do_nothing() -> None:
    link = QuicLink()
    stream, _ = link.open()
    socket = link.left.socket
    socket.abort(stream, link.now)
    socket.abort(stream, link.now)
    socket.write(stream, b"x", link.now)
    socket.close(stream, link.now)
    socket.acknowledge_received_data(stream, 1, link.now)
    assert (socket.room(stream), socket.segment(stream)) == (0, 1)
    assert socket.fail_connecting(stream, UnreachableError("no way"), link.now) == []


def test_connections_are_bounded_for_dials_and_for_far_nodes() -> None:
    link = QuicLink(quic_limits=QuicLimits(connections=1))
    link.open()
    with pytest.raises(LocalProtocolError):
        link.left.socket.connect(b"\x09" * 32, link.now)
    link.right.socket.receive_packet(b"\x09" * 32, initial(link), link.now)
    assert link.right.socket.connection_count == 1
    assert link.right.socket.counters["connections refused"] == 1


def test_what_was_begun_and_never_finished_is_given_up() -> None:
    link = QuicLink()
    socket = link.right.socket
    socket.receive_packet(b"\x09" * 32, initial(link), link.now)
    assert socket.connection_count == 1
    link.run(10.1)
    assert socket.connection_count == 0
    assert socket.counters["half-open connections given up"] == 1


def test_what_was_begun_beside_a_connection_that_opens_has_a_second_left() -> None:
    link = QuicLink()
    socket = link.right.socket
    socket.receive_packet(LOW.key, initial(link), link.now)
    link.open()
    assert socket.connection_count == 2
    link.run(1.2)
    assert socket.connection_count == 1


def test_connections_of_a_key_that_have_nothing_to_send_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    link = QuicLink()
    diallers = [RawDialler(link.right, LOW) for _ in range(5)]
    for dialler in diallers:
        dialler.dial(link.now)
        dialler.quic.send_stream_data(0, b"hello")
        dialler.exchange(link.now + 0.1)
    assert link.right.socket.connection_count == 5
    asked = []
    ask = QuicConnection.datagrams_to_send

    def count(connection: QuicConnection, now: float) -> list[object]:
        asked.append(connection)
        return ask(connection, now)

    monkeypatch.setattr(QuicConnection, "datagrams_to_send", count)
    link.right.socket.write(link.right.accepted[2], b"answer", link.now + 0.2)
    (packet,) = link.right.socket.packets_to_send(LOW.key, 1 << 20, link.now + 0.2)
    assert len(asked) == 1
    diallers[2].quic.receive_datagram(packet, "", link.now + 0.2)
    assert StreamDataReceived(data=b"answer", end_stream=False, stream_id=0) in list(
        iter(diallers[2].quic.next_event, None)
    )


def test_a_window_leaves_in_two_parts() -> None:
    link = QuicLink()
    stream, _ = link.open(data=b"x")
    link.run(1)
    socket = link.left.socket
    socket.write(stream, bytes(300_000), link.now)
    for _ in range(2):
        assert socket.ready_keys() == [HIGH.key]
        assert len(socket.packets_to_send(HIGH.key, 1 << 20, link.now)) == link.quic_limits.burst
    assert socket.ready_keys() == []
