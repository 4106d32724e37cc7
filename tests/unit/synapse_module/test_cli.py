"""The commands, as their users call them; and what `check` finds."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pinecone_transport.identity import Identity
from pinecone_transport.node.keyfile import write_key_file
from pinecone_transport.node.lock import lock_key_file
from synapse_module.check import check_homeserver
from synapse_module.cli import check, new_homeserver
from synapse_module.overlay_settings import KEYS_ONLY, RELAY_ONLY

Settings = dict[str, Any]


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A homeserver as the command makes it."""
    directory = tmp_path / "homeserver"
    result = run(new_homeserver, directory, "--port", free_port(), "--peer", "192.0.2.1:65432")
    assert result.exit_code == 0, result.output
    return directory / "homeserver.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_new_homeserver_says_what_to_do_next(tmp_path: Path) -> None:
    result = run(new_homeserver, tmp_path / "a b", "--port", 8123, "--listen", "0.0.0.0:65432")
    (key_file,) = (tmp_path / "a b").glob("*.signing.key")
    assert result.exit_code == 0
    assert key_file.name.removesuffix(".signing.key") in result.output.split()
    assert f"-m synapse.app.homeserver -c '{tmp_path}/a b/homeserver.yaml'" in result.output
    assert f"register_new_matrix_user -c '{tmp_path}/a b/homeserver.yaml' http://localhost:8123" in result.output
    assert "no neighbours" not in result.output


def test_a_homeserver_without_neighbours_is_told_how_to_get_some(tmp_path: Path) -> None:
    by_itself = run(new_homeserver, tmp_path / "a").output
    assert "no neighbours but those that it finds on its local networks:\nput addresses under" in by_itself
    assert "It has no neighbours yet:\nput addresses" in run(new_homeserver, tmp_path / "b", "--no-lan").output


def test_a_directory_in_use_is_left_alone(made: Path) -> None:
    before = made.read_text()
    result = run(new_homeserver, made.parent)
    assert result.exit_code == 1
    assert result.output == f"Error: {made.parent} is not empty\n"
    assert made.read_text() == before


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(new_homeserver, tmp_path / "file" / "homeserver")
    assert result.exit_code == 1
    assert result.output == f"Error: {tmp_path}/file/homeserver cannot be written: Not a directory.\n"


@pytest.mark.parametrize("option", ["--listen", "--peer"])
def test_an_address_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, option: str) -> None:
    result = run(new_homeserver, tmp_path / "a", option, "example.org")
    assert result.exit_code == 2
    assert "write host:port" in result.output
    assert not (tmp_path / "a").exists()


def test_statistics_are_sent_only_if_asked_for(tmp_path: Path) -> None:
    run(new_homeserver, tmp_path / "a", "--report-stats", "yes")
    assert yaml.safe_load((tmp_path / "a" / "homeserver.yaml").read_text())["report_stats"] is True


def test_a_version_for_new_rooms_can_be_chosen_of_those_that_others_know(tmp_path: Path) -> None:
    run(new_homeserver, tmp_path / "a", "--room-version", "10")
    assert yaml.safe_load((tmp_path / "a" / "homeserver.yaml").read_text())["default_room_version"] == "10"
    refused = run(new_homeserver, tmp_path / "b", "--room-version", "org.matrix.msc3757.10")
    assert refused.exit_code == 2
    assert "'10', '11', '12'" in refused.output


def test_nothing_is_wrong_with_a_new_homeserver(made: Path) -> None:
    result = run(check, made)
    assert result.exit_code == 0
    assert result.output == f"note: server_name: {KEYS_ONLY}\n0 errors, 0 warnings\n"


def changed(made: Path, change: Callable[[Settings], object]) -> Result:
    settings = yaml.safe_load(made.read_text())
    change(settings)
    made.write_text(yaml.safe_dump(settings))
    return run(check, made)


def options(settings: Settings) -> Settings:
    return settings["modules"][0]["config"]


