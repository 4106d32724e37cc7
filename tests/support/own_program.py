"""``python -m tests.support.own_program``: a node of ours as a process, with the Go peer's options and commands.

So `tests.support.go_peer.GoPeer` starts and asks either.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pinecone_transport.identity import Identity
from tests.support.own_peer import OwnPeer


class Commands(LineOnlyReceiver):
    """One JSON object a line each way; ends the process with its standard input."""

    delimiter = b"\n"

    def __init__(self, peer: OwnPeer) -> None:
        self._peer = peer

    def connectionMade(self) -> None:
        self._write({"key": self._peer.name, "listen": self._peer.address})

    def lineReceived(self, line: bytes) -> None:
        command = json.loads(line)
        number, name = command.pop("id"), command.pop("command")
        asked = Deferred.fromCoroutine(self._peer.state() if name == "state" else self._request(command))
        asked.addCallbacks(
            lambda result: self._write({"id": number, "result": result}),
            lambda failure: self._write({"id": number, "error": failure.getErrorMessage()}),
        )

    async def _request(self, command: dict[str, object]) -> dict[str, object]:
        del command["method"]
        return await self._peer.request(command.pop("key"), **command)

    def connectionLost(self, reason: Failure) -> None:
        if reactor.running:
            reactor.stop()

    def _write(self, value: object) -> None:
        self.sendLine(json.dumps(value).encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("-seed", "-listen", "-peers", "-sessions", "-transfer-time"):
        parser.add_argument(option)
    parser.add_argument("-multicast", action="store_true")
    parser.add_argument("-mdns", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    peer = OwnPeer(
        Identity(bytes.fromhex(options.seed)),
        listen=options.listen,
        peers=[peer for peer in options.peers.split(",") if peer],
        sources={"lan": {"enabled": options.multicast}, "mdns": {"enabled": options.mdns}},
    )
    StandardIO(Commands(peer))
    reactor.run()


if __name__ == "__main__":
    main()
