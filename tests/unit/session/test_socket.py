"""Streams over µTP sockets, two of which face each other over a virtual link."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from pinecone_transport.errors import (
    LocalProtocolError,
    StreamResetError,
    StreamTimeoutError,
    UnreachableError,
)
from pinecone_transport.session import (
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
    StreamWritable,
    UtpLimits,
    UtpSocket,
)
from pinecone_transport.session.utp import (
    ST_DATA,
    ST_FIN,
    ST_RESET,
    ST_STATE,
    ST_SYN,
    UtpPacket,
    decode_packet,
    encode_packet,
)
from tests.support.virtual_link import LEFT_KEY, RIGHT_KEY, Faults, Side, VirtualLink


class Far:
    """A far end made by hand: it opens a connection to a socket of ours, or answers ours, with any packet it likes."""

    def __init__(self, limits: UtpLimits | None = None, key: bytes = LEFT_KEY) -> None:
        self.socket = UtpSocket(random=Random(5), limits=limits or UtpLimits())
        self.key = key
        self.now = 500.0
        self.connection_id = 0
        self.stream = 0
        self.next_seq = 0
        self.theirs = 0
        """The number of the next packet that we get in order."""

    def send(self, type: int, seq_nr: int, ack_nr: int, payload: bytes = b"", **fields: object) -> list[object]:
        packet = UtpPacket(
            type,
            fields.get("connection_id", self.connection_id),
            int(self.now * 1e6) & 0xFFFFFFFF,
            fields.get("reply_micro", 0),
            fields.get("wnd_size", 1 << 20),
            seq_nr & 0xFFFF,
            ack_nr & 0xFFFF,
            fields.get("extensions", ()),
            payload,
        )
        return self.socket.receive_packet(self.key, encode_packet(packet), self.now)

    def pull(self) -> list[UtpPacket]:
        return [decode_packet(packet) for packet in self.socket.packets_to_send(self.key, 1 << 20, self.now)]

    def dial(self, connection_id: int = 100, seq_nr: int = 1, wnd_size: int = 1 << 20) -> None:
        """Open a connection and show that the answer came."""
        self.connection_id = connection_id
        assert self.send(ST_SYN, seq_nr, 0) == []
        [state] = self.pull()
        self.connection_id = connection_id + 1
        self.next_seq = seq_nr + 1
        self.theirs = state.seq_nr
        [event] = self.send(ST_STATE, self.next_seq, self.theirs - 1, wnd_size=wnd_size)
        assert event == StreamAccepted(event.stream, self.key)
        self.stream = event.stream

    def answer(self, wnd_size: int = 1 << 20) -> None:
        """Let the socket dial us, and answer."""
        self.stream = self.socket.connect(self.key, self.now)
        [syn] = self.pull()
        assert syn.type == ST_SYN
        self.connection_id = syn.connection_id
        self.next_seq = 5000
        self.theirs = (syn.seq_nr + 1) & 0xFFFF
        assert self.send(ST_STATE, 5000, syn.seq_nr, wnd_size=wnd_size) == [StreamConnected(self.stream)]

    def wait(self) -> list[object]:
        """Go to the socket's next timer."""
        at = self.socket.next_timer()
        assert at is not None
        self.now = max(self.now, at)
        return self.socket.handle_timer(self.now)

    def wait_for_events(self) -> list[object]:
        events = self.wait()
        while not events:
            self.pull()
            events = self.wait()
        return events


# Opening


def test_a_stream_carries_bytes_both_ways_and_closes_at_both_ends() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.left.socket.write(left, b"question" * 5000, link.now)
    link.right.socket.write(right, b"answer" * 5000, link.now)
    link.left.socket.close(left, link.now)
    link.run(1.0)
    assert link.right.ended == {right}
    link.right.socket.close(right, link.now)
    link.run(1.0)
    assert link.right.received(right) == b"question" * 5000
    assert link.left.received(left) == b"answer" * 5000
    assert link.left.events == [StreamConnected(left), StreamEnded(left), StreamClosed(left)]
    assert link.right.events == [StreamAccepted(right, LEFT_KEY), StreamEnded(right), StreamClosed(right)]
    assert link.left.socket.connection_count == link.right.socket.connection_count == 0
    assert link.left.socket.sessions() == []
    assert link.left.socket.next_timer() is None


def test_the_dialler_receives_on_its_id_and_the_acceptor_on_the_next() -> None:
    link = VirtualLink()
    link.recording = True
    left, right = link.connect()
    link.left.socket.write(left, b"x", link.now)
    link.right.socket.write(right, b"y", link.now)
    link.run(1.0)
    ids = {
        (side is link.left, decode_packet(packet).type): decode_packet(packet).connection_id
        for side, packet in link.carried
    }
    dialled = ids[True, ST_SYN]
    assert ids[True, ST_DATA] == (dialled + 1) & 0xFFFF
    assert ids[False, ST_STATE] == ids[False, ST_DATA] == dialled


def test_connection_ids_and_first_sequence_numbers_are_drawn() -> None:
    syns = set()
    for seed in range(20):
        socket = UtpSocket(random=Random(seed))
        socket.connect(RIGHT_KEY, 0.0)
        syn = decode_packet(socket.packets_to_send(RIGHT_KEY, 1000, 0.0)[0])
        syns.add((syn.connection_id, syn.seq_nr))
    assert len(syns) == 20


def test_sequence_numbers_wrap_around() -> None:
    for first in (0xFFFE, 0xFFFF, 0):
        far = Far()
        far.dial(seq_nr=first)
        data = b""
        for number in range(5):
            events = far.send(ST_DATA, far.next_seq + number, far.theirs - 1, bytes((number,)))
            data += b"".join(event.data for event in events)
        assert data == bytes(range(5))


def test_a_repeated_syn_is_answered_again_and_opens_nothing_new() -> None:
    far = Far()
    for _ in range(3):
        far.send(ST_SYN, 7, 0, connection_id=100)
        [state] = far.pull()
        assert (state.type, state.ack_nr, state.connection_id) == (ST_STATE, 7, 100)
    assert far.socket.connection_count == 1


def test_a_syn_for_the_place_of_another_connection_meets_a_reset() -> None:
    far = Far()
    far.dial(connection_id=100, seq_nr=7)
    far.send(ST_SYN, 8, 0, connection_id=100)
    [reset] = far.pull()
    assert (reset.type, reset.connection_id, reset.ack_nr) == (ST_RESET, 100, 8)
    far.answer()
    far.send(ST_SYN, 7, 0, connection_id=far.connection_id - 1)
    assert far.socket.counters["conflicting SYNs"] == 2


def test_a_syn_without_window_is_answered_and_data_waits_for_one() -> None:
    far = Far()
    far.dial(wnd_size=0)
    far.socket.write(far.stream, b"patience", far.now)
    assert far.pull() == []
    far.send(ST_STATE, far.next_seq, far.theirs - 1)
    assert [packet.payload for packet in far.pull()] == [b"patience"]


