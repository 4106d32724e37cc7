"""What our own nodes do together and others need not know: large packets, early data, fragments (§11)."""

from __future__ import annotations

from random import Random

import pytest

from pinecone_transport.errors import StreamTimeoutError
from pinecone_transport.session import StreamAccepted, StreamConnected, StreamData, StreamLost, UtpLimits, UtpSocket
from pinecone_transport.session.packet_size import FIRST_SIZE, MIN_SIZE, PacketSize
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
from pinecone_transport.session.utp.extensions import (
    COMPRESSED,
    DICTIONARY,
    EARLY,
    FRAGMENTS,
    OPTIONS,
    Options,
    compress,
    encode_options,
    options_of,
)
from tests.support.virtual_link import LEFT_KEY, RIGHT_KEY, Faults, Side, VirtualLink, without_extensions

OVERHEAD = 54
SYN_OF_OURS = (0x70, bytes.fromhex("0103ea60"))
"""Version 1; early data and fragments; 60,000 bytes."""


class Dialled:
    """A socket that a far end, made by hand, dials."""

    def __init__(self, limits: UtpLimits | None = None) -> None:
        self.socket = UtpSocket(random=Random(5), limits=limits or UtpLimits())
        self.now = 100.0

    def receive(
        self,
        type: int,
        seq_nr: int,
        ack_nr: int,
        *extensions: tuple[int, bytes],
        connection_id: int = 100,
        payload: bytes = b"",
        key: bytes = LEFT_KEY,
    ) -> list[object]:
        packet = UtpPacket(type, connection_id, 0, 0, 1 << 20, seq_nr, ack_nr & 0xFFFF, extensions, payload)
        return self.socket.receive_packet(key, encode_packet(packet), self.now)

    def pull(self, key: bytes = LEFT_KEY, limit: int = 1 << 20) -> list[UtpPacket]:
        return [decode_packet(packet) for packet in self.socket.packets_to_send(key, limit, self.now)]


# What the ends say of themselves


def test_a_syn_says_what_we_take_and_an_answer_says_so_only_to_who_asked() -> None:
    link = VirtualLink()
    link.recording = True
    link.connect()
    (_, syn), (_, state) = link.carried[:2]
    assert decode_packet(syn).extensions == ((0x70, bytes.fromhex("0102ea60")),)
    assert decode_packet(state).extensions == ((0x70, bytes.fromhex("0102ea60")),)
    plain = Dialled()
    plain.receive(ST_SYN, 1, 0)
    [state] = plain.pull()
    assert state.extensions == ()


@pytest.mark.parametrize("content", ["", "0103ea", "0103ea6000", "0203ea60", "0003ea60"])
def test_options_that_we_do_not_understand_are_as_if_they_were_not_there(content: str) -> None:
    dialled = Dialled()
    assert dialled.receive(ST_SYN, 1, 0, (0x70, bytes.fromhex(content)), payload=b"early") == []
    [state] = dialled.pull()
    assert (state.type, state.extensions) == (ST_STATE, ())


def test_towards_who_knows_none_of_it_nothing_changes() -> None:
    link = VirtualLink()
    link.alter = without_extensions
    link.recording = True
    stream = link.left.socket.connect(RIGHT_KEY, link.now)
    data = bytes(range(256)) * 800
    link.left.socket.write(stream, data, link.now)
    link.left.socket.close(stream, link.now)
    link.run(5.0)
    [right] = link.right.accepted
    assert link.right.received(right) == data
    assert link.right.ended == {right}
    sent = [decode_packet(packet) for side, packet in link.carried if side is link.left]
    assert [packet.type for packet in sent[:2]] == [ST_SYN, ST_DATA]
    assert max(len(packet.payload) for packet in sent) == 8138
    assert link.left.socket.counters["fragments sent"] == 0


# The beginning of a stream


def test_the_beginning_of_a_stream_leaves_with_its_syn_and_arrives_with_it() -> None:
    link = VirtualLink(faults=Faults(delay=0.01))
    started = link.now
    stream = link.left.socket.connect(RIGHT_KEY, started)
    link.left.socket.write(stream, b"hello " * 1000, started)
    link.run_until(lambda: bool(link.right.accepted))
    assert link.now == pytest.approx(started + 0.01)
    [right] = link.right.accepted
    assert link.right.received(right) == (b"hello " * 1000)[:2048]
    link.right.socket.write(right, b"welcome", link.now)
    link.run_until(lambda: bool(link.left.received(stream)))
    assert link.now == pytest.approx(started + 0.02)
    link.run(1.0)
    assert link.right.received(right) == b"hello " * 1000
    assert link.left.received(stream) == b"welcome"
    assert link.left.events == [StreamConnected(stream)]
    assert link.right.events == [StreamAccepted(right, LEFT_KEY)]


