"""The programs that the demo starts, watches and stops: its own children, by their process ids."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Final, final

from demo.errors import DemoError

STOP_TIMEOUT: Final = 20.0
"""Seconds that a program has to end by itself; Synapse closes its database in that time."""


def require_free_ports(ports: dict[str, int]) -> None:
    """Raise if another program listens on one of these ports of the loopback; the keys say what each is for."""
    for purpose, port in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise DemoError(
                    f"Port {port}, wanted for {purpose}, is taken ({error.strerror}): "
                    "stop the program that uses it, or choose others with ARGS='--fresh --base-port 28008'."
                ) from error


@final
class Program:
    """One running program; what it prints goes to a file."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        """Start it.

        It gets a session of its own, so that Ctrl-C in the terminal reaches the demo alone, which then stops all in
        order.
        """
        self.name = name
        self.log = directory / "output.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if the program has ended."""
        status = self._process.poll()
        if status is not None:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise DemoError(f"{self.name} ended {how}.", self.log)

    def terminate(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def wait(self) -> None:
        """Return when it has ended; one that does not listen is killed."""
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@final
class Programs:
    """All of them, as a context manager that stops them."""

    def __init__(self) -> None:
        self._running: list[Program] = []

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._running:
            program.terminate()
        for program in self._running:
            program.wait()

    def start(self, name: str, command: list[str], directory: Path) -> None:
        """Start one more."""
        self._running.append(Program(name, command, directory))

    def check(self) -> None:
        """Raise if one of them has ended."""
        for program in self._running:
            program.check()