def test_no_data_leaves_before_the_answer_to_the_syn() -> None:
    far = Far()
    stream = far.socket.connect(far.key, far.now)
    far.socket.write(stream, b"early", far.now)
    [syn] = far.pull()
    assert syn.type == ST_SYN
    far.now += 0.2
    far.socket.wake(far.key, far.now)
    assert [packet.type for packet in far.pull()] == [ST_SYN]
    far.send(ST_STATE, 9, syn.seq_nr, connection_id=syn.connection_id)
    [data] = far.pull()
    assert (data.type, data.seq_nr, data.payload, data.ack_nr) == (ST_DATA, (syn.seq_nr + 1) & 0xFFFF, b"early", 8)


def test_a_dialler_that_has_nothing_to_say_shows_itself_a_few_times() -> None:
    far = Far()
    far.answer()
    for number in range(4):
        [shown] = far.pull()
        assert (shown.type, shown.seq_nr, shown.ack_nr) == (ST_DATA, (far.theirs - 1) & 0xFFFF, far.next_seq - 1)
        assert shown.payload == b""
        assert far.pull() == []
        before = far.now
        assert far.wait() == []
        assert far.now == before + (1.0 if number < 3 else 2.0)


def test_a_dialler_whose_data_arrived_need_not_show_itself() -> None:
    far = Far()
    far.answer()
    far.socket.write(far.stream, b"here", far.now)
    [data] = far.pull()
    far.send(ST_STATE, far.next_seq, data.seq_nr)
    before = far.now
    while far.pull() == []:
        assert far.wait() == []
    assert far.now == before + 5.0


def test_only_a_state_packet_with_our_number_answers_our_syn() -> None:
    far = Far()
    stream = far.socket.connect(far.key, far.now)
    [syn] = far.pull()
    assert far.send(ST_STATE, 9, syn.seq_nr + 1, connection_id=syn.connection_id) == []
    assert far.send(ST_DATA, 9, syn.seq_nr, b"data", connection_id=syn.connection_id) == []
    assert far.send(ST_RESET, 0, syn.seq_nr + 1, connection_id=syn.connection_id) == []
    [lost] = far.send(ST_RESET, 0, syn.seq_nr, connection_id=syn.connection_id)
    assert lost.stream == stream
    assert isinstance(lost.error, StreamResetError)


def test_a_stream_closed_while_it_is_dialled_delivers_what_was_written() -> None:
    link = VirtualLink()
    stream = link.left.socket.connect(RIGHT_KEY, link.now)
    link.left.socket.write(stream, b"short", link.now)
    link.left.socket.close(stream, link.now)
    assert link.left.socket.room(stream) == 0
    link.run(1.0)
    [right] = link.right.accepted
    assert link.right.received(right) == b"short"
    assert link.right.ended == {right}


def test_dials_can_be_given_up() -> None:
    link = VirtualLink(faults=Faults(cut=True))
    socket = link.left.socket
    first = socket.connect(RIGHT_KEY, link.now)
    second = socket.connect(RIGHT_KEY, link.now)
    error = UnreachableError("nowhere")
    assert socket.fail_connecting(first, error, link.now) == [StreamLost(first, error)]
    assert socket.fail_connecting(first, error, link.now) == []
    assert socket.connection_count == 1
    assert socket.fail_connecting(second, error, link.now) == [StreamLost(second, error)]
    assert socket.connection_count == 0


def test_an_open_stream_is_no_dial_to_be_given_up() -> None:
    link = VirtualLink()
    stream, _ = link.connect()
    assert link.left.socket.fail_connecting(stream, UnreachableError("nowhere"), link.now) == []
    assert link.left.socket.connection_count == 1


# Calls of the owner


def test_calls_for_streams_that_ended_do_nothing_and_for_others_raise() -> None:
    link = VirtualLink()
    stream, _ = link.connect()
    socket = link.left.socket
    socket.abort(stream, link.now)
    socket.write(stream, b"late", link.now)
    socket.close(stream, link.now)
    socket.abort(stream, link.now)
    socket.acknowledge_received_data(stream, 5, link.now)
    assert socket.room(stream) == 0
    assert socket.segment(stream) > 0
    for never in (0, stream + 1):
        with pytest.raises(LocalProtocolError):
            socket.room(never)


def test_writing_more_than_there_is_room_for_or_after_closing_raises() -> None:
    far = Far(UtpLimits(send_buffer=100))
    far.answer()
    with pytest.raises(LocalProtocolError):
        far.socket.write(far.stream, b"x" * 101, far.now)
    far.socket.write(far.stream, b"", far.now)
    far.socket.write(far.stream, b"x" * 100, far.now)
    assert far.socket.room(far.stream) == 0
    far.socket.close(far.stream, far.now)
    far.socket.close(far.stream, far.now)
    with pytest.raises(LocalProtocolError):
        far.socket.write(far.stream, b"x", far.now)


def test_a_full_stream_is_writable_again_when_a_quarter_is_free() -> None:
    link = VirtualLink(limits=UtpLimits(send_buffer=40_000))
    left, _ = link.connect()
    while room := link.left.socket.room(left):
        link.left.socket.write(left, bytes(min(room, 9_999)), link.now)
    link.run(1.0)
    assert link.left.events.count(StreamWritable(left)) == 1
    assert link.left.socket.room(left) == 40_000


def test_packets_are_as_long_as_allowed() -> None:
    for length, payload in ((8192, 8138), (1416, 1362), (60_000, 8138)):
        far = Far(UtpLimits(packet=length))
        far.answer()
        far.pull()
        assert far.socket.segment(far.stream) == payload
        far.socket.write(far.stream, bytes(10_000), far.now)
        assert len(far.pull()[0].payload) == payload


def test_small_writes_of_one_turn_share_a_packet_with_long_ones() -> None:
    far = Far()
    far.answer()
    far.pull()
    for piece in (b"a" * 10, b"b" * 9000, b"c" * 5, b"d" * 8138):
        far.socket.write(far.stream, piece, far.now)
    packets = far.pull()
    assert [len(packet.payload) for packet in packets] == [8138, 8138, 10 + 9000 + 5 + 8138 - 2 * 8138]
    assert b"".join(packet.payload for packet in packets) == b"a" * 10 + b"b" * 9000 + b"c" * 5 + b"d" * 8138


def test_a_half_open_connection_is_not_the_owners_yet_but_goes_with_all() -> None:
    far = Far()
    far.send(ST_SYN, 1, 0, connection_id=100)
    far.pull()
    with pytest.raises(LocalProtocolError):
        far.socket.close(1, far.now)
    far.socket.abort_all(far.now)
    [reset] = far.pull()
    assert (reset.type, reset.connection_id, reset.ack_nr) == (ST_RESET, 100, 1)
    assert far.socket.connection_count == 0


# Acknowledgements


def test_one_acknowledgement_leaves_for_all_packets_of_a_turn_and_none_for_an_acknowledgement() -> None:
    far = Far()
    far.dial()
    for number in range(10):
        far.send(ST_DATA, far.next_seq + number, far.theirs - 1, b"x")
    assert far.socket.ready_keys() == [far.key]
    [state] = far.pull()
    assert (state.type, state.ack_nr) == (ST_STATE, far.next_seq + 9)
    assert far.send(ST_STATE, far.next_seq + 10, far.theirs - 1) == []
    assert far.socket.ready_keys() == []
    assert far.pull() == []


