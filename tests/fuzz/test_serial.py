# Invariant: whatever comes over a serial line, and however it is cut, nothing is raised, and nobody gets a link who has
# not greeted.
"""Noise on a serial line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pinecone_transport.links.endpoint import EndpointLink
from pinecone_transport.links.serial import Greeting
from tests.unit.links.test_stream_link import RecordingOwner

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=100),
        st.sampled_from([b"\x00pinecone-serial", b"\x00pinecone", b"-serial?", b"-serial!", b"\x00" * 40]),
    ),
    max_size=30,
)


@given(pieces=PIECES, heard=st.booleans())
def test_noise_neither_raises_nor_makes_a_link(pieces: list[bytes], heard: bool) -> None:
    clock, owner, transport = Clock(), RecordingOwner(), StringTransport()
    link = EndpointLink(owner, clock, way="serial", address="serial:/dev/x", outbound=True)
    greeting = Greeting(link, clock)
    greeting.makeConnection(transport)
    for piece in pieces:
        greeting.dataReceived(piece)
    assert owner.calls == []
    if heard:
        # The other end's answer to what we said, and its own greeting, are found behind all of that.
        own = transport.value()[:33]
        greeting.dataReceived(bytes(40) + own[:16] + b"!" + own[17:] + own[:16] + b"?" + bytes(16))
        assert owner.names()[:1] == ["made"]
