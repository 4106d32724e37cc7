from __future__ import annotations

from pinecone_transport.router.signatures import VerifiedSignatures
from tests.support.frames import identity

NODE = identity(1)


def test_only_good_signatures_are_good_and_remembered() -> None:
    signatures = VerifiedSignatures()
    signature = NODE.sign(b"message")
    assert not signatures.verify(NODE.key, signature, b"another message")
    assert not signatures.verify(identity(2).key, signature, b"message")
    assert len(signatures) == 0
    for _ in range(2):
        assert signatures.verify(NODE.key, signature, b"message")
        assert len(signatures) == 1
    assert not signatures.verify(NODE.key, signature, b"another message")


def test_the_same_bytes_cut_elsewhere_are_no_good_signature() -> None:
    signatures = VerifiedSignatures()
    signature = NODE.sign(b"message")
    assert signatures.verify(NODE.key, signature, b"message")
    assert not signatures.verify(NODE.key, signature[:-1], signature[-1:] + b"message")
    assert not signatures.verify(NODE.key[:-1], NODE.key[-1:] + signature[:-1], signature[-1:] + b"message")


def test_the_oldest_is_forgotten_first_and_is_still_good() -> None:
    signatures = VerifiedSignatures(limit=2)
    messages = [b"first", b"second", b"third"]
    for message in messages:
        assert signatures.verify(NODE.key, NODE.sign(message), message)
    assert len(signatures) == 2
    assert signatures.verify(NODE.key, NODE.sign(b"first"), b"first")
