"""A node's key in a file: a Synapse signing key file, so that one file serves both.

The format is one line, ``ed25519 <version> <seed in unpadded base64>``. The version that is written is the one key id
that Dendrite's Pinecone demo accepts (§10).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path
from typing import Final

from pinecone_transport.errors import PineconeError
from pinecone_transport.identity import SEED_LENGTH, Identity

KEY_VERSION: Final = "dendrite-demo-yggdrasil"

_ALGORITHM: Final = "ed25519"
_LONGEST_FILE: Final = 64 * 1024


class KeyFileError(PineconeError):
    """A key file cannot be read or written; the message is a sentence for the user, with the path."""


def read_key_file(path: str | os.PathLike[str]) -> Identity:
    """Return the key in the file: the first one, which is the one that Synapse signs with.

    Raises:
        KeyFileError: It is not there, not readable, or not a signing key file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST_FILE)
    except FileNotFoundError:
        raise KeyFileError(f"There is no key file {_text(path)}; `pinecone keygen {_text(path)}` makes one.") from None
    except OSError as error:
        raise KeyFileError(f"The key file {_text(path)} cannot be read: {error.strerror}.") from error
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        raise KeyFileError(f"The key file {_text(path)} is empty.")
    return _parse_line(lines[0], path)


def format_signing_key(identity: Identity) -> str:
    """Return the line of a signing key file, with its line end."""
    seed = base64.b64encode(identity.seed).decode("ascii").rstrip("=")
    return f"{_ALGORITHM} {KEY_VERSION} {seed}\n"


def write_key_file(path: str | os.PathLike[str], identity: Identity) -> None:
    """Write a new key file that only its owner may read.

    Raises:
        KeyFileError: There is such a file already (it is never overwritten), or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyFileError(
            f"There is a file {_text(path)} already, and a key is never overwritten: choose another path, or move "
            "that file away."
        ) from None
    except OSError as error:
        raise KeyFileError(f"The key file {_text(path)} cannot be made: {error.strerror}.") from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(format_signing_key(identity))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # Half a key would be in the way of the next try.
        with contextlib.suppress(OSError):
            Path(path).unlink()
        raise KeyFileError(f"The key file {_text(path)} cannot be written: {error.strerror}.") from error


def _parse_line(line: str, path: str | os.PathLike[str]) -> Identity:
    words = line.split()
    if len(words) != 3:
        raise KeyFileError(
            f"The key file {_text(path)} is not a signing key: its first line should be "
            f"'{_ALGORITHM} <version> <key in base64>', as Synapse writes it."
        )
    algorithm, _, encoded = words
    if algorithm != _ALGORITHM:
        raise KeyFileError(f"The key in {_text(path)} is of type {algorithm!r}; the overlay needs an {_ALGORITHM} one.")
    try:
        seed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"The key in {_text(path)} is not base64: the file is damaged.") from None
    if len(seed) != SEED_LENGTH:
        raise KeyFileError(f"The key in {_text(path)} has {len(seed)} bytes instead of {SEED_LENGTH}: it is damaged.")
    return Identity(seed)


def _text(path: str | os.PathLike[str]) -> str:
    return os.fsdecode(path)