def test_data_carries_the_acknowledgement() -> None:
    far = Far()
    far.dial()
    far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x")
    far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, b"z")
    far.socket.write(far.stream, b"y", far.now)
    [data] = far.pull()
    assert (data.type, data.ack_nr, data.selective_ack) == (ST_DATA, far.next_seq, b"\x01\x00\x00\x00")


def test_what_only_acknowledges_waits_where_data_alone_is_asked_for() -> None:
    far = Far()
    far.dial()
    far.send(ST_DATA, far.next_seq, far.theirs - 1, b"request")
    assert far.socket.packets_to_send(far.key, 1 << 20, far.now, True) == []
    assert far.socket.ready_keys() == [far.key]
    far.socket.write(far.stream, b"answer", far.now)
    [answer] = far.socket.packets_to_send(far.key, 1 << 20, far.now, True)
    assert decode_packet(answer).ack_nr == far.next_seq
    assert far.pull() == []
    far.send(ST_DATA, far.next_seq + 1, far.theirs, b"request")
    assert far.socket.packets_to_send(far.key, 1 << 20, far.now, True) == []
    [acknowledgement] = far.pull()
    assert (acknowledgement.type, acknowledgement.ack_nr) == (ST_STATE, far.next_seq + 1)


def test_the_answer_to_a_syn_leaves_where_data_alone_is_asked_for() -> None:
    far = Far()
    far.connection_id = 100
    far.send(ST_SYN, 1, 0)
    [answer] = far.socket.packets_to_send(far.key, 1 << 20, far.now, True)
    assert decode_packet(answer).type == ST_STATE


def test_a_budget_without_room_does_not_hold_acknowledgements_back() -> None:
    far = Far()
    far.dial()
    far.socket.write(far.stream, bytes(1 << 20), far.now)
    assert len(far.pull()) == 14
    far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x")
    [state] = far.pull()
    assert (state.type, state.ack_nr) == (ST_STATE, far.next_seq)


def test_when_data_of_others_takes_the_last_room_acknowledgements_still_leave() -> None:
    far = Far()
    far.dial(connection_id=100)
    first = far.stream
    far.dial(connection_id=200)
    far.socket.write(first, bytes(13 * 8138), far.now)
    far.pull()
    # One more may go; the second stream has data and an acknowledgement to send, and comes after the first.
    for stream in (first, far.stream):
        far.socket.write(stream, b"y", far.now)
    far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x")
    data, state = far.pull()
    assert (data.type, data.connection_id, data.payload) == (ST_DATA, 100, b"y")
    assert (state.type, state.connection_id, state.ack_nr) == (ST_STATE, 200, far.next_seq)


def test_what_comes_twice_or_too_far_ahead_is_answered_with_where_we_are() -> None:
    far = Far()
    far.dial()
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x") == [StreamData(far.stream, b"x")]
    far.pull()
    for seq_nr in (far.next_seq, far.next_seq + 1026, far.next_seq + 5000):
        assert far.send(ST_DATA, seq_nr, far.theirs - 1, b"y") == []
        assert [packet.ack_nr for packet in far.pull()] == [far.next_seq]


def test_gaps_are_filled_in_any_order() -> None:
    far = Far()
    far.dial()
    for offset in (4, 1, 1, 256, 3):
        assert far.send(ST_DATA, far.next_seq + offset, far.theirs - 1, bytes((offset & 0xFF,))) == []
    [state] = far.pull()
    assert int.from_bytes(state.selective_ack, "little") == 1 << 0 | 1 << 2 | 1 << 3 | 1 << 255
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"\x00") == [StreamData(far.stream, b"\x00\x01")]
    assert far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, b"\x02") == [StreamData(far.stream, b"\x02\x03\x04")]
    [state] = far.pull()
    assert state.ack_nr == far.next_seq + 4
    assert int.from_bytes(state.selective_ack, "little") == 1 << 250


def test_packets_within_the_window_are_kept_though_no_acknowledgement_reaches_them() -> None:
    far = Far()
    far.dial()
    assert far.send(ST_DATA, far.next_seq + 257, far.theirs - 1, b"z") == []
    [state] = far.pull()
    assert (state.ack_nr, state.extensions) == (far.next_seq - 1, ())
    for offset in (*range(1, 257), *range(258, 1025)):
        assert far.send(ST_DATA, far.next_seq + offset, far.theirs - 1, b"z") == []
    [state] = far.pull()
    assert (state.ack_nr, state.selective_ack) == (far.next_seq - 1, b"\xff" * 32)
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"a") == [StreamData(far.stream, b"a" + b"z" * 1024)]
    [state] = far.pull()
    assert (state.ack_nr, state.extensions) == (far.next_seq + 1024, ())


# Loss


def test_a_gap_of_three_packets_makes_the_missing_one_go_again_and_then_the_rest_of_the_time_out() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.write(far.stream, bytes(5 * 8138), far.now)
    packets = far.pull()
    assert len(packets) == 5
    far.now += 0.01
    far.send(ST_STATE, far.next_seq, packets[0].seq_nr, extensions=((1, b"\x03\x00\x00\x00"),))
    assert far.pull() == []
    far.send(ST_STATE, far.next_seq, packets[0].seq_nr, extensions=((1, b"\x07\x00\x00\x00"),))
    [repeat] = far.pull()
    assert (repeat.seq_nr, repeat.payload) == (packets[1].seq_nr, packets[1].payload)
    assert far.socket.counters["packets repeated"] == 1


def test_three_acknowledgements_of_the_same_packet_make_the_next_go_again() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.write(far.stream, bytes(3 * 8138), far.now)
    packets = far.pull()
    for _ in range(3):
        assert far.pull() == []
        far.send(ST_STATE, far.next_seq, packets[0].seq_nr - 1)
    assert [packet.seq_nr for packet in far.pull()] == [packets[0].seq_nr]
    for _ in range(5):
        far.send(ST_STATE, far.next_seq, packets[0].seq_nr - 1)
    assert far.pull() == []


def test_three_equal_acknowledgements_change_nothing_about_what_is_lost_already() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.write(far.stream, bytes(100), far.now)
    [packet] = far.pull()
    far.wait()
    for _ in range(3):
        far.send(ST_STATE, far.next_seq, packet.seq_nr - 1)
    assert [repeat.seq_nr for repeat in far.pull()] == [packet.seq_nr]
    assert far.socket.counters["losses"] == 0


