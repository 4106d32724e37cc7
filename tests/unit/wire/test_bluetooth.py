"""What a node shows on Bluetooth LE (§9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.errors import HandshakeError, LocalProtocolError
from pinecone_transport.wire import decode_psm_characteristic, encode_psm_characteristic

KEY = bytes(range(32))


def test_psm_and_the_beginning_of_the_key_take_20_bytes() -> None:
    value = encode_psm_characteristic(0x80, KEY)
    assert value == b"\x00\x80" + KEY[:18]
    assert decode_psm_characteristic(value) == (0x80, KEY[:18])


@given(st.binary(max_size=40).filter(lambda value: len(value) != 20))
def test_other_lengths_are_refused(value: bytes) -> None:
    with pytest.raises(HandshakeError, match="not 20"):
        decode_psm_characteristic(value)


def test_psm_0_is_none() -> None:
    with pytest.raises(HandshakeError, match="without a PSM"):
        decode_psm_characteristic(bytes(20))
    for psm in (0, 0x10000):
        with pytest.raises(LocalProtocolError):
            encode_psm_characteristic(psm, KEY)
