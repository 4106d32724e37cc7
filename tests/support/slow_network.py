"""Stacks on a virtual clock, and links between them that are as slow as a radio, with what lies in its queues."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from pinecone_transport.session import StreamAccepted, StreamData
from pinecone_transport.stack import LinkLost, Stack, StackEvent
from pinecone_transport.wire import PeerType
from tests.support.frames import identity

QUESTION = 300
"""Bytes of a request, which begins with the length of the answer that it wants."""
_PIECE = 251
"""Bytes that a radio sends at once."""
_DELAY = 0.01


class SlowNetwork:
    """Nodes from 0 on.

    Attributes:
        now: Seconds.
        stacks: Of the nodes.
        ended: The links that have failed.
    """

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.stacks = [
            Stack(identity(number + 1), random=random.Random(number), unix_time=1.7e9, now=self.now)
            for number in range(count)
        ]
        self.ended: list[LinkLost] = []
        self._applications: dict[tuple[Stack, int], Client | _Server] = {}
        self._ways: list[_Way] = []
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def link(self, one: int, other: int, peer_type: PeerType, rate: float, write_limit: int) -> None:
        """Let two nodes be linked; each sends so many bytes a second, and takes so many at once."""
        stacks = self.stacks[one], self.stacks[other]
        near, far = (stack.add_link(peer_type, self.now) for stack in stacks)
        self._ways += [
            _Way(self, (stacks[0], near), (stacks[1], far), rate, write_limit),
            _Way(self, (stacks[1], far), (stacks[0], near), rate, write_limit),
        ]

    def client(self, node: int, server: int) -> Client:
        """Open a stream from one node to another."""
        stack = self.stacks[node]
        client = Client(stack, stack.connect(self.stacks[server].identity.key, self.now))
        self._applications[stack, client.stream] = client
        return client

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        """Call something at a time."""
        self._count += 1
        heapq.heappush(self._calls, (at, self._count, call))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self._turn()
        while (at := self._next_at()) <= end:
            self.now = max(self.now, at)
            while self._calls and self._calls[0][0] <= self.now:
                heapq.heappop(self._calls)[2]()
            for stack in self.stacks:
                due = stack.next_timer()
                if due is not None and due <= self.now:
                    self.handle(stack, stack.handle_timer(self.now))
            self._turn()
        self.now = end

    def handle(self, stack: Stack, events: list[StackEvent]) -> None:
        """Give what has happened to whom it concerns."""
        for event in events:
            if isinstance(event, StreamAccepted):
                self._applications[stack, event.stream] = _Server(stack, event.stream)
            elif isinstance(event, StreamData):
                stack.acknowledge_received_data(event.stream, len(event.data), self.now)
                self._applications[stack, event.stream].receive(event.data, self.now)
            elif isinstance(event, LinkLost):
                self.ended.append(event)

    def _next_at(self) -> float:
        times = [at for stack in self.stacks if (at := stack.next_timer()) is not None]
        return min(times + [call[0] for call in self._calls[:1]])

    def _turn(self) -> None:
        """Do what a node does at the end of a turn, as often as that brings something."""
        wrote = True
        while wrote:
            for application in self._applications.values():
                application.flush(self.now)
            for stack in self.stacks:
                stack.pump(self.now)
            wrote = sum(way.write() for way in self._ways) > 0  # each of them


class _Way:
    """One direction of a link: what its transport holds, and what is on its way."""

    def __init__(
        self, network: SlowNetwork, near: tuple[Stack, int], far: tuple[Stack, int], rate: float, write_limit: int
    ) -> None:
        self._network = network
        self._stack, self._link = near
        self._far = far
        self._rate = rate
        self._write_limit = write_limit
        self._unsent = 0
        self._paused = False
        self._free_at = 0.0

    def write(self) -> bool:
        """Take what the link has, unless too much waits; tell whether there was anything."""
        network = self._network
        if self._paused:
            return False
        data = b"".join(self._stack.data_to_send(self._link, self._write_limit, network.now))
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._free_at = max(network.now, self._free_at) + len(piece) / self._rate
            network.call_at(self._free_at, lambda piece=piece: self._sent(len(piece)))
            network.call_at(self._free_at + _DELAY, lambda piece=piece: self._arrived(piece))
        self._unsent += len(data)
        if self._unsent > self._write_limit:
            self._paused = True
            self._stack.link_blocked(self._link, network.now)
        return bool(data)

    def _sent(self, length: int) -> None:
        self._unsent -= length
        if self._paused and not self._unsent:
            self._paused = False
            self._stack.link_unblocked(self._link, self._network.now)

    def _arrived(self, piece: bytes) -> None:
        stack, link = self._far
        self._network.handle(stack, stack.receive_data(link, piece, self._network.now))


class Client:
    """Asks one question after the other on a stream.

    Attributes:
        stream: Its number.
        left: Bytes of the answer that have not come yet.
        answered: Called with the time when all has come.
    """

    def __init__(self, stack: Stack, stream: int) -> None:
        self.stream = stream
        self.left = 0
        self.answered: Callable[[float], None] = lambda _: None
        self._stack = stack
        self._unwritten = b""

    def ask(self, length: int) -> None:
        """Ask for so many bytes."""
        self.left = length
        self._unwritten += length.to_bytes(8, "big").ljust(QUESTION, b"?")

    def flush(self, now: float) -> None:
        """Write what there is room for."""
        data = self._unwritten[: self._stack.room(self.stream)]
        if data:
            self._stack.write(self.stream, data, now)
            self._unwritten = self._unwritten[len(data) :]

    def receive(self, data: bytes, now: float) -> None:
        """Take a piece of the answer."""
        self.left -= len(data)
        if not self.left:
            self.answered(now)


class _Server:
    """Answers questions on a stream."""

    def __init__(self, stack: Stack, stream: int) -> None:
        self._stack = stack
        self._stream = stream
        self._asked = b""
        self._left = 0

    def flush(self, now: float) -> None:
        length = min(self._left, self._stack.room(self._stream))
        if length:
            self._stack.write(self._stream, bytes(length), now)
            self._left -= length

    def receive(self, data: bytes, now: float) -> None:
        self._asked += data
        while len(self._asked) >= QUESTION:
            self._left += int.from_bytes(self._asked[:8], "big")
            self._asked = self._asked[QUESTION:]
