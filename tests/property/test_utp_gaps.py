"""What is acknowledged of packets in any order, beside a set of those that came."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.session import StreamData, UtpSocket
from pinecone_transport.session.utp import ST_DATA, ST_STATE, ST_SYN, UtpPacket, decode_packet, encode_packet
from tests.support.virtual_link import LEFT_KEY

NOW = 1.0


def receive(socket: UtpSocket, type: int, seq_nr: int, ack_nr: int = 0, payload: bytes = b"") -> bytes:
    """Feed the socket a packet; return the bytes that are in order now."""
    connection_id = 7 if type == ST_SYN else 8
    packet = UtpPacket(type, connection_id, 0, 0, 1000, seq_nr & 0xFFFF, ack_nr, (), payload)
    events = socket.receive_packet(LEFT_KEY, encode_packet(packet), NOW)
    return b"".join(event.data for event in events if isinstance(event, StreamData))


def answer(socket: UtpSocket) -> UtpPacket:
    [packet] = socket.packets_to_send(LEFT_KEY, 1 << 20, NOW)
    return decode_packet(packet)


@given(
    seed=st.integers(0, 1 << 16),
    count=st.sampled_from((5, 40, 600)),
    spread=st.sampled_from((1, 3, 30, 1000)),
    first=st.sampled_from((1, 0xFFF0, 0xFF00)),
)
@settings(max_examples=60)
def test_an_acknowledgement_tells_of_the_packets_that_are_here_and_of_no_other(
    seed: int, count: int, spread: int, first: int
) -> None:
    socket = UtpSocket(random=Random(1))
    receive(socket, ST_SYN, first - 1)
    ack_nr = (answer(socket).seq_nr - 1) & 0xFFFF
    receive(socket, ST_STATE, first, ack_nr)
    random = Random(seed)
    order = sorted(range(count), key=lambda index: index + random.uniform(0, spread))
    here: set[int] = set()
    missing = 0
    arrived = b""
    for index in order:
        arrived += receive(socket, ST_DATA, first + index, ack_nr, index.to_bytes(2, "big"))
        here.add(index)
        while missing in here:
            missing += 1
        state = answer(socket)
        bits = int.from_bytes(state.selective_ack, "little")
        assert state.ack_nr == (first + missing - 1) & 0xFFFF
        assert {missing + 1 + bit for bit in range(256) if bits >> bit & 1} == {
            later for later in here if missing < later <= missing + 256
        }
    assert arrived == b"".join(index.to_bytes(2, "big") for index in range(count))
