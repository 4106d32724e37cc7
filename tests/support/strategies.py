"""What hypothesis draws: values of the wire."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from pinecone_transport.wire import (
    BOOTSTRAP,
    KEEPALIVE,
    MAX_VARU64,
    NO_WATERMARK,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Frame,
    Watermark,
)

numbers = st.one_of(st.integers(0, 300), st.integers(0, MAX_VARU64))
keys = st.binary(min_size=32, max_size=32)
coordinates = st.lists(numbers, max_size=8).map(tuple)
watermarks = st.one_of(st.just(NO_WATERMARK), st.builds(Watermark, keys, numbers))
payloads = st.binary(max_size=200)
bytes_of_header = st.integers(0, 255)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Draw a frame of any type that we know, with the fields that the type has."""
    kind = draw(st.sampled_from((KEEPALIVE, TREE_ANNOUNCEMENT, BOOTSTRAP, TRAFFIC, WAKEUP_BROADCAST)))
    frame = Frame(kind, hop_limit=draw(bytes_of_header), version=draw(bytes_of_header), extra=draw(bytes_of_header))
    if kind != KEEPALIVE:
        frame.payload = draw(payloads)
    if kind == TRAFFIC:
        frame.destination, frame.source = draw(coordinates), draw(coordinates)
    if kind in (TRAFFIC, BOOTSTRAP):
        frame.destination_key = draw(keys)
    if kind in (TRAFFIC, WAKEUP_BROADCAST):
        frame.source_key = draw(keys)
    if kind == BOOTSTRAP or (kind == TRAFFIC and not frame.destination):
        frame.watermark = draw(watermarks)
    return frame


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a variant of the bytes: some changed, some cut out, some put in."""
    result = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(result)))
        how = draw(st.integers(0, 2))
        if how == 0:
            result[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == 1:
            del result[at : at + draw(st.integers(1, 20))]
        else:
            result[at:at] = draw(st.binary(min_size=1, max_size=20))
    return bytes(result)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data in pieces, cut at the given offsets (taken modulo its length)."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]
