"""What a node can be told, checked before anything starts: for the command line and for Synapse's module alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import PublicKey, key_from_server_name
from pinecone_transport.links import LinkAddress, parse_listen, parse_peer
from pinecone_transport.node.source_config import FINDING, SourceConfig, parse_keys, parse_sources
from pinecone_transport.session import Kind, Kinds

MAX_PORTS: Final = 253
"""As many links a node can number (§2)."""
MAX_SECONDS: Final = 3600

AUTO: Final = "auto"
_KINDS: Final[dict[str, Kind | None]] = {AUTO: None, **{kind.value: kind for kind in Kind}}

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class NodeConfig:
    """A node's options.

    Attributes:
        key_file: Where the node's key is; None where the caller has it already.
        listen: Addresses to listen on for peerings.
        peers: Addresses to keep a peering with.
        control_socket: Path of a unix socket that answers ``pinecone status``; None for none.
        hop_limiting: Whether frames lose a hop at each node, as in Dendrite's networks.
        max_links: Links in all, from which on none is let in, 1 to 253; we may dial more.
        max_links_per_address: Links that may come in from one IP address.
        dead_after: Seconds for which the way to a node may be interrupted without harm to streams with it.
        dial_grace: Seconds after which a dial that nothing answers fails.
        session: Which kind of session dials take: ``auto`` for what the far node speaks, ``utp`` or ``quic``.
        session_by_key: The same for single nodes, by their keys.
        allow: Keys that may peer, others may not; None for all.
        deny: Keys that may not peer, allowed or not.
        sources: Options of single sources of links, by their names.
        mesh_secret_file: Where the secret of a closed mesh is; None for an open one.
    """

    key_file: str | None = None
    listen: tuple[LinkAddress, ...] = ()
    peers: tuple[LinkAddress, ...] = ()
    control_socket: str | None = None
    hop_limiting: bool = True
    max_links: int = 200
    max_links_per_address: int = 32
    dead_after: float = 30.0
    dial_grace: float = 2.0
    session: str = AUTO
    session_by_key: Mapping[PublicKey, str] = attrs.field(factory=dict)
    allow: frozenset[PublicKey] | None = None
    deny: frozenset[PublicKey] = frozenset()
    sources: Mapping[str, SourceConfig] = attrs.field(factory=dict)
    mesh_secret_file: str | None = None

    def kinds(self) -> Kinds:
        """Return ``session`` and ``session_by_key`` as the sessions take them."""
        return Kinds(_KINDS[self.session], {key: _KINDS[name] for key, name in self.session_by_key.items()})

    def source(self, name: str) -> SourceConfig:
        """Return the options of a source of links."""
        return self.sources.get(name, _NO_OPTIONS)

    def would_be_alone(self) -> bool:
        """Tell whether nobody is dialled or looked for, and nothing listened on."""
        return not self.listen and not self.peers and not any(self.source(name).enabled for name in FINDING)


_NO_OPTIONS: Final = SourceConfig()


def parse_node_config(options: Mapping[str, object], *, discover: bool = False) -> NodeConfig:
    """Make a `NodeConfig` of what a YAML file or a command line gave.

    Args:
        options: By name.
        discover: Whether peers are looked for where the options do not say otherwise: the sources `DISCOVERING`.

    Raises:
        ConfigurationError: An option is unknown or wrong.
    """
    known = [field.name for field in attrs.fields(NodeConfig)]
    for name in options:
        if name not in known:
            raise ConfigurationError(str(name), f"there is no such option; there are {', '.join(known)}.")
    defaults = NodeConfig()
    return NodeConfig(
        key_file=_text(options, "key_file"),
        listen=_addresses(options, "listen", parse_listen),
        peers=_addresses(options, "peers", parse_peer),
        control_socket=_text(options, "control_socket"),
        hop_limiting=_boolean(options, "hop_limiting", defaults.hop_limiting),
        max_links=_number(options, "max_links", defaults.max_links, MAX_PORTS),
        max_links_per_address=_number(options, "max_links_per_address", defaults.max_links_per_address, MAX_PORTS),
        dead_after=_seconds(options, "dead_after", defaults.dead_after),
        dial_grace=_seconds(options, "dial_grace", defaults.dial_grace),
        session=_session(options.get("session", AUTO), "session"),
        session_by_key=_sessions_by_key(options, "session_by_key"),
        allow=parse_keys(options.get("allow"), "allow"),
        deny=parse_keys(options.get("deny"), "deny") or frozenset(),
        sources=parse_sources(options.get("sources"), discover=discover),
        mesh_secret_file=_text(options, "mesh_secret_file"),
    )


_CHANGEABLE: Final = frozenset(
    {"listen", "peers", "allow", "deny", "sources", "mesh_secret_file", "max_links", "max_links_per_address"}
)


def needs_restart(before: NodeConfig, after: NodeConfig) -> list[str]:
    """Return the options that differ and that a running node does not take over."""
    names = [field.name for field in attrs.fields(type(after)) if field.name not in _CHANGEABLE]
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def _text(options: Mapping[str, object], name: str) -> str | None:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ConfigurationError(name, f"should be a path, not {value!r}.")
    return value


def _boolean(options: Mapping[str, object], name: str, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(name, f"should be true or false, not {value!r}.")
    return value


def _number(options: Mapping[str, object], name: str, default: int, highest: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise ConfigurationError(name, f"should be a number from 1 to {highest}, not {value!r}.")
    return value


def _seconds(options: Mapping[str, object], name: str, default: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_SECONDS:
        raise ConfigurationError(name, f"should be a number of seconds from 1 to {MAX_SECONDS}, not {value!r}.")
    return float(value)


def _session(value: object, path: str) -> str:
    if not isinstance(value, str) or value not in _KINDS:
        raise ConfigurationError(path, f"should be one of {', '.join(_KINDS)}, not {value!r}.")
    return value


def _sessions_by_key(options: Mapping[str, object], name: str) -> dict[PublicKey, str]:
    values = options.get(name)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigurationError(name, f"should name a kind of session for each of some nodes, not {values!r}.")
    sessions = {}
    for node, kind in values.items():
        try:
            key = key_from_server_name(node if isinstance(node, str) else "")
        except LocalProtocolError:
            raise ConfigurationError(f"{name}.{node}", "a node is named by 64 lower-case hex digits.") from None
        sessions[key] = _session(kind, f"{name}.{node}")
    return sessions


def _addresses(options: Mapping[str, object], name: str, parse: Callable[[str], _T]) -> tuple[_T, ...]:
    values = options.get(name)
    if values is None:
        return ()
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigurationError(name, f'should be a list of addresses, such as ["192.0.2.1:65432"], not {values!r}.')
    return tuple(_address(value, f"{name}.{index}", parse) for index, value in enumerate(values))


def _address(value: object, path: str, parse: Callable[[str], _T]) -> _T:
    if not isinstance(value, str):
        raise ConfigurationError(path, f"should be an address, such as 192.0.2.1:65432, not {value!r}.")
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigurationError(path, f"{error}.") from None
