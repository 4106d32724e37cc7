"""varu64 against the golden vectors (§1)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.wire import MAX_VARU64, decode_varu64, encode_varu64
from tests.support.vectors import load_vector, named

VECTORS = load_vector("varu64")


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: str(case["value"]))
def test_a_value_has_the_reference_s_bytes_and_they_read_back(case) -> None:
    data = bytes.fromhex(case["hex"])
    assert encode_varu64(case["value"]) == data
    assert decode_varu64(data, 0, len(data)) == (case["value"], len(data))


@pytest.mark.parametrize("case", named(VECTORS["decode"]))
def test_odd_encodings_are_read_as_the_reference_reads_them(case) -> None:
    data = bytes.fromhex(case["hex"])
    value, end = decode_varu64(data, 0, len(data))
    assert (value, end) == (case["reference_value"], case["reference_consumed"])
    assert (encode_varu64(value) == data[:end]) is case["canonical"]


@pytest.mark.parametrize("case", VECTORS["encode_into_small_buffer"], ids=str)
def test_a_value_fits_just_the_buffers_that_the_reference_fits_it_in(case) -> None:
    assert (len(encode_varu64(case["value"])) > case["capacity"]) is case["error"]


def test_reading_begins_and_ends_where_it_is_told() -> None:
    assert decode_varu64(b"\xff\x81\x00\x07", 1, 4) == (128, 3)
    assert decode_varu64(b"\xff\x81\x00\x07", 1, 2) == (1, 2)


@pytest.mark.parametrize("value", [-1, MAX_VARU64 + 1])
def test_a_value_of_more_than_64_bits_is_refused(value: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_varu64(value)
