"""Traffic taken out of a buffer has the outcome of traffic taken frame by frame: what leaves, arrives, and counts."""

from __future__ import annotations

import random
from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.errors import FrameError
from pinecone_transport.identity import PublicKey
from pinecone_transport.router import PacketReceived, Passage, Peer, Router, RouterState
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.stack import LinkLost, Stack, StackEvent
from pinecone_transport.wire import (
    FULL_MASK,
    TRAFFIC,
    Announcement,
    Frame,
    HopSignature,
    PeerType,
    Watermark,
    decode_frame,
    encode_frame,
    encode_handshake,
    frame_length,
    traffic_keys,
    traffic_payload_at,
)
from tests.support.frames import FrameFactory, identity
from tests.support.routers import NOW, router
from tests.support.strategies import chunked, mutated

OWN = identity(1)
NODES = sorted((identity(number).key for number in range(2, 9)), reverse=True)
ROOT = NODES[0]
PORTS = range(1, 5)
LATER = 4.0

keys = st.sampled_from([OWN.key, *NODES])
hops = st.integers(1, 3)
announcements = st.builds(
    lambda key, hop, last: Announcement(
        ROOT, 1, (HopSignature(hop, ROOT, bytes(64)), HopSignature(last, key, bytes(64)))
    ),
    keys,
    hops,
    hops,
)
peers = st.lists(
    st.builds(
        Peer,
        st.sampled_from(PORTS),
        keys,
        st.sampled_from([PeerType.PIPE, PeerType.REMOTE]),
        st.booleans() | st.just(True),
        st.none() | announcements | announcements,
        st.integers(1, 4),
    ),
    max_size=4,
    unique_by=lambda peer: peer.port,
)
entries = st.lists(
    st.builds(
        SnakeEntry,
        keys,
        st.sampled_from(PORTS),
        st.none(),
        # Sequences of several lengths, so that headers grow and shrink.
        st.sampled_from([1, 200, 1 << 40]),
        st.just(ROOT),
        st.just(1),
        st.sampled_from([NOW, NOW - 9.0, NOW - LATER, NOW - 10.0]),
    ),
    max_size=6,
    unique_by=lambda entry: entry.key,
)
# Port 200 takes two bytes; what is written in more bytes than it needs is tested apart from these.
coordinates = st.lists(st.sampled_from([1, 2, 3, 200]), max_size=3).map(tuple)
watermarks = st.builds(Watermark, keys | st.just(FULL_MASK), st.sampled_from([0, 1, 200, 1 << 40]))
traffic = st.builds(
    lambda payload, hop_limit, to, source, destination, mark, extra: Frame(
        TRAFFIC,
        payload,
        hop_limit=hop_limit,
        destination=destination,
        source=(1, 200),
        destination_key=to,
        source_key=source,
        watermark=mark,
        extra=extra,
    ),
    st.sampled_from([b"", b"a", b"bc" * 700]),
    st.sampled_from([0, 1, 2, 64]),
    keys,
    st.sampled_from(NODES),
    coordinates,
    watermarks,
    st.sampled_from([0, 0, 7]),
)
bursts = st.lists(st.tuples(traffic, st.integers(1, 4)), max_size=6).map(
    lambda drawn: [encode_frame(frame) for frame, count in drawn for _ in range(count)]
)
# Hop 1 written in two bytes.
ODD = encode_frame(
    Frame(TRAFFIC, b"odd", hop_limit=9, destination=(2,), source=(1,), destination_key=NODES[1], source_key=NODES[2])
)
ODD = ODD[:9] + bytes([ODD[9] + 1]) + ODD[10:13] + b"\x02\x80\x02" + ODD[15:]


def taken_one_by_one(node: Router, port: int, frames: list[bytes], now: float) -> tuple[dict[int, bytes], list]:
    deliveries = []
    for frame in frames:
        for event in node.receive_frame(port, decode_frame(frame), now):
            if isinstance(event, PacketReceived):
                deliveries.append((event.source, event.destination, event.payload))
    sent: dict[int, bytes] = {}
    for outlet, sent_frame in node.frames_to_send():
        sent[outlet] = sent.get(outlet, b"") + encode_frame(sent_frame)
    return sent, deliveries


