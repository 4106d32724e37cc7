"""Whether the ports that a homeserver and its node want can be had."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.node.lock import lock_key_file
from synapse_module.overlay_settings import Finding, Severity


def is_running(key_file: Path) -> bool:
    """Tell whether a process, most likely the homeserver itself, runs a node with the key."""
    if not key_file.is_file():
        return False
    try:
        os.close(lock_key_file(key_file))
    except ConfigurationError:
        return True
    return False


def check_port(path: str, host: str, port: int) -> Iterator[Finding]:
    """Yield an error if the address cannot be listened on; ``path`` is the setting that names it."""
    if port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        yield Finding(Severity.ERROR, path, f"{host} port {port} cannot be had: {reason}.")
