"""The frames of the link proof (§11)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError
from pinecone_transport.wire import (
    ANSWER,
    CHALLENGE,
    LINK_PROOF,
    decode_frame,
    decode_link_proof,
    encode_handshake,
    encode_link_proof,
    link_proof_message,
)
from tests.support.frames import identity

NONCE = bytes(range(32))


def test_a_challenge_is_a_frame_of_43_bytes() -> None:
    frame = encode_link_proof(CHALLENGE, NONCE)
    assert frame.hex() == "70696e65" + "0080" + "0000" + "002b" + "01" + NONCE.hex()
    assert decode_frame(frame).type == LINK_PROOF
    assert decode_link_proof(frame) == (CHALLENGE, NONCE)


def test_an_answer_carries_64_bytes() -> None:
    assert decode_link_proof(encode_link_proof(ANSWER, bytes(64))) == (ANSWER, bytes(64))


@pytest.mark.parametrize(
    ("kind", "length"), [(CHALLENGE, 31), (CHALLENGE, 64), (ANSWER, 32), (ANSWER, 65), (0, 32), (3, 32), (1, 0)]
)
def test_other_kinds_and_lengths_are_refused(kind, length) -> None:
    with pytest.raises(FrameError):
        decode_link_proof(encode_link_proof(kind, bytes(length)))


def test_a_frame_without_a_body_is_refused() -> None:
    with pytest.raises(FrameError):
        decode_link_proof(encode_link_proof(CHALLENGE, b"")[:10])


def test_both_ends_sign_the_same_message_with_the_lower_key_s_handshake_first() -> None:
    ends = [(identity(seed).key, encode_handshake(identity(seed))) for seed in (1, 2)]
    message = link_proof_message(NONCE, (ends[0], ends[1]))
    assert message == link_proof_message(NONCE, (ends[1], ends[0]))
    assert message == b"pinecone link proof" + NONCE + min(ends)[1] + max(ends)[1]
