"""Handshakes against the golden vectors (§2)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import HandshakeError
from pinecone_transport.identity import Identity
from pinecone_transport.wire import HANDSHAKE_LENGTH, decode_handshake, encode_handshake
from tests.support.vectors import load_vector, named

VECTORS = load_vector("handshake")


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["key"][:8])
def test_a_handshake_has_the_reference_s_bytes_and_proves_the_key(case) -> None:
    data = encode_handshake(Identity(bytes.fromhex(case["seed"])))
    assert len(data) == HANDSHAKE_LENGTH
    assert data.hex() == case["hex"]
    assert decode_handshake(data).hex() == case["key"]


@pytest.mark.parametrize("case", named(VECTORS["verdicts"]))
def test_the_first_thing_objected_to_is_the_reference_s(case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["verdict"] == "ok":
        assert decode_handshake(data) == data[8:40]
    else:
        with pytest.raises(HandshakeError, match=case["verdict"]) as caught:
            decode_handshake(data)
        assert caught.value.section == "§2"
