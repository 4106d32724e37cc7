"""The ends and relays of a path: our processes and the Go peer's, asked for the same things."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from benchmarks.processes import HERE, Process, ProcessFailedError, python

TRANSFER_PATIENCE: Final = 300.0


class Moved(NamedTuple):
    """What became of a large body.

    Attributes:
        seconds: That it took.
        pause: Seconds between two pieces of it, at most, as the receiving end saw it; 0 where that is not told.
    """

    seconds: float
    pause: float


class End(ABC):
    """A process that serves, asks and passes on.

    Attributes:
        process: The process.
        address: Where it takes links.
        servers: Where it serves.
    """

    process: Process
    address: str
    servers: list[str]

    @abstractmethod
    def reach(self, server: str) -> None:
        """Wait until a server answers."""

    @abstractmethod
    def move(self, direction: str, server: str, length: int) -> Moved:
        """Move a large body: ``up`` to the server, ``down`` from it."""

    @abstractmethod
    def small(self, server: str, count: int) -> list[float]:
        """Make small requests one after the other; return the seconds that each took."""

    @abstractmethod
    def load(self, server: str, workers: int, seconds: float) -> dict[str, Any]:
        """Have workers make small requests; return ``seconds`` of each, and how long it took in all, ``elapsed``."""

    @abstractmethod
    def cold(self, servers: Sequence[str]) -> list[float]:
        """Make a request to each server, with a new session; return the seconds that each took."""


@final
class Own(End):
    """A process of ours.

    Args:
        folder: Where the program is.
        transport: ``overlay`` or ``https``.
        nodes: How many nodes it has.
        listen: Whether it takes links.
        options: The nodes'.
    """

    def __init__(
        self, folder: Path = HERE, transport: str = "overlay", nodes: int = 1, listen: bool = True, **options: Any
    ) -> None:
        if listen:
            options["listen"] = ["127.0.0.1:0"]
        part = {"transport": transport, "nodes": nodes, "options": options}
        self.process = python("benchmarks.endpoint", part, folder)
        self.address = self.process.ready.get("listen", "")
        self.servers = self.process.ready["servers"]

    def reach(self, server: str) -> None:
        """Wait until a server answers."""
        self.process.ask("reach", server=server)

    def move(self, direction: str, server: str, length: int) -> Moved:
        """Move a large body."""
        command = {"up": "upload", "down": "download"}[direction]
        moved = self.process.ask(command, patience=TRANSFER_PATIENCE, server=server, length=length)
        return Moved(moved["seconds"], moved["pause"])

    def small(self, server: str, count: int) -> list[float]:
        """Make small requests one after the other."""
        took: list[float] = self.process.ask("small", server=server, count=count)
        return took

    def load(self, server: str, workers: int, seconds: float) -> dict[str, Any]:
        """Have workers make small requests."""
        result: dict[str, Any] = self.process.ask("load", server=server, workers=workers, seconds=seconds)
        return result

    def cold(self, servers: Sequence[str]) -> list[float]:
        """Make a request to each server, with a new session; each is a command of its own, as for the Go peer."""
        return [float(self.process.ask("cold", server=server)) for server in servers]


@final
class Go(End):
    """The Go peer.

    Args:
        program: Its path.
        sessions: ``quic``, ``utp``, ``probes``, or ``none`` for a relay.
        peers: Addresses that it dials.
        hop_limiting: Whether frames end after 10 hops.
    """

    def __init__(
        self, program: str, sessions: str = "none", peers: Sequence[str] = (), *, hop_limiting: bool = True
    ) -> None:
        options = ["-sessions", sessions, "-peers", ",".join(peers), "-transfer-time", str(int(TRANSFER_PATIENCE))]
        options.append(f"-hop-limiting={str(hop_limiting).lower()}")
        self.process = Process([program, *options])
        self.address = self.process.ready["listen"]
        self.servers = [f"http://{self.process.ready['key']}"]

    def reach(self, server: str) -> None:
        """Wait until a server answers."""
        for attempts_left in reversed(range(12)):
            try:
                self._request(server, method="GET", path="/ping", timeout=5.0)
            except ProcessFailedError:
                if not attempts_left:
                    raise
            else:
                return

    def move(self, direction: str, server: str, length: int) -> Moved:
        """Move a large body."""
        if direction == "up":
            body = {"method": "POST", "path": "/upload", "upload": length}
        else:
            body = {"method": "GET", "path": f"/download?bytes={length}"}
        result = self._request_again(server, timeout=TRANSFER_PATIENCE, **body)
        if result["status"] != 200 or (direction == "down" and result["bytes"] != length):
            raise ProcessFailedError(f"the Go peer got {result['status']} and {result['bytes']} bytes of {length}")
        return Moved(result["seconds"], 0.0)

    def small(self, server: str, count: int) -> list[float]:
        """Make small requests one after the other."""
        took: list[float] = self.process.ask("small", count=count, **_ping(server))
        return took

    def load(self, server: str, workers: int, seconds: float) -> dict[str, Any]:
        """Have workers make small requests."""
        result: dict[str, Any] = self.process.ask("load", workers=workers, seconds=seconds, **_ping(server))
        return result

    def cold(self, servers: Sequence[str]) -> list[float]:
        """Make a request to each server, which must be one that was not asked before."""
        return [float(self._request(server, method="GET", path="/ping", timeout=10.0)["seconds"]) for server in servers]

    def probe(self, keys: Collection[str], timeout: float) -> int:
        """Begin to ask nodes whether they are there; the answer to the command comes when all are."""
        return self.process.begin("probe", keys=list(keys), timeout=timeout)

    def _request_again(self, server: str, **options: Any) -> dict[str, Any]:
        """Make a request, up to three times: a Go node's µTP now and then ends a connection in the middle of a body."""
        for _ in range(2):
            with suppress(ProcessFailedError):
                return self._request(server, **options)
        return self._request(server, **options)

    def _request(self, server: str, **options: Any) -> dict[str, Any]:
        patience = float(options["timeout"]) + 10
        result: dict[str, Any] = self.process.ask("request", patience=patience, key=_key(server), **options)
        return result


def _ping(server: str) -> dict[str, Any]:
    return {"key": _key(server), "method": "GET", "path": "/ping", "timeout": 10.0}


def _key(server: str) -> str:
    return server.removeprefix("http://")
