# Invariant: a decoder returns a value or raises its documented error, whatever bytes it is given.
"""Decoders of the wire and of certificates on arbitrary and on nearly right bytes."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.errors import AnnouncementError, CertificateError, FrameError, HandshakeError
from pinecone_transport.identity import key_from_certificate
from pinecone_transport.wire import (
    decode_announcement,
    decode_bootstrap,
    decode_coordinates,
    decode_frame,
    decode_handshake,
    decode_lan_announcement,
    decode_varu64,
    encode_frame,
    encode_handshake,
    encode_lan_announcement,
    frame_length,
)
from tests.support.frames import FrameFactory, identity
from tests.support.strategies import frames, mutated

GOOD_ANNOUNCEMENT = FrameFactory().announcement().payload
GOOD_BOOTSTRAP = FrameFactory().bootstrap().payload
DECODERS = {
    "handshake": (decode_handshake, HandshakeError, encode_handshake(identity(1))),
    "announcement": (decode_announcement, AnnouncementError, GOOD_ANNOUNCEMENT),
    "bootstrap": (decode_bootstrap, AnnouncementError, GOOD_BOOTSTRAP),
    "lan announcement": (decode_lan_announcement, AnnouncementError, encode_lan_announcement(identity(1).key, 1)),
    "certificate": (key_from_certificate, CertificateError, identity(1).certificate()),
}


# pytest-twisted wraps a parametrized hypothesis test once per parameter, so the decoder is drawn.
@settings(max_examples=500)
@given(st.sampled_from(sorted(DECODERS)), st.data())
def test_a_decoder_raises_its_own_error_alone(name: str, data) -> None:
    decode, error, good = DECODERS[name]
    decode(good)
    with suppress(error):
        decode(data.draw(st.one_of(mutated(good), st.binary(max_size=400))))


@given(frames().flatmap(lambda frame: mutated(encode_frame(frame))))
def test_a_mutated_frame_is_read_or_refused(data: bytes) -> None:
    with suppress(FrameError):
        decode_frame(data)


@given(frames(), st.data())
def test_a_frame_with_mutations_behind_a_right_length_is_read_or_refused(frame, data) -> None:
    body = data.draw(mutated(encode_frame(frame)[10:]))
    header = b"pine" + bytes((0, frame.type, 0, 0)) + (10 + len(body)).to_bytes(2, "big")
    with suppress(FrameError):
        read = decode_frame(header + body)
        assert len(read.payload) <= len(body)


@given(st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_readers_stay_within_their_range(data: bytes, start: int, end: int) -> None:
    start, end = sorted((min(start, len(data)), min(end, len(data))))
    _, stop = decode_varu64(data, start, end)
    assert start <= stop <= end
    with suppress(FrameError):
        _, stop = decode_coordinates(data, start, end)
        assert start + 2 <= stop <= end
    with suppress(FrameError):
        assert frame_length(data, start, end) in (None, *range(10, 65_536))
