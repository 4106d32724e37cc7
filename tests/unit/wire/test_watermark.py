"""The order of watermarks (§5)."""

from __future__ import annotations

import pytest

from pinecone_transport.wire import FULL_MASK, NO_WATERMARK, Watermark

LOW, HIGH = b"\x01" * 32, b"\x02" * 32


@pytest.mark.parametrize(
    ("mark", "other", "worse"),
    [
        (Watermark(HIGH, 9), Watermark(LOW, 1), True),
        (Watermark(LOW, 1), Watermark(HIGH, 9), False),
        (Watermark(LOW, 1), Watermark(LOW, 2), True),
        (Watermark(LOW, 2), Watermark(LOW, 2), False),
        (Watermark(LOW, 3), Watermark(LOW, 2), False),
        (Watermark(LOW, 0), Watermark(LOW, 2), False),
        (NO_WATERMARK, Watermark(HIGH, 1), True),
        (Watermark(HIGH, 1), NO_WATERMARK, False),
        (NO_WATERMARK, NO_WATERMARK, False),
    ],
)
def test_a_higher_key_is_worse_and_so_is_an_older_sequence_of_the_same_key(mark, other, worse) -> None:
    assert mark.is_worse_than(other) is worse


def test_no_watermark_is_the_full_mask_with_sequence_zero() -> None:
    assert NO_WATERMARK == (FULL_MASK, 0)
    assert FULL_MASK == b"\xff" * 32