def test_a_lost_repeat_is_repeated_without_a_timeout_while_others_arrive() -> None:
    link = VirtualLink(faults=Faults(delay=0.02), seed=3)
    left, right = link.connect()
    seen: dict[int, int] = {}

    def drop_first_two_sendings_of_one(side: Side, packet: bytes) -> bool:
        decoded = decode_packet(packet)
        if side is link.right or decoded.type != ST_DATA:
            return True
        seen[decoded.seq_nr] = seen.get(decoded.seq_nr, 0) + 1
        third = list(seen)[2] if len(seen) > 2 else None
        return decoded.seq_nr != third or seen[third] > 2

    link.filter = drop_first_two_sendings_of_one
    link.left.socket.write(left, bytes(1 << 20), link.now)
    link.run_until(lambda: len(link.right.received(right)) == 1 << 20)
    assert link.left.socket.counters["timeouts"] == 0
    assert max(seen.values()) == 3


def test_silence_repeats_with_growing_patience_and_marks_the_key() -> None:
    far = Far()
    far.answer()
    far.pull()
    assert far.socket.take_repeated_keys() == set()
    far.socket.write(far.stream, b"anyone?", far.now)
    [data] = far.pull()
    times = [far.now]
    for _ in range(3):
        assert far.wait() == []
        times.append(far.now)
        assert far.socket.take_repeated_keys() == {far.key}
        assert far.socket.take_repeated_keys() == set()
        assert [packet.seq_nr for packet in far.pull()] == [data.seq_nr]
    assert [later - earlier for earlier, later in pairwise(times)] == [1.0, 2.0, 2.0]


def test_data_that_stays_unacknowledged_loses_the_stream_soon_after_30_s() -> None:
    far = Far()
    far.answer()
    started = far.now
    far.socket.write(far.stream, b"anyone?", far.now)
    far.pull()
    [lost] = far.wait_for_events()
    assert isinstance(lost.error, StreamTimeoutError)
    assert far.now == pytest.approx(started + 34.0)
    assert far.socket.connection_count == 0


def test_what_is_written_late_does_not_prolong_the_life_of_a_stream_whose_far_end_is_silent() -> None:
    far = Far()
    far.answer()
    started = far.now
    while far.now < started + 20.0:
        far.pull()
        assert far.wait() == []
    far.socket.write(far.stream, b"anyone?", far.now)
    [lost] = far.wait_for_events()
    assert isinstance(lost.error, StreamTimeoutError)
    assert far.now == started + 34.0


def test_data_that_is_never_acknowledged_by_a_far_end_that_talks_loses_the_stream() -> None:
    far = Far()
    far.answer()
    far.pull()
    started = far.now
    far.socket.write(far.stream, b"anyone?", far.now)
    events: list[object] = []
    while not events:
        assert far.now <= started + 34.0
        far.pull()
        far.send(ST_STATE, far.next_seq, far.theirs - 1)
        events = far.wait()
    assert far.now == started + 34.0


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("start", [0.0, 0.7, 3.3, 4.99])
def test_an_interruption_of_30_s_is_only_delay(idle: bool, start: float) -> None:
    link = VirtualLink(faults=Faults(delay=0.2))
    left, right = link.connect()
    link.run(1.0 + start)
    data = bytes(range(256)) * 2000
    if not idle:
        link.left.socket.write(left, data, link.now)
        link.run(0.1)
    link.faults.cut = True
    link.run(30.0)
    link.faults.cut = False
    if idle:
        link.run(5.0)
        link.left.socket.write(left, data, link.now)
    link.run(10.0)
    assert link.right.received(right) == data
    assert not link.left.lost
    assert not link.right.lost


@pytest.mark.parametrize("idle", [False, True])
def test_a_stream_whose_far_end_is_gone_is_lost_at_both_ends_within_35_s(idle: bool) -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.run(1.0)
    link.faults.cut = True
    if not idle:
        link.left.socket.write(left, b"anyone?", link.now)
    link.run(35.0)
    assert isinstance(link.left.lost[left], StreamTimeoutError)
    assert isinstance(link.right.lost[right], StreamTimeoutError)


def test_a_key_woken_up_is_sent_to_at_once_but_not_all_the_time() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.wake_all(far.now)
    far.socket.write(far.stream, b"anyone?", far.now)
    [data] = far.pull()
    far.wait()
    far.pull()
    far.now += 0.5
    far.socket.wake_all(far.now)
    assert [packet.seq_nr for packet in far.pull()] == [data.seq_nr]
    far.now += 0.05
    far.socket.wake(far.key, far.now)
    assert far.pull() == []
    far.socket.wake(b"\x09" * 32, far.now)
    # The patience begins anew, and what came too soon is made up for.
    before = far.now
    assert far.wait() == []
    assert far.now == pytest.approx(before + 0.05)
    assert [packet.seq_nr for packet in far.pull()] == [data.seq_nr]
    assert far.wait() == []
    assert far.now == pytest.approx(before + 1.05)


def test_what_is_on_its_way_is_not_sent_again_by_a_wake_up_unless_its_answer_stays_out() -> None:
    link = VirtualLink(faults=Faults(delay=0.1))
    left, _ = link.connect()
    link.run(1.0)
    for cut in (False, True):
        link.left.socket.write(left, b"x", link.now)
        link.faults.cut = cut
        link.run(0.05)
        link.left.socket.wake_all(link.now)
        link.faults.cut = False
        link.run(0.6)
        assert link.left.socket.counters["packets repeated"] == cut
    assert link.left.socket.counters["timeouts"] == 0


def test_an_idle_stream_with_an_unanswered_question_asks_again_when_woken_up() -> None:
    far = Far()
    far.dial()
    far.socket.wake_all(far.now)
    assert far.pull() == []
    far.wait()
    assert far.now == 505.0
    assert [packet.type for packet in far.pull()] == [ST_DATA]
    assert far.socket.take_repeated_keys() == set()
    far.now += 0.5
    far.socket.wake_all(far.now)
    assert [packet.type for packet in far.pull()] == [ST_DATA]
    while far.pull() == []:
        far.wait()
    assert far.now == 507.5
    # The way may be wrong: the coordinates that we have are to be forgotten.
    assert far.socket.take_repeated_keys() == {far.key}
    far.send(ST_STATE, far.next_seq, far.theirs - 1)
    far.pull()
    far.socket.wake_all(far.now)
    assert far.pull() == []


def test_a_move_is_shown_to_each_key_with_an_open_stream_once() -> None:
    far = Far()
    far.socket.connect(far.key, far.now)
    far.send(ST_SYN, 1, 0, connection_id=7)
    assert [packet.type for packet in far.pull()] == [ST_SYN, ST_STATE]
    far.socket.acknowledge_all(far.now)
    assert far.pull() == []
    for number in (100, 200):
        far.dial(connection_id=number)
    far.socket.acknowledge_all(far.now)
    [state] = far.pull()
    assert (state.type, state.ack_nr) == (ST_STATE, far.next_seq - 1)


def test_packets_and_acknowledgements_of_long_ago_do_no_harm() -> None:
    far = Far()
    far.answer()
    far.pull()
    for number in range(3):
        far.socket.write(far.stream, b"x", far.now)
        [data] = far.pull()
        far.send(ST_STATE, far.next_seq, data.seq_nr, wnd_size=1000 + number)
    assert far.send(ST_DATA, far.next_seq, data.seq_nr - 2, b"late") == [StreamData(far.stream, b"late")]
    far.socket.write(far.stream, b"y", far.now)
    assert far.pull()[0].seq_nr == (data.seq_nr + 1) & 0xFFFF


