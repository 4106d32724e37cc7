"""What streams survive: bytes that go both ways between nodes of a network all the time, each of them checked."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, final

from pinecone_transport.errors import PineconeError
from pinecone_transport.session import (
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
)
from pinecone_transport.simulator.network import Network
from pinecone_transport.stack import StackEvent

WRITE: Final = 500
"""Bytes that an end writes at once."""

_CONTENT: Final = random.Random(0).randbytes(65_521)


@dataclass(slots=True)
class Direction:
    """The bytes of a stream that go one way.

    Attributes:
        shift: Which bytes these are: those of another direction differ.
        sent: How many the one end has written.
        received: How many the other end has had.
        intact: Whether all of these were the right ones, in order, once.
        heard_at: When the last of them came.
        longest_pause: Seconds between two arrivals at most.
    """

    shift: int
    heard_at: float
    sent: int = 0
    received: int = 0
    intact: bool = True
    longest_pause: float = 0.0

    def next_bytes(self, length: int) -> bytes:
        """Return the bytes to be written next; they count as sent."""
        data = self._content(self.sent, length)
        self.sent += length
        return data

    def receive(self, data: bytes, now: float) -> None:
        """Check bytes that have arrived."""
        self.intact &= data == self._content(self.received, len(data))
        self.received += len(data)
        self.longest_pause = max(self.longest_pause, now - self.heard_at)
        self.heard_at = now

    def _content(self, offset: int, length: int) -> bytes:
        start = (offset + self.shift) % len(_CONTENT)
        return (_CONTENT * (2 + length // len(_CONTENT)))[start : start + length]


@dataclass(slots=True)
class Transfer:
    """A stream between two nodes, of which each sends to the other.

    Attributes:
        nodes: The one that dialled, and the other.
        streams: The stream's number at each, None until it is open there.
        directions: From the first to the second, and back.
        ended: Where and when the stream ended, and why: the node, the time, the error or None.
    """

    nodes: tuple[int, int]
    directions: tuple[Direction, Direction]
    streams: list[int | None] = field(default_factory=lambda: [None, None])
    ended: list[tuple[int, float, PineconeError | None]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all that was sent has arrived, both ways, and is right."""
        return all(direction.intact and direction.received == direction.sent for direction in self.directions)


@final
class Transfers:
    """The transfers of a network, at most one from a node to another.

    Args:
        network: The network.
        interval: Seconds between two writes of each end.
        echo: Whether who was dialled sends no more than has come.

    Attributes:
        all: Those that were ever started.
    """

    def __init__(self, network: Network, interval: float = 0.5, *, echo: bool = False) -> None:
        self.all: Final[list[Transfer]] = []
        self._network: Final = network
        self._interval: Final = interval
        self._echo: Final = echo
        self._dialled: Final[dict[tuple[int, int], Transfer]] = {}
        self._ends: Final[dict[tuple[int, int], tuple[Transfer, int]]] = {}  # by node and stream
        self._unacknowledged: Final[dict[tuple[int, int], int]] = {}
        network.observers.append(self._observe)

    def start(self, source: int, destination: int) -> Transfer:
        """Have one node dial another."""
        network = self._network
        shift = 1009 * len(self.all)
        transfer = Transfer((source, destination), (Direction(shift, network.now), Direction(shift + 499, network.now)))
        self.all.append(transfer)
        self._dialled[source, destination] = transfer
        self._ends[source, network.stack(source).connect(network.key(destination), network.now)] = transfer, 0
        network.turn(source)
        return transfer

    def run(self, seconds: float, *, write: bool = True) -> None:
        """Let time pass, in which both ends of each stream that is open write, unless they are not to."""
        until = self._network.now + seconds
        while self._network.now < until:
            if write:
                for (node, stream), (transfer, end) in self._ends.items():
                    self._write(node, stream, transfer, end)
            self._network.run(self._interval)
            self._acknowledge()

    def deliver(self, timeout: float) -> None:
        """Write no more, and let time pass until everything has arrived, or for ``timeout`` seconds."""
        until = self._network.now + timeout
        while self._network.now < until and not all(transfer.complete for transfer in self.all):
            self.run(self._interval, write=False)

    def _write(self, node: int, stream: int, transfer: Transfer, end: int) -> None:
        network = self._network
        stack = network.stack(node)
        here, there = transfer.directions[end], transfer.directions[1 - end]
        wanted = min(there.received - here.sent, WRITE) if self._echo and end == 1 else WRITE
        if transfer.streams[end] is not None and wanted and stack.room(stream) >= WRITE:
            stack.write(stream, here.next_bytes(wanted), network.now)
            network.turn(node)

    def _acknowledge(self) -> None:
        network = self._network
        for (node, stream), length in self._unacknowledged.items():
            network.stack(node).acknowledge_received_data(stream, length, network.now)
            network.turn(node)
        self._unacknowledged.clear()

    def _observe(self, node: int, event: StackEvent) -> None:
        if isinstance(event, StreamAccepted):
            transfer = self._dialled.get((self._network.node(event.key), node))
            if transfer is not None:
                self._ends[node, event.stream] = transfer, 1
                transfer.streams[1] = event.stream
            return
        if not isinstance(event, StreamConnected | StreamData | StreamEnded | StreamClosed | StreamLost):
            return
        transfer, end = self._ends.get((node, event.stream), (None, 0))
        if transfer is None:
            return  # somebody else's stream
        if isinstance(event, StreamConnected):
            transfer.streams[0] = event.stream
        elif isinstance(event, StreamData):
            transfer.directions[1 - end].receive(event.data, self._network.now)
            waiting = self._unacknowledged
            waiting[node, event.stream] = waiting.get((node, event.stream), 0) + len(event.data)
        elif not isinstance(event, StreamEnded):
            error = event.error if isinstance(event, StreamLost) else None
            transfer.ended.append((node, self._network.now, error))
            del self._ends[node, event.stream]
