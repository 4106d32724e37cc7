"""Dendrite's own demo of Pinecone as a process of a test: a whole homeserver that this project has no part in."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.namespaces import Host
from tests.support.synapse_processes import Server, User

SOURCE: Final = Path(__file__).parents[1] / "interop" / "dendrite"
CACHE: Final = Path(__file__).parents[2] / ".cache" / "dendrite"
DEMO: Final = "github.com/element-hq/dendrite/cmd/dendrite-demo-pinecone"

SWITCH: Final = "PINECONE_DENDRITE"
"""Where this is set in the environment, Dendrite is built: two minutes of both cores, and hundreds of MB of modules."""


def require_dendrite() -> str:
    """Return the path of the demo, built where that was not done yet; skip the test where nobody asked for it."""
    if not os.environ.get(SWITCH):
        pytest.skip(f"Dendrite takes minutes to build: `make dendrite` does, or {SWITCH}=1")
    go = shutil.which("go")
    assert go is not None, "there is no Go toolchain: install Go 1.23 or later to build Dendrite"
    CACHE.mkdir(parents=True, exist_ok=True)
    (version,) = (line.split()[-1] for line in (SOURCE / "go.mod").read_text().splitlines() if "dendrite v" in line)
    program = CACHE / f"dendrite-demo-pinecone-{version}"
    with (CACHE / "lock").open("w") as lock:  # parallel test runners
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(go, program)
    return str(program)


def _build(go: str, program: Path) -> None:
    folder = CACHE / "source"  # the module file is completed by the build: not the one in the tree
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    unfinished = program.with_suffix(".new")
    options = ["-mod=mod", "-trimpath", "-buildvcs=false", "-o", str(unfinished)]
    subprocess.run([go, "build", *options, DEMO], cwd=folder, check=True)
    unfinished.rename(program)


class Dendrite(Server):
    """The demo, as its users start it. It looks for peers on every LAN that it sees: so only in a namespace."""

    def __init__(self, program: str, directory: Path, host: Host) -> None:
        directory.mkdir()
        port = 8008
        super().__init__(
            "dendrite", [program, "-dir", str(directory), "-port", str(port)], directory / "output.log", port, host
        )

    def user(self, name: str) -> User:
        """Register a user, as anybody may."""
        body = {"username": name, "password": "a long password", "auth": {"type": "m.login.dummy"}}
        status, answer = self.call("POST", "/_matrix/client/v3/register", body)
        assert status == 200, answer
        return User(self, answer["user_id"], answer["access_token"])