def test_waiting_for_an_acknowledgement_that_was_lost_does_not_make_the_path_look_long() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.write(far.stream, b"x", far.now)
    [data] = far.pull()
    far.wait()
    far.now += 5.0
    far.send(ST_STATE, far.next_seq, data.seq_nr)
    assert far.socket.sessions()[0].rtt == 0.0


def test_what_arrived_after_all_is_not_repeated() -> None:
    far = Far()
    far.answer()
    far.pull()
    far.socket.write(far.stream, b"anyone?", far.now)
    [data] = far.pull()
    far.wait()
    far.send(ST_STATE, far.next_seq, data.seq_nr)
    assert far.pull() == []
    assert far.socket.ready_keys() == []


def test_a_dial_woken_up_again_too_soon_is_repeated_a_little_later() -> None:
    far = Far()
    far.socket.connect(far.key, far.now)
    far.pull()
    for _ in range(2):
        far.now += 0.05
        far.socket.wake(far.key, far.now)
    assert [packet.type for packet in far.pull()] == [ST_SYN]
    assert far.wait() == []
    assert far.now == pytest.approx(500.15)
    assert [packet.type for packet in far.pull()] == [ST_SYN]


def test_a_dial_woken_up_waits_anew_for_its_answer() -> None:
    far = Far()
    far.socket.connect(far.key, far.now)
    far.pull()
    started = far.now
    far.now += 0.5
    far.socket.wake(far.key, far.now)
    assert [packet.type for packet in far.pull()] == [ST_SYN]
    repeats = []
    while far.now < started + 5.0:
        far.wait()
        repeats += [far.now for _ in far.pull()]
    assert repeats == [started + 1.5, started + 3.5, started + 5.5]


# Flow control


def test_what_the_owner_keeps_shuts_the_window_and_giving_back_opens_it() -> None:
    link = VirtualLink(limits=UtpLimits(receive_window=50_000))
    link.right.acknowledging = False
    left, right = link.connect()
    link.left.socket.write(left, bytes(200_000), link.now)
    link.run(20.0)
    assert 0 <= 50_000 - len(link.right.received(right)) < 10
    assert not link.left.lost
    given_back = 0
    while len(link.right.received(right)) < 200_000:
        length = len(link.right.received(right)) - given_back
        link.right.socket.acknowledge_received_data(right, length, link.now)
        given_back += length
        link.run(0.1)
    assert link.left.socket.counters["timeouts"] == 0


def test_a_window_shut_for_minutes_is_patience_and_is_asked_after() -> None:
    far = Far()
    far.answer(wnd_size=0)
    far.pull()
    far.socket.write(far.stream, b"patience", far.now)
    far.wait()
    [probe] = far.pull()
    assert (probe.type, probe.payload) == (ST_DATA, b"p")
    far.send(ST_STATE, far.next_seq, probe.seq_nr - 1, wnd_size=0)
    started = far.now
    while far.now < started + 120:
        assert far.wait() == []
        for packet in far.pull():
            assert (packet.seq_nr, packet.payload) == (probe.seq_nr, b"p")
            far.send(ST_STATE, far.next_seq, probe.seq_nr - 1, wnd_size=0)
    assert far.socket.counters["timeouts"] == 0
    far.send(ST_STATE, far.next_seq, probe.seq_nr, wnd_size=1000)
    assert [packet.payload for packet in far.pull()] == [b"atience"]


def test_a_shut_window_and_silence_lose_the_stream() -> None:
    far = Far()
    far.answer(wnd_size=0)
    far.socket.write(far.stream, b"patience", far.now)
    far.pull()
    [lost] = far.wait_for_events()
    assert isinstance(lost.error, StreamTimeoutError)


def test_a_small_window_is_used_when_nothing_is_under_way() -> None:
    far = Far()
    far.answer(wnd_size=1000)
    far.pull()
    far.socket.write(far.stream, bytes(5000), far.now)
    [data] = far.pull()
    assert len(data.payload) == 1000
    far.send(ST_STATE, far.next_seq, data.seq_nr, wnd_size=3000)
    assert [len(packet.payload) for packet in far.pull()] == [3000]


def test_bytes_beyond_the_window_are_dropped() -> None:
    far = Far(UtpLimits(receive_window=1000))
    far.dial()
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, bytes(1001)) == []
    assert far.send(ST_DATA, far.next_seq + 1, far.theirs - 1, bytes(600)) == []
    assert far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, bytes(600)) == []
    [state] = far.pull()
    assert (state.ack_nr, state.wnd_size, state.selective_ack) == (far.next_seq - 1, 400, b"\x01\x00\x00\x00")
    assert far.socket.counters["packets outside the window"] == 2


def test_the_missing_packet_is_taken_although_those_after_it_have_filled_the_window() -> None:
    far = Far(UtpLimits(receive_window=1000))
    far.dial()
    far.send(ST_DATA, far.next_seq + 1, far.theirs - 1, b"b" * 990)
    [event] = far.send(ST_DATA, far.next_seq, far.theirs - 1, b"a" * 500)
    assert event == StreamData(far.stream, b"a" * 500 + b"b" * 990)
    assert far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, b"c") == []
    [state] = far.pull()
    assert (state.ack_nr, state.wnd_size) == (far.next_seq + 1, 0)


def test_no_more_than_255_packets_are_out() -> None:
    far = Far(UtpLimits(packet=60))
    far.answer()
    far.pull()
    far.socket.write(far.stream, bytes(6 * 400), far.now)
    packets: list[UtpPacket] = []
    for _ in range(200):
        packets += far.pull()
        # All but the first arrive, as far as the acknowledgement reaches.
        bits = sum(1 << number for number in range(min(256, len({p.seq_nr for p in packets}) - 1)))
        far.now += 0.01
        far.send(ST_STATE, far.next_seq, far.theirs - 1, extensions=((1, bits.to_bytes(32, "little")),))
    assert len({packet.seq_nr for packet in packets}) == 255


# The end


def test_half_closed_streams_still_carry_data() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.left.socket.close(left, link.now)
    link.run(1.0)
    assert link.right.ended == {right}
    link.right.socket.write(right, b"still here", link.now)
    link.run(1.0)
    assert link.left.received(left) == b"still here"
    link.right.socket.close(right, link.now)
    link.run(1.0)
    assert link.left.closed == {left}
    assert link.right.closed == {right}


def test_both_may_close_at_once() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.left.socket.close(left, link.now)
    link.right.socket.close(right, link.now)
    link.run(1.0)
    assert link.left.closed == {left}
    assert link.right.closed == {right}


def test_streams_that_close_end_well_even_if_any_single_packet_is_lost() -> None:
    for lost in range(12):
        link = VirtualLink()
        left, right = link.connect()
        link.left.socket.write(left, b"request", link.now)
        link.right.socket.write(right, b"answer", link.now)
        count = 0

        def drop_one(side: Side, packet: bytes, lost: int = lost) -> bool:
            nonlocal count
            count += 1
            return count != lost

        link.filter = drop_one
        link.left.socket.close(left, link.now)
        link.right.socket.close(right, link.now)
        link.run(20.0)
        assert link.left.received(left) == b"answer"
        assert link.right.received(right) == b"request"
        assert link.left.closed == {left}
        assert link.right.closed == {right}


