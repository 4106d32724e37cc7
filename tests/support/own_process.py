"""A node of ours as a process of its own, with the Go peer's commands: a test can kill it and start it again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor, stdio
from twisted.internet.defer import ensureDeferred
from twisted.protocols.basic import LineOnlyReceiver

from pinecone_transport.identity import Identity
from tests.support.own_peer import OwnPeer
from tests.support.peer_process import PeerProcess

_ROOT = Path(__file__).parents[2]


class OwnProcess(PeerProcess):
    """A node of ours.

    Args:
        identity: Its key.
        listen: Where it takes peerings; again the same for one that is restarted.
        peers: Addresses that it dials.
    """

    def __init__(self, identity: Identity, *, listen: str = "127.0.0.1:0", peers: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", __name__, identity.seed.hex(), listen, *peers]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))}
        super().__init__(identity, command, environment)

    @property
    def lost_links(self) -> list[str]:
        """Not told."""
        return []

    async def shut_down(self) -> None:
        """End it as its operator does, with a goodbye to its peers."""
        self.command("stop").addErrback(lambda _: None)
        await self.ended


class _Commands(LineOnlyReceiver):
    """Takes commands from standard input, and ends the process with it."""

    delimiter = b"\n"

    def __init__(self, peer: OwnPeer) -> None:
        self._peer = peer

    def connectionMade(self) -> None:
        self._say({"listen": self._peer.address})

    def lineReceived(self, line: bytes) -> None:
        ensureDeferred(self._run(**json.loads(line)))

    def connectionLost(self, reason: object = None) -> None:
        if reactor.running:
            reactor.stop()

    async def _run(self, id: int, command: str, **arguments: Any) -> None:
        try:
            result = await self._result(command, **arguments)
        except Exception as error:
            self._say({"id": id, "error": repr(error)})
        else:
            self._say({"id": id, "result": result})

    async def _result(self, command: str, **arguments: Any) -> Any:
        if command == "state":
            return await self._peer.state()
        if command == "request":
            return await self._peer.request(arguments.pop("key"), **arguments)
        assert command == "stop"
        await self._peer.stop()
        self.transport.loseConnection()
        return None

    def _say(self, answer: dict[str, Any]) -> None:
        self.sendLine(json.dumps(answer).encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=bytes.fromhex)
    parser.add_argument("listen")
    parser.add_argument("peers", nargs="*")
    options = parser.parse_args()
    peer = OwnPeer(Identity(options.seed), listen=options.listen, peers=options.peers)
    stdio.StandardIO(_Commands(peer))
    reactor.run()


if __name__ == "__main__":
    main()
