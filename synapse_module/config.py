"""The module's options, and which key its node has: decided before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.node.config import NodeConfig, parse_node_config
from pinecone_transport.node.keyfile import KeyFileError, read_key_file, write_key_file
from synapse_module.names import NameKind, kind_of_name

DNS_NAMED: Final = (
    "This homeserver has a DNS name, so that servers named by their keys could not tell that it is itself: it only "
    "relays for the Pinecone overlay, and reaches servers with DNS names"
)


_OWN: Final = frozenset({"profiles", "websocket_path"})
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")

DEFAULT_WEBSOCKET_PATH: Final = "/_synapse/pinecone/ws"


@attrs.frozen
class NodeKey:
    """The key of the homeserver's node.

    Attributes:
        identity: The key.
        path: The file that it is in, absolute or relative to where Synapse was started.
        is_homeserver: Whether it is the homeserver's name too, so that the homeserver federates over the overlay;
            otherwise the node is a relay for others.
    """

    identity: Identity
    path: Path
    is_homeserver: bool


@attrs.frozen(kw_only=True)
class ModuleConfig(NodeConfig):
    """The module's options: those of a node, and its own.

    Attributes:
        profiles: Whether other servers may search for users of this one, as far as its user directory shows them.
            True, because that is how users of the network find each other, and because in the default settings of
            Synapse it tells nothing that joining a public room would not.
        websocket_path: Where in Synapse's own HTTP listeners peers may come in by WebSocket; None for nowhere.
    """

    profiles: bool = True
    websocket_path: str | None = DEFAULT_WEBSOCKET_PATH


def parse_options(options: Mapping[str, object]) -> ModuleConfig:
    """Return the module's options.

    Raises:
        ConfigurationError: One of them is unknown or wrong.
    """
    known = [field.name for field in attrs.fields(ModuleConfig)]
    for name in options:
        if name not in known:
            raise ConfigurationError(str(name), f"there is no such option; there are {', '.join(known)}.")
    profiles = options.get("profiles", True)
    if not isinstance(profiles, bool):
        raise ConfigurationError("profiles", f"should be true or false, not {profiles!r}.")
    node = parse_node_config({name: value for name, value in options.items() if name not in _OWN}, discover=True)
    return ModuleConfig(**attrs.asdict(node, recurse=False), profiles=profiles, websocket_path=_websocket_path(options))


def _websocket_path(options: Mapping[str, object]) -> str | None:
    path = options.get("websocket_path", DEFAULT_WEBSOCKET_PATH)
    if path is not None and not (isinstance(path, str) and _PATH.fullmatch(path)):
        raise ConfigurationError(
            "websocket_path", f"should be a path, such as {DEFAULT_WEBSOCKET_PATH}, or null for none, not {path!r}."
        )
    return path


def check_name(server_name: str, signing_seed: bytes) -> None:
    """Make sure that a homeserver whose name looks like a key has that key.

    Raises:
        ConfigurationError: It has not.
    """
    kind = kind_of_name(server_name)
    if kind is NameKind.MISSPELT:
        raise ConfigurationError("server_name", "should be 64 lower-case hex digits, without a port.")
    own = Identity(signing_seed).server_name
    if kind is NameKind.OVERLAY and server_name != own:
        raise ConfigurationError(
            "server_name",
            f"is not the public key of the signing key, which is {own}; start with the key and the configuration that "
            "`pinecone new-homeserver` made together.",
        )


def node_key(server_name: str, signing_seed: bytes, signing_key_file: Path, key_file: str | None) -> NodeKey:
    """Return the key that the homeserver's node is to have; made and written if it is to have a new one.

    Args:
        server_name: The homeserver's.
        signing_seed: Its private key, 32 bytes.
        signing_key_file: Where that is.
        key_file: The module's option.

    Raises:
        ConfigurationError: The option does not fit the homeserver, or the file cannot be used.
    """
    check_name(server_name, signing_seed)
    if kind_of_name(server_name) is NameKind.OVERLAY:
        if key_file is not None:
            raise ConfigurationError(
                "key_file", "should not be there: the signing key of a homeserver on the overlay is its node's key."
            )
        return NodeKey(Identity(signing_seed), signing_key_file, True)
    if key_file is None:
        raise ConfigurationError(
            "key_file",
            "is needed, since this homeserver has a DNS name: its node has a key of its own, made if missing.",
        )
    path = Path(key_file)
    try:
        if not path.exists():
            write_key_file(path, Identity.generate())
        return NodeKey(read_key_file(path), path, False)
    except KeyFileError as error:
        raise ConfigurationError("key_file", str(error)) from None