def test_a_repeated_syn_brings_the_same_and_is_answered_the_same() -> None:
    for lost in (ST_SYN, ST_STATE):
        link = VirtualLink()
        link.recording = True
        count = {ST_SYN: 0, ST_STATE: 0}

        def drop_first(side: Side, packet: bytes, lost: int = lost, count: dict[int, int] = count) -> bool:
            kind = decode_packet(packet).type
            if kind in count:
                count[kind] += 1
            return kind != lost or count[kind] > 1

        link.filter = drop_first
        stream = link.left.socket.connect(RIGHT_KEY, link.now)
        link.left.socket.write(stream, b"one", link.now)
        link.run(0.5)
        link.left.socket.write(stream, b"two", link.now)
        link.run(5.0)
        [right] = link.right.accepted
        assert link.right.received(right) == b"onetwo"
        syns = [packet for _, packet in link.carried if decode_packet(packet).type == ST_SYN]
        assert len(syns) == 2
        assert {decode_packet(syn).payload for syn in syns} == {b"one"}


def test_no_data_leaves_before_the_answer_though_the_owner_knows_of_the_stream() -> None:
    dialled = Dialled()
    [accepted, data] = dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"hello")
    assert accepted == StreamAccepted(1, LEFT_KEY)
    assert data == StreamData(1, b"hello")
    dialled.socket.write(1, b"welcome", dialled.now)
    assert [packet.type for packet in dialled.pull(limit=10)] == [ST_STATE]
    [answer] = dialled.pull()
    assert (answer.type, answer.payload, answer.ack_nr) == (ST_DATA, b"welcome", 7)
    # What is asked again is answered with the same number.
    assert dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"hello") == []
    [state] = dialled.pull()
    assert (state.type, state.seq_nr, state.extensions) == (ST_STATE, answer.seq_nr, (SYN_OF_OURS,))
    dialled.now += 1.0
    assert dialled.socket.handle_timer(dialled.now) == []
    assert [packet.type for packet in dialled.pull()] == [ST_STATE, ST_DATA]
    assert dialled.socket.take_repeated_keys() == {LEFT_KEY}
    assert dialled.receive(ST_DATA, 8, answer.seq_nr, connection_id=101, payload=b"!") == [StreamData(1, b"!")]


def test_data_for_a_far_end_without_room_waits_though_it_has_not_shown_itself() -> None:
    dialled = Dialled()
    syn = UtpPacket(ST_SYN, 100, 0, 0, 0, 7, 0, (SYN_OF_OURS,), b"hello")
    dialled.socket.receive_packet(LEFT_KEY, encode_packet(syn), dialled.now)
    dialled.socket.write(1, b"welcome", dialled.now)
    assert [packet.type for packet in dialled.pull()] == [ST_STATE]
    dialled.now += 1.0
    assert dialled.socket.handle_timer(dialled.now) == []
    assert [packet.payload for packet in dialled.pull()] == [b"w"]


def test_a_stream_that_is_closed_before_its_far_end_has_shown_itself_ends_well() -> None:
    dialled = Dialled()
    dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"hello")
    dialled.socket.close(1, dialled.now)
    state, fin = dialled.pull()
    assert (state.type, fin.type) == (ST_STATE, ST_FIN)
    assert dialled.receive(ST_STATE, 8, fin.seq_nr, connection_id=101) == []
    assert dialled.receive(ST_DATA, 8, fin.seq_nr, connection_id=101, payload=b"!") == [StreamData(1, b"!")]


def test_a_stream_whose_far_end_never_shows_itself_is_lost_to_its_owner() -> None:
    dialled = Dialled()
    dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"hello")
    dialled.socket.acknowledge_received_data(1, 5, dialled.now)
    events: list[object] = []
    while not events:
        dialled.pull()
        dialled.now = max(dialled.now, dialled.socket.next_timer() or 0.0)
        events = dialled.socket.handle_timer(dialled.now)
    [lost] = events
    assert isinstance(lost, StreamLost)
    assert isinstance(lost.error, StreamTimeoutError)
    assert dialled.now == 115.0
    assert dialled.socket.connection_count == 0


