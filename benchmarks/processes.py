"""The processes of a benchmark, from outside: started here, asked here, stopped here by their own handles."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

STOP_TIMEOUT: Final = 10.0
"""Seconds that a process has to end after its input has."""
PATIENCE: Final = 120.0
"""Seconds for an answer, unless more are asked for."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
HERE: Final = Path(__file__).parents[1]


class ProcessFailedError(Exception):
    """A process of a benchmark died, or could not do what it was told."""


@final
class Process:
    """One process and the way to talk to it.

    Args:
        command: What to run.
        folder: Where to.

    Attributes:
        ready: What it said first.
        pid: Its number.
    """

    def __init__(self, command: Sequence[str], folder: Path = HERE) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if command[0] != sys.executable else None,
        )
        self.pid: Final = self._process.pid
        self._name: Final = " ".join(command[1:4])
        self._numbers: Final = itertools.count(1)
        self._input = b""
        self._answers: Final[dict[int, dict[str, Any]]] = {}
        self.ready: Final = self._read(time.monotonic() + PATIENCE)

    def ask(self, command: str, *, patience: float = PATIENCE, **arguments: object) -> Any:
        """Have a command carried out and return what came of it.

        Raises:
            ProcessFailedError: It failed, took longer than ``patience``, or the process ended.
        """
        return self.answer(self.begin(command, **arguments), patience)

    def begin(self, command: str, **arguments: object) -> int:
        """Have a command carried out meanwhile; return its number, for `answer`."""
        number = next(self._numbers)
        line = json.dumps({"id": number, "command": command, **arguments})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ProcessFailedError(f"{self._name} has ended") from error
        return number

    def answer(self, number: int, patience: float = PATIENCE) -> Any:
        """Wait for what came of a command."""
        until = time.monotonic() + patience
        while number not in self._answers:
            line = self._read(until)
            self._answers[line["id"]] = line
        answer = self._answers.pop(number)
        if "error" in answer:
            raise ProcessFailedError(f"{self._name}: {answer['error']}")
        return answer.get("result")

    def cpu(self) -> float:
        """Return the seconds of CPU that it has spent so far, in steps of a hundredth."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> int:
        """Return its resident size, bytes."""
        return resident_of(self.pid)

    def stop(self) -> None:
        """End the process by ending its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()

    def kill(self) -> None:
        """End the process without a word to its peers."""
        self._process.kill()
        self._process.wait()

    def _read(self, until: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while b"\n" not in self._input:
            if not select.select([output], [], [], max(until - time.monotonic(), 0))[0]:
                raise ProcessFailedError(f"{self._name} did not answer in time")
            data = os.read(output, 1 << 16)
            if not data:
                raise ProcessFailedError(f"{self._name} ended; its last words are above")
            self._input += data
        line, _, self._input = self._input.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def resident_of(pid: int) -> int:
    """Return the resident size of a process, bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def python(module: str, part: dict[str, Any], folder: Path = HERE) -> Process:
    """Start a module of the benchmarks with its part, which it finds on its command line."""
    return Process([sys.executable, "-m", module, json.dumps(part)], folder)
