"""A stack whose links lend their buffers: what passes through it, what waits, and who waits for it."""

from __future__ import annotations

import random

import pytest

from pinecone_transport.back_pressure import MAX_PAUSE
from pinecone_transport.stack import LinkLost, Received, Stack
from pinecone_transport.wire import (
    MAX_FRAME_LENGTH,
    NO_WATERMARK,
    TRAFFIC,
    Frame,
    PeerType,
    Watermark,
    encode_frame,
    encode_handshake,
)
from tests.support.frames import FrameFactory, identity, key

NOW = 1000.0
OWN = identity(1)
PEERS = [identity(number) for number in (2, 3, 4)]
KEEPALIVE = encode_frame(Frame(0))


class Node:
    """A stack and its links to three peers, all of which have announced themselves."""

    def __init__(self) -> None:
        self.stack = Stack(OWN, random=random.Random(1), unix_time=1.7e9, now=NOW)
        self.links = [self.stack.add_link(PeerType.REMOTE, NOW) for _ in PEERS]
        for number, peer in enumerate(PEERS):
            self.receive(number, encode_handshake(peer) + encode_frame(FrameFactory(peer).announcement(number + 1)))
        self.write()

    def receive(self, number: int, data: bytes, now: float = NOW) -> Received:
        return self.stack.receive_buffer(self.links[number], bytearray(data), len(data), len(data), now)

    def write(self, now: float = NOW, limit: int = 1 << 24) -> int:
        self.stack.pump(now)
        return sum(len(b"".join(self.stack.data_to_send(link, limit, now))) for link in self.stack.links_to_send())

    def refuse(self, number: int, data: bytes, now: float = NOW) -> Received:
        """Take data whose outlets take nothing."""
        received = self.receive(number, data, now)
        for offer in received.offers:
            assert self.stack.offer_taken(offer, 0, now, received) == b""
        return received

    def keep_alive(self, now: float) -> None:
        for number in range(len(PEERS)):
            self.receive(number, KEEPALIVE, now)


def traffic(to: bytes, size: int = 1000, count: int = 1, watermark: Watermark | None = None) -> bytes:
    frame = Frame(
        TRAFFIC,
        bytes(size),
        hop_limit=20,
        source=(1,),
        destination_key=to,
        source_key=key(9),
        watermark=watermark or Watermark(to, 0),
    )
    return count * encode_frame(frame)


@pytest.fixture
def node() -> Node:
    return Node()


def test_what_passes_through_is_offered_as_it_lies_there_and_needs_no_pump(node: Node) -> None:
    data = traffic(PEERS[1].key, count=5)
    received = node.receive(0, data)
    (offer,) = received.offers
    assert (offer.link, offer.came_by) == (node.links[1], node.links[0])
    assert (offer.run.frames, offer.run.size, len(offer.run.pieces)) == (5, len(data), 1)
    assert b"".join(offer.run.pieces) == traffic(PEERS[1].key, count=5).replace(b"\x14", b"\x13")
    assert node.stack.offer_taken(offer, offer.run.size, NOW, received) == b""
    assert received.is_quiet
    assert received.events == []
    assert received.consumed == len(data)
    assert node.write() == 0
    assert node.stack.peering(node.links[1]).counters["frames_out_traffic"] == 5


def test_the_rest_of_a_cut_frame_comes_back_and_what_follows_it_waits(node: Node) -> None:
    data = traffic(PEERS[1].key, count=3)
    received = node.receive(0, data)
    (offer,) = received.offers
    length = len(data) // 3
    rest = node.stack.offer_taken(offer, length + 10, NOW, received)
    assert rest == b"".join(offer.run.pieces)[length + 10 : 2 * length]
    assert not received.is_quiet
    assert node.write() == length


def test_where_something_waits_nothing_is_offered(node: Node) -> None:
    node.refuse(0, traffic(PEERS[1].key))
    received = node.receive(0, traffic(PEERS[1].key))
    assert received.offers == []
    assert not received.is_quiet
    assert node.write() == 2 * len(traffic(PEERS[1].key))


def test_nothing_is_offered_to_a_link_that_is_blocked(node: Node) -> None:
    node.stack.link_blocked(node.links[1], NOW)
    assert node.receive(0, traffic(PEERS[1].key)).offers == []
    node.stack.link_unblocked(node.links[1], NOW)
    assert node.write() > 0


def test_an_offer_for_a_link_that_is_gone_comes_to_nothing(node: Node) -> None:
    received = node.receive(0, traffic(PEERS[1].key))
    node.stack.remove_link(node.links[1], NOW)
    assert node.stack.offer_taken(received.offers[0], 0, NOW, received) == b""


def test_nothing_is_offered_of_a_frame_that_becomes_too_long(node: Node) -> None:
    # Nobody is nearer to a child of ours than we, so the frame goes on by key, and by a longer header.
    child = (*node.stack.router.coordinates, 7)
    fields = {"hop_limit": 9, "destination": child, "destination_key": PEERS[1].key, "source_key": key(9)}
    overhead = len(encode_frame(Frame(TRAFFIC, **fields)))
    received = node.receive(0, encode_frame(Frame(TRAFFIC, bytes(MAX_FRAME_LENGTH - overhead), **fields)))
    assert received.offers == []
    assert node.stack.router.counters["frame too long"] == 1
    # Nothing was sent, so a keepalive is due as before.
    node.stack.handle_timer(NOW + 3.0)
    assert node.links[1] in node.stack.links_to_send()