def test_a_fin_with_a_payload_is_delivered_before_the_end() -> None:
    far = Far()
    far.dial()
    assert far.send(ST_FIN, far.next_seq + 1, far.theirs - 1, b"end") == []
    assert far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, b"beyond") == []
    assert far.send(ST_FIN, far.next_seq, far.theirs - 1, b"not the end ") == [
        StreamData(far.stream, b"not the end end"),
        StreamEnded(far.stream),
    ]
    assert far.send(ST_DATA, far.next_seq + 2, far.theirs - 1, b"beyond") == []


def test_after_the_far_ends_fin_a_reset_is_as_good_as_a_close() -> None:
    far = Far()
    far.dial()
    far.send(ST_FIN, far.next_seq, far.theirs - 1)
    far.socket.close(far.stream, far.now)
    [fin] = [packet for packet in far.pull() if packet.type == ST_FIN]
    assert far.send(ST_RESET, 0, fin.seq_nr) == [StreamClosed(far.stream)]


def test_before_the_far_ends_fin_a_reset_loses_the_stream() -> None:
    far = Far()
    far.dial()
    far.socket.close(far.stream, far.now)
    [fin] = [packet for packet in far.pull() if packet.type == ST_FIN]
    far.send(ST_STATE, far.next_seq, fin.seq_nr)
    [lost] = far.send(ST_RESET, 0, fin.seq_nr)
    assert isinstance(lost.error, StreamResetError)


def test_a_fin_that_nobody_acknowledges_is_given_up_in_time() -> None:
    for ended, expected in ((True, StreamClosed), (False, StreamLost)):
        far = Far()
        far.dial()
        if ended:
            far.send(ST_FIN, far.next_seq, far.theirs - 1)
        started = far.now
        far.socket.close(far.stream, far.now)
        far.pull()
        [event] = far.wait_for_events()
        assert isinstance(event, expected)
        assert far.now == pytest.approx(started + 34.0)


def test_aborting_resets_the_far_end_at_once() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.left.socket.write(left, bytes(100_000), link.now)
    link.pump()
    link.left.socket.abort(left, link.now)
    link.run(0.1)
    assert link.left.events == [StreamConnected(left)]
    assert isinstance(link.right.lost[right], StreamResetError)
    assert link.left.socket.connection_count == link.right.socket.connection_count == 0


def test_aborting_all_resets_every_far_end() -> None:
    link = VirtualLink()
    rights = {link.connect()[1] for _ in range(40)}
    dialled = link.left.socket.connect(RIGHT_KEY, link.now)
    link.left.socket.abort_all(link.now)
    link.run(0.1)
    assert set(link.right.lost) == rights
    assert link.left.socket.connection_count == 0
    assert StreamConnected(dialled) not in link.left.events


def test_an_idle_stream_asks_whether_the_far_end_lives() -> None:
    link = VirtualLink()
    link.connect()
    link.recording = True
    link.run(200.0)
    assert link.left.socket.connection_count == link.right.socket.connection_count == 1
    # Three to show itself, then a question and an answer every 5 s: not both ends ask.
    questions = [side for side, packet in link.carried if decode_packet(packet).type == ST_DATA]
    assert 41 <= len(questions) <= 43
    assert set(questions) == {link.left}
    assert len(link.carried) == 2 * len(questions)


def test_an_idle_stream_whose_far_end_forgot_it_is_lost_with_the_next_question() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.faults.cut = True
    link.right.socket.abort(right, link.now)
    link.run(1.0)
    link.faults.cut = False
    link.run(40.0)
    assert isinstance(link.left.lost[left], StreamResetError)


def test_an_idle_stream_whose_far_end_is_silent_is_lost() -> None:
    far = Far()
    far.dial()
    started = far.now
    [lost] = far.wait_for_events()
    assert isinstance(lost.error, StreamTimeoutError)
    assert far.now == started + 34.0


# What others send


def test_garbage_is_counted_and_nothing_else() -> None:
    far = Far()
    assert far.socket.receive_packet(far.key, b"", far.now) == []
    assert far.socket.receive_packet(far.key, b"\x05" * 30, far.now) == []
    assert far.socket.counters["malformed packets"] == 2
    assert far.socket.ready_keys() == []
    assert far.socket.packets_to_send(far.key, 1000, far.now) == []


@pytest.mark.parametrize("dialled", [True, False])
def test_a_reset_may_carry_the_id_of_our_packets_as_libtorrents_does(dialled: bool) -> None:
    far = Far()
    if dialled:
        far.answer()
    else:
        far.dial()
    far.connection_id += 1 if dialled else -1
    [event] = far.send(ST_RESET, 0, far.theirs - 1)
    assert isinstance(event, StreamLost)
    far.connection_id += 4
    assert far.send(ST_RESET, 0, far.theirs - 1) == []


def test_what_is_too_far_ahead_to_be_kept_still_acknowledges() -> None:
    far = Far()
    far.answer()
    far.socket.write(far.stream, b"hello", far.now)
    [data] = far.pull()
    far.send(ST_DATA, far.next_seq + 300, data.seq_nr, b"far ahead")
    assert far.socket.sessions()[0].packets_in_flight == 0
    assert far.pull()[0].ack_nr == (far.next_seq - 1) & 0xFFFF


def test_resets_with_guessed_numbers_do_not_end_a_stream() -> None:
    far = Far()
    far.dial()
    plausible = {(far.theirs - 1) & 0xFFFF, far.theirs}
    for ack_nr in range(0, 0x10000, 7):
        if ack_nr not in plausible:
            assert far.send(ST_RESET, 0, ack_nr) == []
    assert far.socket.connection_count == 1
    assert far.socket.counters["implausible resets"] > 9000


def test_fins_and_data_with_guessed_numbers_do_nothing() -> None:
    far = Far()
    far.dial()
    for offset in range(300, 0x10000 - 1100, 11):
        assert far.send(ST_FIN, far.next_seq + offset, far.theirs - 1) == []
        assert far.send(ST_DATA, far.next_seq, far.theirs + offset, b"x") == []
        assert far.send(ST_STATE, far.next_seq, far.theirs + offset) == []
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"true") == [StreamData(far.stream, b"true")]


def test_a_half_open_connection_needs_the_right_number_to_open() -> None:
    far = Far()
    far.send(ST_SYN, 1, 0, connection_id=100)
    [state] = far.pull()
    for guess in (state.seq_nr, state.seq_nr - 2, state.seq_nr + 100):
        assert far.send(ST_DATA, 2, guess, b"x", connection_id=101) == []
    assert far.send(ST_DATA, 2, state.seq_nr - 1, b"x", connection_id=101) == [
        StreamAccepted(1, far.key),
        StreamData(1, b"x"),
    ]


