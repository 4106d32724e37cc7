"""Finds the mistakes of a ``homeserver.yaml`` before Synapse starts; reads files, changes none."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import yaml

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.links import HostPort
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.keyfile import KeyFileError, read_key_file
from synapse_module.check_key import check_signing_key, signing_key_file
from synapse_module.check_peers import check_peers
from synapse_module.check_ports import check_port, is_running
from synapse_module.config import parse_options
from synapse_module.homeserver import MODULE
from synapse_module.names import NameKind, kind_of_name
from synapse_module.overlay_settings import KEYS_ONLY, RELAY_ONLY, Finding, Severity, at, check_overlay_settings

# Where there is one of these, there are workers.
_OF_WORKERS: Final = (
    "instance_map",
    "stream_writers",
    "federation_sender_instances",
    "outbound_federation_restricted_to",
)


def check_homeserver(files: Sequence[Path]) -> list[Finding]:
    """Return what is to be said about the configuration in the files, of which later ones override earlier ones."""
    try:
        settings = _read(files)
    except ConfigurationError as error:
        return [Finding(Severity.ERROR, error.path, error.sentence)]
    return list(_Check(settings, files[-1].absolute().parent).findings())


def _read(files: Sequence[Path]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError("", f"{file} cannot be read: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError("", f"{file} is not YAML: {' '.join(str(error).split())}.") from None
        if not isinstance(content, dict):
            raise ConfigurationError("", f"{file} should be a list of settings, each with its name and a colon.")
        settings.update(content)
    return settings


@final
class _Check:
    """The parts of one check, in the order in which a reader goes through the file."""

    def __init__(self, settings: Mapping[str, Any], directory: Path) -> None:
        self._settings = settings
        self._directory = directory

    def findings(self) -> Iterator[Finding]:
        name = self._settings.get("server_name")
        if not isinstance(name, str):
            yield self._server_name_is_no_text(name)
            return
        key_named = kind_of_name(name) is not NameKind.ORDINARY
        yield from check_signing_key(self._settings, self._directory)
        if key_named:
            yield from check_overlay_settings(self._settings)
        yield from self._report_stats()
        yield from self._listeners(key_named)
        yield from self._workers()
        yield from self._modules(name, key_named)
        yield Finding(Severity.NOTE, "server_name", KEYS_ONLY if key_named else RELAY_ONLY)

    def _server_name_is_no_text(self, name: object) -> Finding:
        if name is None:
            return Finding(Severity.ERROR, "server_name", "is not set.")
        return Finding(Severity.ERROR, "server_name", "is not a text but a number: put it in quotes.")

    def _report_stats(self) -> Iterator[Finding]:
        if not isinstance(self._settings.get("report_stats"), bool):
            yield Finding(Severity.ERROR, "report_stats", "should be true or false: Synapse does not start without.")

    def _listeners(self, key_named: bool) -> Iterator[Finding]:
        resources = set[str]()
        for path, names in self._resources():
            resources.update(names)
            if key_named and "federation" in names:
                yield Finding(
                    Severity.WARNING, path, "serves federation, which comes in through the overlay: take it out."
                )
        if "client" not in resources:
            yield Finding(Severity.WARNING, "listeners", "has none with the resource client: no user can log in.")

    def _resources(self) -> Iterator[tuple[str, list[str]]]:
        for path, listener in _items(self._settings, "listeners"):
            for index, resource in _items(listener, "resources"):
                yield f"{path}.{index}.names", _texts(resource.get("names"))

    def _workers(self) -> Iterator[Finding]:
        settings = self._settings
        if not any(settings.get(setting) for setting in _OF_WORKERS):
            return
        for path in ("instance_map.main", "worker_replication_secret"):
            if at(settings, path) is None and (path != "worker_replication_secret" or not settings.get(f"{path}_path")):
                yield Finding(
                    Severity.WARNING,
                    path,
                    "is not set: workers reach servers on the overlay through the main process, and cannot find it.",
                )

    def _modules(self, name: str, key_named: bool) -> Iterator[Finding]:
        ours = []
        not_found = False
        for path, entry in _items(self._settings, "modules"):
            try:
                ours += [(path, entry)] if _is_ours(entry) else []
            except ConfigurationError as error:
                not_found = True
                yield Finding(Severity.ERROR, f"{path}.module", error.sentence)
        if not ours and not not_found:
            yield Finding(Severity.ERROR, "modules", f"has no {MODULE}: nothing would connect Synapse to the overlay.")
        for path, _ in ours[1:]:
            yield Finding(Severity.ERROR, path, "is a second PineconeModule; a homeserver has one.")
        for path, entry in ours[:1]:
            yield from self._options(f"{path}.config", entry.get("config") or {}, name, key_named)

    def _options(self, path: str, options: Any, name: str, key_named: bool) -> Iterator[Finding]:
        if not isinstance(options, dict):
            yield Finding(Severity.ERROR, path, "should have one option a line, each with its name and a colon.")
            return
        try:
            config = parse_options(options)
        except ConfigurationError as error:
            yield Finding(Severity.ERROR, f"{path}.{error.path}", error.sentence)
            return
        if config.would_be_alone():
            yield Finding(
                Severity.WARNING, path, "has neither peers nor anything to listen on: the node will be alone."
            )
        yield from check_peers(path, config)
        key_file = signing_key_file(self._settings, self._directory)
        if key_named and config.key_file is not None:
            yield Finding(Severity.ERROR, f"{path}.key_file", "should not be there: the signing key is the node's key.")
        if not key_named:
            if config.key_file is None:
                yield Finding(
                    Severity.ERROR,
                    f"{path}.key_file",
                    "is needed on a server with a DNS name: a path for its node's key, which is made if it is missing.",
                )
                return
            key_file = Path(config.key_file)
            if key_file.exists():
                try:
                    read_key_file(key_file)
                except KeyFileError as error:
                    yield Finding(Severity.ERROR, f"{path}.key_file", str(error))
        yield from self._ports(path, config, key_file)

    def _ports(self, path: str, config: NodeConfig, key_file: Path) -> Iterator[Finding]:
        if is_running(key_file):
            yield Finding(Severity.NOTE, "", "The homeserver is running now, so its ports were not tried.")
            return
        for index, address in enumerate(config.listen):
            if isinstance(address, HostPort):
                yield from check_port(f"{path}.listen.{index}", address.host, address.port)
        for listener_path, listener in _items(self._settings, "listeners"):
            addresses = _texts(listener.get("bind_addresses")) or _texts(listener.get("bind_address")) or ["0.0.0.0"]
            if isinstance(listener.get("port"), int):
                yield from check_port(f"{listener_path}.port", addresses[0], listener["port"])


def _items(settings: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings in the list of that name, each with its path; what else is there Synapse complains about."""
    values = settings.get(name)
    if isinstance(values, list):
        yield from ((f"{name}.{index}", value) for index, value in enumerate(values) if isinstance(value, dict))


def _texts(value: object) -> list[str]:
    """Return a text, or the texts of a list, as a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    """Tell whether the entry of ``modules`` is this package's.

    Raises:
        ConfigurationError: Nothing can be imported by its name.
    """
    module, _, name = str(entry.get("module")).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        # Whatever the import of a stranger's module raises, Synapse would stumble over it too.
        raise ConfigurationError("", f"{entry.get('module')} cannot be imported: {error}.") from None
    return getattr(found, "__module__", "").partition(".")[0] == MODULE.partition(".")[0]
