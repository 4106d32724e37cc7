"""Every hook into Synapse, by name: what a new Synapse moves fails here first."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from synapse.config.homeserver import HomeServerConfig

import synapse_module
from synapse_module import synapse_hooks
from synapse_module.homeserver import write_homeserver
from synapse_module.synapse_hooks import HOOKS, Hook, check_hooks, missing_hooks
from synapse_module.synapse_internals import SynapseInternals

PACKAGE = Path(synapse_module.__file__).parent
OFFERED = ("synapse.module_api",)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_synapse_has(hook: Hook) -> None:
    assert hook.is_there()


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        ("synapse.module_api:ModuleApi", "_hs"),
        ("synapse.crypto.keyring:Keyring", "_key_fetchers"),
        ("synapse.http.matrixfederationclient:MatrixFederationHttpClient", "agent"),
        ("synapse.federation.transport.server:TransportLayerServer", "authenticator"),
        ("synapse.server:HomeServer", "hostname"),
        ("synapse.server:HomeServer", "signing_key"),
        ("synapse.server:HomeServer", "config"),
        ("synapse.server:HomeServer", "version_string"),
        ("synapse.config._base:RootConfig", "config_files"),
    ],
)
def test_synapse_makes_the_attribute(owner: str, attribute: str) -> None:
    assert re.search(rf"self\.{attribute}\b.* = ", inspect.getsource(pkgutil.resolve_name(owner).__init__))


@pytest.mark.parametrize(
    "path",
    [
        "media.can_load_media_repo",
        "federation.federation_domain_whitelist",
        "federation.allow_profile_lookup_over_federation",
        "server.limit_profile_requests_to_users_who_share_rooms",
        "userdirectory.user_directory_search_enabled",
        "ratelimiting.rc_user_directory",
        "worker.worker_replication_secret",
        "worker.instance_map",
        "redis.redis_enabled",
    ],
)
def test_synapses_configuration_has(path: str, tmp_path: Path) -> None:
    homeserver = write_homeserver(tmp_path, client_port=8008)
    section, _, name = path.partition(".")
    assert hasattr(getattr(HomeServerConfig.load_config("", ["-c", str(homeserver.config)]), section), name)


def test_an_attribute_that_has_moved_is_named() -> None:
    with pytest.raises(ImportError, match=r"this Synapse has moved object\._hs, which synapse_module needs"):
        SynapseInternals(object())


@pytest.mark.parametrize(
    "hook",
    [
        Hook("synapse.no_such_module:Thing"),
        Hook("synapse.http.site:NoSuchThing"),
        Hook("synapse.http.site:SynapseSite", ("no_such_parameter",)),
    ],
    ids=["module", "name", "parameter"],
)
def test_what_has_moved_is_named(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapse_hooks, "HOOKS", (HOOKS[0], hook))
    assert missing_hooks() == [hook.name]
    with pytest.raises(ImportError, match=hook.name):
        check_hooks()


@pytest.mark.parametrize("version", ["1.159.0", "1.9", "0.34.1"])
def test_an_old_synapse_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(ImportError, match=f"Synapse {version} is too old"):
        check_hooks()


def test_a_missing_synapse_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", no_version)
    with pytest.raises(ImportError, match="Synapse is not installed"):
        check_hooks()


def test_nothing_else_of_the_package_is_reached() -> None:
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = synapse_module.NoSuchThing


def is_of_synapse(module: str) -> bool:
    return module.partition(".")[0] in ("synapse", "signedjson") and not module.startswith(OFFERED)


def imported_names(path: Path) -> set[str]:
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_only_one_file_imports_what_synapse_does_not_offer(path: Path) -> None:
    private = [name for name in imported_names(path) if is_of_synapse(name)]
    assert bool(private) == (path.name == "synapse_internals.py")


def test_each_name_that_is_imported_from_synapse_is_a_hook() -> None:
    hooked = {hook.name.partition(":")[0] + "." + hook.name.partition(":")[2].partition(".")[0] for hook in HOOKS}
    tree = ast.parse((PACKAGE / "synapse_internals.py").read_text())
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.partition(".")[0] in ("synapse", "signedjson")
        for alias in node.names
        if not node.module.startswith(OFFERED)
    }
    assert imported <= hooked
