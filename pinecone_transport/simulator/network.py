"""Many stacks, joined by virtual links, on a virtual clock: the same in every run of a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, final

from pinecone_transport.errors import PineconeError
from pinecone_transport.identity import Identity
from pinecone_transport.peering.splitter import FrameSplitter
from pinecone_transport.stack import LinkLost, Stack, StackEvent
from pinecone_transport.wire import HANDSHAKE_LENGTH, KEEPALIVE, MAGIC, TRAFFIC, Frame, PeerType, encode_frame

START: Final = 1000.0
"""Where the virtual clock begins: not at 0, which would hide mistakes."""
UNIX_TIME: Final = 1_700_000_000.0 - START
WRITE_LIMIT: Final = 1 << 20
CHECK_INTERVAL: Final = 0.25

_TIMER: Final = -1
_TYPE_AT: Final = 5
_KEEPALIVE_FRAME: Final = encode_frame(Frame(KEEPALIVE))


@dataclass(slots=True)
class SimulatedLink:
    """A link between two nodes.

    Attributes:
        nodes: The nodes at its ends.
        numbers: The number that each end's stack gave it.
        latency: Seconds that bytes take.
        loss: The chance of each traffic frame to vanish, as it does from a full queue on a real way.
        up: Whether it is there; once it is not, it never will be again.
        silent: Whether it swallows whatever is written.
    """

    nodes: tuple[int, int]
    numbers: tuple[int, int]
    latency: float
    loss: float = 0.0
    up: bool = True
    silent: bool = False


@dataclass(slots=True)
class _Node:
    """A stack and what the network has to remember of it."""

    stack: Stack
    links: dict[int, tuple[int, int]] = field(default_factory=dict)  # the stack's number: index of the link, end
    timer_at: float | None = None


@final
class Network:
    """A network of nodes, numbered from 0, whose time passes in `run` and `run_until` alone.

    Args:
        seed: Of everything that is drawn.
        latency: Of links that are given none of their own: seconds, from and to.
        hop_limiting: As in `Stack`.
        hop_limit: As in `Stack`.

    Attributes:
        now: The virtual clock, seconds.
        links: All that ever were.
        lost: Links that a stack gave up, and why.
        observers: Called with each event of a stack and its node's number; they change nothing.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        latency: tuple[float, float] = (0.001, 0.01),
        hop_limiting: bool = True,
        hop_limit: int = 64,
    ) -> None:
        self.now = START
        self.links: Final[list[SimulatedLink]] = []
        self.lost: Final[list[tuple[int, PineconeError]]] = []
        self.observers: Final[list[Callable[[int, StackEvent], None]]] = []
        self._random: Final = random.Random(seed)
        self._latency: Final = latency
        self._hop_limiting: Final = hop_limiting
        self._hop_limit: Final = hop_limit
        self._nodes: Final[list[_Node]] = []
        self._by_key: Final[dict[bytes, int]] = {}
        self._heap: Final[list[tuple[float, int, int, int, bytes | None]]] = []  # at, order, node, link, bytes
        self._order = 0

    # What it is made of.

    def add_node(self, identity: Identity) -> int:
        """Add a node without links and return its number."""
        stack = Stack(
            identity,
            random=random.Random(self._random.getrandbits(64)),
            unix_time=UNIX_TIME,
            now=self.now,
            hop_limiting=self._hop_limiting,
            hop_limit=self._hop_limit,
        )
        self._nodes.append(_Node(stack))
        self._by_key[identity.key] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def connect(
        self,
        a: int,
        b: int,
        peer_type: PeerType = PeerType.REMOTE,
        *,
        latency: float | None = None,
        loss: float = 0.0,
    ) -> int:
        """Join two nodes by a new link and return its index in `links`. They shake hands as soon as time passes."""
        numbers = (
            self._nodes[a].stack.add_link(peer_type, self.now),
            self._nodes[b].stack.add_link(peer_type, self.now),
        )
        index = len(self.links)
        drawn = self._random.uniform(*self._latency)
        self.links.append(SimulatedLink((a, b), numbers, drawn if latency is None else latency, loss))
        for end, node in enumerate((a, b)):
            self._nodes[node].links[numbers[end]] = (index, end)
            self.turn(node)
        return index

    def cut(self, index: int) -> None:
        """End a link as a closed socket does: both ends know at once, and what is on the way is lost."""
        link = self.links[index]
        if link.up:
            link.up = False
            for end in (0, 1):
                self._close_end(index, end)

    def silence(self, index: int) -> None:
        """Have a link swallow everything from now on; its ends find out by themselves."""
        self.links[index].silent = True

    def isolate(self, node: int) -> None:
        """Cut all links of a node, as when it moves away."""
        for index, _ in list(self._nodes[node].links.values()):
            self.cut(index)

    def live_links(self) -> list[tuple[int, int]]:
        """Return the nodes at the ends of every link that is up."""
        return [link.nodes for link in self.links if link.up]

    # Time.

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, node, index, data = heappop(self._heap)
            if index == _TIMER:
                self._timer(node)
            else:
                self._arrive(node, index, data)
        self.now = until

    def run_until(self, condition: Callable[[], bool], timeout: float) -> float:
        """Let time pass until the condition, looked at every quarter of a second, holds; return how long it took.

        Raises:
            TimeoutError: It does not hold within ``timeout`` seconds.
        """
        started_at = self.now
        while not condition():
            if self.now >= started_at + timeout:
                raise TimeoutError(f"not within {timeout:.0f} s of virtual time")
            self.run(CHECK_INTERVAL)
        return self.now - started_at

    def turn(self, node: int) -> None:
        """End a turn of a node: put what it has to send on its links, and see to its timer.

        Whoever has called a method of its stack calls this afterwards.
        """
        record = self._nodes[node]
        stack = record.stack
        stack.pump(self.now)
        for link in stack.links_to_send():
            self._carry(*record.links[link], stack.data_to_send(link, WRITE_LIMIT, self.now))
        due_at = stack.next_timer()
        due_at = max(due_at, self.now) if due_at is not None else None
        if due_at is not None and (record.timer_at is None or due_at < record.timer_at):
            record.timer_at = due_at
            self._push(due_at, node, _TIMER, None)

    # Looking at it.

    def __len__(self) -> int:
        return len(self._nodes)

    def stack(self, node: int) -> Stack:
        """Return a node's stack."""
        return self._nodes[node].stack

    def key(self, node: int) -> bytes:
        """Return a node's key, 32 bytes."""
        return self._nodes[node].stack.identity.key

    def node(self, key: bytes) -> int:
        """Return the number of the node with this key."""
        return self._by_key[key]

    # Inside.

    def _push(self, at: float, node: int, index: int, data: bytes | None) -> None:
        self._order += 1
        heappush(self._heap, (at, self._order, node, index, data))

    def _arrive(self, node: int, index: int, data: bytes | None) -> None:
        """Hand a node the bytes of a link, or, for None, its end."""
        link = self.links[index]
        end = link.nodes.index(node)
        if data is None:
            self._close_end(index, end)
        elif link.numbers[end] in self._nodes[node].links:
            stack = self._nodes[node].stack
            self._handle(node, stack.receive_data(link.numbers[end], data, self.now))
            self.turn(node)

    def _timer(self, node: int) -> None:
        record = self._nodes[node]
        if record.timer_at != self.now:
            return  # an earlier one has been armed since
        record.timer_at = None
        self._handle(node, record.stack.handle_timer(self.now))
        self.turn(node)

    def _close_end(self, index: int, end: int) -> None:
        link = self.links[index]
        node = self._nodes[link.nodes[end]]
        if node.links.pop(link.numbers[end], None) is not None:
            self._handle(link.nodes[end], node.stack.remove_link(link.numbers[end], self.now))
            self.turn(link.nodes[end])

    def _carry(self, index: int, end: int, pieces: list[bytes]) -> None:
        link = self.links[index]
        if link.silent:
            return
        data = b"".join(pieces)
        if link.loss:
            data = self._survivors(data, link.loss)
        self._push(self.now + link.latency, link.nodes[1 - end], index, data)

    def _survivors(self, data: bytes, loss: float) -> bytes:
        """Return the data without the traffic that is lost by chance, which leaves keepalives.

        Its sender's peering reckons that something has left, and would be silent were there nothing in its place.
        """
        opening = 0 if data.startswith(MAGIC) else HANDSHAKE_LENGTH
        survivors = [data[:opening]]
        for frame in FrameSplitter().split(data, opening):
            is_lost = frame[_TYPE_AT] == TRAFFIC and self._random.random() < loss
            survivors.append(_KEEPALIVE_FRAME if is_lost else frame)
        return b"".join(survivors)

    def _handle(self, number: int, events: list[StackEvent]) -> None:
        for event in events:
            if isinstance(event, LinkLost):
                self._lose(number, event)
            for observer in self.observers:
                observer(number, event)

    def _lose(self, number: int, event: LinkLost) -> None:
        """Close a link that a stack has given up; the other end hears of it, unless the link is silent."""
        index, end = self._nodes[number].links.pop(event.link)
        link = self.links[index]
        link.up = False
        self.lost.append((index, event.error))
        if not link.silent:
            self._push(self.now + link.latency, link.nodes[1 - end], index, None)
