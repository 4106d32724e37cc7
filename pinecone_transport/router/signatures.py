"""Signatures that have been verified already: announcements by several peers share most of theirs."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, final

from pinecone_transport.identity import KEY_LENGTH, SIGNATURE_LENGTH, PublicKey, verify
from pinecone_transport.router.constants import MAX_SIGNATURES


@final
class VerifiedSignatures:
    """Remembers good signatures by a digest; above its limit, what was verified first is forgotten."""

    __slots__ = ("_digests", "limit")

    def __init__(self, limit: int = MAX_SIGNATURES) -> None:
        self._digests: dict[bytes, None] = {}
        self.limit: Final = limit

    def __len__(self) -> int:
        return len(self._digests)

    def verify(self, key: PublicKey, signature: bytes, message: bytes) -> bool:
        """Tell whether the 64-byte signature over the message was made with the key (32 bytes)."""
        if len(key) != KEY_LENGTH or len(signature) != SIGNATURE_LENGTH:
            # With other lengths, the same bytes could be cut in another place.
            return False
        digest = blake2b(key + signature + message, digest_size=32).digest()
        if digest in self._digests:
            return True
        if not verify(key, signature, message):
            return False
        self._digests[digest] = None
        if len(self._digests) > self.limit:
            del self._digests[next(iter(self._digests))]
        return True
