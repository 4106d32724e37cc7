"""``make testbed``: builds the image, starts everything, makes trouble, and says what became of the messages.

Works with the Docker engine that there is. Where there is none but its programs are installed, root gets one of its own
for the time of the run; where no image can be pulled, root gets a base made by debootstrap.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WORK: Final = ROOT / ".cache" / "testbed"
WHEELS: Final = ROOT / "testbed" / "wheels"
PULLED_BASE: Final = "python:3.12-slim-bookworm"
MADE_BASE: Final = "pinecone-testbed-base"
PROJECT: Final = "pinecone-testbed"
ENGINE_START: Final = 60.0
UP: Final = 300.0
NODES: Final = ("homeserver-a", "homeserver-b", "homeserver-c", "relay-1", "relay-2")


class TestbedError(Exception):
    """Why it cannot go on: one sentence for people."""


class Docker:
    """The engine, by its command line.

    Args:
        socket: Of an engine of our own; None for the one that there is.
    """

    def __init__(self, socket: Path | None) -> None:
        self.environment = dict(os.environ, COMPOSE_PROJECT_NAME=PROJECT)
        if socket is not None:
            self.environment.update(DOCKER_HOST=f"unix://{socket}", DOCKER_SOCKET=str(socket))
        self._compose = self._find_compose()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run ``docker`` and return what it printed.

        Raises:
            TestbedError: It failed.
        """
        return self._run(["docker", *arguments], check=check)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run ``docker compose``, whichever of its two forms is installed."""
        return self._run([*self._compose, "--file", str(ROOT / "docker-compose.yml"), *arguments], check=check)

    def works(self) -> bool:
        """Tell whether an engine answers."""
        return self._status(["docker", "version"]) == 0

    def can_pull(self, image: str) -> bool:
        """Tell whether the image is here, or can be had."""
        return self._status(["docker", "image", "inspect", image]) == 0 or self._status(["docker", "pull", image]) == 0

    def _find_compose(self) -> list[str]:
        for command in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(command[0]) and self._status([*command, "version"]) == 0:
                return command
        raise TestbedError("Docker Compose is not installed (Debian: docker-compose).")

    def _status(self, command: list[str]) -> int:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode

    def _run(self, command: list[str], *, check: bool) -> str:
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode:
            raise TestbedError(f"`{' '.join(command)}` failed:\n{done.stdout[-3000:]}")
        return done.stdout


@contextmanager
def docker_engine() -> Iterator[Docker]:
    """Give the engine that there is, or one of our own for as long as it is used."""
    if shutil.which("docker") is None:
        raise TestbedError(
            "There is no Docker here: install the engine and Compose (Debian: docker.io, docker-compose)."
        )
    docker = Docker(None)
    if docker.works():
        yield docker
        return
    program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin")
    if program is None or os.getuid() != 0:
        raise TestbedError("No Docker engine answers, and only root with dockerd installed can start one.")
    WORK.mkdir(parents=True, exist_ok=True)
    socket = WORK / "docker.sock"
    log = (WORK / "dockerd.log").open("ab")
    options = [f"--data-root={WORK / 'data'}", f"--exec-root={WORK / 'exec'}", f"--pidfile={WORK / 'dockerd.pid'}"]
    process = subprocess.Popen([program, f"--host=unix://{socket}", *options], stdout=log, stderr=log)
    try:
        docker = Docker(socket)
        give_up_at = time.monotonic() + ENGINE_START
        while not docker.works():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise TestbedError(f"The Docker engine does not start; see {log.name}.")
            time.sleep(0.5)
        yield docker
    finally:
        process.terminate()
        process.wait()
        log.close()


def base_image(docker: Docker) -> str:
    """Return an image with Python: the one that was named, one that can be pulled, or one made here."""
    named = os.environ.get("BASE")
    if named or docker.can_pull(PULLED_BASE):
        return named or PULLED_BASE
    if docker.run("image", "ls", "-q", MADE_BASE).strip():
        return MADE_BASE
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        raise TestbedError(f"{PULLED_BASE} cannot be pulled, and only root with debootstrap can make a base here.")
    _say("No image can be pulled: making a base of Debian's packages")
    tree = WORK / "base"
    shutil.rmtree(tree, ignore_errors=True)
    _shell("debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", str(tree))
    archive = WORK / "base.tar"
    _shell("tar", "--create", "--file", str(archive), "--directory", str(tree), ".")
    docker.run("import", str(archive), MADE_BASE)
    shutil.rmtree(tree)
    archive.unlink()
    return MADE_BASE


def fill_wheelhouse(docker: Docker, base: str) -> None:
    """Put into ``testbed/wheels`` all that the image installs, so that building it needs no network."""
    version = docker.run(
        *("run", "--rm", "--entrypoint", "python3", base, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    _shell(*pip, "wheel", "--no-deps", "--wheel-dir", str(WHEELS), str(ROOT))
    own = next(WHEELS.glob("*.whl"))
    _shell(
        *pip,
        *("download", "--only-binary=:all:", "--python-version", version.strip(), "--dest", str(WHEELS)),
        f"{own}[cli,synapse]",
    )


def wait_until_healthy(docker: Docker) -> None:
    """Return once all nodes are well.

    Raises:
        TestbedError: That does not come about.
    """
    give_up_at = time.monotonic() + UP
    while True:
        states = {name: _health(docker, name) for name in NODES}
        if all(state == "healthy" for state in states.values()):
            return
        if time.monotonic() > give_up_at:
            logs = docker.compose("logs", "--tail", "20", check=False)
            raise TestbedError(f"Not well after {UP:.0f} s: {states}\n{logs}")
        time.sleep(1.0)


def _health(docker: Docker, service: str) -> str:
    container = docker.compose("ps", "-q", service).strip()
    return docker.run("inspect", "--format", "{{.State.Health.Status}}", container, check=False).strip()


def main() -> int:
    """Run the test bed; return 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="make testbed", description=__doc__)
    parser.add_argument("--seconds", type=int, default=150, help="of load")
    parser.add_argument("--keep", action="store_true", help="leave it running, where the engine is not ours")
    options = parser.parse_args()
    try:
        with docker_engine() as docker:
            return _run(docker, options.seconds, keep=options.keep)
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(docker: Docker, seconds: int, *, keep: bool) -> int:
    base = base_image(docker)
    docker.environment.update(BASE=base, SECONDS_OF_LOAD=str(seconds))
    _say(f"Building the image on {base}")
    fill_wheelhouse(docker, base)
    docker.compose("build", "homeserver-a")
    try:
        _say("Starting three homeservers and two relays")
        docker.compose("up", "--detach", "--no-build", *NODES)
        wait_until_healthy(docker)
        _say(f"All are well. {seconds} s of load, and trouble meanwhile")
        docker.compose("--profile", "chaos", "up", "--detach", "--no-build", "load", "chaos")
        status = docker.run("wait", docker.compose("--profile", "chaos", "ps", "-q", "load").strip()).strip()
        sys.stdout.write(docker.compose("--profile", "chaos", "logs", "--no-color", "chaos", "load"))
        _report(docker)
        return int(status)
    finally:
        if not keep:
            docker.compose("--profile", "chaos", "down", "--volumes", "--timeout", "5", check=False)


def _report(docker: Docker) -> None:
    container = docker.compose("--profile", "chaos", "ps", "-q", "load").strip()
    WORK.mkdir(parents=True, exist_ok=True)
    docker.run("cp", f"{container}:/report/load.json", str(WORK / "report.json"), check=False)
    if (WORK / "report.json").exists():
        for name, value in json.loads((WORK / "report.json").read_text()).items():
            _say(f"{name.replace('_', ' '):<28}{value:.3f}" if isinstance(value, float) else f"{name:<28}{value}")


def _shell(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise TestbedError(f"`{' '.join(command)}` failed:\n{done.stdout[-3000:]}")


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