@pytest.mark.parametrize("extension", ["0102ea60", "0103ea60", "0101ea60"])
@pytest.mark.parametrize("length", [0, 2048, 2049])
def test_only_what_is_marked_and_short_enough_is_taken(extension: str, length: int) -> None:
    dialled = Dialled()
    events = dialled.receive(ST_SYN, 7, 0, (0x70, bytes.fromhex(extension)), payload=bytes(length))
    taken = extension != "0102ea60" and length == 2048
    assert len(events) == 2 * taken
    [state] = dialled.pull()
    assert state.extensions == ((0x70, bytes.fromhex("0103ea60" if taken else "0102ea60")),)


def test_early_data_is_bounded_per_key_and_in_all_and_what_is_beyond_comes_again() -> None:
    dialled = Dialled(UtpLimits(early=3, early_per_key=2))
    taken = []
    for key in (LEFT_KEY, RIGHT_KEY):
        for number in range(3):
            events = dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, connection_id=100 * number, payload=b"hello", key=key)
            taken.append(len(events) == 2)
    assert taken == [True, True, False, True, False, False]
    assert dialled.socket.counters["early data refused"] == 3
    states = dialled.pull()
    assert [state.extensions[0][1][1] for state in states] == [3, 3, 2]
    # One that has shown itself takes no such place any more.
    assert dialled.receive(ST_STATE, 8, states[0].seq_nr - 1, connection_id=1) == []
    assert len(dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, connection_id=900, payload=b"hello")) == 2
    # An ordinary opening of the refused one.
    [_, data] = dialled.receive(ST_DATA, 8, states[2].seq_nr - 1, connection_id=201, payload=b"hello")
    assert isinstance(data, StreamData)
    assert data.data == b"hello"


def test_a_syn_that_must_be_short_brings_its_early_data_compressed() -> None:
    hello = DICTIONARY + Random(1).randbytes(1300)
    left, right = UtpSocket(random=Random(1)), UtpSocket(random=Random(2))
    stream = left.connect(RIGHT_KEY, 1.0, 1452)
    left.write(stream, hello, 1.0)
    [syn] = left.packets_to_send(RIGHT_KEY, 10_000, 1.0)
    assert len(syn) <= 1452 < len(hello) + 26
    accepted, data = right.receive_packet(LEFT_KEY, syn, 1.0)
    assert isinstance(accepted, StreamAccepted)
    assert data == StreamData(accepted.stream, hello)
    [answer] = right.packets_to_send(LEFT_KEY, 10_000, 1.0)
    left.receive_packet(RIGHT_KEY, answer, 1.0)
    assert left.room(stream) == UtpLimits().send_buffer, "it was taken"


def test_what_does_not_fit_a_short_syn_however_compressed_comes_after_the_answer() -> None:
    left = UtpSocket(random=Random(1))
    stream = left.connect(RIGHT_KEY, 1.0, 1452)
    left.write(stream, Random(1).randbytes(1600), 1.0)
    [syn] = left.packets_to_send(RIGHT_KEY, 10_000, 1.0)
    options = options_of(decode_packet(syn))
    assert options is not None
    assert (len(syn), options.flags) == (26, FRAGMENTS)


@pytest.mark.parametrize(
    "payload", [b"", b"no deflate", compress(bytes(100_000)), compress(b"all") + b"more", compress(b"cut")[:-1]]
)
def test_early_data_that_cannot_be_expanded_has_to_come_again(payload: bytes) -> None:
    options = encode_options(Options(FRAGMENTS | EARLY | COMPRESSED, 60_000))
    syn = encode_packet(UtpPacket(ST_SYN, 7, 0, 0, 1000, 1, 0, ((OPTIONS, options),), payload))
    socket = UtpSocket(random=Random(2))
    assert socket.receive_packet(LEFT_KEY, syn, 1.0) == []
    [answer] = socket.packets_to_send(LEFT_KEY, 10_000, 1.0)
    answered = options_of(decode_packet(answer))
    assert answered is not None
    assert not answered.flags & EARLY


