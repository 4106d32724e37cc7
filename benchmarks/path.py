"""A path: a client, a server, and the relays between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, final

from benchmarks.bench import Bench
from benchmarks.cases import MEGABYTE
from benchmarks.ends import End, Go, Moved
from benchmarks.processes import Process

LONGEST: Final = 2000 * MEGABYTE
GO_LONGEST: Final = 64 * 1024 * 1024
"""Bytes that a Go peer sends at most."""
GO_SHARE: Final = 0.6
"""Of the time that a body of ours takes: between Go nodes the rate is the same from the first megabyte on."""


class Cost(NamedTuple):
    """What a large body cost.

    Attributes:
        rate: MB/s.
        ends: Seconds of CPU per GB, of the client and the server, the greater of the two.
        relay: The same of the busiest relay; 0 where there is none.
        pause: Seconds between two pieces of it, at most.
    """

    rate: float
    ends: float
    relay: float
    pause: float


@final
class Path:
    """A client, a server, and the relays between them, all of them running and connected.

    Args:
        client: Who asks.
        server: Who serves.
        relays: Who is between them.
        longest: Bytes of a body.
        share: Of the time that bodies are to take.

    Attributes:
        server: Where the server is.
    """

    def __init__(
        self,
        client: End,
        server: End,
        relays: tuple[Process, ...] = (),
        *,
        longest: int = LONGEST,
        share: float = 1.0,
    ) -> None:
        self.client: Final = client
        self.server: Final = server.servers[0]
        self._ends: Final = (client.process, server.process)
        self._relays: Final = relays
        self._longest: Final = longest
        self._share: Final = share
        self._bodies: Final[dict[str, int]] = {}

    def warm_up(self, bench: Bench, *directions: str, body: int | None = None) -> None:
        """Open a connection, let windows grow, and find out how long a body is to be, unless that is given."""
        self.client.reach(self.server)
        for direction in directions:
            if body is not None:
                self._bodies[direction] = body
                continue

            def move(length: int, direction: str = direction) -> float:
                return self._move(direction, length).seconds

            self._bodies[direction] = bench.body_for(move, self._longest, self._share)

    def move(self, direction: str) -> Cost:
        """Move a large body, ``up`` or ``down``."""
        length = self._bodies[direction]
        before = [process.cpu() for process in (*self._ends, *self._relays)]
        moved = self._move(direction, length)
        after = [process.cpu() for process in (*self._ends, *self._relays)]
        cpu = [(later - earlier) / (length / (1000 * MEGABYTE)) for later, earlier in zip(after, before, strict=True)]
        return Cost(length / moved.seconds / MEGABYTE, max(cpu[:2]), max(cpu[2:], default=0.0), moved.pause)

    def _move(self, direction: str, length: int) -> Moved:
        return self.client.move(direction, self.server, length)


def https(bench: Bench, relays: int = 0) -> Path:
    """Return plain HTTPS over TCP by Twisted, through so many relays that pass bytes on."""
    server = bench.own(transport="https", listen=False)
    address = server.servers[0].removeprefix("https://")
    processes = []
    for _ in range(relays):
        processes.append(bench.python("forward", target=address))
        address = processes[-1].ready["listen"]
    server.servers[0] = f"https://{address}"
    return Path(bench.own(transport="https", listen=False), server, tuple(processes))


def own_line(bench: Bench, links: int, between: Callable[[str], str] | None = None) -> Path:
    """Return a path over nodes of ours.

    Args:
        bench: Starts them.
        links: How many.
        between: Puts something between the client and its peer: takes the peer's address and returns what to dial.
    """
    nodes = [bench.own()]
    for _ in range(links - 1):
        nodes.append(bench.own(peers=[nodes[-1].address]))
    address = between(nodes[-1].address) if between is not None else nodes[-1].address
    client = bench.own(peers=[address])
    return Path(client, nodes[0], tuple(node.process for node in nodes[1:]))


def go_line(bench: Bench, links: int, sessions: str = "quic", between: Callable[[str], str] | None = None) -> Path:
    """Return a path over Go peers."""
    nodes = [bench.go(sessions)]
    for _ in range(links - 1):
        nodes.append(bench.go(peers=[nodes[-1].address]))
    address = between(nodes[-1].address) if between is not None else nodes[-1].address
    client = bench.go(sessions, [address])
    return go_path(client, nodes[0], *(node.process for node in nodes[1:]))


def go_path(client: Go, server: Go, *relays: Process) -> Path:
    """Return the path between two Go peers."""
    return Path(client, server, relays, longest=GO_LONGEST, share=GO_SHARE)
