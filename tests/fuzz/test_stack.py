# Invariant: whatever a direct peer sends behind a good handshake, the stack raises nothing, reports the link's loss at
# most once, and goes on with its other links.
"""A stack with one honest peer and one that sends mutated frames."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.stack import LinkLost, LinkUp, Stack
from pinecone_transport.wire import BOOTSTRAP, Frame, PeerType, encode_frame, encode_handshake
from tests.support.frames import FrameFactory, identity
from tests.support.strategies import chunked, frames, mutated

OURS = identity(1)
NOW = 1000.0


def plausible() -> list[Frame]:
    """Return frames that a peer may send: of every type, signed, some of them for us."""
    factory = FrameFactory(identity(2))
    other = FrameFactory(identity(3)).bootstrap()
    syn = bytes.fromhex("4100e79e637563b4000000000010000000010000")
    mine = factory.traffic(to=OURS.key)
    mine.payload = syn
    return [
        *factory.one_of_each(),
        factory.announcement(),
        mine,
        other,
        Frame(BOOTSTRAP, b"", destination_key=b"k" * 32),
    ]


encoded = st.one_of(st.sampled_from(plausible()), frames()).map(encode_frame)
streams = st.lists(st.one_of(encoded, encoded.flatmap(mutated)), max_size=12).map(b"".join)


@given(streams, st.lists(st.integers(0, 3000), max_size=6), st.lists(st.floats(0.0, 2.0), max_size=4))
def test_a_peer_can_end_its_own_link_and_nothing_else(data: bytes, cuts: list[int], waits: list[float]) -> None:
    stack = Stack(OURS, random=random.Random(1), unix_time=1.7e9, now=NOW)
    honest, hostile = (stack.add_link(PeerType.REMOTE, NOW) for _ in range(2))
    events = stack.receive_data(honest, encode_handshake(identity(4)), NOW)
    events += stack.receive_data(hostile, encode_handshake(identity(2)), NOW)
    assert [event.link for event in events if isinstance(event, LinkUp)] == [honest, hostile]
    for piece in chunked(data, cuts):
        events += stack.receive_data(hostile, piece, NOW)
        stack.pump(NOW)
    now = NOW
    for wait in waits:
        now += wait
        events += stack.receive_data(honest, encode_frame(Frame(0)), now)
        events += stack.handle_timer(now)
        stack.pump(now)
        for link in stack.links_to_send():
            stack.data_to_send(link, 1 << 16, now)
    assert [event.link for event in events if isinstance(event, LinkLost)] in ([], [hostile])
    assert stack.peering(honest) is not None
