"""Tree announcements: the root, and one signature per hop from it (§3, §4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, final

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import KEY_LENGTH, SIGNATURE_LENGTH, Identity, PublicKey, verify
from pinecone_transport.wire.coordinates import Coordinates
from pinecone_transport.wire.varu64 import decode_varu64, encode_varu64

_LEAST_ROOT: Final = KEY_LENGTH + 1
_LEAST_HOP: Final = 1 + KEY_LENGTH + SIGNATURE_LENGTH


Verify: TypeAlias = Callable[[PublicKey, bytes, bytes], bool]
"""Tells whether a key made a signature over a message, as `pinecone_transport.identity.verify` does."""


class HopSignature(NamedTuple):
    """One hop of an announcement: the port that the signer sends it on, the signer's key, its signature."""

    hop: int
    key: PublicKey
    signature: bytes


@final
class Announcement:
    """A verified, or self-made, tree announcement.

    Attributes:
        root_key: 32 bytes.
        root_sequence: Counts the root's announcements.
        signatures: From the root on; the last signer is the peer that sent it.
        signers: The keys of ``signatures``, in that order.
        coordinates: Of whoever receives it: every hop.
        sender_coordinates: Of whoever sent it: every hop but the last.
    """

    __slots__ = ("coordinates", "root_key", "root_sequence", "sender_coordinates", "signatures", "signers")

    def __init__(self, root_key: PublicKey, root_sequence: int, signatures: tuple[HopSignature, ...] = ()) -> None:
        self.root_key: Final = root_key
        self.root_sequence: Final = root_sequence
        self.signatures: Final = signatures
        self.signers: Final[tuple[PublicKey, ...]] = tuple(signature.key for signature in signatures)
        self.coordinates: Final[Coordinates] = tuple(signature.hop for signature in signatures)
        self.sender_coordinates: Final[Coordinates] = self.coordinates[:-1]

    def encode(self) -> bytes:
        """Return the payload, every number in its shortest form. Source: §3, "Tree announcement payload"."""
        parts = [self.root_key, encode_varu64(self.root_sequence)]
        for hop, key, signature in self.signatures:
            parts += (encode_varu64(hop), key, signature)
        return b"".join(parts)

    def signed_by(self, identity: Identity, port: int) -> Announcement:
        """Return this announcement with our own hop added, to be sent on the given port (from 1)."""
        signature = identity.sign(self.encode())
        return Announcement(
            self.root_key, self.root_sequence, (*self.signatures, HopSignature(port, identity.key, signature))
        )

    def check_sane(self, peer: PublicKey) -> None:
        """Check what signatures do not say: that it starts at the root, ends at the peer, and has no loop.

        Args:
            peer: The key of the direct peer that it came from, 32 bytes.

        Raises:
            AnnouncementError: It is not sane.

        Source: §3, "Tree announcement payload".
        """
        if not self.signatures:
            raise AnnouncementError("announcement without signatures")
        if self.signers[0] != self.root_key:
            raise AnnouncementError("announcement whose first signer is not the root")
        if 0 in self.coordinates:
            raise AnnouncementError("announcement with a hop of zero")
        if self.signers[-1] != peer:
            raise AnnouncementError("announcement whose last signer is not the peer")
        if len(set(self.signers)) != len(self.signers):
            raise AnnouncementError("announcement with a loop")


def decode_announcement(payload: bytes, verify: Verify = verify) -> Announcement:
    """Read an announcement and verify every signature over the bytes as they came.

    A remainder of fewer than 97 bytes is left alone.

    Args:
        payload: Of the frame.
        verify: For whoever remembers what has been verified before.

    Raises:
        AnnouncementError: Too short, or a signature does not verify. Sanity is `Announcement.check_sane`'s matter.

    Source: §3, "Tree announcement payload".
    """
    end = len(payload)
    if end < _LEAST_ROOT:
        raise AnnouncementError("announcement too short")
    root_key = payload[:KEY_LENGTH]
    root_sequence, position = decode_varu64(payload, KEY_LENGTH, end)
    signatures: list[HopSignature] = []
    while end - position >= _LEAST_HOP:
        hop, key_at = decode_varu64(payload, position, end)
        signature_at = key_at + KEY_LENGTH
        next_at = signature_at + SIGNATURE_LENGTH
        key = payload[key_at:signature_at]
        signature = payload[signature_at:next_at]
        if not verify(key, signature, payload[:position]):
            raise AnnouncementError("announcement with a bad signature")
        signatures.append(HopSignature(hop, key, signature))
        position = next_at
    return Announcement(root_key, root_sequence, tuple(signatures))
