"""Paths: the processes between a client and a server, started here and stopped here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final, final

STOP_TIMEOUT: Final = 10.0
"""Seconds that a process has to end after its input has."""


class ProcessFailedError(Exception):
    """A process of a path died, or could not do what it was told."""


@final
class Process:
    """One process and the way to talk to it."""

    def __init__(self, part: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.process", json.dumps(part)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready: Final = self._read()

    def tell(self, command: str, **arguments: object) -> Any:
        """Have a command carried out and return its ``seconds``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()["seconds"]

    def stop(self) -> None:
        """End the process by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ProcessFailedError("a process of the benchmark died; its last words are above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProcessFailedError(answer["error"])
        return answer


@final
class Path:
    """A client, a server, and what is between them.

    Attributes:
        name: For the table.
    """

    def __init__(self, links: int) -> None:
        """Start the processes.

        Args:
            links: How many overlay links are on the way; 0 for plain HTTPS over TCP.
        """
        self.name: Final = f"overlay, {links} link{'s' if links > 1 else ''}" if links else "HTTPS over TCP"
        self._processes: Final[list[Process]] = []
        try:
            self._start(links)
            self._processes[-1].tell("first")
        except BaseException:
            self.stop()
            raise

    def _start(self, links: int) -> None:
        part: dict[str, Any] = {"transport": "overlay" if links else "https", "peers": []}
        self._processes.append(Process(part))
        for _ in range(links - 1):
            self._processes.append(Process({**part, "peers": [self._processes[-1].ready["address"]]}))
        peers = [self._processes[-1].ready["address"]] if links else []
        self._processes.append(Process({**part, "peers": peers, "base": self._processes[0].ready["base"]}))

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.stop()

    def transfer(self, direction: str, length: int) -> tuple[float, float]:
        """Move one body; ``upload`` or ``download``.

        Returns:
            Seconds it took, and seconds of CPU that all processes of the path spent on it.
        """
        before = self._cpu()
        seconds: float = self._processes[-1].tell(direction, length=length)
        return seconds, self._cpu() - before

    def small_requests(self, count: int) -> list[float]:
        """Make small requests one after the other and return the seconds that each took."""
        seconds: list[float] = self._processes[-1].tell("small", count=count)
        return seconds

    def _cpu(self) -> float:
        return sum(float(process.tell("cpu")) for process in self._processes)
