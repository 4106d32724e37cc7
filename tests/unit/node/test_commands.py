import json
import stat
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from pinecone_transport.identity import is_server_name
from pinecone_transport.node import cli, commands, read_key_file
from pinecone_transport.node.commands import pinecone
from pinecone_transport.node.status_view import show


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(pinecone, [str(argument) for argument in arguments])


def test_keygen_writes_a_key_and_prints_its_name(tmp_path: Path) -> None:
    result = run("keygen", tmp_path / "node.key")
    assert result.exit_code == 0
    name = result.output.strip()
    assert is_server_name(name)
    assert read_key_file(tmp_path / "node.key").server_name == name
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600


def test_keygen_overwrites_nothing(tmp_path: Path) -> None:
    run("keygen", tmp_path / "node.key")
    before = (tmp_path / "node.key").read_bytes()
    result = run("keygen", tmp_path / "node.key")
    assert result.exit_code == 1
    assert "never overwritten" in result.output
    assert (tmp_path / "node.key").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "config", "sentence"),
    [
        (["--listen", "127.0.0.1:0"], None, "key_file: where is the node's key to be?"),
        (["--key-file", "KEY"], None, "somebody to talk to"),
        (["--key-file", "KEY", "--listen", "here:1"], None, "listen.0: 'here' is not an IP address"),
        (
            ["--key-file", "KEY", "--peer", "gopher://relay:1"],
            None,
            "peers.0: peerings over gopher:// are not supported",
        ),
        (["--key-file", "KEY"], "peers: [a:1, b]", "peers.1: 'b' is not an address"),
        (["--key-file", "KEY", "--peer", "b"], "peers: [a:1]", "peers.1: 'b' is not an address"),
        (["--key-file", "KEY", "--peer", "b:1"], "peers: a:1", "peers: should be a list"),
        (["--key-file", "KEY"], "peer: a:1", "peer: there is no such option"),
        (["--key-file", "KEY"], "- a", "one option a line"),
        (["--key-file", "KEY"], "a: [", "is not YAML"),
        (["--key-file", "KEY"], "", "somebody to talk to"),
        (["--key-file", "KEY"], "sources: {lan: {enabled: true}}", "somebody to talk to"),
        (["--key-file", "KEY"], "sources: [lan]", "sources: should have one source of links a line"),
        (["--key-file", "KEY"], "sources: {lan: 5}", "sources.lan: should have one option a line"),
        (["--key-file", "FOLDER", "--listen", "127.0.0.1:0"], None, "cannot be read: Is a directory"),
    ],
)
def test_a_node_does_not_start_with_a_mistake_in_its_options(
    tmp_path: Path, arguments: list[str], config: str | None, sentence: str
) -> None:
    places = {"KEY": str(tmp_path / "key"), "FOLDER": str(tmp_path)}
    arguments = [places.get(argument, argument) for argument in arguments]
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
        arguments += ["--config", str(tmp_path / "config.yaml")]
    result = run("node", "--no-lan", *arguments)
    assert result.exit_code == 1
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "key").exists()


def test_a_running_node_is_asked_at_the_default_place_if_no_other_is_given(tmp_path: Path) -> None:
    result = run("status", XDG_RUNTIME_DIR=str(tmp_path))
    assert result.exit_code == 1
    assert f"There is no control socket {tmp_path}/pinecone.sock" in result.output
    assert f"control socket {tmp_path}/.pinecone.sock" in run("status", XDG_RUNTIME_DIR="", HOME=str(tmp_path)).output
    assert "control socket /x" in run("status", "--control-socket", "/x").output


@pytest.mark.parametrize("command", [[], ["keygen"], ["node"], ["status"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_commands_of_other_packages_are_loaded_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "good": EntryPoint("good", "tests.unit.node.test_commands:hello", "pinecone.commands"),
        "missing": EntryPoint("missing", "no_such_package.cli:command", "pinecone.commands"),
        "wrong": EntryPoint("wrong", "tests.unit.node.test_commands:run", "pinecone.commands"),
    }

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "pinecone.commands"
        return [entry for entry in found.values() if name in {None, entry.name}]

    monkeypatch.setattr(commands, "entry_points", entry_points)
    assert run("good").output == "hello\n"
    for name, missing in (("missing", "no_such_package"), ("wrong", "tests.unit.node.test_commands:run")):
        result = run(name, "--some", "argument")
        assert result.exit_code == 1
        assert f"`pinecone {name}` needs {missing}, which is not there: pip install" in result.output
    helped = run("--help")
    assert "Not available: needs no_such_package." in helped.output
    assert run("no-such-command").exit_code == 2


@click.command()
def hello() -> None:
    click.echo("hello")


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "pinecone_transport.node.commands")
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == "The pinecone command needs click: pip install 'synapse-pinecone[cli]'"


def _status(**more: Any) -> dict[str, Any]:
    return {
        "key": "a" * 64,
        "uptime": 200_000.0,
        "listen": ["127.0.0.1:65432"],
        "coordinates": [1, 2],
        "root": {"key": "f" * 64, "sequence": 7},
        "parent": {"key": "e" * 64, "port": 3},
        "descending": None,
        "candidates": [
            {
                "source": "tcp",
                "address": "relay:1",
                "key": None,
                "state": "waiting",
                "reason": "refused",
                "failures": 2,
                "seen": None,
            }
        ],
        "links": [],
        "sessions": [],
        "streams": [],
        "counters": {"router": {}, "session": {}},
        **more,
    }


def _shown(status: dict[str, Any]) -> str:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        show(json.loads(json.dumps(status)), console)
    return captured.get()


def test_status_shows_the_node_and_its_place() -> None:
    text = _shown(_status())
    for part in ("a" * 64, "f" * 64, "e" * 64, "(port 3)", "1 2", "2 d", "127.0.0.1:65432", "relay:1 (waiting)"):
        assert part in text
    assert "Links" not in text


def test_status_of_a_root_without_anything() -> None:
    text = _shown(_status(coordinates=[], parent=None, candidates=[], listen=[], uptime=3.0))
    for part in (
        "this node is the root",
        "parent          none",
        "peers known of  none",
        "listening on    nothing",
        "3 s",
    ):
        assert part in text


def test_status_shows_links_sessions_and_counters() -> None:
    link = {
        "key": "b" * 64,
        "port": 1,
        "way": "tcp",
        "address": "192.0.2.1:5",
        "direction": "in",
        "age": 61.0,
        "bytes_received": 123,
        "bytes_sent": 45_600_000,
        "bytes_queued": 0,
    }
    stream = {"key": "c" * 64, "direction": "in", "age": 1.0, "bytes_received": 10, "bytes_sent": 10_000}
    text = _shown(
        _status(
            links=[link, {**link, "key": None, "port": None}],
            sessions=[{"key": "c" * 64, "connections": 2, "rtt": 0.0123, "window": 9, "packets_in_flight": 0}],
            streams=[stream, stream],
            counters={"router": {"hop limit reached": 4}},
        )
    )
    for part in (
        "b" * 16,
        "192.0.2.1:5",
        "61 s",
        "123 B",
        "46 MB",
        "shaking hands",
        "c" * 64,
        "12.3 ms",
        "20 B",
        "20 kB",
    ):
        assert part in text
    assert "hop limit reached" in text
