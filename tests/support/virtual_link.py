"""Two session machines on a virtual clock, and a link between them that does to packets what tests ask for."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from pinecone_transport.identity import PublicKey
from pinecone_transport.session import (
    SessionEvent,
    Sessions,
    StreamAccepted,
    StreamClosed,
    StreamData,
    StreamEnded,
    StreamLost,
    UtpLimits,
    UtpSocket,
)
from pinecone_transport.session.quic import QuicSocket
from pinecone_transport.session.utp import ST_STATE, ST_SYN, decode_packet, encode_packet
from tests.support.clock import VirtualClock

LEFT_KEY: PublicKey = b"\x01" * 32
RIGHT_KEY: PublicKey = b"\x02" * 32


@dataclass
class Faults:
    """What happens to packets on their way; probabilities from 0 to 1, seconds."""

    delay: float = 0.01
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """The share of packets that take up to three times as long as the others."""
    corruption: float = 0.0
    """The share of packets in which a byte is changed."""
    cut: bool = False
    largest: int = 1 << 16
    """Packets of more bytes are lost."""
    period: float = 0.0
    """The nodes get to run once in so many seconds, …"""
    share: float = 1.0
    """… for this part of them, and what comes in between waits."""
    rate: float = float("inf")
    """Bytes per second each way; what is more waits in a queue without end."""
    held: float = 0.0
    """Acknowledgements without data from the right leave once in so many seconds."""
    per_packet: float = 0.0
    """Seconds that each packet keeps the path busy, whatever its size."""


def without_extensions(_side: Side, packet: bytes) -> bytes:
    """Make of a packet what a node that knows nothing of §11 makes of it."""
    decoded = decode_packet(packet)
    if decoded.type == ST_SYN:
        decoded.payload = b""
    decoded.extensions = tuple(one for one in decoded.extensions if one[0] == 1)
    return encode_packet(decoded)


class Side:
    """One end of the link: a socket and what became of its streams.

    Attributes:
        data: What each stream brought, unless ``take`` says what is to be done with it.
        take: Called with stream and bytes instead of keeping them.
        acknowledging: Whether data is given back to the window at once.
    """

    def __init__(self, key: PublicKey, peer_key: PublicKey, socket: UtpSocket | QuicSocket | Sessions) -> None:
        self.key = key
        self.peer_key = peer_key
        self.socket = socket
        self.events: list[SessionEvent] = []
        self.data: dict[int, bytearray] = {}
        self.take: Callable[[int, bytes], None] | None = None
        self.acknowledging = True
        self.accepted: list[int] = []
        self.ended: set[int] = set()
        self.closed: set[int] = set()
        self.lost: dict[int, Exception] = {}

    def handle(self, events: list[SessionEvent], now: float) -> None:
        for event in events:
            if isinstance(event, StreamData):
                self._handle_data(event, now)
                continue
            self.events.append(event)
            if isinstance(event, StreamAccepted):
                self.accepted.append(event.stream)
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream)
            elif isinstance(event, StreamClosed):
                self.closed.add(event.stream)
            elif isinstance(event, StreamLost):
                self.lost[event.stream] = event.error

    def receive(self, packets: list[bytes], now: float) -> None:
        if isinstance(self.socket, UtpSocket | Sessions):
            self.handle(self.socket.receive_run(self.peer_key, packets, now), now)
            return
        for packet in packets:
            self.handle(self.socket.receive_packet(self.peer_key, packet, now), now)

    def received(self, stream: int) -> bytes:
        return bytes(self.data.get(stream, b""))

    def _handle_data(self, event: StreamData, now: float) -> None:
        if self.take is not None:
            self.take(event.stream, event.data)
        else:
            self.data.setdefault(event.stream, bytearray()).extend(event.data)
        if self.acknowledging:
            self.socket.acknowledge_received_data(event.stream, len(event.data), now)


@dataclass
class VirtualLink:
    """``left`` and ``right`` with a link between them. Nothing happens but in `turn`, `run` and `run_until`."""

    limits: UtpLimits = field(default_factory=UtpLimits)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    clock: VirtualClock = field(default_factory=VirtualClock)
    pull: int = 1 << 20
    """Bytes that each key is asked for in a turn."""

    def __post_init__(self) -> None:
        self.left, self.right = self.make_sides()
        self.random = Random(self.seed)
        self.carried: list[tuple[Side, bytes]] = []
        """The packets that were sent, by sender, if ``recording``."""
        self.recording = False
        self.filter: Callable[[Side, bytes], bool] | None = None
        """Tells for each packet whether it is let through; None lets all through."""
        self.alter: Callable[[Side, bytes], bytes] | None = None
        """Makes another packet of each; None leaves them as they are."""
        self._arrivals: list[tuple[float, int, Side, bytes]] = []
        self._count = 0
        self._busy_until = {True: 0.0, False: 0.0}

    def make_sides(self) -> tuple[Side, Side]:
        left = UtpSocket(random=Random(self.seed), limits=self.limits)
        right = UtpSocket(random=Random(self.seed + 1), limits=self.limits)
        return Side(LEFT_KEY, RIGHT_KEY, left), Side(RIGHT_KEY, LEFT_KEY, right)

    @property
    def now(self) -> float:
        return self.clock.now

    def other(self, side: Side) -> Side:
        return self.right if side is self.left else self.left

    def pump(self) -> None:
        """Put what both sides have to send on its way."""
        for side in (self.left, self.right):
            for key in side.socket.ready_keys():
                for packet in side.socket.packets_to_send(key, self.pull, self.now):
                    if self.recording:
                        self.carried.append((side, packet))
                    self._send(side, packet)

    def next_at(self) -> float | None:
        """Return when something happens next, or None."""
        times = [side.socket.next_timer() for side in (self.left, self.right)]
        if self._arrivals:
            times.append(self._arrivals[0][0])
        return min((time for time in times if time is not None), default=None)

    def turn(self) -> None:
        """Deliver what has arrived by now, run timers, send."""
        now = self.now
        arrived: dict[bool, list[bytes]] = {True: [], False: []}
        while self._arrivals and self._arrivals[0][0] <= now:
            _, _, side, packet = heapq.heappop(self._arrivals)
            arrived[side is self.left].append(packet)
        for side in (self.left, self.right):
            side.receive(arrived[side is self.left], now)
        for side in (self.left, self.right):
            timer = side.socket.next_timer()
            if timer is not None and timer <= now:
                side.handle(side.socket.handle_timer(now), now)
        self.pump()

    def run(self, seconds: float) -> None:
        """Let time pass, and all that happens in it."""
        end = self.now + seconds
        self.pump()
        at = self.next_at()
        while at is not None and at <= end:
            self.clock.advance(max(0.0, at - self.now))
            self.turn()
            at = self.next_at()
        self.clock.advance(max(0.0, end - self.now))

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until the condition holds; fail if it does not within so many seconds."""
        end = self.now + seconds
        self.pump()
        while not condition():
            at = self.next_at()
            assert at is not None, "nothing will ever happen again"
            assert at <= end, f"not so within {seconds} s"
            self.clock.advance(max(0.0, at - self.now))
            self.turn()

    def connect(self) -> tuple[int, int]:
        """Open a stream from left to right; return its number at either end."""
        before = len(self.right.accepted)
        stream = self.left.socket.connect(self.left.peer_key, self.now)
        self.run_until(lambda: len(self.right.accepted) > before)
        return stream, self.right.accepted[-1]

    def _send(self, side: Side, packet: bytes) -> None:
        faults = self.faults
        random = self.random
        if faults.cut or random.random() < faults.loss or (self.filter is not None and not self.filter(side, packet)):
            return
        if len(packet) > faults.largest:
            return
        if self.alter is not None:
            packet = self.alter(side, packet)
        copies = 2 if random.random() < faults.duplication else 1
        for _ in range(copies):
            delay = faults.delay
            if random.random() < faults.reordering:
                delay *= 1 + 2 * random.random()
            if random.random() < faults.corruption:
                position = random.randrange(len(packet))
                packet = packet[:position] + bytes((random.randrange(256),)) + packet[position + 1 :]
            left = side is self.left
            sent_at = max(self.now, self._busy_until[left]) + len(packet) / faults.rate + faults.per_packet
            self._busy_until[left] = sent_at
            at = sent_at + delay
            if faults.period and at % faults.period > faults.share * faults.period:
                at += faults.period - at % faults.period
            if faults.held and not left and packet[0] >> 4 == ST_STATE and self.right.accepted:
                at += faults.held - at % faults.held
            self._count += 1
            heapq.heappush(self._arrivals, (at, self._count, self.other(side), packet))
