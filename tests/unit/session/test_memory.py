"""What the buffers of all streams hold together is bounded, and each stream has its share."""

from __future__ import annotations

from pinecone_transport.session import UtpLimits
from pinecone_transport.session.utp.memory import Memory
from tests.support.virtual_link import VirtualLink

LIMITS = UtpLimits(packet=1000, largest_packet=1000, receive_window=60_000, memory=100_000, share=10_000)
STREAMS = 20


def test_one_buffer_may_be_large_while_there_is_memory_and_has_its_share_when_there_is_none() -> None:
    memory = Memory(100, 10)
    assert memory.room(60, 0) == 60
    memory.held = 70
    assert memory.room(60, 0) == 30
    assert memory.room(60, 55) == 5
    assert memory.room(60, 60) == 0
    memory.held = 100
    assert memory.room(60, 0) == 10
    assert memory.room(60, 4) == 6
    assert memory.room(60, 10) == 0
    assert memory.room(60, 50) == 0
    assert memory.room(5, 0) == 5


def test_streams_that_nobody_reads_hold_no_more_than_there_is_memory() -> None:
    link = VirtualLink(limits=LIMITS)
    link.right.acknowledging = False
    streams = [link.connect() for _ in range(STREAMS)]
    for left, _ in streams:
        assert link.left.socket.room(left) >= LIMITS.share
        link.left.socket.write(left, bytes(min(link.left.socket.room(left), 50_000)), link.now)
    link.run(20)
    held = [len(link.right.received(right)) for _, right in streams]
    assert sum(held) <= LIMITS.memory + STREAMS * LIMITS.share
    assert min(held) > LIMITS.share - 1000
    assert not link.left.lost


def test_memory_is_given_back_by_whoever_reads_and_by_who_is_gone() -> None:
    link = VirtualLink(limits=LIMITS)
    for ends in ("reads", "is gone"):
        link.right.acknowledging = ends == "reads"
        for _ in range(5):
            left, right = link.connect()
            assert link.left.socket.room(left) == LIMITS.memory
            link.left.socket.write(left, bytes(55_000), link.now)
            link.run(5)
            assert len(link.right.received(right)) == 55_000
            if ends == "reads":
                link.left.socket.close(left, link.now)
                link.right.socket.close(right, link.now)
            else:
                link.left.socket.abort(left, link.now)
            link.run(5)
    assert link.right.socket.connection_count == 0
