"""The gate of a closed mesh: both ends of a link prove a shared secret before either says who it is (§11).

The dialler proves first, so whoever knocks without the secret gets 32 random bytes and nothing else. The proofs differ
by role, so neither end can be made to answer its own question, and each covers both nonces, so neither can be played
back.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, final

from pinecone_transport.errors import HandshakeError, LocalProtocolError

NONCE_LENGTH: Final = 32
PROOF_LENGTH: Final = 32
GATE_LENGTH: Final = NONCE_LENGTH + PROOF_LENGTH
MIN_SECRET_LENGTH: Final = 16

_LABEL: Final = b"pinecone closed mesh"
_DIALLER: Final = b"\x01"
_LISTENER: Final = b"\x02"
# RFC 7914 §2: about 0.1 s and 32 MiB, once per process. A recorded proof lets the secret be guessed at; this is the
# price of a guess.
_SCRYPT_N: Final = 1 << 15
_SCRYPT_R: Final = 8
_SCRYPT_MEMORY: Final = 64 * 1024 * 1024


def mesh_key(secret: bytes) -> bytes:
    """Return the key that proofs are made with, 32 bytes.

    Args:
        secret: What all nodes of the mesh share, at least 16 bytes.

    Raises:
        LocalProtocolError: The secret is shorter.

    Source: §11, RFC 7914.
    """
    if len(secret) < MIN_SECRET_LENGTH:
        raise LocalProtocolError(f"the secret of a closed mesh has at least {MIN_SECRET_LENGTH} bytes")
    return hashlib.scrypt(secret, salt=_LABEL, n=_SCRYPT_N, r=_SCRYPT_R, p=1, maxmem=_SCRYPT_MEMORY, dklen=32)


@final
class MeshGate:
    """One end's share in opening a link's gate.

    Args:
        key: From `mesh_key`.
        nonce: 32 bytes that were never used before and cannot be guessed.
        outbound: Whether we dialled; the ends of a link must differ in that.

    Attributes:
        passed: Whether the far end has proved the secret.
    """

    __slots__ = ("_key", "_nonce", "_outbound", "_received", "_to_send", "passed")

    def __init__(self, key: bytes, nonce: bytes, *, outbound: bool) -> None:
        self.passed = False
        self._key: Final = key
        self._nonce: Final = nonce
        self._outbound: Final = outbound
        self._received = b""
        self._to_send = nonce

    def receive_data(self, data: bytes) -> int:
        """Take what the gate lacks; return how many bytes that were. What follows them is the peering's.

        Raises:
            HandshakeError: The far end does not know the secret.

        Source: §11.
        """
        taken = data[: GATE_LENGTH - len(self._received)]
        before = len(self._received)
        self._received += taken
        if self._outbound and before < NONCE_LENGTH <= len(self._received):
            self._to_send += self._proof(_DIALLER)
        if len(self._received) == GATE_LENGTH and not self.passed:
            self._check()
        return len(taken)

    def has_data_to_send(self) -> bool:
        """Tell whether `data_to_send` would give anything."""
        return bool(self._to_send)

    def data_to_send(self) -> bytes:
        """Take what is to be written now."""
        data, self._to_send = self._to_send, b""
        return data

    def _check(self) -> None:
        role = _LISTENER if self._outbound else _DIALLER
        if not hmac.compare_digest(self._received[NONCE_LENGTH:], self._proof(role)):
            raise HandshakeError("the peer does not know the secret of this mesh", "§11")
        self.passed = True
        if not self._outbound:
            self._to_send += self._proof(_LISTENER)

    def _proof(self, role: bytes) -> bytes:
        """Return an end's proof, 32 bytes: a MAC over its role and both nonces, the dialler's first."""
        theirs = self._received[:NONCE_LENGTH]
        nonces = self._nonce + theirs if self._outbound else theirs + self._nonce
        return hmac.digest(self._key, _LABEL + role + nonces, "sha256")
