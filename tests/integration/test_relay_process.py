"""``pinecone node`` as a process of its own, and ``pinecone status`` against it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PINECONE = [sys.executable, "-m", "pinecone_transport.node.cli"]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], folder: Path, name: str, *arguments: str) -> dict[str, str]:
    """Start a node; return what it says of itself, by the first word of each line."""
    process = subprocess.Popen(
        [
            *PINECONE,
            "node",
            "--no-lan",
            "--key-file",
            str(folder / f"{name}.key"),
            "--control-socket",
            str(folder / f"{name}.sock"),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    processes.append(process)
    said = {}
    assert process.stdout is not None
    for line in process.stdout:
        first, _, rest = line.strip().partition(" ")
        said[first] = rest
        if first == "Control":
            return said
    raise AssertionError(process.communicate()[1])


def status(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PINECONE, "status", "--control-socket", str(folder / f"{name}.sock"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_two_processes_peer_show_it_and_end_cleanly(processes: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    relay = start(processes, tmp_path, "relay", "--listen", "127.0.0.1:0", "--listen", "[::1]:0")
    assert relay["Made"].startswith("a new key in")
    leaf = start(processes, tmp_path, "leaf", "--peer", relay["Listening"].removeprefix("on "))
    for _ in range(60):  # each takes a third of a second
        answer = json.loads(status(tmp_path, "relay", "--json").stdout)
        if [link["key"] for link in answer["links"]] == [leaf["Node"]]:
            break
    else:
        raise AssertionError("the peering did not come up")
    assert answer["key"] == relay["Node"]
    assert len(answer["listen"]) == 2
    shown = status(tmp_path, "leaf")
    assert shown.returncode == 0
    assert relay["Node"][:16] in shown.stdout
    assert (tmp_path / "relay.sock").stat().st_mode & 0o777 == 0o600

    for process, how in zip(processes, (signal.SIGTERM, signal.SIGINT), strict=True):
        process.send_signal(how)
        assert process.wait(10) == 0
        errors = process.communicate()[1]
        assert "Traceback" not in errors
        assert "Link down" in errors
        assert "ALPN" not in errors  # whatever the sessions' library has to say
    assert not (tmp_path / "relay.sock").exists()
    gone = status(tmp_path, "relay")
    assert gone.returncode == 1
    assert gone.stderr.startswith("Error: There is no control socket")


def test_the_key_stays_the_same_and_a_killed_nodes_socket_is_in_nobodys_way(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = start(processes, tmp_path, "relay", "--listen", "127.0.0.1:0")
    processes[0].kill()
    processes[0].wait()
    assert status(tmp_path, "relay").stderr.startswith("Error: Nobody listens")
    again = start(processes, tmp_path, "relay", "--listen", "127.0.0.1:0")
    assert again["Node"] == first["Node"]
    assert "Made" not in again


def test_a_port_that_is_taken_is_one_sentence_and_status_1(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    address = start(processes, tmp_path, "first", "--listen", "127.0.0.1:0")["Listening"].removeprefix("on ")
    second = subprocess.run(
        [*PINECONE, "node", "--no-lan", "--key-file", str(tmp_path / "second.key"), "--listen", address],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"HOME": str(tmp_path)},
    )
    assert second.returncode == 1
    assert second.stderr == (
        f"Error: listen.0: cannot listen on {address}: Address already in use; choose another port or address.\n"
    )


def test_a_control_socket_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    where = str(tmp_path / "missing" / "node.sock")
    node = subprocess.run(
        [
            *PINECONE,
            "node",
            "--no-lan",
            "--listen",
            "127.0.0.1:0",
            "--key-file",
            str(tmp_path / "node.key"),
            "--control-socket",
            where,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert node.returncode == 1
    assert f"Error: control_socket: cannot make the socket {where}: No such file or directory.\n" in node.stderr


def test_a_second_node_with_the_same_key_is_refused_in_one_sentence(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    start(processes, tmp_path, "first", "--listen", "127.0.0.1:0")
    second = subprocess.run(
        [*PINECONE, "node", "--no-lan", "--key-file", str(tmp_path / "first.key"), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert "Another process runs a node with the key in" in second.stderr
    assert "Traceback" not in second.stderr
