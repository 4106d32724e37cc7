"""What the buffers of all QUIC connections hold together is bounded, and each has its share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinecone_transport.session import StreamLost
from pinecone_transport.session.quic import QuicLimits
from pinecone_transport.session.quic.engine import Engine
from pinecone_transport.session.quic.settings import Settings
from pinecone_transport.session.utp import UtpLimits
from pinecone_transport.session.utp.remote import new_budget
from tests.support.quic_link import HIGH, LOW, QuicLink
from tests.support.raw_quic import RawDialler
from tests.support.virtual_link import Faults

LIMITS = QuicLimits(receive_window=60_000, send_buffer=60_000, memory=100_000, share=20_000, streams=4, spare_streams=1)
STREAMS = 20
BODY = 50_000
HELD_BACK = "windows held back for want of memory"


def write_what_may_be(link: QuicLink, left: dict[int, int]) -> int:
    """Write of each stream's rest, from the left, as much as there is room for; return how many bytes that were."""
    written = 0
    for stream, rest in left.items():
        length = min(rest, link.left.socket.room(stream))
        link.left.socket.write(stream, bytes(length), link.now)
        left[stream] -= length
        written += length
    return written


def test_streams_that_nobody_reads_hold_no_more_than_there_is_memory_and_go_on_when_they_are_read() -> None:
    link = QuicLink(quic_limits=LIMITS)
    link.right.acknowledging = False
    streams = [link.open(data=b"x") for _ in range(STREAMS)]
    rest = {left: BODY for left, _ in streams}
    for _ in range(20):
        write_what_may_be(link, rest)
        link.run(0.5)
    connections = link.right.socket.connection_count
    held = sum(len(link.right.received(right)) for _, right in streams)
    assert connections > 3
    assert LIMITS.memory <= held <= LIMITS.memory + connections * LIMITS.share
    assert link.right.socket.counters[HELD_BACK] > 0
    assert (link.left.lost, link.right.lost) == ({}, {})
    link.right.acknowledging = True
    for _, right in streams:
        link.right.socket.acknowledge_received_data(right, len(link.right.received(right)), link.now)
    for _ in range(20):
        write_what_may_be(link, rest)
        link.run(0.5)
    assert {len(link.right.received(right)) for _, right in streams} == {1 + BODY}


def test_what_is_written_to_all_streams_of_a_key_is_bounded() -> None:
    link = QuicLink(quic_limits=LIMITS)
    streams = [link.open(data=b"x")[0] for _ in range(STREAMS)]
    waiting = [link.left.socket.connect(b"\x09" * 32, link.now) for _ in range(3)]
    link.run(1)
    link.faults.cut = True
    written = write_what_may_be(link, dict.fromkeys(streams, BODY))
    assert LIMITS.memory - LIMITS.send_buffer < written <= LIMITS.memory
    assert write_what_may_be(link, dict.fromkeys(waiting, BODY)) <= LIMITS.share + LIMITS.memory - written
    assert write_what_may_be(link, dict.fromkeys(streams, BODY)) == 0
    for stream in (*waiting, *streams):
        link.left.socket.abort(stream, link.now)
    link.faults.cut = False
    left, right = link.open(data=b"x")
    assert link.left.socket.room(left) == LIMITS.send_buffer - 1
    assert link.right.received(right) == b"x"


@pytest.mark.parametrize("who", ["left", "right"])
def test_streams_that_either_end_gives_up_give_their_memory_back(who: str) -> None:
    link = QuicLink(quic_limits=LIMITS, faults=Faults(loss=0.1))
    link.right.acknowledging = False
    for _ in range(30):
        left, right = link.open(data=b"x")
        link.left.socket.write(left, bytes(15_000), link.now)
        link.run(0.015)
        side, stream = (link.left, left) if who == "left" else (link.right, right)
        side.socket.abort(stream, link.now)
        link.run(1)
    link.right.acknowledging = True
    left, right = link.open(data=b"x")
    rest = {left: BODY}
    while rest[left]:
        write_what_may_be(link, rest)
        link.run(0.1)
    link.run(1)
    assert len(link.right.received(right)) == 1 + BODY
    assert link.right.socket.counters[HELD_BACK] == 0


def test_an_upload_without_an_answer_goes_on_at_once_beyond_what_is_kept_for_another_connection() -> None:
    link = QuicLink()
    length = 4 * link.quic_limits.send_buffer
    stream = link.left.socket.connect(HIGH.key, link.now)
    rest = {stream: length}
    started_at = link.now
    while rest[stream]:
        write_what_may_be(link, rest)
        link.run(0.01)
    link.run_until(lambda: len(link.right.received(1)) == length)
    assert link.now - started_at < 1.0


class Ends:
    """A far end that can do as it likes, and an engine of ours."""

    def __init__(self) -> None:
        self.settings = Settings(HIGH, "matrix", LIMITS)
        self.far = Engine(Settings(LOW, "matrix", QuicLimits()), new_budget(UtpLimits()))
        self.far.start(1.0)
        first = self.far.packets(14, 1 << 20, 1.0)
        destination = first[0][6 : 6 + first[0][5]]
        self.own = Engine(self.settings, new_budget(UtpLimits()), destination)
        for packet in first:
            self.own.receive(packet, 1.0)
        self.exchange()

    @property
    def held(self) -> int:
        return self.settings.memories.received.held

    def exchange(self) -> None:
        for _ in range(20):
            for packet in self.own.packets(14, 1 << 20, 2.0):
                self.far.receive(packet, 2.0)
            for packet in self.far.packets(14, 1 << 20, 2.0):
                self.own.receive(packet, 2.0)

    def send(self, length: int, missing: bool = False) -> int:
        """Have the far end send so many bytes on a new stream, without the packets before the last if ``missing``."""
        stream = self.far.open()
        self.far.write(stream, bytes(length))
        packets = self.far.packets(14, 1 << 20, 2.0)
        for packet in packets[-1:] if missing else packets:
            self.own.receive(packet, 2.0)
        return stream


def test_what_has_come_counts_until_its_owner_is_done_with_it() -> None:
    ends = Ends()
    stream = ends.send(5000)
    assert ends.held == 5000
    ends.own.consumed(stream, 2000)
    assert ends.held == 3000
    ends.own.forget(stream, 3000)
    assert ends.held == 0
    ends.send(4000)
    ends.own.leave()
    assert ends.held == 0


def test_what_waits_for_a_missing_packet_counts_with_what_is_missing() -> None:
    ends = Ends()
    stream = ends.send(5000, missing=True)
    assert ends.held == 5000
    ends.own.reset(stream)
    ends.own.forget(stream, 0)
    assert ends.held == 5000
    ends.exchange()
    assert ends.held == 0


def test_streams_that_end_before_anybody_has_heard_of_them_count_no_longer() -> None:
    link = QuicLink(quic_limits=replace(LIMITS, streams=100))
    raw = RawDialler(link.right, LOW)
    raw.dial(link.now)
    for number in range(40):
        stream = raw.quic.get_next_available_stream_id()
        raw.quic.send_stream_data(stream, b"")
        raw.quic._streams[stream].sender.highest_offset = 15_000  # as if so much had been sent, and lost
        raw.quic.reset_stream(stream, 0)
        raw.exchange(link.now + number)
    assert not any(isinstance(event, StreamLost) for event in link.right.events)
    assert link.right.socket.counters[HELD_BACK] == 0
    assert link.right.socket.connection_count == 1
