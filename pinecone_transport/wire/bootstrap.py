"""The payload of bootstraps and wakeup broadcasts: who is there, below which root, since when (§3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import KEY_LENGTH, SIGNATURE_LENGTH, Identity, PublicKey, verify
from pinecone_transport.wire.varu64 import decode_varu64, encode_varu64

_LEAST_LENGTH: Final = 1 + KEY_LENGTH + 1 + SIGNATURE_LENGTH


class Bootstrap(NamedTuple):
    """What a bootstrap or a wakeup broadcast says.

    Attributes:
        sequence: Unix time in milliseconds when it was made.
        root_key: 32 bytes.
        root_sequence: Of the root's announcement.
        signature: 64 bytes, by the frame's destination key (bootstrap) or source key (wakeup).
    """

    sequence: int
    root_key: PublicKey
    root_sequence: int
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Return what the signature covers: everything before it, every number in its shortest form."""
        return encode_varu64(self.sequence) + self.root_key + encode_varu64(self.root_sequence)

    def encode(self) -> bytes:
        """Return the payload. Source: §3, "Bootstrap and wakeup payload"."""
        return self.signed_bytes() + self.signature

    def verify(self, signer: PublicKey) -> bool:
        """Tell whether the key (32 bytes) made the signature."""
        return verify(signer, self.signature, self.signed_bytes())


def sign_bootstrap(identity: Identity, sequence: int, root_key: PublicKey, root_sequence: int) -> Bootstrap:
    """Make a bootstrap or wakeup payload of our own; ``sequence`` is Unix time in milliseconds."""
    unsigned = Bootstrap(sequence, root_key, root_sequence, b"")
    return unsigned._replace(signature=identity.sign(unsigned.signed_bytes()))


def decode_bootstrap(payload: bytes) -> Bootstrap:
    """Read a bootstrap or wakeup payload; what follows the signature is left alone.

    The signature is not looked at: that is `Bootstrap.verify`, for which the signer must be known.

    Raises:
        AnnouncementError: Shorter than 98 bytes, or the signature is not all there.

    Source: §3, "Bootstrap and wakeup payload".
    """
    end = len(payload)
    if end < _LEAST_LENGTH:
        raise AnnouncementError("bootstrap too short")
    sequence, root_at = decode_varu64(payload, 0, end)
    root_end = root_at + KEY_LENGTH
    root_sequence, signature_at = decode_varu64(payload, root_end, end)
    signature = payload[signature_at : signature_at + SIGNATURE_LENGTH]
    if len(signature) != SIGNATURE_LENGTH:
        raise AnnouncementError("bootstrap cut off in its signature")
    return Bootstrap(sequence, payload[root_at:root_end], root_sequence, signature)
