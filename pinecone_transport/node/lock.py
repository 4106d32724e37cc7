"""One node per key: two would fight over one address of the overlay."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pinecone_transport.errors import ConfigurationError


def lock_key_file(path: Path) -> int:
    """Claim the key for this process, until it ends or the descriptor that is returned is closed.

    The key file itself is locked: it is never replaced, and nothing is left behind or has to be written.

    Raises:
        ConfigurationError: Another process has it, or the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError("", f"The key file {path} cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigurationError(
            "", f"Another process runs a node with the key in {path}: a key has one node."
        ) from None
    return descriptor
