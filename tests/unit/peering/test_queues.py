"""The queues of a link by themselves (§3)."""

from __future__ import annotations

from random import Random

import pytest

from pinecone_transport.peering.queues import FairQueue, ProtocolQueue
from pinecone_transport.wire import PeerType
from tests.support.frames import key

SOURCE = key(1)


def destinations_of_distinct_flows(count: int, peer_type: PeerType = PeerType.REMOTE) -> list[bytes]:
    """Return keys whose flows differ. The hash has a secret, so they are found by asking for room."""
    probe = FairQueue(peer_type)
    found: list[bytes] = []
    number = 0
    full = probe.room(key(0), SOURCE)
    while len(found) < count:
        number += 1
        if probe.room(key(number), SOURCE) == full:
            probe.push(key(number), SOURCE, (b"x",))
            found.append(key(number))
    return found


def drained(queue: FairQueue) -> list[bytes]:
    return [b"".join(queue.pop()) for _ in range(len(queue))]


def test_protocol_frames_come_out_as_they_went_in() -> None:
    queue = ProtocolQueue()
    for frame in (b"one", b"three", b"two"):
        queue.push(frame)
    assert (len(queue), queue.size) == (3, 11)
    assert [queue.pop() for _ in range(3)] == [b"one", b"three", b"two"]
    assert (len(queue), queue.size) == (0, 0)


def test_flows_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue(PeerType.REMOTE)
    a, b, c = destinations_of_distinct_flows(3)
    for destination, frames in ((a, (b"a1", b"a2", b"a3", b"a4")), (b, (b"b1",)), (c, (b"c1", b"c2"))):
        for frame in frames:
            queue.push(destination, SOURCE, (frame,))
    assert (len(queue), queue.size) == (7, 14)
    assert drained(queue) == [b"a1", b"b1", b"c1", b"a2", b"c2", b"a3", b"a4"]
    assert (len(queue), queue.size) == (0, 0)


def test_a_flow_is_a_pair_of_keys_in_one_direction() -> None:
    queue = FairQueue(PeerType.REMOTE)
    full = queue.room(key(0), key(0))
    pairs = [(key(number), key(number + 1)) for number in range(40)]
    for destination, source in pairs:
        queue.push(destination, source, (b"x",))
    back = [queue.room(source, destination) for destination, source in pairs]
    assert all(queue.room(*pair) < full for pair in pairs)
    assert full in back


def test_pairs_with_the_same_hash_do_not_share_a_flow_while_another_one_is_free() -> None:
    queue = FairQueue(PeerType.BLUETOOTH)
    full = queue.room(key(0), SOURCE)
    for number in range(16):  # of sixteen drawn, all differ in one case of a million
        assert queue.room(key(number), SOURCE) == full
        queue.push(key(number), SOURCE, (b"first",))
    queue.push(key(0), SOURCE, (b"second",))
    assert len(drained(queue)) == 17
    for number in range(16, 40):  # and again, when others had them before
        assert queue.room(key(number), SOURCE) == full
        queue.push(key(number), SOURCE, (b"x",))
        queue.pop()


def test_each_pair_keeps_its_order_however_many_there_are() -> None:
    queue = FairQueue(PeerType.BLUETOOTH)
    random = Random(1)
    sent, received = [0] * 40, [0] * 40
    for _ in range(20_000):
        if len(queue) < random.choice((3, 15, 60)):
            number = random.randrange(40)
            queue.push(key(number), SOURCE, (bytes([number]), sent[number].to_bytes(4)))
            sent[number] += 1
        elif len(queue):
            who, count = queue.pop()
            assert int.from_bytes(count) == received[who[0]]
            received[who[0]] += 1
    assert queue.dropped == 0
    assert min(received) > 100


@pytest.mark.parametrize(
    ("peer_type", "flows"), [(PeerType.REMOTE, 254), (PeerType.PIPE, 254), (PeerType.BLUETOOTH, 16)]
)
def test_there_are_as_many_flows_as_the_reference_has(peer_type: PeerType, flows: int) -> None:
    queue = FairQueue(peer_type)
    full = queue.room(key(0), SOURCE)
    used = 0
    for number in range(6000):
        if queue.room(key(number), SOURCE) == full:
            queue.push(key(number), SOURCE, (b"x",))
            used += 1
    assert used == flows


@pytest.mark.parametrize(("peer_type", "room"), [(PeerType.REMOTE, 256 * 1024), (PeerType.BLUETOOTH, 4 * 1024)])
def test_a_flow_drops_its_oldest_above_one_and_a_half_times_its_room(peer_type: PeerType, room: int) -> None:
    queue = FairQueue(peer_type)
    kept, other = destinations_of_distinct_flows(2, peer_type)
    queue.push(other, SOURCE, (b"other",))
    frames = [number.to_bytes(4, "big") * 64 for number in range(3 * room // 256)]
    for frame in frames:
        queue.push(kept, SOURCE, (frame,))
    assert queue.room(kept, SOURCE) == 0
    assert queue.room(other, SOURCE) == room - 5
    assert queue.dropped == len(frames) // 2
    assert [frame for frame in drained(queue) if frame != b"other"] == frames[len(frames) // 2 :]


def test_sixteen_frames_of_a_flow_are_kept_however_large() -> None:
    queue = FairQueue(PeerType.BLUETOOTH)
    frames = [bytes((number,)) * 65_535 for number in range(20)]
    for frame in frames:
        queue.push(key(1), SOURCE, (frame,))
    assert queue.dropped == 4
    assert drained(queue) == frames[4:]


def test_all_flows_together_are_bounded_and_the_fullest_pays() -> None:
    queue = FairQueue(PeerType.REMOTE)
    small, *others = destinations_of_distinct_flows(100)
    queue.push(small, SOURCE, (b"small",))
    for number in range(3000):
        queue.push(others[number % len(others)], SOURCE, (bytes(8_000),))
        assert queue.size <= 8 * 1024 * 1024
    assert queue.dropped == 3000 - (len(queue) - 1)
    assert queue.dropped > 0
    assert queue.room(small, SOURCE) < 8_000
    assert b"small" in drained(queue)


def test_flows_of_one_long_frame_each_are_bounded_too() -> None:
    queue = FairQueue(PeerType.REMOTE)
    destinations = destinations_of_distinct_flows(200)
    for destination in destinations:
        queue.push(destination, SOURCE, (bytes(65_535),))
    assert queue.size <= 8 * 1024 * 1024
    assert len(queue) + queue.dropped == 200
    left = len(queue)
    assert drained(queue) == [bytes(65_535)] * left
    queue.push(destinations[0], SOURCE, (b"a",))
    assert drained(queue) == [b"a"]


def test_a_flow_is_half_empty_up_to_half_of_its_room() -> None:
    queue = FairQueue(PeerType.REMOTE)
    half = queue.room(key(1), SOURCE) // 2
    queue.push(key(1), SOURCE, (bytes(half - 10), bytes(10)))
    assert queue.is_half_empty(key(1), SOURCE)
    queue.push(key(1), SOURCE, (b"x",))
    assert not queue.is_half_empty(key(1), SOURCE)


def test_frames_of_a_flow_come_together_as_they_come_one_by_one() -> None:
    queue = FairQueue(PeerType.REMOTE)
    queue.push(key(1), SOURCE)
    assert len(queue) == 0
    queue.push(key(1), SOURCE, (b"a", b"b"), (b"c",))
    assert (len(queue), queue.size) == (2, 3)
    assert drained(queue) == [b"ab", b"c"]
