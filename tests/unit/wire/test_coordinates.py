"""Coordinates against the golden vectors (§1, §4)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError, LocalProtocolError
from pinecone_transport.wire import common_prefix, decode_coordinates, distance, encode_coordinates
from tests.support.vectors import load_vector, named

VECTORS = load_vector("coordinates")


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["hex"][:40])
def test_coordinates_have_the_reference_s_bytes_and_they_read_back(case) -> None:
    data = bytes.fromhex(case["hex"])
    assert encode_coordinates(tuple(case["coords"])) == data
    assert decode_coordinates(data, 0, len(data)) == (tuple(case["coords"]), len(data))


@pytest.mark.parametrize("case", named(VECTORS["decode"]))
def test_odd_encodings_are_read_as_the_reference_reads_them_or_refused(case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["reference_result"] == "ok":
        expected = (tuple(case.get("reference_coords", ())), case["reference_consumed"])
        assert decode_coordinates(data, 0, len(data)) == expected
    else:
        with pytest.raises(FrameError):
            decode_coordinates(data, 0, len(data))


@pytest.mark.parametrize("case", VECTORS["distance"], ids=lambda case: f"{case['a']}-{case['b']}"[:60])
def test_distance_prefix_and_ancestry_are_the_reference_s(case) -> None:
    a, b = tuple(case["a"]), tuple(case["b"])
    assert distance(a, b) == distance(b, a) == case["distance"]
    assert common_prefix(a, b) == common_prefix(b, a) == case["common_prefix"]
    assert (a != b and common_prefix(a, b) == len(a)) is case["a_is_ancestor_of_b"]
    assert (a != b and common_prefix(a, b) == len(b)) is case["b_is_ancestor_of_a"]


def test_reading_begins_where_it_is_told() -> None:
    assert decode_coordinates(b"\xff\x00\x02\x05\x06\x07", 1, 6) == ((5, 6), 5)


def test_coordinates_whose_length_does_not_fit_16_bits_are_refused() -> None:
    encode_coordinates((1,) * 0xFFFF)
    with pytest.raises(LocalProtocolError):
        encode_coordinates((1,) * 0x10000)