ERRORS: dict[str, tuple[Callable[[Settings], object], str]] = {
    "no name": (lambda s: s.pop("server_name"), "server_name: is not set."),
    "unquoted": (
        lambda s: s.update(server_name=1234),
        "server_name: is not a text but a number: put it in quotes.",
    ),
    "another's name": (
        lambda s: s.update(server_name="ab" * 32),
        "server_name: is not the public key of the signing key",
    ),
    "upper case": (
        lambda s: s.update(server_name=s["server_name"].upper()),
        "server_name: should be 64 lower-case hex",
    ),
    "key gone": (lambda s: s.update(signing_key_path="/nowhere/key"), "signing_key_path: There is no key file"),
    "inline key": (lambda s: s.update(signing_key="ed25519 1"), "signing_key: should be 'ed25519 <version> <key"),
    "no module": (lambda s: s.pop("modules"), "modules: has no synapse_module.PineconeModule"),
    "misspelt module": (
        lambda s: s["modules"][0].update(module="synapse_module.PineconModule"),
        "modules.0.module: synapse_module.PineconModule cannot be imported",
    ),
    "two modules": (
        lambda s: s["modules"].append({"module": "synapse_module.PineconeModule"}),
        "modules.1: is a second PineconeModule",
    ),
    "endpoint that is none": (
        lambda s: options(s).update(peers=["unix:/a:nonsense=1"]),
        "modules.0.config.peers.0: 'unix:/a:nonsense=1' cannot be dialled",
    ),
    "secret gone": (
        lambda s: options(s).update(mesh_secret_file="/nowhere/secret"),
        "modules.0.config.mesh_secret_file: /nowhere/secret cannot be read",
    ),
    "key that is none": (
        lambda s: options(s).update(allow=["nonsense"]),
        "modules.0.config.allow.0: a key is 64 lower-case hex digits in quotes",
    ),
    "wrong peer": (lambda s: options(s).update(peers=["nonsense"]), "modules.0.config.peers.0: 'nonsense' is not"),
    "wrong option": (lambda s: options(s).update(peer=[]), "modules.0.config.peer: there is no such option"),
    "options are a list": (lambda s: s["modules"][0].update(config=["x"]), "modules.0.config: should have one option"),
    "second key": (lambda s: options(s).update(key_file="x"), "modules.0.config.key_file: should not be there"),
    "statistics": (lambda s: s.pop("report_stats"), "report_stats: should be true or false"),
}

WARNINGS: dict[str, tuple[Callable[[Settings], object], str]] = {
    "public_baseurl": (lambda s: s.pop("public_baseurl"), "public_baseurl: is not set"),
    "key servers unset": (lambda s: s.pop("trusted_key_servers"), "trusted_key_servers: is not set"),
    "key servers": (
        lambda s: s.update(trusted_key_servers=[{"server_name": "matrix.org"}]),
        "trusted_key_servers: should be []",
    ),
    "rules unset": (lambda s: s.pop("room_list_publication_rules"), "room_list_publication_rules: is not set"),
    "no rules": (lambda s: s.update(room_list_publication_rules=[]), "room_list_publication_rules: is empty"),
    "room list": (
        lambda s: s.pop("allow_public_rooms_over_federation"),
        "allow_public_rooms_over_federation: should be true",
    ),
    "rate": (lambda s: s.pop("rc_federation"), "rc_federation: is not set"),
    "timeouts": (lambda s: s.pop("federation"), "federation.client_timeout: is not set"),
    "backoff": (
        lambda s: s["federation"].pop("destination_max_retry_interval"),
        "federation.destination_max_retry_interval: is not set",
    ),
    "presence": (lambda s: s.pop("presence"), "presence.enabled: should be false"),
    "federation listener": (
        lambda s: s["listeners"][0]["resources"][0].update(names=["client", "federation"]),
        "listeners.0.resources.0.names: serves federation",
    ),
    "one name": (
        lambda s: s["listeners"][0]["resources"][0].update(names="federation"),
        "listeners: has none with the resource client",
    ),
    "no listeners": (lambda s: s.pop("listeners"), "listeners: has none with the resource client"),
    "whitelist": (
        lambda s: s.update(federation_domain_whitelist=["matrix.org"]),
        "federation_domain_whitelist.0: matrix.org is not the name of a server on the overlay",
    ),
    "empty whitelist": (lambda s: s.update(federation_domain_whitelist=[]), "federation_domain_whitelist: is empty"),
    "senders": (
        lambda s: s.update(federation_sender_instances=["sender1"]),
        "instance_map.main: is not set: workers reach servers on the overlay through the main process",
    ),
    "secret": (
        lambda s: s.update(instance_map={"main": {"host": "localhost", "port": 9093}}),
        "worker_replication_secret: is not set",
    ),
    "alone": (
        lambda s: options(s).update(peers=[], sources={"lan": {"enabled": False}}),
        "modules.0.config: has neither peers nor anything to listen on",
    ),
}


@pytest.mark.parametrize("mistake", ERRORS)
def test_each_mistake_is_one_sentence_with_its_path(made: Path, mistake: str) -> None:
    change, sentence = ERRORS[mistake]
    result = changed(made, change)
    assert result.exit_code == 1
    assert [line for line in result.output.splitlines() if line.startswith(f"error: {sentence}")], result.output
    assert "1 error, " in result.output


@pytest.mark.parametrize("mistake", WARNINGS)
def test_what_is_merely_unwise_is_a_warning(made: Path, mistake: str) -> None:
    change, sentence = WARNINGS[mistake]
    result = changed(made, change)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.startswith(f"warning: {sentence}")], result.output
    assert "0 errors" in result.output


