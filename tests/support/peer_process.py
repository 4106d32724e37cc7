"""A node of a test as a process: asked by JSON lines, ended by its pid."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from pinecone_transport.identity import Identity


class PeerError(Exception):
    """A command of the process failed, or the process ended."""


class PeerProcess(ProcessProtocol):
    """A node of a test.

    Its first line tells where it listens; then it answers commands, each one line, in the order in which they end.

    Args:
        identity: Its key.
        command: The program and its arguments.
        environment: All of it.

    Attributes:
        ready: Fires when it listens.
        ended: Fires when the process is gone.
        address: That it listens on, once ``ready``.
        log: What it wrote to standard error.
    """

    def __init__(self, identity: Identity, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.identity = identity
        self.name = identity.server_name
        self.address = ""
        self.ready: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.log: list[str] = []
        self._answers: dict[int, Deferred[Any]] = {}
        self._numbers = itertools.count(1)
        self._lines: dict[int, bytes] = {1: b"", 2: b""}
        self._process = reactor.spawnProcess(self, command[0], command, environment)

    @property
    def pid(self) -> int | None:
        """The process's id; None when it is gone."""
        pid: int | None = self._process.pid
        return pid

    # What a node of a test can be asked

    async def state(self) -> dict[str, Any]:
        return await self.command("state")

    async def request(self, server: str, path: str = "/ping", **options: object) -> dict[str, Any]:
        """Send a request: GET, or POST of as many bytes as ``upload`` says."""
        options.setdefault("method", "POST" if "upload" in options else "GET")
        options.setdefault("timeout", 60.0)
        return await self.command("request", key=server, path=path, **options)

    async def connect(self, address: str) -> None:
        await self.command("connect", address=address)

    async def stop(self) -> None:
        """End the process, without a word to its peers."""
        if not self.ended.called:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess("KILL")
            await self.ended

    def command(self, name: str, **arguments: object) -> Deferred[Any]:
        """Fires with the result, or fails with PeerError."""
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred()
        self._answers[number] = answer
        line = json.dumps({"id": number, "command": name, **arguments})
        self._process.writeToChild(0, line.encode() + b"\n")
        return answer

    # ProcessProtocol

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._lines[childFD] = (self._lines[childFD] + data).split(b"\n")
        take: Callable[[bytes], None] = self._answered if childFD == 1 else self._said
        for line in lines:
            take(line)

    def processEnded(self, reason: Failure) -> None:
        error = PeerError(f"the peer ended: {reason.getErrorMessage()}; {self.log[-5:]}")
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.errback(error)
        if not self.ready.called:
            self.ready.errback(error)
        self.ended.callback(None)

    def _said(self, line: bytes) -> None:
        self.log.append(line.decode("utf-8", "replace"))

    def _answered(self, line: bytes) -> None:
        said = json.loads(line)
        if "id" not in said:
            self.address = said["listen"]
            self.ready.callback(None)
            return
        answer = self._answers.pop(said["id"])
        if "error" in said:
            answer.errback(PeerError(said["error"]))
        else:
            answer.callback(said.get("result"))
