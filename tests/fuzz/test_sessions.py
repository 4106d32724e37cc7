"""Whatever packets come, from whomever: nothing raises, nothing grows beyond its bounds, other streams go on."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.session import Kinds, Sessions
from pinecone_transport.session.quic import QuicSocket
from tests.support.quic_link import HIGH, LOW
from tests.unit.session.test_sessions import SessionsLink

KEYS = [LOW.key, b"\x05" * 32, b"\x06" * 32]


def first_packets() -> list[bytes]:
    packets = []
    for kinds in (Kinds(), None):
        sessions = Sessions(LOW, random=Random(4), kinds=kinds)
        sessions.connect(HIGH.key, 1.0)
        packets += sessions.packets_to_send(HIGH.key, 1 << 20, 1.0)
    quic = QuicSocket(LOW, random=Random(4))
    quic.connect(HIGH.key, 1.0)
    return packets + quic.packets_to_send(HIGH.key, 1 << 20, 1.0)


FIRST = first_packets()

garbage = st.binary(max_size=80)
any_first_byte = st.builds(lambda first, rest: bytes((first,)) + rest, st.integers(0, 255), st.binary(max_size=1500))
changed = st.builds(
    lambda packet, at, value: packet[: at % len(packet)] + bytes((value,)) + packet[at % len(packet) + 1 :],
    st.sampled_from(FIRST),
    st.integers(0, 1500),
    st.integers(0, 255),
)
cut = st.builds(lambda packet, length: packet[:length], st.sampled_from(FIRST), st.integers(0, 1500))
packets = st.one_of(garbage, any_first_byte, changed, cut, st.sampled_from(FIRST))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(KEYS), packets), max_size=30))
def test_streams_go_on_beside_any_packets(stream_of_packets: list[tuple[bytes, bytes]]) -> None:
    link = SessionsLink(right_socket=QuicSocket(HIGH, random=Random(2)))
    near, _ = link.dial()
    link.left.socket.write(near, b"before", link.now)
    link.run(0.1)
    before = len(link.left.socket.sessions())
    for key, packet in stream_of_packets:
        link.left.socket.receive_packet(HIGH.key if key == LOW.key else key, packet, link.now)
        link.run(0.001)
    link.left.socket.write(near, b" and after", link.now)
    link.run(1)
    assert bytes(link.right.data[link.right.accepted[0]]) == b"before and after"
    link.run(60)
    for key in KEYS[1:]:
        link.left.socket.packets_to_send(key, 1 << 20, link.now)
    assert len(link.left.socket.sessions()) <= before
