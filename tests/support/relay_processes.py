"""``pinecone node`` as processes that a test kills and replaces while its reactor runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure


class _Output(ProcessProtocol):
    """Waits for the line that says where the node listens."""

    def __init__(self) -> None:
        self.listening: Deferred[str] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.errors = b""
        self._output = b""

    def outReceived(self, data: bytes) -> None:
        self._output += data
        for line in self._output.split(b"\n")[:-1]:
            if line.startswith(b"Listening on ") and not self.listening.called:
                self.listening.callback(line.removeprefix(b"Listening on ").decode())

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        if not self.listening.called:
            self.listening.errback(AssertionError(self.errors.decode()))
        self.ended.callback(None)


class RelayProcess:
    """A node that keeps its key and its port over restarts.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, folder: Path, name: str, peers: list[str]) -> None:
        self.address = "127.0.0.1:0"
        self._arguments = ["--key-file", str(folder / f"{name}.key"), "--control-socket", str(folder / f"{name}.sock")]
        for peer in peers:
            self._arguments += ["--peer", peer]
        self._output: _Output | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "pinecone_transport.node.cli", "node", "--no-lan", "--listen", self.address]
        output = _Output()
        reactor.spawnProcess(output, sys.executable, command + self._arguments, env=os.environ)
        self.address = await output.listening
        self._output = output

    async def kill(self) -> None:
        """End it as a power cut does, as far as its peers' sockets can tell."""
        output, self._output = self._output, None
        if output is not None:
            output.transport.signalProcess("KILL")
            await output.ended


class RelayProcesses:
    """Starts relays, and kills them all at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[RelayProcess] = []

    async def start(self, *peers: RelayProcess) -> RelayProcess:
        """Start a relay that has these as its peers."""
        relay = RelayProcess(self._folder, f"relay{len(self._made)}", [peer.address for peer in peers])
        self._made.append(relay)
        await relay.start()
        return relay

    async def kill_all(self) -> None:
        for relay in self._made:
            await relay.kill()