def taken_together(node: Router, port: int, frames: list[bytes], now: float) -> tuple[dict[int, bytes], list]:
    buffer = bytearray(b"".join(frames))
    passage = Passage()
    passage.port = port
    node.receive_traffic(passage, buffer, len(buffer), now)
    assert passage.position == len(buffer)
    assert passage.frames == len(frames)
    deliveries = []
    for delivery in passage.deliveries:
        for packet in delivery.packets:
            deliveries.append((delivery.source, delivery.destination, bytes(packet)))
        if delivery.destination == OWN.key:
            node.learn_coordinates(delivery.source, delivery.coordinates, now)
    sent = {outlet: b"".join(run.pieces) for outlet, run in passage.runs.items() if run.pieces}
    assert {outlet: len(data) for outlet, data in sent.items()} == {
        outlet: run.size for outlet, run in passage.runs.items() if run.size
    }
    return sent, deliveries


@settings(max_examples=400)
@given(
    peers,
    st.sampled_from([None, *PORTS]),
    entries,
    st.lists(st.tuples(st.integers(0, 5), bursts, st.sampled_from([NOW, NOW + 1.0, NOW + LATER])), max_size=4),
    st.booleans(),
)
def test_a_router_does_the_same_with_traffic_however_it_gets_it(
    known: list[Peer],
    parent: int | None,
    table: list[SnakeEntry],
    reads: list[tuple[int, list[bytes], float]],
    hop_limiting: bool,
) -> None:
    state = RouterState(OWN.key, 2, {peer.port: peer for peer in known}, parent, table=SnakeTable(table))
    plain = router(OWN, deepcopy(state), hop_limiting=hop_limiting)
    fast = router(OWN, state, hop_limiting=hop_limiting)
    for port, frames, now in sorted(reads, key=lambda read: read[2]):
        if now == NOW + 1.0:
            # Something changes, of which the flows have to hear.
            for node in (plain, fast):
                node.remove_peer(2, now)
                node.frames_to_send()
        read = [*frames, ODD]
        assert taken_together(fast, port, read, now) == taken_one_by_one(plain, port, read, now)
        for key in NODES:
            assert fast.route(key, now) == plain.route(key, now)
    assert fast.counters == plain.counters