def test_a_half_open_connection_is_forgotten_in_silence() -> None:
    far = Far()
    far.send(ST_SYN, 1, 0, connection_id=100)
    [state] = far.pull()
    assert far.send(ST_RESET, 0, state.seq_nr, connection_id=101) == []
    assert far.socket.connection_count == 0
    far.send(ST_SYN, 1, 0, connection_id=100)
    far.pull()
    started = far.now
    assert far.wait() == []
    assert far.now == started + 15.0
    assert far.socket.connection_count == 0
    assert far.socket.counters["half-open connections given up"] == 2


def test_resets_for_unknown_connections_are_bounded_and_never_answer_resets() -> None:
    socket = UtpSocket(random=Random(1))
    packet = encode_packet(UtpPacket(ST_DATA, 5, 0, 0, 0, 77, 5))
    for number in range(1000):
        socket.receive_packet(bytes((number % 100,)) * 32, packet, 0.0)
    keys = socket.ready_keys()
    sent = [packet for key in keys for packet in socket.packets_to_send(key, 1 << 20, 0.0)]
    assert len(sent) <= 256
    assert socket.counters["resets withheld"] == 2000 - len(sent)
    socket.receive_packet(LEFT_KEY, encode_packet(UtpPacket(ST_RESET, 5, 0, 0, 0, 0, 5)), 0.0)
    assert socket.ready_keys() == []


def test_resets_leave_as_the_limit_allows() -> None:
    far = Far()
    for number in range(4):
        far.send(ST_DATA, number, 0, connection_id=1000 * number)
    assert len(far.socket.packets_to_send(far.key, 50, far.now)) == 3
    assert far.socket.ready_keys() == [far.key]
    assert len(far.socket.packets_to_send(far.key, 1000, far.now)) == 5
    assert far.socket.ready_keys() == []


# Bounds


def test_of_too_many_half_open_connections_of_a_key_the_oldest_goes() -> None:
    far = Far(UtpLimits(half_open_per_key=3))
    far.dial(connection_id=10)
    for number in range(5):
        far.send(ST_SYN, 1, 0, connection_id=100 + 2 * number)
    assert far.socket.connection_count == 4
    assert far.socket.counters["half-open connections dropped"] == 2
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x") == [StreamData(far.stream, b"x")]


def test_a_flood_of_syns_leaves_open_streams_alone_and_memory_bounded() -> None:
    far = Far(UtpLimits(half_open=20, connections=25))
    far.dial()
    for number in range(5000):
        key = number.to_bytes(32, "big")
        far.socket.receive_packet(key, encode_packet(UtpPacket(ST_SYN, 3, 0, 0, 0, 1, 0)), far.now)
    assert far.socket.connection_count == 21
    assert len(far.socket.sessions()) == 21
    assert len(far.socket.ready_keys()) <= 21 + 256
    assert far.send(ST_DATA, far.next_seq, far.theirs - 1, b"x") == [StreamData(far.stream, b"x")]


def test_half_open_connections_make_place_for_others_when_all_places_are_taken() -> None:
    far = Far(UtpLimits(connections=2))
    far.send(ST_SYN, 1, 0, connection_id=100)
    far.send(ST_SYN, 1, 0, connection_id=200)
    far.send(ST_SYN, 1, 0, connection_id=300)
    assert far.socket.connection_count == 2
    assert far.socket.counters["half-open connections dropped"] == 1


def test_the_last_half_open_connection_of_a_key_may_go_for_its_next() -> None:
    far = Far(UtpLimits(half_open=1))
    far.send(ST_SYN, 1, 0, connection_id=100)
    far.dial(connection_id=200)
    assert far.socket.connection_count == 1


def test_more_connections_than_allowed_are_refused_both_ways_while_all_are_busy() -> None:
    far = Far(UtpLimits(connections_per_key=2))
    far.dial(connection_id=100)
    far.dial(connection_id=200)
    for stream in (far.stream - 1, far.stream):
        far.socket.write(stream, b"busy", far.now)
    far.pull()
    far.send(ST_SYN, 9, 0, connection_id=300)
    [reset] = far.pull()
    assert (reset.type, reset.connection_id, reset.ack_nr) == (ST_RESET, 300, 9)
    with pytest.raises(LocalProtocolError):
        far.socket.connect(far.key, far.now)
    far.socket.connect(RIGHT_KEY, far.now)
    assert far.socket.counters["connections refused"] == 1


def test_of_too_many_connections_of_a_key_the_one_that_was_idle_for_longest_goes() -> None:
    far = Far(UtpLimits(connections_per_key=3))
    far.dial(connection_id=100)
    busy = far.stream
    far.now += 1
    far.dial(connection_id=200)
    oldest, oldest_next = far.stream, far.next_seq
    far.now += 1
    far.dial(connection_id=300)
    far.socket.write(busy, b"busy", far.now)
    far.pull()
    [lost] = far.send(ST_SYN, 9, 0, connection_id=400)
    assert isinstance(lost, StreamLost)
    assert lost.stream == oldest
    reset, state = far.pull()
    assert (reset.type, reset.connection_id, reset.ack_nr) == (ST_RESET, 200, oldest_next - 1)
    assert (state.type, state.connection_id) == (ST_STATE, 400)
    assert far.socket.counters["idle connections dropped"] == 1


def test_what_the_owner_has_not_taken_yet_is_not_idle() -> None:
    far = Far(UtpLimits(connections_per_key=1))
    far.dial(connection_id=100)
    far.send(ST_DATA, far.next_seq, far.theirs - 1, b"unread")
    assert far.send(ST_SYN, 9, 0, connection_id=200) == []
    assert far.socket.counters["connections refused"] == 1


def test_when_all_places_are_taken_the_key_with_most_connections_gives_one() -> None:
    far = Far(UtpLimits(connections=4))
    for connection_id in (100, 200, 300):
        far.dial(connection_id)
        far.now += 1
    first = far.stream - 2
    crowd, far.key = far.key, RIGHT_KEY
    far.dial(connection_id=100)
    [lost] = far.send(ST_SYN, 9, 0, connection_id=200)
    assert isinstance(lost, StreamLost)
    assert lost.stream == first
    assert [(info.key, info.connections) for info in far.socket.sessions()] == [(crowd, 2), (RIGHT_KEY, 2)]


def test_keys_with_as_many_connections_take_none_from_one_another() -> None:
    far = Far(UtpLimits(connections=2))
    far.dial(connection_id=100)
    far.key = RIGHT_KEY
    far.dial(connection_id=100)
    far.key = b"\x07" * 32
    assert far.send(ST_SYN, 9, 0, connection_id=100) == []
    assert far.socket.counters["connections refused"] == 1
    assert far.socket.connection_count == 2


def test_a_key_that_has_its_share_costs_nobody_elses_half_open_connection() -> None:
    far = Far(UtpLimits(connections=2, connections_per_key=1))
    far.dial(connection_id=100)
    far.socket.write(far.stream, b"busy", far.now)
    busy, far.key = far.key, RIGHT_KEY
    far.send(ST_SYN, 9, 0, connection_id=100)
    far.key = busy
    far.send(ST_SYN, 9, 0, connection_id=200)
    assert far.socket.counters["connections refused"] == 1
    assert far.socket.counters["half-open connections dropped"] == 0


