"""How much memory streams, and a flood of SYNs, cost a node: ``python -m benchmarks.memory``.

The node measured is a process of its own, which serves streams over TLS on loopback; its resident size is read from
the operating system, so it runs on Linux.

1. 1,000 streams of four nodes are opened, used once and left idle.
2. For 10 s a peer sends 10,000 SYNs a second, each from a made-up key; meanwhile an honest node goes on asking.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any, Final, final

from benchmarks.bench import FULL, Bench
from benchmarks.processes import HERE, Process
from pinecone_transport.identity import Identity
from pinecone_transport.session.utp import ST_SYN, UtpPacket, encode_packet
from pinecone_transport.wire import TRAFFIC, Frame, encode_frame, encode_handshake

STREAMS: Final = 1000
DIALLERS: Final = 4
"""Nodes that open them: a key may have 256."""
SYNS: Final = 10_000
SECONDS: Final = 10
TICK: Final = 0.01
SPACING: Final = 0.05


@final
class Flood:
    """A peer of the node that shakes hands and then sends SYNs of keys that nobody has."""

    def __init__(self, address: str, key: bytes) -> None:
        self._key: Final = key
        self._random: Final = random.Random(1)
        host, _, port = address.rpartition(":")
        self._socket: Final = socket.create_connection((host, int(port)))
        self._socket.sendall(encode_handshake(Identity.generate()))

    def run(self) -> tuple[float, int]:
        """Send them all; return the seconds that took, and how many they were."""
        began = time.perf_counter()
        sent = 0
        while sent < SYNS * SECONDS:
            due = min(int((time.perf_counter() - began) * SYNS) + 1, SYNS * SECONDS)
            self._socket.sendall(b"".join(self._frames(due - sent)))
            sent = due
            time.sleep(TICK)
        return time.perf_counter() - began, sent

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


def state(server: Process) -> dict[str, Any]:
    """Return how things are in the process that is measured."""
    status = server.ask("state")
    return {
        "resident": server.resident(),
        "cpu": server.ask("cpu"),
        "streams": len(status["streams"]),
        "connections": sum(session["connections"] for session in status["sessions"]),
        "counters": status["counters"],
    }


def main() -> None:
    """Do both and print what came of it."""
    with Bench(FULL, HERE, print) as bench:
        server = bench.python("echo", options={"listen": ["127.0.0.1:0"]})
        address, key = server.ready["listen"], server.ready["key"]
        before = state(server)
        clients = bench.python("echo", nodes=DIALLERS, options={"peers": [address]})
        clients.ask("open", key=key, count=STREAMS)
        idle = state(server)
        grown = idle["resident"] - before["resident"]
        print(f"{idle['streams']} idle streams: {grown / 2**20:.1f} MiB, {grown / idle['streams'] / 1024:.1f} KiB each")
        asking = clients.begin("ask", seconds=SECONDS, spacing=SPACING)
        took, sent = Flood(address, bytes.fromhex(key)).run()
        waits = sorted(clients.answer(asking))
        after = state(server)
        grown = after["resident"] - idle["resident"]
        print(
            f"{sent} SYNs in {took:.1f} s: {grown / 2**20:.1f} MiB more, {after['cpu'] - idle['cpu']:.1f} s of CPU, "
            f"{after['connections'] - idle['connections']} connections more, {after['streams']} streams left; "
            f"meanwhile answers took {1000 * waits[len(waits) // 2]:.0f} ms, {1000 * waits[-1]:.0f} ms at most"
        )
        print(json.dumps(after["counters"], indent=1))


if __name__ == "__main__":
    main()