def test_workers_that_find_the_main_process_are_fine(made: Path) -> None:
    workers = {"instance_map": {"main": {"host": "localhost", "port": 9093}}, "worker_replication_secret": "secret"}
    assert "0 warnings" in changed(made, lambda s: s.update(workers)).output


def rewrite_key(made: Path, change: Callable[[str], str]) -> None:
    (key_file,) = made.parent.glob("*.signing.key")
    key_file.write_text(change(key_file.read_text()))


def test_a_key_of_another_version_is_one_that_dendrite_refuses(made: Path) -> None:
    rewrite_key(made, lambda line: line.replace("dendrite-demo-yggdrasil", "a_1234"))
    result = run(check, made)
    assert result.exit_code == 0
    assert "warning: signing_key_path: has a key of version 'a_1234': Dendrite refuses" in result.output


def test_a_damaged_key_is_an_error(made: Path) -> None:
    rewrite_key(made, lambda line: line[:-10])
    assert "error: signing_key_path: The key in" in run(check, made).output


def test_a_key_that_others_can_read_is_a_warning(made: Path) -> None:
    (key_file,) = made.parent.glob("*.signing.key")
    key_file.chmod(0o640)
    assert f"is open to other users of this computer: chmod 600 {key_file}." in run(check, made).output


def test_a_key_in_the_configuration_is_as_good_as_one_in_a_file(made: Path) -> None:
    (key_file,) = made.parent.glob("*.signing.key")
    line = key_file.read_text().strip()
    key_file.unlink()
    assert changed(made, lambda s: (s.pop("signing_key_path"), s.update(signing_key=line))).exit_code == 0


def test_ports_that_others_have_are_errors_unless_the_homeserver_itself_runs(made: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        change: Callable[[Settings], object] = lambda s: (  # noqa: E731  # used twice
            options(s).update(listen=["127.0.0.1:0", f"127.0.0.1:{port}"]),
            s["listeners"][0].update(port=port),
        )
        result = changed(made, change)
        assert f"error: modules.0.config.listen.1: 127.0.0.1 port {port} cannot be had: Address already in use." in (
            result.output
        )
        assert f"error: listeners.0.port: 127.0.0.1 port {port} cannot be had" in result.output
        assert result.exit_code == 1
        (key_file,) = made.parent.glob("*.signing.key")
        lock_key_file(key_file)
        result = run(check, made)
        assert result.exit_code == 0
        assert "note: The homeserver is running now, so its ports were not tried." in result.output


def test_a_homeserver_with_a_dns_name_needs_a_key_file_and_is_told_what_it_is(made: Path, tmp_path: Path) -> None:
    result = changed(made, lambda s: s.update(server_name="example.org", trusted_key_servers=[{"server_name": "a.b"}]))
    assert result.exit_code == 1
    assert "error: modules.0.config.key_file: is needed" in result.output
    assert f"note: server_name: {RELAY_ONLY}" in result.output
    result = changed(made, lambda s: options(s).update(key_file=str(tmp_path / "node.key")))
    assert result.output == f"note: server_name: {RELAY_ONLY}\n0 errors, 0 warnings\n"
    assert changed(made, lambda s: s.pop("signing_key_path")).exit_code == 0, "Synapse makes one"
    write_key_file(tmp_path / "node.key", Identity.generate())
    assert run(check, made).exit_code == 0
    (tmp_path / "node.key").write_text("nonsense")
    assert "error: modules.0.config.key_file: The key file" in run(check, made).output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [", "is not YAML"),
        (b"- a", "should be a list of settings"),
        (b"\xff", "is not YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "homeserver.yaml"
    if content is not None:
        path.write_bytes(content)
    result = run(check, path)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {path} {sentence}")
    assert len(result.output.splitlines()) == 2


JUNK = (None, True, 0, 99_999, 1.5, "", "junk", [], [None], ["junk"], {}, {"junk": 1}, [{}], [{"junk": 1}])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a settings file."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_anywhere_is_no_more_than_a_finding(made: Path, junk: object) -> None:
    settings = yaml.safe_load(made.read_text())
    settings["signing_key"] = "ed25519 1 aaaa"
    settings["federation_domain_whitelist"] = ["ab" * 32]
    settings["instance_map"] = {"main": {"host": "localhost", "port": 1}}
    for path in list(places(settings)):
        changed = copy.deepcopy(settings)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = junk
        made.write_text(yaml.safe_dump(changed))
        assert check_homeserver([made]), path


def test_later_files_override_earlier_ones(made: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("report_stats: nonsense")
    assert run(check, made, more).exit_code == 1
    assert run(check, more, made).exit_code == 0
