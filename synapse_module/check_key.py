"""Whether a homeserver's signing key is there, is its name, and is kept from others."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import Identity
from pinecone_transport.node.keyfile import KEY_VERSION, KeyFileError, read_key_file
from synapse_module.config import check_name
from synapse_module.names import NameKind, kind_of_name
from synapse_module.overlay_settings import Finding, Severity


def signing_key_file(settings: Mapping[str, Any], directory: Path) -> Path:
    """Return where the signing key is, if it is not in the settings themselves.

    Args:
        settings: All of them; ``server_name`` is a text.
        directory: That of the last file of settings.
    """
    path = settings.get("signing_key_path")
    return Path(path) if isinstance(path, str) and path else directory / f"{settings['server_name']}.signing.key"


def check_signing_key(settings: Mapping[str, Any], directory: Path) -> Iterator[Finding]:
    """Yield what is to be said about the signing key; arguments as for `signing_key_file`."""
    name = settings["server_name"]
    is_ordinary = kind_of_name(name) is NameKind.ORDINARY
    if settings.get("signing_key") is not None:
        setting, path = "signing_key", None
    else:
        setting, path = "signing_key_path", signing_key_file(settings, directory)
    if path is not None and is_ordinary and not path.exists():
        return  # Synapse makes one.
    try:
        identity, version = _parse(settings["signing_key"]) if path is None else _read(path)
        check_name(name, identity.seed)
    except ConfigurationError as error:
        yield Finding(Severity.ERROR, error.path, error.sentence)
        return
    except (KeyFileError, OSError) as error:
        yield Finding(Severity.ERROR, setting, str(error))
        return
    if not is_ordinary and version != KEY_VERSION:
        yield Finding(
            Severity.WARNING,
            setting,
            f"has a key of version {version!r}: Dendrite refuses what such a key has signed, and takes "
            f"{KEY_VERSION!r} only.",
        )
    if path is not None and path.stat().st_mode & 0o077:
        yield Finding(Severity.WARNING, setting, f"is open to other users of this computer: chmod 600 {path}.")


def _read(path: Path) -> tuple[Identity, str]:
    return read_key_file(path), path.read_text().split()[1]


def _parse(line: object) -> tuple[Identity, str]:
    words = line.split() if isinstance(line, str) else []
    try:
        _, version, seed = words
        return Identity(base64.b64decode(seed + "=" * (-len(seed) % 4))), version
    except (ValueError, LocalProtocolError):
        raise ConfigurationError("signing_key", "should be 'ed25519 <version> <key in base64>'.") from None
