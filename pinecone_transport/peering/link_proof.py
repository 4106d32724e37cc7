"""The link proof: that the peer has its key now, and not only a handshake that was recorded once (§11)."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.errors import HandshakeError
from pinecone_transport.identity import Identity, PublicKey, verify
from pinecone_transport.wire import (
    ANSWER,
    CHALLENGE,
    decode_link_proof,
    encode_handshake,
    encode_link_proof,
    link_proof_message,
)

MAX_ANSWERS: Final = 4
"""Challenges that are answered on one link: each costs a signature, and one is all that anybody needs."""


@final
class LinkProof:
    """Both roles on one link, from when its handshakes are exchanged.

    Args:
        identity: Ours.
        key: The peer's by its handshake, 32 bytes.
        handshake: The peer's, 104 bytes.
        nonce: 32 bytes that cannot be guessed, if the peer has to prove its key; None if it need not.

    Attributes:
        proved: Whether the peer has proved its key, or need not.
        unanswered: Challenges over `MAX_ANSWERS`.
    """

    __slots__ = ("_answers", "_handshakes", "_identity", "_key", "_nonce", "proved", "unanswered")

    def __init__(self, identity: Identity, key: PublicKey, handshake: bytes, nonce: bytes | None) -> None:
        self.proved = nonce is None
        self.unanswered = 0
        self._identity: Final = identity
        self._key: Final = key
        self._handshakes: Final = ((identity.key, encode_handshake(identity)), (key, handshake))
        self._nonce: Final = nonce
        self._answers = 0

    def challenge(self) -> bytes | None:
        """Return the frame that asks for the proof; None if the peer need not prove its key."""
        return encode_link_proof(CHALLENGE, self._nonce) if self._nonce is not None else None

    def receive_frame(self, frame: bytes) -> bytes | None:
        """Take a frame of the link proof; return the frame that answers it, if it wants one.

        An answer that nobody asked for is ignored.

        Raises:
            FrameError: It is malformed.
            HandshakeError: The peer's answer is not by the key of its handshake.

        Source: §11.
        """
        kind, body = decode_link_proof(frame)
        if kind == CHALLENGE:
            return self._answer(body)
        if not self.proved and self._nonce is not None:
            if not verify(self._key, body, link_proof_message(self._nonce, self._handshakes)):
                raise HandshakeError("the link proof is not by the key of the handshake", "§11")
            self.proved = True
        return None

    def _answer(self, nonce: bytes) -> bytes | None:
        if self._answers == MAX_ANSWERS:
            self.unanswered += 1
            return None
        self._answers += 1
        return encode_link_proof(ANSWER, self._identity.sign(link_proof_message(nonce, self._handshakes)))
