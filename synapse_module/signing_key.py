"""The node key as Synapse keeps a signing key: ``ed25519 <version> <unpadded base64 of the seed>``, one line."""

from __future__ import annotations

import base64
from typing import Final

from pinecone_transport.identity import Identity

KEY_VERSION: Final = "dendrite-demo-yggdrasil"
"""The one version that Dendrite accepts on the overlay."""


def format_signing_key(identity: Identity) -> str:
    """Return the line of a signing key file, with its line end."""
    seed = base64.b64encode(identity.seed).decode("ascii").rstrip("=")
    return f"ed25519 {KEY_VERSION} {seed}\n"
