"""One peering, and two that face each other (§2, §3)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError, HandshakeError, LinkTimeoutError, LocalProtocolError
from pinecone_transport.peering import HandshakeCompleted, LinkFailed, Peering, PeeringState
from pinecone_transport.wire import KEEPALIVE, Frame, PeerType, encode_frame, encode_handshake
from tests.support.clock import VirtualClock
from tests.support.frames import FrameFactory, identity, key
from tests.support.peerings import NO_LIMIT, carry, pair, written
from tests.support.vectors import load_vector, named

KEEPALIVE_BYTES = encode_frame(Frame(KEEPALIVE))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def fed(data: bytes, size: int) -> list:
    """Return the events of a new peering that is given the data in pieces of ``size`` bytes."""
    peering = Peering(identity(1), PeerType.REMOTE, 0.0)
    events = []
    for start in range(0, len(data), size):
        events += peering.receive_data(data[start : start + size], 0.0)
    return events


def alike(events: list) -> list:
    """Return the events with errors as text, so that they can be compared."""
    return [str(event.error) if isinstance(event, LinkFailed) else event for event in events]


# Handshake


def test_both_ends_write_their_handshake_at_once_and_learn_the_other_s_key(clock) -> None:
    ours = Peering(identity(1), PeerType.REMOTE, clock.now)
    theirs = Peering(identity(2), PeerType.REMOTE, clock.now)
    assert ours.has_data_to_send()
    assert ours.key is None
    assert ours.established_at is None
    handshake = written(ours, clock.now)
    assert handshake == encode_handshake(identity(1))
    assert not ours.has_data_to_send()
    assert theirs.receive_data(handshake, clock.advance(0.5)) == [HandshakeCompleted(identity(1).key)]
    assert theirs.key == identity(1).key
    assert theirs.established_at == clock.now
    assert theirs.state is PeeringState.ESTABLISHED
    assert carry(theirs, ours, clock.now) == [HandshakeCompleted(identity(2).key)]


@pytest.mark.parametrize("case", named(load_vector("handshake")["verdicts"]))
def test_a_handshake_is_judged_as_the_reference_judges_it(case) -> None:
    data = bytes.fromhex(case["hex"])
    events = fed(data, 1000)
    if case["verdict"] == "ok":
        assert events == [HandshakeCompleted(data[8:40])]
    elif case["verdict"] == "too short":
        assert events == []
    else:
        (failed,) = events
        assert isinstance(failed.error, HandshakeError)
        assert case["verdict"] in failed.error.reason


def test_a_handshake_that_takes_ten_seconds_is_given_up(clock) -> None:
    peering = Peering(identity(1), PeerType.REMOTE, clock.now)
    written(peering, clock.now)
    peering.receive_data(encode_handshake(identity(2))[:103], clock.advance(9.0))
    assert peering.handle_timer(clock.advance(0.9)) == []
    assert peering.next_timer() == clock.advance(0.1)
    (failed,) = peering.handle_timer(clock.now)
    assert isinstance(failed.error, LinkTimeoutError)
    assert "handshake" in failed.error.reason


def test_frames_cannot_be_sent_before_the_handshake(clock) -> None:
    peering = Peering(identity(1), PeerType.REMOTE, clock.now)
    with pytest.raises(LocalProtocolError):
        peering.send_frame(FrameFactory().traffic(), clock.now)


# Frames


def test_frames_of_every_type_arrive_as_they_were_sent(clock) -> None:
    ours, theirs = pair(clock)
    frames = FrameFactory().one_of_each()
    for frame in frames:
        ours.send_frame(frame, clock.now)
    received = carry(ours, theirs, clock.now)
    assert sorted(received, key=lambda frame: frame.type) == sorted(frames, key=lambda frame: frame.type)


@pytest.mark.parametrize("size", [1, 3, 9, 10, 11, 104, 105, 1000, NO_LIMIT])
def test_a_link_read_in_pieces_gives_what_it_gives_when_read_whole(size: int) -> None:
    frames = [*FrameFactory().one_of_each(), FrameFactory().traffic(size=5000)]
    stream = encode_handshake(identity(2)) + KEEPALIVE_BYTES.join(map(encode_frame, frames)) + KEEPALIVE_BYTES
    expected = [HandshakeCompleted(identity(2).key), *frames]
    assert fed(stream, size) == expected
    # With a tail that is not yet a frame, and with one that never will be.
    assert fed(stream + b"pine", size) == expected
    *good, failed = fed(stream + b"garbage and more", size)
    assert good == expected
    assert isinstance(failed.error, FrameError)


@pytest.mark.parametrize("case", named(load_vector("frames")["malformed"]))
@pytest.mark.parametrize("size", [1, NO_LIMIT])
def test_a_malformed_frame_on_a_link_does_what_the_vectors_advise(case, size: int) -> None:
    data = bytes.fromhex(case["hex"])
    last = FrameFactory().traffic()
    before, *events = fed(encode_handshake(identity(2)) + data + encode_frame(last), size)
    assert isinstance(before, HandshakeCompleted)
    if case["parse_advice"] == "close":
        assert isinstance(events[-1].error, FrameError)
        assert last not in events
    else:
        assert events[-1] == last
        assert len(events) == (1 if case["parse_advice"] == "drop" or data[5] == KEEPALIVE else 2)


def test_frames_of_unknown_types_are_dropped_and_counted_and_the_link_stays_up(clock) -> None:
    ours, theirs = pair(clock)
    frame = FrameFactory().traffic()
    unknown = b"pine\x00\x80\x00\x00\x00\x0d---"
    assert ours.receive_data(unknown + encode_frame(frame) + unknown, clock.now) == [frame]
    assert ours.counters["dropped_in_unknown_type"] == 2
    assert theirs.counters["dropped_in_unknown_type"] == 0


def test_good_frames_before_a_fault_are_reported_and_nothing_after_it(clock) -> None:
    ours, _ = pair(clock)
    frames = FrameFactory()
    good = frames.traffic()
    events = ours.receive_data(encode_frame(good) + b"pine\0\0\0\0\0\x09" + encode_frame(frames.traffic()), clock.now)
    assert events[0] == good
    assert isinstance(events[1].error, FrameError)
    assert len(events) == 2


def test_a_failed_peering_ignores_everything(clock) -> None:
    ours, _ = pair(clock)
    frames = FrameFactory()
    ours.send_frame(frames.traffic(), clock.now)
    ours.receive_data(b"x" * 10, clock.now)
    assert ours.state is PeeringState.FAILED
    assert ours.next_timer() is None
    assert ours.handle_timer(clock.advance(60.0)) == []
    assert ours.receive_data(encode_frame(frames.traffic()), clock.now) == []
    ours.send_frame(frames.traffic(), clock.now)
    ours.link_blocked(clock.now)
    ours.link_unblocked(clock.now)
    assert not ours.has_data_to_send()
    assert ours.data_to_send(NO_LIMIT, clock.now) == []


def test_nothing_received_changes_nothing(clock) -> None:
    ours, _ = pair(clock)
    due_at = ours.next_timer()
    assert ours.receive_data(b"", clock.advance(1.0)) == []
    assert ours.next_timer() == due_at


# What is sent


def test_protocol_frames_go_before_traffic_and_in_order(clock) -> None:
    ours, theirs = pair(clock)
    frames = FrameFactory()
    sent = [frames.traffic(), frames.bootstrap(), frames.traffic(), frames.announcement(), frames.wakeup()]
    for frame in sent:
        ours.send_frame(frame, clock.now)
    assert carry(ours, theirs, clock.now) == [sent[1], sent[3], sent[4], sent[0], sent[2]]


def test_about_the_limit_is_given_and_always_whole_frames(clock) -> None:
    ours, theirs = pair(clock)
    frames = FrameFactory()
    for _ in range(10):
        ours.send_frame(frames.traffic(size=1000), clock.now)
    assert len(ours.data_to_send(1, clock.now)) == 1
    assert len(ours.data_to_send(0, clock.now)) == 1
    taken = ours.data_to_send(2500, clock.now)
    assert len(taken) == 3
    assert 2500 <= sum(map(len, taken)) < 2500 + len(taken[0])
    assert ours.queued_frames == 5
    assert ours.queued_bytes == 5 * len(taken[0])
    assert len(carry(ours, theirs, clock.now)) == 5
    assert ours.queued_bytes == ours.queued_frames == 0


def test_a_frame_that_grew_too_long_on_its_way_is_dropped_and_counted(clock) -> None:
    ours, _ = pair(clock)
    frame = FrameFactory().traffic(size=65_450, destination=(1,))
    ours.send_frame(frame, clock.now)
    assert ours.has_data_to_send()
    written(ours, clock.now)
    frame.destination = ()
    ours.send_frame(frame, clock.now)
    assert not ours.has_data_to_send()
    assert ours.counters["dropped_out_too_long"] == 1


def test_room_shrinks_by_what_waits_and_nothing_is_dropped_within_it(clock) -> None:
    ours, _ = pair(clock)
    frames = FrameFactory()
    room = ours.room(key(7), frames.source.key)
    assert room == 256 * 1024
    for _ in range(room // 500):
        ours.send_frame(frames.traffic(to=key(7), size=500), clock.now)
    assert ours.room(key(7), frames.source.key) == 0
    assert ours.counters["dropped_out_queue_full"] == 0
    written(ours, clock.now)
    assert ours.room(key(7), frames.source.key) == room


def test_a_flow_that_nobody_writes_loses_its_oldest_frames_and_counts_them(clock) -> None:
    ours, theirs = pair(clock)
    frames = FrameFactory()
    sent = [frames.traffic(size=10_000) for _ in range(100)]
    for frame in sent:
        ours.send_frame(frame, clock.now)
    dropped = ours.counters["dropped_out_queue_full"]
    assert 50 < dropped < 75
    assert carry(ours, theirs, clock.now) == sent[dropped:]


def test_protocol_frames_that_pile_up_end_the_link(clock) -> None:
    ours, _ = pair(clock)
    frame = FrameFactory().announcement()
    frame.payload = frame.payload.ljust(60_000, b".")
    for _ in range(4 * 1024 * 1024 // 60_100):
        ours.send_frame(frame, clock.now)
    due_at = ours.next_timer()
    assert due_at is not None
    assert due_at > clock.now
    full = ours.queued_bytes
    for _ in range(10):
        ours.send_frame(frame, clock.now)
    assert ours.queued_bytes - full < 60_100
    assert ours.next_timer() == clock.now
    (failed,) = ours.handle_timer(clock.now)
    assert "too slowly" in failed.error.reason


# Time


def test_a_keepalive_is_written_after_three_seconds_without_writing(clock) -> None:
    ours, _ = pair(clock)
    assert ours.next_timer() == clock.now + 3.0
    assert ours.handle_timer(clock.advance(2.9)) == []
    assert not ours.has_data_to_send()
    assert ours.handle_timer(clock.advance(0.1)) == []
    assert written(ours, clock.now) == KEEPALIVE_BYTES
    assert ours.next_timer() == clock.advance(2.0)


def test_writing_puts_the_keepalive_off(clock) -> None:
    ours, theirs = pair(clock)
    ours.send_frame(FrameFactory().traffic(), clock.advance(2.0))
    carry(ours, theirs, clock.now)
    carry(ours, theirs, clock.advance(1.5))
    assert ours.handle_timer(clock.now) == []
    assert not ours.has_data_to_send()


def test_no_keepalive_is_added_to_frames_that_wait(clock) -> None:
    ours, _ = pair(clock)
    frame = FrameFactory().traffic()
    ours.send_frame(frame, clock.now)
    ours.handle_timer(clock.advance(3.0))
    assert written(ours, clock.now) == encode_frame(frame)


def test_keepalives_alone_keep_a_link_up(clock) -> None:
    ours, theirs = pair(clock)
    for _ in range(100):
        clock.advance(1.0)
        assert ours.handle_timer(clock.now) == theirs.handle_timer(clock.now) == []
        assert carry(ours, theirs, clock.now) == carry(theirs, ours, clock.now) == []
    assert theirs.counters["frames_in_keepalive"] == 33
    assert theirs.counters["bytes_in_keepalive"] == 330


def test_five_seconds_of_silence_end_a_link(clock) -> None:
    ours, _ = pair(clock)
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(4.0))
    clock.advance(4.9)
    assert ours.handle_timer(clock.now) == []
    (failed,) = ours.handle_timer(clock.advance(0.1))
    assert isinstance(failed.error, LinkTimeoutError)
    assert "no whole frame received" in failed.error.reason


@pytest.mark.parametrize("lent", [False, True])
def test_a_byte_now_and_then_does_not_hold_a_link(clock, lent: bool) -> None:
    ours, _ = pair(clock)
    data = encode_frame(FrameFactory().traffic(size=1000))
    for position in range(10):
        if lent:
            ours.data_arrived(1, clock.now)
        else:
            ours.receive_data(data[position : position + 1], clock.now)
        clock.advance(4.0)
        if ours.handle_timer(clock.now):
            break
    assert ours.state is PeeringState.FAILED
    assert position == 1


@pytest.mark.parametrize("lent", [False, True])
def test_a_frame_may_take_minutes_on_a_line_of_1200_baud(clock, lent: bool) -> None:
    ours, _ = pair(clock)
    frame = FrameFactory().traffic(size=60_000)
    data = encode_frame(frame)
    began_at = clock.now
    for start in range(0, len(data), 60):
        clock.advance(0.5)
        assert not [event for event in ours.handle_timer(clock.now) if isinstance(event, LinkFailed)]
        ours.data_to_send(NO_LIMIT, clock.now)
        if lent:
            ours.data_arrived(60, clock.now)
            events = ours.receive_next(bytearray(data), 0, start + 60, clock.now)[1] if start + 60 >= len(data) else []
        else:
            events = ours.receive_data(data[start : start + 60], clock.now)
    assert events == [frame]
    assert clock.now - began_at > 480


def test_a_blocked_link_has_nothing_to_send_and_dies_after_three_seconds(clock) -> None:
    ours, _ = pair(clock)
    ours.send_frame(FrameFactory().traffic(), clock.now)
    ours.link_blocked(clock.advance(1.0))
    assert not ours.has_data_to_send()
    assert ours.data_to_send(NO_LIMIT, clock.now) == []
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(2.0))
    assert ours.handle_timer(clock.now) == []
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(0.9))
    assert ours.handle_timer(clock.now) == []
    (failed,) = ours.handle_timer(clock.advance(0.1))
    assert isinstance(failed.error, LinkTimeoutError)
    assert "written" in failed.error.reason


def test_a_link_that_takes_bytes_again_lives_on(clock) -> None:
    ours, theirs = pair(clock)
    frame = FrameFactory().traffic()
    ours.send_frame(frame, clock.now)
    ours.link_blocked(clock.now)
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(2.9))
    ours.link_unblocked(clock.now)
    assert carry(ours, theirs, clock.now) == [frame]
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(2.9))
    assert ours.handle_timer(clock.now) == []


def test_a_blocked_link_that_makes_headway_has_three_seconds_anew(clock) -> None:
    ours, _ = pair(clock)
    for _ in range(5):
        ours.link_blocked(clock.now)
        ours.receive_data(KEEPALIVE_BYTES, clock.advance(2.9))
        assert ours.handle_timer(clock.now) == []


def test_a_blocked_link_gets_no_keepalive_on_top(clock) -> None:
    ours, _ = pair(clock)
    ours.link_blocked(clock.advance(2.0))
    ours.receive_data(KEEPALIVE_BYTES, clock.advance(1.0))
    assert ours.handle_timer(clock.now) == []
    ours.link_unblocked(clock.now)
    assert not ours.has_data_to_send()


# For people


def test_frames_and_bytes_are_counted_by_direction_and_type(clock) -> None:
    ours, theirs = pair(clock)
    frames = FrameFactory()
    traffic, bootstrap = frames.traffic(), frames.bootstrap()
    for frame in (traffic, bootstrap, traffic):
        ours.send_frame(frame, clock.now)
    carry(ours, theirs, clock.now)
    for counters, direction in ((ours.counters, "out"), (theirs.counters, "in")):
        assert counters[f"frames_{direction}_traffic"] == 2
        assert counters[f"bytes_{direction}_traffic"] == 2 * len(encode_frame(traffic))
        assert counters[f"frames_{direction}_bootstrap"] == 1
        assert counters[f"bytes_{direction}_bootstrap"] == len(encode_frame(bootstrap))
        assert counters[f"frames_{direction}_tree_announcement"] == 0
        assert counters[f"frames_{direction}_wakeup_broadcast"] == 0
    assert ours.bytes_out == theirs.bytes_in == 104 + 2 * len(encode_frame(traffic)) + len(encode_frame(bootstrap))
    assert ours.bytes_in == theirs.bytes_out == 104


def test_a_peering_takes_its_opening_and_its_frames_out_of_a_buffer() -> None:
    ours = Peering(identity(1), PeerType.REMOTE, 0.0)
    frame = FrameFactory().traffic()
    handshake = encode_handshake(identity(2))
    data = bytearray(handshake + encode_frame(frame) + encode_frame(frame)[:-1])
    ours.data_arrived(len(data), 0.0)
    assert ours.receive_next(data, 0, 50, 0.0) == (50, [])
    position, events = ours.receive_next(data, 50, len(data), 0.0)
    assert (position, events) == (len(handshake), [HandshakeCompleted(identity(2).key)])
    position, events = ours.receive_next(data, position, len(data), 0.0)
    assert events == [frame]
    assert ours.receive_next(data, position, len(data), 0.0) == (position, [])
    assert ours.receive_next(data, position, position + 5, 0.0) == (position, [])
    assert ours.bytes_in == len(data)


def test_a_peering_that_failed_takes_whatever_comes_and_says_nothing() -> None:
    ours = Peering(identity(1), PeerType.REMOTE, 0.0)
    data = bytearray(104 * b"x")
    position, [failed] = ours.receive_next(data, 0, len(data), 0.0)
    assert position == len(data)
    assert isinstance(failed, LinkFailed)
    assert ours.receive_next(data, 0, len(data), 0.0) == (len(data), [])


def test_nothing_is_heard_while_nothing_is_read_and_that_is_nobodys_fault() -> None:
    clock = VirtualClock()
    ours, _ = pair(clock)
    heard_at = clock.now
    ours.reading_paused(clock.advance(1.0))
    clock.advance(4.5)
    assert not [event for event in ours.handle_timer(clock.now) if isinstance(event, LinkFailed)]
    ours.reading_resumed(clock.now)
    assert ours.handle_timer(heard_at + 5.0 + 4.4) == []
    [failed] = ours.handle_timer(heard_at + 5.0 + 4.5)
    assert isinstance(failed, LinkFailed)


def test_traffic_that_never_waits_here_is_counted_all_the_same() -> None:
    clock = VirtualClock()
    ours, _ = pair(clock)
    written(ours, clock.now)
    before = ours.bytes_out
    ours.traffic_arrived(3, 300, clock.now)
    ours.traffic_sent(2, 200, clock.advance(2.0))
    counters = ours.counters
    assert (counters["frames_in_traffic"], counters["bytes_in_traffic"]) == (3, 300)
    assert (counters["frames_out_traffic"], counters["bytes_out_traffic"]) == (2, 200)
    assert ours.bytes_out == before + 200
    assert ours.handle_timer(clock.advance(1.5)) == []
    assert not ours.has_data_to_send()