def test_half_a_frame_is_left_to_the_link(node: Node) -> None:
    data = traffic(PEERS[1].key, count=2)
    received = node.receive(0, data[:-1])
    assert received.consumed == len(data) // 2
    assert received.offers[0].run.frames == 1


def test_a_bad_frame_ends_the_link_behind_what_was_good(node: Node) -> None:
    data = traffic(PEERS[1].key) + b"GET / HTTP/1.1"
    received = node.receive(0, data)
    assert received.consumed == len(data)
    assert isinstance(received.events[-1], LinkLost)
    assert len(received.offers) == 1
    assert node.receive(0, data).consumed == len(data)


def test_what_was_for_a_link_that_the_same_read_ended_is_dropped(node: Node) -> None:
    data = traffic(PEERS[0].key) + b"GET / HTTP/1.1"
    received = node.receive(0, data)
    assert received.offers == []


def test_packets_for_us_go_up_together_and_their_sender_is_found_by_the_tree(node: Node) -> None:
    syn = bytes.fromhex("4100e79e637563b4000000000010000000010000")
    frame = Frame(TRAFFIC, syn, hop_limit=9, source=(1,), destination_key=OWN.key, source_key=PEERS[0].key)
    received = node.receive(0, encode_frame(frame) * 2)
    assert not received.is_quiet
    assert node.stack.socket.counters["packets received"] == 2
    assert node.stack.router.state.coordinates_cache.get(PEERS[0].key, NOW) == (1,)


def test_packets_for_keys_that_would_be_here_are_counted() -> None:
    stack = Stack(OWN, random=random.Random(1), unix_time=1.7e9, now=NOW)
    link = stack.add_link(PeerType.REMOTE, NOW)
    stack.receive_data(link, encode_handshake(PEERS[0]), NOW)
    data = traffic(key(1), count=3, watermark=NO_WATERMARK)
    received = stack.receive_buffer(link, bytearray(data), len(data), len(data), NOW)
    assert received.offers == []
    assert stack.counters["packets for other keys"] == 3


def test_reading_pauses_where_what_comes_finds_no_room_until_it_has_left(node: Node) -> None:
    data = traffic(PEERS[1].key, size=50_000, count=4)
    node.refuse(0, data)
    assert node.stack.take_pauses() == {node.links[0]: True}
    assert node.stack.take_pauses() == {}
    assert node.write(limit=1) > 0
    assert node.stack.take_pauses() == {}
    assert node.write() > 0
    assert node.stack.take_pauses() == {node.links[0]: False}


def test_a_pause_ends_after_half_a_second_whatever_happens(node: Node) -> None:
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4))
    node.stack.link_blocked(node.links[1], NOW)
    node.stack.take_pauses()
    assert node.stack.next_timer() <= NOW + MAX_PAUSE
    for now in (NOW + 0.1, NOW + 0.4):
        node.stack.handle_timer(now)
        assert node.stack.take_pauses() == {}
    node.stack.handle_timer(NOW + MAX_PAUSE)
    assert node.stack.take_pauses() == {node.links[0]: False}
    # It is not waited for again soon: what finds no room is dropped instead.
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=20), NOW + 0.6)
    assert node.stack.take_pauses() == {}
    assert node.stack.peering(node.links[1]).counters["dropped_out_queue_full"] > 0


def test_a_pause_ends_in_time_though_something_else_of_its_link_was_due_before(node: Node) -> None:
    paused_at = NOW + 2.9  # and at NOW + 3 a keepalive is due
    node.keep_alive(paused_at)
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4), paused_at)
    node.stack.link_blocked(node.links[1], paused_at)
    assert node.stack.take_pauses() == {node.links[0]: True}
    now = paused_at
    while now < paused_at + MAX_PAUSE:
        now = node.stack.next_timer()
        node.stack.handle_timer(now)
    assert now == paused_at + MAX_PAUSE
    assert node.stack.take_pauses() == {node.links[0]: False}


def test_silence_while_reading_is_paused_is_not_the_peers_fault(node: Node) -> None:
    node.keep_alive(NOW)
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4))
    late = NOW + MAX_PAUSE
    node.stack.handle_timer(late)
    for number in (1, 2):
        node.receive(number, KEEPALIVE, NOW + 4.0)
    assert not [event for event in node.stack.handle_timer(NOW + 5.2) if isinstance(event, LinkLost)]
    events = node.stack.handle_timer(late + 5.0)
    assert [event.link for event in events if isinstance(event, LinkLost)] == [node.links[0]]


def test_who_waits_for_a_link_that_is_lost_waits_no_longer(node: Node) -> None:
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4))
    node.stack.remove_link(node.links[1], NOW)
    assert node.stack.take_pauses() == {node.links[0]: False}


def test_a_paused_link_can_be_lost_itself(node: Node) -> None:
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4))
    node.stack.remove_link(node.links[0], NOW)
    assert node.write() > 0
    assert node.stack.take_pauses() == {node.links[0]: True}


def test_a_link_that_the_same_read_ended_is_not_paused(node: Node) -> None:
    node.refuse(0, traffic(PEERS[1].key, size=50_000, count=4) + b"GET / HTTP/1.1")
    assert node.stack.take_pauses() == {}
