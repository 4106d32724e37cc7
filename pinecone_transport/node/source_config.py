"""Options of single sources of links: which there are, who may peer by them, and how many."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import PublicKey, key_from_server_name
from pinecone_transport.links import endpoint_kinds

DISCOVERING: Final = ("lan",)
"""Sources that find peers by themselves, without anything but being switched on."""
FINDING: Final = frozenset({"lan", "mdns", "ble"})
"""Sources that dial whom they have found, and not whom the configuration names."""

_OTHERS: Final = frozenset({"tcp", "ws", "pipe"})
_ONLY_FOR: Final = {"interfaces": frozenset({"lan", "mdns"}), "adapter": frozenset({"ble"})}
_MAX_LINKS: Final = 253
_ADAPTER: Final = re.compile(r"[A-Za-z0-9_]+|[a-z-]+:\S+")


@attrs.frozen(kw_only=True)
class SourceConfig:
    """Options of one source of links.

    Attributes:
        enabled: Whether it is used; None where nothing is said.
        interfaces: Names of the network interfaces that it keeps to; None for all.
        adapter: Bluetooth adapter that it uses: BlueZ's name for it, or where bumble finds it; None for the usual one.
        allow: Keys that may peer by it, others may not; None for all.
        deny: Keys that may not peer by it, allowed or not.
        max_links: Links that there may be by it; None for as many as there may be in all.
        link_proof: Whether a peer has to prove its key (§11).
    """

    enabled: bool | None = None
    interfaces: tuple[str, ...] | None = None
    adapter: str | None = None
    allow: frozenset[PublicKey] | None = None
    deny: frozenset[PublicKey] = frozenset()
    max_links: int | None = None
    link_proof: bool = False

    def apart_from_rules(self) -> SourceConfig:
        """Return the options that the source itself is made of, without those about who may peer."""
        return attrs.evolve(self, allow=None, deny=frozenset(), max_links=None, link_proof=False)


def parse_sources(value: object, *, discover: bool) -> dict[str, SourceConfig]:
    """Read the option ``sources``.

    Raises:
        ConfigurationError: Something in it is unknown or wrong.
    """
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ConfigurationError("sources", f"should have one source of links a line, such as `lan:`, not {value!r}.")
    sources = {str(name): _parse_source(str(name), options) for name, options in value.items()}
    if discover:
        for name in DISCOVERING:
            found = sources.get(name, SourceConfig())
            sources[name] = attrs.evolve(found, enabled=found.enabled is not False)
    return sources


def parse_keys(value: object, path: str) -> frozenset[PublicKey] | None:
    """Read a list of keys; None if there is none.

    Raises:
        ConfigurationError: It is no list, or one of them is no key.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigurationError(path, f"should be a list of keys, each of 64 lower-case hex digits, not {value!r}.")
    return frozenset(_key(key, f"{path}.{index}") for index, key in enumerate(value))


def _key(value: object, path: str) -> PublicKey:
    try:
        return key_from_server_name(value if isinstance(value, str) else "")
    except LocalProtocolError:
        raise ConfigurationError(path, f"a key is 64 lower-case hex digits in quotes, not {value!r}.") from None


def _parse_source(source: str, value: object) -> SourceConfig:
    path = f"sources.{source}"
    sources = FINDING | _OTHERS | endpoint_kinds()
    if source not in sources:
        raise ConfigurationError(
            path,
            "there is no such source of links; there are ble, lan, mdns, tcp, ws, and kinds of endpoint such as unix.",
        )
    if value is None:
        return SourceConfig()
    if not isinstance(value, Mapping):
        raise ConfigurationError(path, f"should have one option a line, such as `enabled: true`, not {value!r}.")
    known = [field.name for field in attrs.fields(SourceConfig)]
    for name in value:
        if name not in known:
            raise ConfigurationError(f"{path}.{name}", f"there is no such option; there are {', '.join(known)}.")
        if source not in _ONLY_FOR.get(name, sources):
            raise ConfigurationError(f"{path}.{name}", f"has a meaning for {', '.join(sorted(_ONLY_FOR[name]))} alone.")
    return SourceConfig(
        enabled=_boolean(value.get("enabled"), f"{path}.enabled"),
        interfaces=_names(value.get("interfaces"), f"{path}.interfaces"),
        adapter=_adapter(value.get("adapter"), f"{path}.adapter"),
        allow=parse_keys(value.get("allow"), f"{path}.allow"),
        deny=parse_keys(value.get("deny"), f"{path}.deny") or frozenset(),
        max_links=_number(value.get("max_links"), f"{path}.max_links"),
        link_proof=_boolean(value.get("link_proof"), f"{path}.link_proof") or False,
    )


def _boolean(value: object, path: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(path, f"should be true or false, not {value!r}.")
    return value


def _adapter(value: object, path: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not _ADAPTER.fullmatch(value)):
        raise ConfigurationError(path, f"should be an adapter, such as hci0, or usb:0 for bumble, not {value!r}.")
    return value


def _number(value: object, path: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_LINKS):
        raise ConfigurationError(path, f"should be a number from 0 to {_MAX_LINKS}, not {value!r}.")
    return value


def _names(value: object, path: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(path, f'should be a list of interfaces, such as ["eth0"], not {value!r}.')
    return tuple(value)
