"""Bytes to frames, by itself (§3)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError
from pinecone_transport.peering.splitter import FrameSplitter
from pinecone_transport.wire import MAX_FRAME_LENGTH, encode_frame
from tests.support.frames import FrameFactory
from tests.support.strategies import chunked

LONGEST = b"pine\x00\x80\x00\x00\xff\xff".ljust(MAX_FRAME_LENGTH, b".")


@pytest.mark.parametrize("cuts", [[], [1], [9, 10, 11], list(range(0, 200_000, 1400)), [65_535, 65_545]])
def test_frames_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    frames = [LONGEST, *map(encode_frame, FrameFactory().one_of_each()), LONGEST]
    splitter = FrameSplitter()
    pieces = chunked(b"".join(frames), cuts)
    assert [frame for piece in pieces for frame in splitter.split(piece, 0)] == frames


def test_splitting_begins_where_it_is_told() -> None:
    frame = encode_frame(FrameFactory().traffic())
    assert list(FrameSplitter().split(b"handshake" + frame, 9)) == [frame]


def test_good_frames_come_before_the_error() -> None:
    frame = encode_frame(FrameFactory().traffic())
    frames = FrameSplitter().split(frame + b"no frame at all", 0)
    assert next(frames) == frame
    with pytest.raises(FrameError):
        next(frames)
