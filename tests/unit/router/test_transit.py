"""Traffic in buffers, by itself: what is kept of it, and what is left to the twin."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError
from pinecone_transport.router import Passage, Router
from pinecone_transport.router.constants import MAX_FLOW_HEADER, MAX_FLOWS
from pinecone_transport.wire import (
    MAX_FRAME_LENGTH,
    TRAFFIC,
    Frame,
    PeerType,
    Watermark,
    decode_traffic_way,
    encode_frame,
    encode_traffic_way,
)
from tests.support.frames import FrameFactory, identity, key
from tests.support.routers import NOW, router

OWN, *PEERS = sorted((identity(number) for number in range(1, 4)), key=lambda node: node.key)


def node() -> Router:
    """Return a router with two peers that have announced themselves."""
    made = router(OWN)
    for peer in PEERS:
        port = made.add_peer(peer.key, PeerType.REMOTE, NOW)
        made.receive_frame(port, FrameFactory(peer).announcement(port), NOW)
    made.frames_to_send()
    return made


def taken(made: Router, data: bytes) -> Passage:
    passage = Passage()
    passage.port = 1
    made.receive_traffic(passage, bytearray(data), len(data), NOW)
    return passage


def traffic(to: bytes, watermark: Watermark, size: int = 4, hops: int = 1) -> bytes:
    return encode_frame(
        Frame(
            TRAFFIC,
            bytes(size),
            hop_limit=9,
            source=hops * (1,),
            destination_key=to,
            source_key=key(9),
            watermark=watermark,
        )
    )


def test_frames_of_one_flow_are_one_piece_however_many_lengths_they_have() -> None:
    frames = [traffic(PEERS[1].key, Watermark(PEERS[1].key, 0), size) for size in (4, 4, 900, 900, 5)]
    passage = taken(node(), b"".join(frames))
    (run,) = passage.runs.values()
    assert (run.port, run.frames, len(run.pieces)) == (2, 5, 1)
    passed_on = [frame[:7] + b"\x08" + frame[8:] for frame in frames]
    assert b"".join(run.pieces) == b"".join(passed_on)
    keys = (PEERS[1].key, key(9))
    assert run.after(len(frames[0]) + 3) == (passed_on[1][3:], [(*keys, frame) for frame in passed_on[2:]])


def test_a_frame_that_would_grow_too_long_on_its_way_is_dropped() -> None:
    made = node()
    # Nobody is nearer to a child of ours than we, so its frames go on by key.
    child = (*made.coordinates, 7)
    fields = {"hop_limit": 9, "destination": child, "destination_key": PEERS[1].key, "source_key": key(9)}
    growth = 33 - len(child)
    overhead = len(encode_frame(Frame(TRAFFIC, **fields))) + growth
    fits = encode_frame(Frame(TRAFFIC, bytes(MAX_FRAME_LENGTH - overhead), **fields))
    assert taken(made, fits).runs[2].size == MAX_FRAME_LENGTH
    too_long = encode_frame(Frame(TRAFFIC, bytes(MAX_FRAME_LENGTH - overhead + 1), **fields))
    assert taken(made, too_long).runs[2].size == 0
    assert made.counters["frame too long"] == 1


def test_our_own_frames_are_those_of_the_plain_path_and_no_longer_than_a_frame_can_be() -> None:
    made = node()
    route = made.route(PEERS[1].key, NOW)
    assert route is not None
    packets = [b"one", b"two", bytes(MAX_FRAME_LENGTH), b"three", b""]
    frames = [b"".join(frame) for frame in made.frame_packets(route, [(packet[:2], packet[2:]) for packet in packets])]
    for packet in packets:
        made.send_packet(route, packet, NOW)
    assert frames == [encode_frame(frame) for _, frame in made.frames_to_send()]
    assert made.counters["frame too long"] == 2


def test_frames_with_very_long_headers_are_left_to_the_twin() -> None:
    watermark = Watermark(PEERS[1].key, 0)
    longest = len(traffic(PEERS[1].key, watermark, 0, hops=0))
    short = traffic(PEERS[1].key, watermark, hops=MAX_FLOW_HEADER - longest)
    long = traffic(PEERS[1].key, watermark, hops=MAX_FLOW_HEADER - longest + 1)
    passage = taken(node(), short + long + short)
    assert (passage.frames, passage.position) == (1, len(short))


def test_what_was_decided_is_remembered_within_bounds_and_as_long_as_it_is_true() -> None:
    made = node()
    way = encode_traffic_way((), (1,), PEERS[1].key, key(9), Watermark(PEERS[1].key, 0))
    decided = made.decide_traffic(1, way, NOW)
    assert decided.port == 2
    assert made.decide_traffic(1, way, NOW) is decided
    assert made.decide_traffic(2, way, NOW).port is None
    for number in range(MAX_FLOWS):
        made.decide_traffic(1, encode_traffic_way((1,), (), PEERS[0].key, key(number), Watermark(key(1), 0)), NOW)
    again = made.decide_traffic(1, way, NOW)
    assert again is not decided
    made.remove_peer(2, NOW)
    assert made.decide_traffic(1, way, NOW).port != 2


def test_what_ends_here_is_delivered_with_where_its_sender_is() -> None:
    passage = taken(node(), 2 * traffic(OWN.key, Watermark(OWN.key, 0)))
    (delivery,) = passage.deliveries
    assert (delivery.source, delivery.destination, delivery.coordinates) == (key(9), OWN.key, (1,))
    assert [bytes(packet) for packet in delivery.packets] == 2 * [bytes(4)]


@pytest.mark.parametrize("cut", [1, 5, 40, 70])
def test_a_way_that_is_cut_or_too_long_is_none(cut: int) -> None:
    way = encode_traffic_way((1, 2), (3,), key(1), key(2), Watermark(key(3), 1))
    assert decode_traffic_way(way).destination_key == key(1)
    with pytest.raises(FrameError):
        decode_traffic_way(way[:-cut])
    with pytest.raises(FrameError):
        decode_traffic_way(way + bytes(cut))