def test_early_data_that_was_not_taken_is_the_first_data() -> None:
    link = VirtualLink(limits=UtpLimits(early=0))
    link.recording = True
    stream = link.left.socket.connect(RIGHT_KEY, link.now)
    link.left.socket.write(stream, b"hello", link.now)
    link.run(1.0)
    [right] = link.right.accepted
    assert link.right.received(right) == b"hello"
    sent = [decode_packet(packet) for side, packet in link.carried if side is link.left]
    assert [(packet.type, packet.payload) for packet in sent[:2]] == [(ST_SYN, b"hello"), (ST_DATA, b"hello")]


def test_an_answer_that_takes_what_was_not_sent_takes_nothing() -> None:
    dialled = Dialled()
    stream = dialled.socket.connect(LEFT_KEY, dialled.now)
    [syn] = dialled.pull()
    dialled.socket.write(stream, b"hello", dialled.now)
    answer = (ST_STATE, 9, syn.seq_nr, SYN_OF_OURS)
    assert dialled.receive(*answer, connection_id=syn.connection_id) == [StreamConnected(stream)]
    [data] = dialled.pull()
    assert data.payload == b"hello"


def test_an_owner_that_refuses_an_early_stream_resets_it() -> None:
    dialled = Dialled()
    dialled.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"hello")
    dialled.socket.abort(1, dialled.now)
    [reset] = dialled.pull()
    assert (reset.type, reset.connection_id, reset.ack_nr) == (ST_RESET, 100, 7)
    assert dialled.socket.connection_count == 0


# Packet size


def test_packets_begin_small_and_grow_with_the_rate_to_what_the_far_end_takes() -> None:
    for delay, largest in ((0.001, 59_946), (0.1, 45_000)):
        link = VirtualLink(faults=Faults(delay=delay))
        link.recording = True
        left, right = link.connect()
        assert link.left.socket.segment(left) == FIRST_SIZE - OVERHEAD
        link.left.socket.write(left, bytes(1 << 20), link.now)
        link.run_until(lambda right=right, link=link: len(link.right.received(right)) == 1 << 20)
        lengths = [len(decode_packet(packet).payload) for side, packet in link.carried if side is link.left]
        assert lengths[2] == FIRST_SIZE - OVERHEAD
        assert largest // 2 < max(lengths) <= largest


def test_no_packet_is_larger_than_the_far_end_takes_unless_that_is_less_than_makes_sense() -> None:
    for limit in (0, 30, 100, 700, 5000):
        dialled = Dialled()
        dialled.receive(ST_SYN, 7, 0, (0x70, bytes((1, 3)) + limit.to_bytes(2, "big")), payload=b"hello")
        dialled.socket.write(1, bytes(10_000), dialled.now)
        sent = dialled.socket.packets_to_send(LEFT_KEY, 1 << 20, dialled.now)
        assert max(map(len, sent)) <= max(limit, MIN_SIZE)