@given(st.one_of(traffic.map(encode_frame), st.just(ODD)), st.integers(0, 20), st.data())
def test_a_frame_is_taken_if_and_only_if_it_decodes(frame: bytes, behind: int, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        frame = data.draw(mutated(frame))
    buffer = bytearray(frame) + bytes(behind)
    payload_at = traffic_payload_at(buffer, 0, len(buffer))
    try:
        length = frame_length(buffer, 0, len(buffer)) or 0
        decoded = decode_frame(bytes(buffer[:length]))
        expected = decoded.type == TRAFFIC and 0 < length <= len(buffer)
    except FrameError:
        expected = False
    if payload_at:
        assert expected
        assert bytes(buffer[payload_at:length]) == decoded.payload
        assert traffic_keys(bytes(buffer), 0) == (decoded.destination_key, decoded.source_key)
    elif expected:
        # What is left to the twin although it decodes: a watermark whose number does not end before the frame does.
        assert not decoded.destination
        assert not decoded.payload


OTHERS = [identity(number) for number in (2, 3, 4)]


class Node:
    """A stack with three links whose peers have announced themselves, and what became of it."""

    def __init__(self) -> None:
        self.stack = Stack(OWN, random=random.Random(1), unix_time=1.7e9, now=NOW)
        self.links = [self.stack.add_link(PeerType.REMOTE, NOW) for _ in OTHERS]
        self.events: list[StackEvent] = []
        self.written: dict[int, bytes] = dict.fromkeys(self.links, b"")
        self.kept = dict.fromkeys(self.links, b"")

    def write(self, now: float) -> None:
        self.stack.pump(now)
        for link in self.stack.links_to_send():
            self.written[link] += b"".join(self.stack.data_to_send(link, 1 << 20, now))

    def receive_plainly(self, number: int, data: bytes, now: float) -> None:
        self.events += self.stack.receive_data(self.links[number], data, now)
        self.write(now)

    def receive(self, number: int, data: bytes, now: float, willing: random.Random) -> None:
        """Take data as a link does that lends its buffer; outlets take as much as they are willing to."""
        link = self.links[number]
        buffer = bytearray(self.kept[link] + data)
        received = self.stack.receive_buffer(link, buffer, len(data), len(buffer), now)
        for offer in received.offers:
            taken = willing.choice([0, offer.run.size, willing.randrange(offer.run.size + 1)])
            self.written[offer.link] += b"".join(offer.run.pieces)[:taken]
            self.written[offer.link] += self.stack.offer_taken(offer, taken, now, received)
        self.kept[link] = bytes(buffer[received.consumed :])
        self.events += received.events
        self.write(now)

    def flows(self, link: int) -> dict[tuple[PublicKey, PublicKey] | None, list[bytes]]:
        """Return what was written to a link: traffic by flow, and all else in one order."""
        data = self.written[link]
        position = 104
        found: dict[tuple[PublicKey, PublicKey] | None, list[bytes]] = {}
        while position < len(data):
            end = position + (frame_length(data, position, len(data)) or 0)
            flow = traffic_keys(data, position) if data[position + 5] == TRAFFIC else None
            found.setdefault(flow, []).append(data[position:end])
            position = end
        return found


factories = [FrameFactory(other) for other in OTHERS]
syn = Frame(
    TRAFFIC,
    bytes.fromhex("4100e79e637563b4000000000010000000010000"),
    hop_limit=9,
    source=(1,),
    destination_key=OWN.key,
    source_key=OTHERS[0].key,
)
frames_of_peers = st.one_of(
    st.sampled_from([encode_frame(Frame(0)), encode_frame(syn), *map(encode_frame, factories[0].one_of_each())]),
    st.builds(
        lambda payload, hop_limit, to, source, extra: encode_frame(
            Frame(
                TRAFFIC,
                payload,
                hop_limit=hop_limit,
                source=(1,),
                destination_key=to.key,
                source_key=source.key,
                extra=extra,
            )
        ),
        st.sampled_from([b"a", b"bc" * 400]),
        st.sampled_from([1, 2, 64]),
        st.sampled_from([OWN, *OTHERS]),
        st.sampled_from(OTHERS),
        st.sampled_from([0, 1]),
    ),
)
streams = st.lists(st.tuples(frames_of_peers, st.integers(1, 5)), max_size=8).map(
    lambda drawn: b"".join(frame * count for frame, count in drawn)
)
reads = st.lists(
    st.tuples(
        st.integers(0, 2), st.one_of(streams, streams.flatmap(mutated)), st.lists(st.integers(0, 5000), max_size=3)
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(reads, st.integers(0, 1000))
def test_a_node_does_the_same_whether_links_lend_their_buffers_or_not(
    drawn: list[tuple[int, bytes, list[int]]], seed: int
) -> None:
    plain, fast = Node(), Node()
    willing = random.Random(seed)
    openings = [
        (number, encode_handshake(other) + encode_frame(FrameFactory(other).announcement(port=number + 1)), [50, 120])
        for number, other in enumerate(OTHERS)
    ]
    now = NOW
    for number, data, cuts in [*openings, *drawn]:
        now += 0.1
        for piece in chunked(data, cuts):
            plain.receive_plainly(number, piece, now)
            fast.receive(number, piece, now, willing)
    assert [str(event) for event in fast.events] == [str(event) for event in plain.events]
    assert fast.stack.counters == plain.stack.counters
    assert fast.stack.router.counters == plain.stack.router.counters
    assert fast.stack.socket.counters == plain.stack.socket.counters
    lost = {event.link for event in plain.events if isinstance(event, LinkLost)}
    for link in plain.links:
        assert fast.flows(link) == plain.flows(link)
        if link not in lost:
            assert fast.stack.peering(link).counters == plain.stack.peering(link).counters
            assert fast.stack.peering(link).bytes_in == plain.stack.peering(link).bytes_in
            assert fast.stack.peering(link).bytes_out == plain.stack.peering(link).bytes_out
