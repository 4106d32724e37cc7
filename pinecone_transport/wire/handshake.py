"""The 104 bytes that each end of a link sends first (§2)."""

from __future__ import annotations

from typing import Final

from pinecone_transport.errors import HandshakeError
from pinecone_transport.identity import Identity, PublicKey, verify

HANDSHAKE_LENGTH: Final = 104
VERSION: Final = 1
# Lengthened root interval, cryptographic setups, deduplicated coordinates, soft state, hybrid routing (§2).
CAPABILITIES: Final = 1 | 2 | 8 | 16 | 32

_PREFIX: Final = bytes((VERSION, 0, 0, 0)) + CAPABILITIES.to_bytes(4, "big")
_SIGNED_LENGTH: Final = 40


def encode_handshake(identity: Identity) -> bytes:
    """Return the handshake of this node, 104 bytes. Source: §2."""
    signed = _PREFIX + identity.key
    return signed + identity.sign(signed)


def decode_handshake(data: bytes) -> PublicKey:
    """Return the key that a peer's handshake proves, 32 bytes.

    Args:
        data: Exactly 104 bytes.

    Raises:
        HandshakeError: Version, capabilities or signature are not what they must be, looked at in that order.

    Source: §2.
    """
    if len(data) != HANDSHAKE_LENGTH:
        raise HandshakeError("handshake too short")
    if data[0] != VERSION:
        raise HandshakeError(f"handshake version {data[0]}, not {VERSION}")
    capabilities = int.from_bytes(data[4:8], "big")
    if capabilities != CAPABILITIES:
        raise HandshakeError(f"handshake capabilities {capabilities}, not {CAPABILITIES}")
    key = data[8:_SIGNED_LENGTH]
    if not verify(key, data[_SIGNED_LENGTH:], data[:_SIGNED_LENGTH]):
        raise HandshakeError("handshake signature does not verify")
    return key
