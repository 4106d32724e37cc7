"""The demo, as people run it."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 13


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", "--exit", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def free_base_port() -> int:
    """Return the first of three neighbouring ports that nobody uses."""
    for base in range(20_000, 30_000, 3):
        with ExitStack() as stack:
            try:
                for port in range(base, base + 3):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("no three neighbouring ports are free")


@pytest.mark.synapse
def test_every_step_passes_on_the_first_start_and_on_the_second(tmp_path: Path) -> None:
    state = str(tmp_path / "state")

    first = run_demo("--state-dir", state, "--base-port", str(free_base_port()))
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count(" ms  ") == STEPS
    assert "registered and logged in" in first.stdout

    second = run_demo("--state-dir", state)
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.count(" ms  ") == STEPS
    assert "the room of the first start" in second.stdout


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run_demo("--state-dir", str(tmp_path / "state"), "--base-port", str(port))

    assert result.returncode == 1
    assert result.stdout.startswith(f"Port {port}, wanted for homeserver A, is taken")
    assert result.stderr == ""


def test_beginning_anew_leaves_foreign_files_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")

    result = run_demo("--fresh", "--state-dir", str(tmp_path))

    assert result.returncode == 1
    assert "holds other files than the demo's" in result.stdout
    assert precious.read_text() == "keep me"
