"""The frames of the link proof (§11): a type that Go nodes drop without harm to the link."""

from __future__ import annotations

import struct
from typing import Final

from pinecone_transport.errors import FrameError
from pinecone_transport.identity import SIGNATURE_LENGTH, PublicKey
from pinecone_transport.wire.frame import HEADER_LENGTH, MAGIC

LINK_PROOF: Final = 0x80
CHALLENGE: Final = 1
ANSWER: Final = 2
NONCE_LENGTH: Final = 32

_HEADER: Final = struct.Struct(">4sBBBBHB")
_LENGTHS: Final = {CHALLENGE: NONCE_LENGTH, ANSWER: SIGNATURE_LENGTH}
_LABEL: Final = b"pinecone link proof"


def encode_link_proof(kind: int, body: bytes) -> bytes:
    """Return the frame of a challenge (``body``: 32 bytes of nonce) or an answer (64 bytes of signature).

    Source: §11.
    """
    return _HEADER.pack(MAGIC, 0, LINK_PROOF, 0, 0, _HEADER.size + len(body), kind) + body


def decode_link_proof(frame: bytes) -> tuple[int, bytes]:
    """Return kind and body of a whole frame of type `LINK_PROOF`.

    Raises:
        FrameError: The kind is unknown, or its body has another length than it should.

    Source: §11.
    """
    kind = frame[HEADER_LENGTH] if len(frame) > HEADER_LENGTH else 0
    body = frame[HEADER_LENGTH + 1 :]
    if len(body) != _LENGTHS.get(kind):
        raise FrameError("link proof of an unknown kind or a wrong length", "§11")
    return kind, body


def link_proof_message(nonce: bytes, handshakes: tuple[tuple[PublicKey, bytes], tuple[PublicKey, bytes]]) -> bytes:
    """Return what an answer signs.

    Args:
        nonce: The challenge's, 32 bytes.
        handshakes: Each end's key, 32 bytes, and handshake, 104 bytes, in either order.

    Source: §11.
    """
    return _LABEL + nonce + b"".join(handshake for _, handshake in sorted(handshakes))
