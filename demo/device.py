"""The keys of one device, as a client with end-to-end encryption publishes them."""

from __future__ import annotations

import hashlib
from typing import Any

from nacl.public import PrivateKey
from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64


def device_keys(user_id: str, device_id: str, seed: str) -> dict[str, Any]:
    """Return the signed keys; the same seed (64 hex digits) gives the same keys."""
    signing_seed = hashlib.sha256(b"ed25519" + bytes.fromhex(seed)).digest()
    signing_key = decode_signing_key_base64("ed25519", device_id, encode_base64(signing_seed))
    agreement_key = PrivateKey(hashlib.sha256(b"curve25519" + bytes.fromhex(seed)).digest())
    keys = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            f"ed25519:{device_id}": encode_base64(bytes(signing_key.verify_key)),
            f"curve25519:{device_id}": encode_base64(bytes(agreement_key.public_key)),
        },
    }
    signed: dict[str, Any] = sign_json(keys, user_id, signing_key)
    return signed