def test_a_packet_takes_five_milliseconds_of_what_the_path_delivers_and_twenty_while_it_is_idle() -> None:
    size = PacketSize(60_000)
    now = 1.0
    for rate, delayed, expected in ((2_000_000, False, 40_000), (10_000_000, True, 50_000), (20_000_000, True, 60_000)):
        for _ in range(10):
            now += 0.02
            size.on_acknowledged(rate // 50, 0.02, limited=True, delayed=delayed, now=now)
        assert size.size == pytest.approx(expected, abs=2)
    now += 0.02
    size.on_acknowledged(20_000, 0.02, limited=False, delayed=True, now=now)
    assert size.size == 60_000, "what was not limited by the window says nothing of the path"
    now += 0.02
    size.on_acknowledged(40_000, 0.02, limited=True, delayed=True, now=now)
    assert size.size == 30_000, "it still takes less than 50 ms"
    now += 0.02
    size.on_acknowledged(2000, 0.02, limited=True, delayed=True, now=now)
    assert size.size == FIRST_SIZE, "smaller ones would be headers for a good part"
    now += 0.02
    size.on_acknowledged(100, 0.02, limited=True, delayed=True, now=now)
    assert size.size == MIN_SIZE
    now += 0.02
    size.on_acknowledged(100, 0.02, limited=True, delayed=True, now=now)
    assert size.size == MIN_SIZE


def test_packets_are_halved_once_more_only_if_that_has_made_the_way_shorter() -> None:
    size = PacketSize(60_000)
    for step in range(1, 8):
        size.on_acknowledged(6_250_000, 0.02, limited=True, delayed=False, now=step / 2)
    assert size.size == 60_000
    sizes = []
    for step, round_trip in enumerate((0.1, 0.1, 0.095, 0.08, 0.08)):
        size.on_acknowledged(256_000, round_trip, limited=True, delayed=True, now=3.7 + step / 5)
        sizes.append(size.size)
    assert sizes == [30_000, 30_000, 30_000, 15_000, 15_000]


def test_a_busy_path_that_delivers_more_gets_larger_packets_though_they_wait() -> None:
    size = PacketSize(60_000)
    for step in range(1, 8):
        size.on_acknowledged(1_000_000, 0.02, limited=True, delayed=True, now=step / 20)
    assert size.size == 60_000


def test_what_a_busy_path_delivered_is_remembered_for_ten_seconds() -> None:
    size = PacketSize(60_000)
    size.on_acknowledged(50_000, 0.02, limited=True, delayed=True, now=1.0)
    size.on_acknowledged(50_000, 0.02, limited=True, delayed=False, now=2.0)
    assert size.size == FIRST_SIZE
    size.on_acknowledged(50_000, 0.02, limited=True, delayed=False, now=12.0)
    assert size.size == 2 * FIRST_SIZE


def test_time_without_anything_under_way_is_no_part_of_the_rate() -> None:
    size = PacketSize(60_000)
    size.begin(1000.0)
    size.on_acknowledged(200_000, 0.02, limited=True, delayed=False, now=1000.01)
    assert size.size == FIRST_SIZE, "half a round trip"
    size.on_acknowledged(200_000, 0.02, limited=True, delayed=False, now=1000.021)
    assert size.size == 2 * FIRST_SIZE


def test_answers_that_come_all_at_once_after_less_than_a_sample_make_one_together() -> None:
    size = PacketSize(60_000)
    now = 1000.0
    for _ in range(3):
        now += 5.0
        size.begin(now)
        now += 0.0004
        size.on_acknowledged(20_000, 0.0003, limited=True, delayed=False, now=now)
    assert size.size == 2 * FIRST_SIZE


def test_silence_makes_packets_smaller_but_not_smaller_than_at_first() -> None:
    size = PacketSize(60_000)
    for step in range(20):
        size.on_acknowledged(1_000_000, 0.01, limited=True, delayed=False, now=1.0 + step / 100)
    assert size.size == 60_000
    assert [size.on_timeout() for _ in range(4)] == [4.0, 4.0, 3750 / FIRST_SIZE, 1.0]
    assert size.size == FIRST_SIZE


# Fragments


def slowed_down(limit: int) -> VirtualLink:
    """Return a link that, once packets are large, lets only those up to a limit through."""
    link = VirtualLink(faults=Faults(delay=0.002))
    link.left.socket.connect(RIGHT_KEY, link.now)
    link.left.socket.write(1, bytes(1 << 20), link.now)
    link.run(1.0)
    assert link.left.socket.segment(1) > 50_000
    link.filter = lambda _, packet: len(packet) <= limit
    return link


def test_what_was_sent_large_goes_through_a_path_that_takes_only_small_packets() -> None:
    link = slowed_down(4000)
    link.recording = True
    data = bytes(range(256)) * 2000
    [right] = link.right.accepted
    link.left.socket.write(1, data, link.now)
    link.run_until(lambda: link.right.received(right)[1 << 20 :] == data)
    fragments = [packet for side, packet in link.carried if side is link.left and decode_packet(packet).extension(0x71)]
    assert len(fragments) == link.left.socket.counters["fragments sent"] > 10
    assert link.left.socket.sessions()[0].packets_in_flight <= 14
    link.run(1.0)
    assert link.left.socket.sessions()[0].packets_in_flight == 0


def test_a_stream_that_is_aborted_amid_its_fragments_leaves_nothing_in_flight() -> None:
    link = slowed_down(10)
    other = link.left.socket.connect(RIGHT_KEY, link.now)
    link.filter = None
    link.run(0.5)
    link.faults.cut = True
    link.left.socket.write(1, bytes(500_000), link.now)
    while not link.left.socket.counters["fragments sent"]:
        link.run(0.5)
    assert link.left.socket.sessions()[0].packets_in_flight > 0
    link.left.socket.abort(1, link.now)
    assert link.left.socket.sessions()[0].packets_in_flight == 0
    assert link.left.socket.room(other) > 0


def fragment(offset: int, last: bool) -> tuple[int, bytes]:
    return (0x71, offset.to_bytes(4, "big") + bytes((last,)))


class Receiver(Dialled):
    """A stream that was dialled, and gets fragments; the next packet has number 8."""

    def __init__(self, limits: UtpLimits | None = None) -> None:
        super().__init__(limits)
        self.receive(ST_SYN, 7, 0, SYN_OF_OURS, payload=b"x")
        [state] = self.pull()
        self.theirs = state.seq_nr
        self.receive(ST_STATE, 8, self.theirs - 1, connection_id=101)

    def part(self, seq_nr: int, offset: int, payload: bytes, last: bool = False) -> list[object]:
        return self.receive(
            ST_DATA, seq_nr, self.theirs - 1, fragment(offset, last), connection_id=101, payload=payload
        )


def test_fragments_make_a_packet_in_any_order_and_however_they_overlap() -> None:
    receiver = Receiver()
    assert receiver.part(8, 6, b"ghij", last=True) == []
    assert receiver.part(8, 0, b"abc") == []
    [state] = receiver.pull()
    assert state.ack_nr == 7, "it is acknowledged when all of it is there"
    assert receiver.part(8, 0, b"ab") == []
    assert receiver.part(8, 1, b"bcd") == []
    assert receiver.part(8, 2, b"cdefg") == [StreamData(1, b"abcdefghij")]
    [state] = receiver.pull()
    assert state.ack_nr == 8
    assert receiver.part(8, 0, b"abc") == []
    assert receiver.part(10, 0, b"ahead") == []
    assert receiver.part(10, 5, b"!", last=True) == []
    [state] = receiver.pull()
    assert (state.ack_nr, state.selective_ack) == (8, b"\x01\x00\x00\x00")
    assert receiver.part(9, 0, b"now", last=True) == [StreamData(1, b"nowahead!")]


def test_a_whole_packet_makes_its_fragments_worthless() -> None:
    receiver = Receiver(UtpLimits(receive_window=1000))
    receiver.part(8, 0, b"a" * 300)
    assert receiver.receive(ST_DATA, 8, receiver.theirs - 1, connection_id=101, payload=b"whole") == [
        StreamData(1, b"whole")
    ]
    [state] = receiver.pull()
    assert state.wnd_size == 1000 - 1 - 5


def test_fragments_are_bounded_by_the_window_the_length_of_a_packet_and_their_number() -> None:
    receiver = Receiver(UtpLimits(receive_window=1000))
    assert receiver.part(9, 0, b"a" * 600) == []
    assert receiver.part(9, 600, b"a" * 600) == []
    assert receiver.socket.counters["fragments of no use"] == 1
    assert receiver.part(8, 0xFFFF, b"a") == []
    assert receiver.socket.counters["fragments of no use"] == 2
    receiver = Receiver()
    for number in range(300):
        assert receiver.part(8, 2 * number, b"a") == []
    assert receiver.socket.counters["fragments of no use"] == 300 - 256


def test_what_is_cut_anew_is_kept_once_so_that_it_fits_the_window() -> None:
    receiver = Receiver(UtpLimits(receive_window=1001))
    data = bytes(range(250)) * 4
    assert receiver.part(8, 0, data[:600]) == []
    for offset in range(0, 900, 100):
        assert receiver.part(8, offset, data[offset : offset + 100]) == []
    assert receiver.part(8, 850, data[850:], last=True) == [StreamData(1, data)]


def test_contradictory_fragments_deliver_nothing_unless_they_agree_in_the_end() -> None:
    receiver = Receiver()
    assert receiver.part(8, 0, b"abcdef") == []
    assert receiver.part(8, 2, b"cd", last=True) == []
    assert receiver.part(8, 5, b"fghi", last=True) == [StreamData(1, b"abcdefghi")]
    assert receiver.part(9, 2, b"cdef") == []
    assert receiver.part(9, 0, b"") == []
    assert receiver.part(9, 0, b"a", last=True) == []
    assert receiver.part(9, 1, b"bc", last=True) == []
    assert receiver.part(9, 6, b"g") == []


def test_an_extension_of_another_length_makes_no_fragment() -> None:
    receiver = Receiver()
    events = receiver.receive(ST_DATA, 8, receiver.theirs - 1, (0x71, b"\x00"), connection_id=101, payload=b"whole")
    assert events == [StreamData(1, b"whole")]
