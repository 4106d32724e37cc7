# Invariant: whatever bytes come, cut anywhere, `Peering.receive_data` raises nothing, reports what it would have
# reported of the whole, and keeps less than one frame of them.
"""A peering that is fed good, bad and arbitrary bytes in pieces."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.peering import LinkFailed, LinkTerms, Peering
from pinecone_transport.wire import PeerType, encode_frame, encode_handshake
from tests.support.frames import identity
from tests.support.strategies import chunked, frames, mutated

HANDSHAKE = encode_handshake(identity(2))
streams = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(HANDSHAKE.__add__),
    st.lists(frames(), max_size=5).map(lambda sent: HANDSHAKE + b"".join(map(encode_frame, sent))),
).flatmap(lambda data: st.one_of(st.just(data), mutated(data)))


terms = st.builds(LinkTerms, mesh_key=st.sampled_from([None, bytes(32)]), require_proof=st.booleans())
link_proofs = st.binary(max_size=70).map(lambda body: b"pine\0\x80\0\0\0" + bytes([10 + len(body)]) + body)


def events_of(pieces: list[bytes], asked: LinkTerms | None = None) -> list:
    """Return the events of a new peering, errors as text; nothing may follow an error."""
    peering = Peering(identity(1), PeerType.REMOTE, 0.0, terms=asked, random=Random(1))
    events: list = []
    for piece in pieces:
        for event in peering.receive_data(piece, 0.0):
            assert not events or not isinstance(events[-1], str)
            events.append(str(event.error) if isinstance(event, LinkFailed) else event)
    return events


@given(streams, st.lists(st.integers(0, 1000), max_size=12))
def test_pieces_give_what_the_whole_gives(data: bytes, cuts: list[int]) -> None:
    whole = events_of([data])
    assert events_of(chunked(data, cuts)) == whole
    assert events_of([data[at : at + 1] for at in range(len(data))]) == whole


@given(
    st.one_of(streams, st.lists(link_proofs).map(lambda sent: HANDSHAKE + b"".join(sent))),
    st.lists(st.integers(0, 1000), max_size=12),
    terms,
)
def test_nobody_passes_without_what_was_asked(data: bytes, cuts: list[int], asked: LinkTerms) -> None:
    events = events_of(chunked(data, cuts), asked)
    assert events == events_of([data], asked)
    if asked.mesh_key is not None or asked.require_proof:
        assert not [event for event in events if not isinstance(event, str)]
