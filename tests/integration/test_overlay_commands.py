"""``pinecone peers``, ``tree``, ``routes`` and ``ping`` against nodes that are processes of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.node.control import ControlError, ask
from tests.integration.test_relay_process import PINECONE, start


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Three nodes in a row; their folder and their names, the middle one second."""
    folder = tmp_path_factory.mktemp("network")
    processes: list[subprocess.Popen[str]] = []
    try:
        relay = start(processes, folder, "relay", "--listen", "127.0.0.1:0")
        address = relay["Listening"].removeprefix("on ")
        first, last = (start(processes, folder, name, "--peer", address) for name in ("first", "last"))
        yield folder, [first["Node"], relay["Node"], last["Node"]]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run(folder: Path, node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PINECONE, *arguments, "--control-socket", str(folder / f"{node}.sock")],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        env={"COLUMNS": "300", "HOME": str(folder)},
    )


def answer(folder: Path, node: str, command: str, **arguments: object) -> dict[str, Any]:
    """Ask without a process, which would take a second."""
    return ask(str(folder / f"{node}.sock"), command, timeout=60.0, **arguments)


def test_a_ping_goes_through_a_relay_to_a_node_and_back(network: tuple[Path, list[str]]) -> None:
    folder, (_, _, last) = network
    for _ in range(30):  # each takes two seconds as long as there is no way
        report = answer(folder, "first", "ping", key=last)
        if report["request"] is not None:
            break
    assert report["outcome"] == "the node answers"
    assert 0 < report["request"] < 10
    assert 0 < report["set_up"] < 20
    shown = run(folder, "first", "ping", last)
    assert shown.returncode == 0
    assert "session set up in" in shown.stdout
    assert "request answered in" in shown.stdout


def test_a_ping_of_nobody_says_so_and_is_an_error(network: tuple[Path, list[str]]) -> None:
    folder, (first, _, _) = network
    nobody = run(folder, "first", "ping", Identity.generate().server_name)
    assert nobody.returncode == 1
    assert nobody.stdout.startswith("not reached: ")
    own = run(folder, "first", "ping", first)
    assert own.stderr == "Error: that is this node's own key\n"
    with pytest.raises(ControlError, match="64 lower-case hex"):
        answer(folder, "first", "ping", key="nonsense")


def test_peers_are_shown_with_their_way_and_round_trip(network: tuple[Path, list[str]]) -> None:
    folder, (first, relay, last) = network
    report = answer(folder, "relay", "peers")
    assert {link["key"] for link in report["links"]} == {first, last}
    for link in report["links"]:
        assert link["way"] == "tcp"
        assert link["direction"] == "in"
        assert link["bytes_received"] > 0
        assert link["round_trip"] is None or 0 < link["round_trip"] < 1
    (candidate,) = answer(folder, "first", "peers")["candidates"]
    assert (candidate["source"], candidate["key"], candidate["state"]) == ("tcp", relay, "connected")
    assert first in run(folder, "relay", "peers").stdout
    assert json.loads(run(folder, "relay", "peers", "--json").stdout).keys() == report.keys()


def test_the_tree_and_the_routes_are_shown(network: tuple[Path, list[str]]) -> None:
    folder, names = network
    reports = {name: answer(folder, node, "tree") for name, node in zip(names, ("first", "relay", "last"), strict=True)}
    root = max(names)
    assert {report["root"]["key"] for report in reports.values()} == {root}
    assert reports[root]["coordinates"] == []
    assert {peer["key"] for peer in reports[names[1]]["peers"]} == {names[0], names[2]}
    assert f"root         {root}" in run(folder, "relay", "tree").stdout
    routes = [route for node in ("first", "relay", "last") for route in answer(folder, node, "routes")["routes"]]
    assert {route["key"] for route in routes} <= set(names)
    assert any(route["key"] in run(folder, "relay", "routes").stdout for route in routes)
