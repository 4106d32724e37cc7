"""Frames against the golden vectors (§3)."""

from __future__ import annotations

import hashlib

import pytest

from pinecone_transport.errors import FrameError, LocalProtocolError
from pinecone_transport.wire import KEEPALIVE, TRAFFIC, Frame, decode_frame, encode_frame, frame_length
from tests.support.frames import FrameFactory
from tests.support.vectors import frame_of, load_vector, named

VECTORS = load_vector("frames")


@pytest.mark.parametrize("case", named(VECTORS["valid"]))
def test_a_frame_has_the_reference_s_bytes_and_they_read_back(case) -> None:
    frame = frame_of(case, bytes.fromhex(case["payload"]))
    data = bytes.fromhex(case["hex"])
    assert encode_frame(frame) == data
    assert decode_frame(data) == frame


@pytest.mark.parametrize("case", named(VECTORS["large"]))
def test_the_largest_frames_are_made_and_larger_ones_refused(case) -> None:
    frame = frame_of(case, bytes((case["payload_byte"],)) * case["payload_count"])
    if case["total"] > 65535:
        with pytest.raises(LocalProtocolError):
            encode_frame(frame)
        return
    data = encode_frame(frame)
    assert data[:16].hex() == case["first_16"]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (case["total"], case["sha256"])
    assert int.from_bytes(data[8:10], "big") == case["length_field"]
    assert decode_frame(data) == frame


@pytest.mark.parametrize("case", named(VECTORS["malformed"]))
def test_malformed_frames_are_read_or_refused_as_advised(case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["parse_advice"] == "close":
        with pytest.raises(FrameError):
            decode_frame(data)
        return
    frame = decode_frame(data)
    assert (frame.version, frame.type, frame.extra, frame.hop_limit) == tuple(data[4:8])
    assert (frame.type > 4) is (case["parse_advice"] == "drop")


def test_version_and_extra_go_along() -> None:
    frame = Frame(KEEPALIVE, version=9, extra=1)
    assert encode_frame(frame) == b"pine\x09\x00\x01\x00\x00\x0a"
    assert decode_frame(encode_frame(frame)) == frame


def test_the_length_of_a_frame_is_known_with_its_header_and_not_before() -> None:
    data = b"--" + encode_frame(FrameFactory().traffic(size=50))
    assert frame_length(data, 2, 11) is None
    assert frame_length(data, 2, 12) == len(data) - 2


def test_frames_of_unknown_types_are_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        encode_frame(Frame(0x80))


def test_frames_are_equal_when_all_their_fields_are() -> None:
    frame = FrameFactory().traffic()
    twin = decode_frame(encode_frame(frame))
    assert frame == twin
    twin.hop_limit -= 1
    assert frame != twin
    assert frame != encode_frame(frame)


def test_a_frame_shows_its_type_and_size_but_not_its_payload() -> None:
    assert repr(Frame(TRAFFIC, b"secret", hop_limit=3)) == "<Frame type=3 hop_limit=3 payload=6 bytes>"
