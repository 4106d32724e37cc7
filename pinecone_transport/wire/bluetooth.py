"""What a node shows on Bluetooth LE before there is a link (§9)."""

from __future__ import annotations

import struct
from typing import Final

from pinecone_transport.errors import HandshakeError, LocalProtocolError
from pinecone_transport.identity import PublicKey

SERVICE_UUID: Final = "a2fda8dd-d250-4a64-8b9a-248f50b93c64"
PSM_CHARACTERISTIC_UUID: Final = "15d4151b-1008-41c0-85f2-950facf8a3cd"
CHARACTERISTIC_LENGTH: Final = 20
KEY_PREFIX_LENGTH: Final = 18

_CHARACTERISTIC: Final = struct.Struct(f">H{KEY_PREFIX_LENGTH}s")


def encode_psm_characteristic(psm: int, key: PublicKey) -> bytes:
    """Return the characteristic's value, 20 bytes.

    Args:
        psm: Of the L2CAP channel that we listen on, 1 to 65,535.
        key: Ours, 32 bytes.

    Raises:
        LocalProtocolError: The PSM is none.

    Source: §9.
    """
    if not 0 < psm <= 0xFFFF:
        raise LocalProtocolError(f"{psm} is no PSM")
    return _CHARACTERISTIC.pack(psm, key[:KEY_PREFIX_LENGTH])


def decode_psm_characteristic(value: bytes) -> tuple[int, bytes]:
    """Return PSM and the first 18 bytes of the key of who shows this value.

    Raises:
        HandshakeError: It has not 20 bytes, or the PSM is 0.

    Source: §9.
    """
    if len(value) != CHARACTERISTIC_LENGTH:
        raise HandshakeError(f"a characteristic of {len(value)} bytes, not {CHARACTERISTIC_LENGTH}", "§9")
    psm, prefix = _CHARACTERISTIC.unpack(value)
    if psm == 0:
        raise HandshakeError("a characteristic without a PSM", "§9")
    return psm, prefix
