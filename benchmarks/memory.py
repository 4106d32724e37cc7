"""How much memory streams, and a flood of SYNs, cost a node: ``python -m benchmarks.memory``.

The node measured is a process of its own, which serves streams over TLS on loopback; its resident size is read from
the operating system, so it runs on Linux.

1. 1,000 streams of four nodes are opened, used once and left idle.
2. For 10 s a peer sends 10,000 SYNs a second, each from a made-up key; meanwhile an honest node goes on asking.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final, final

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from pinecone_transport.session.utp import ST_SYN, UtpPacket, encode_packet
from pinecone_transport.wire import TRAFFIC, Frame, encode_frame, encode_handshake
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint

STREAMS: Final = 1000
DIALLERS: Final = 4
"""Nodes that open them: a key may have 256."""
SYNS: Final = 10_000
SECONDS: Final = 10
TICK: Final = 0.01


@final
class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Take a piece and return it."""
        assert self.transport is not None
        self.transport.write(data)


@final
class Asker(Protocol):
    """Sends a byte and waits for it to come back."""

    def __init__(self) -> None:
        self._answer: Deferred[None] | None = None

    def ask(self) -> Deferred[None]:
        """Return what fires when the byte is back."""
        assert self.transport is not None
        self._answer = Deferred()
        self.transport.write(b"?")
        return self._answer

    def dataReceived(self, data: bytes) -> None:
        """Take the answer."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what waits."""
        if self._answer is not None:
            self._answer.errback(reason)


@final
class Flood(Protocol):
    """A peer of the node that shakes hands and then sends SYNs of keys that nobody has."""

    def __init__(self, key: bytes) -> None:
        self._key: Final = key
        self._random: Final = random.Random(1)
        self.sent = 0

    def connectionMade(self) -> None:
        """Shake hands."""
        assert self.transport is not None
        self.transport.write(encode_handshake(Identity.generate()))

    def send(self, count: int) -> None:
        """Send so many SYNs."""
        assert self.transport is not None
        self.sent += count
        self.transport.write(b"".join(self._frames(count)))

    def _frames(self, count: int) -> Iterator[bytes]:
        draw = self._random
        for _ in range(count):
            packet = UtpPacket(ST_SYN, draw.getrandbits(16), 0, 0, 1 << 20, draw.getrandbits(16), 0)
            frame = Frame(
                TRAFFIC,
                encode_packet(packet),
                hop_limit=10,
                source=(draw.randrange(1, 200),),
                destination_key=self._key,
                source_key=draw.randbytes(32),
            )
            yield encode_frame(frame)


@final
class Measured(LineOnlyReceiver):
    """Answers each line on standard input with the state of this process; the input's end is the process's end."""

    delimiter = b"\n"

    def __init__(self, node: Node) -> None:
        self._node: Final = node

    def say(self, what: dict[str, Any]) -> None:
        """Print one answer."""
        self.sendLine(json.dumps(what).encode())  # type: ignore[no-untyped-call]  # Twisted's is not annotated

    def lineReceived(self, _line: bytes) -> None:
        """Tell how things are."""
        status = self._node.status()
        self.say(
            {
                "resident": resident(),
                "cpu": time.process_time(),
                "streams": len(status["streams"]),
                "connections": sum(session["connections"] for session in status["sessions"]),
                "counters": status["counters"],
            }
        )

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the process with its owner."""
        if reactor.running:
            reactor.stop()


@final
class Server:
    """The process that is measured.

    Attributes:
        address: Where its node takes links.
        key: The node's.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.memory", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = self._read()
        self.address: Final[str] = ready["address"]
        self.key: Final = bytes.fromhex(ready["key"])

    def state(self) -> dict[str, Any]:
        """Ask how things are."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End it by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def resident() -> int:
    """Return the resident size of this process, bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def new_node(**options: Any) -> Node:
    """Start a node with a new key."""
    node = Node(Identity.generate(), parse_node_config(options), reactor)
    node.startService()
    return node


def serve() -> None:
    """Be the node that is measured."""
    node = new_node(listen=["127.0.0.1:0"])
    PineconeServerEndpoint(node).listen(Factory.forProtocol(Echo))
    measured = Measured(node)
    StandardIO(measured)
    measured.say({"address": node.listening_addresses()[0], "key": node.identity.key.hex()})
    reactor.run()


async def dial(node: Node, key: bytes) -> Asker:
    """Open a stream and use it once."""
    asker: Asker = await connectProtocol(PineconeClientEndpoint(node, key), Asker())
    await asker.ask()
    return asker


async def open_streams(address: str, key: bytes) -> list[Asker]:
    """Open the streams, a few at a time."""
    nodes = [new_node(peers=[address]) for _ in range(DIALLERS)]
    await deferLater(reactor, 5.0)
    askers: list[Asker] = []
    while len(askers) < STREAMS:
        opened = [Deferred.fromCoroutine(dial(node, key)) for node in nodes for _ in range(5)]
        askers += await gatherResults(opened, consumeErrors=True)
    return askers


async def flood(address: str, key: bytes, honest: Asker) -> tuple[float, int, list[float]]:
    """Send SYNs; return the seconds it took, how many there were, and how long each answer to the honest node took."""
    host, port = address.rsplit(":", 1)
    peer: Flood = await connectProtocol(HostnameEndpoint(reactor, host, int(port)), Flood(key))
    waits: list[float] = []
    running = True

    async def ask() -> None:
        while running:
            asked_at = time.perf_counter()
            await honest.ask()
            waits.append(time.perf_counter() - asked_at)
            await deferLater(reactor, 0.05)

    asking = Deferred.fromCoroutine(ask())
    began = time.perf_counter()
    while peer.sent < SYNS * SECONDS:
        peer.send(min(int((time.perf_counter() - began) * SYNS) + 1, SYNS * SECONDS) - peer.sent)
        await deferLater(reactor, TICK)
    took = time.perf_counter() - began
    running = False
    await asking
    return took, peer.sent, waits


async def measure() -> None:
    """Do both and print what came of it."""
    server = Server()
    try:
        before = server.state()
        askers = await open_streams(server.address, server.key)
        idle = server.state()
        grown = idle["resident"] - before["resident"]
        print(f"{idle['streams']} idle streams: {grown / 2**20:.1f} MiB, {grown / idle['streams'] / 1024:.1f} KiB each")
        took, sent, waits = await flood(server.address, server.key, askers[0])
        after = server.state()
        grown = after["resident"] - idle["resident"]
        waits.sort()
        print(
            f"{sent} SYNs in {took:.1f} s: {grown / 2**20:.1f} MiB more, {after['cpu'] - idle['cpu']:.1f} s of CPU, "
            f"{after['connections'] - idle['connections']} connections more, {after['streams']} streams left; "
            f"meanwhile answers took {1000 * waits[len(waits) // 2]:.0f} ms, {1000 * waits[-1]:.0f} ms at most"
        )
        print(json.dumps(after["counters"], indent=1))
    finally:
        server.stop()


def main() -> None:
    """Measure, or be what is measured."""
    if sys.argv[1:] == ["serve"]:
        serve()
        return
    measured = Deferred.fromCoroutine(measure())
    measured.addErrback(lambda failure: failure.printTraceback())
    measured.addBoth(lambda _: reactor.callWhenRunning(reactor.stop))
    reactor.run()


if __name__ == "__main__":
    main()
