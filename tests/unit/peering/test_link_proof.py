"""The link proof, both roles (§11)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import FrameError, HandshakeError
from pinecone_transport.peering.link_proof import MAX_ANSWERS, LinkProof
from pinecone_transport.wire import ANSWER, encode_handshake, encode_link_proof
from tests.support.frames import identity

NONCE = bytes(range(32))


def proof(ours: int, theirs: int, nonce: bytes | None) -> LinkProof:
    """Return the end of identity ``ours``, which faces identity ``theirs``."""
    return LinkProof(identity(ours), identity(theirs).key, encode_handshake(identity(theirs)), nonce)


def test_a_peer_that_has_its_key_proves_it() -> None:
    asking, answering = proof(1, 2, NONCE), proof(2, 1, None)
    assert not asking.proved
    assert answering.proved
    assert answering.challenge() is None
    answer = answering.receive_frame(asking.challenge())
    assert asking.receive_frame(answer) is None
    assert asking.proved


def test_both_may_ask() -> None:
    ours, theirs = proof(1, 2, NONCE), proof(2, 1, bytes(32))
    ours.receive_frame(theirs.receive_frame(ours.challenge()))
    theirs.receive_frame(ours.receive_frame(theirs.challenge()))
    assert ours.proved
    assert theirs.proved


def test_an_answer_by_another_key_is_refused() -> None:
    asking, other = proof(1, 2, NONCE), proof(3, 1, None)
    with pytest.raises(HandshakeError, match="not by the key"):
        asking.receive_frame(other.receive_frame(asking.challenge()))
    assert not asking.proved


def test_an_answer_given_on_another_link_is_refused() -> None:
    # The signature covers both handshakes, so a third node's link gives none that fits.
    asking, answering = proof(1, 2, NONCE), proof(2, 3, None)
    with pytest.raises(HandshakeError):
        asking.receive_frame(answering.receive_frame(asking.challenge()))


def test_an_answer_to_another_nonce_is_refused() -> None:
    asking, answering = proof(1, 2, NONCE), proof(2, 1, None)
    recorded = answering.receive_frame(proof(1, 2, bytes(32)).challenge())
    with pytest.raises(HandshakeError):
        asking.receive_frame(recorded)


def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    assert proof(1, 2, None).receive_frame(encode_link_proof(ANSWER, bytes(64))) is None


def test_challenges_without_end_are_not_answered_without_end() -> None:
    answering = proof(2, 1, None)
    challenge = proof(1, 2, NONCE).challenge()
    answers = [answering.receive_frame(challenge) for _ in range(MAX_ANSWERS + 3)]
    assert [answer is not None for answer in answers] == [True] * MAX_ANSWERS + [False] * 3
    assert answering.unanswered == 3


def test_a_malformed_frame_is_an_error() -> None:
    with pytest.raises(FrameError):
        proof(1, 2, NONCE).receive_frame(encode_link_proof(ANSWER, bytes(3)))