def test_far_nodes_cannot_take_the_places_of_our_own_dials() -> None:
    far = Far(UtpLimits(connections=1, kept_for_dials=1))
    far.dial(connection_id=100)
    far.socket.connect(RIGHT_KEY, far.now)
    with pytest.raises(LocalProtocolError):
        far.socket.connect(RIGHT_KEY, far.now)


def test_a_drawn_connection_id_that_is_taken_gives_way_to_the_next() -> None:
    class Constant(Random):
        def getrandbits(self, k: int, /) -> int:
            return 0xFFFF

    socket = UtpSocket(random=Constant())
    for _ in range(3):
        socket.connect(LEFT_KEY, 0.0)
    syns = [decode_packet(packet) for packet in socket.packets_to_send(LEFT_KEY, 1000, 0.0)]
    assert [syn.connection_id for syn in syns] == [0xFFFF, 2, 5], "and is so far off that no three resets meet two"


# Sharing


def test_all_connections_with_a_key_share_14_packets_at_first_and_take_turns() -> None:
    far = Far()
    streams = []
    for number in range(3):
        far.dial(connection_id=100 * number)
        streams.append(far.stream)
    for stream in streams:
        far.socket.write(stream, bytes(20 * 8138), far.now)
    [session] = far.socket.sessions()
    assert (session.connections, session.window, session.packets_in_flight) == (3, 14, 0)
    ids = [packet.connection_id for packet in far.pull()]
    assert ids == [0, 100, 200] * 4 + [0, 100]
    assert far.socket.ready_keys() == []
    assert far.socket.sessions()[0].packets_in_flight == 14
    far.socket.abort(streams[0], far.now)
    assert far.socket.sessions()[0].packets_in_flight == 9


def test_a_limit_cuts_a_pull_and_the_rest_leaves_with_the_next() -> None:
    far = Far()
    far.answer()
    far.socket.write(far.stream, bytes(10 * 8138), far.now)
    assert len(far.socket.packets_to_send(far.key, 8192 * 2, far.now)) == 3
    assert far.socket.ready_keys() == [far.key]
    assert len(far.pull()) == 7


def test_a_limit_cuts_acknowledgements_too() -> None:
    far = Far()
    for number in range(3):
        far.send(ST_SYN, 1, 0, connection_id=100 * number)
    assert len(far.socket.packets_to_send(far.key, 30, far.now)) == 2
    assert len(far.socket.packets_to_send(far.key, 30, far.now)) == 1


def test_keys_take_turns() -> None:
    socket = UtpSocket(random=Random(1))
    keys = [bytes((number,)) * 32 for number in range(3)]
    for key in keys:
        for connection_id in (1, 100, 200):
            socket.receive_packet(key, encode_packet(UtpPacket(ST_SYN, connection_id, 0, 0, 0, 1, 0)), 0.0)
    assert socket.ready_keys() == keys
    socket.packets_to_send(keys[0], 20, 0.0)
    assert socket.ready_keys() == [keys[1], keys[2], keys[0]]


def test_the_window_grows_on_a_fast_path_and_the_round_trip_time_shows() -> None:
    link = VirtualLink(faults=Faults(delay=0.02))
    left, right = link.connect()
    for _ in range(40):
        link.left.socket.write(left, bytes(link.left.socket.room(left)), link.now)
        link.run(0.1)
    [session] = link.left.socket.sessions()
    assert session.key == RIGHT_KEY
    assert session.window > 16
    assert link.left.socket.segment(left) > 50_000
    assert session.rtt == pytest.approx(0.04, rel=0.2)
    assert link.left.socket.counters["packets repeated"] == 0
    assert link.right.socket.counters["packets received"] == link.left.socket.counters["packets sent"]
    assert len(link.right.received(right)) > 10_000_000


def test_a_thousand_idle_streams_cost_few_packets_and_their_timer_is_cheap() -> None:
    link = VirtualLink(limits=UtpLimits(connections_per_key=1000, half_open_per_key=1000, half_open=1000))
    for _ in range(1000):
        link.left.socket.connect(RIGHT_KEY, link.now)
    link.run(1.0)
    assert link.right.socket.connection_count == 1000
    calls = 0
    while link.now < 1060.0:
        at = link.next_at()
        assert at is not None
        link.clock.advance(max(0.0, at - link.now))
        link.turn()
        calls += 1
    assert calls < 100
    assert link.left.socket.connection_count == 1000


def test_a_withdrawn_dial_that_had_no_answer_is_known_by_its_number_and_by_nothing_less() -> None:
    socket = UtpSocket(random=Random(1))
    far = UtpSocket(random=Random(2))
    stream = socket.connect(RIGHT_KEY, 1.0)
    (syn,) = socket.packets_to_send(RIGHT_KEY, 1 << 20, 1.0)
    far.receive_packet(LEFT_KEY, syn, 1.0)
    socket.abort(stream, 1.1)
    (withdrawal,) = socket.packets_to_send(RIGHT_KEY, 1 << 20, 1.1)
    decoded = decode_packet(withdrawal)
    sent = decode_packet(syn)
    assert (decoded.type, decoded.connection_id) == (ST_RESET, sent.connection_id + 1)
    assert (decoded.seq_nr, decoded.ack_nr) == ((sent.seq_nr + 1) & 0xFFFF, 0)
    for seq_nr, ack_nr in ((sent.seq_nr, 0), (sent.seq_nr + 2, 0), (decoded.seq_nr, 7)):
        wrong = UtpPacket(ST_RESET, decoded.connection_id, 0, 0, 0, seq_nr & 0xFFFF, ack_nr)
        far.receive_packet(LEFT_KEY, encode_packet(wrong), 1.2)
    assert far.counters["implausible resets"] == 3
    assert far.connection_count == 1
    far.receive_packet(LEFT_KEY, withdrawal, 1.2)
    assert far.connection_count == 0


def test_a_dial_that_nobody_has_heard_of_is_withdrawn_in_silence() -> None:
    socket = UtpSocket(random=Random(1))
    socket.abort(socket.connect(RIGHT_KEY, 1.0), 1.0)
    assert (socket.packets_to_send(RIGHT_KEY, 1 << 20, 1.0), socket.connection_count) == ([], 0)


def test_data_without_bytes_in_its_turn_is_acknowledged_and_nothing_else() -> None:
    link = VirtualLink()
    left, right = link.connect()
    link.left.socket.write(left, b"hello", link.now)
    (packet,) = link.left.socket.packets_to_send(RIGHT_KEY, 1 << 20, link.now)
    empty = packet[:20]
    assert link.right.socket.receive_run(LEFT_KEY, [empty], link.now) == []
    (answer,) = link.right.socket.packets_to_send(LEFT_KEY, 1 << 20, link.now)
    assert decode_packet(answer).ack_nr == decode_packet(packet).seq_nr
    assert link.right.received(right) == b""
