"""The sending half of a stream: bytes become numbered packets, which are kept until they are acknowledged."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, final

from pinecone_transport.session.budget import Budget
from pinecone_transport.session.utp.extensions import FRAGMENT_OVERHEAD
from pinecone_transport.session.utp.memory import Memory
from pinecone_transport.session.utp.packet import ST_DATA, ST_FIN
from pinecone_transport.session.utp.rtt import NEVER

MAX_OUTSTANDING: Final = 255
"""Packets that may be unacknowledged: a selective acknowledgement has to reach the last of them."""
REORDERING: Final = 3
"""A packet is taken for lost when one that was sent so many packets later has arrived (RFC 9002 §6.1.1)."""

_LARGE: Final = 16_384
"""Bytes that cost more to copy than a packet of their own costs."""

_IN_FLIGHT: Final = 0
_LOST: Final = 1
_ARRIVED: Final = 2


@final
class SentPacket:
    """A packet that was sent at least once.

    Attributes:
        type: `ST_DATA` or `ST_FIN`.
        seq_nr: Its number, the same each time it is sent.
        payload: Its bytes; empty once they have arrived.
        order: Which of all packets sent on the connection its last sending was.
        sends: How often it was sent.
        sent_at: When it was sent last.
        start: Where in the payload that begins which leaves now; not 0 in a fragment.
        stop: Where that ends.
        parts: How many packets of it are in flight: more than one if it leaves in fragments.
        parts_length: Their payload, bytes.
        parts_at: When the first of them was sent.
        status: In flight, lost, or arrived.
    """

    __slots__ = (
        "order",
        "parts",
        "parts_at",
        "parts_length",
        "payload",
        "sends",
        "sent_at",
        "seq_nr",
        "start",
        "status",
        "stop",
        "type",
    )

    def __init__(self, type: int, seq_nr: int, payload: bytes) -> None:
        self.type: Final = type
        self.seq_nr: Final = seq_nr
        self.payload = payload
        self.order = 0
        self.sends = 0
        self.sent_at = 0.0
        self.start = 0
        self.stop = 0
        self.parts = 0
        self.parts_length = 0
        self.parts_at = 0.0
        self.status = _LOST

    @property
    def is_fragment(self) -> bool:
        """Whether what leaves now is only a part of it."""
        return self.stop - self.start < len(self.payload)


@final
class SendBuffer:
    """Bytes of a stream from being written to being acknowledged.

    Attributes:
        acked_seq: The last number that was acknowledged with all before it.
        fragments: Whether the far end understands them.
        held: Bytes kept: waiting, in flight, or to be repeated.
        waiting: Bytes that were never sent.
        lost_at: When one more packet will be lost, if nothing is heard of it before; `NEVER` for none.
        outstanding: Packets sent and not yet acknowledged with all before them, in order.
        finished: Whether the end follows the bytes written.
        fin_sent: Whether it was sent.
        sampled_at: When the youngest packet that the last acknowledgement was for, and that was sent once, was sent;
            0.0 for none.
    """

    __slots__ = (
        "_arrived_order",
        "_budget",
        "_chunks",
        "_lost",
        "_memory",
        "_offset",
        "_order",
        "acked_seq",
        "fin_sent",
        "finished",
        "fragments",
        "held",
        "lost_at",
        "outstanding",
        "sampled_at",
        "waiting",
    )

    def __init__(self, first_seq: int, budget: Budget, memory: Memory) -> None:
        self._budget: Final = budget
        self._memory: Final = memory
        self._chunks: deque[bytes] = deque()
        self._offset = 0
        self._lost: deque[SentPacket] = deque()
        self._order = 0
        self._arrived_order = 0
        self.acked_seq = (first_seq - 1) & 0xFFFF
        self.fragments = False
        self.held = 0
        self.lost_at = NEVER
        self.waiting = 0
        self.outstanding: deque[SentPacket] = deque()
        self.finished = False
        self.fin_sent = False
        self.sampled_at = 0.0

    @property
    def next_seq(self) -> int:
        """The number of the next new packet."""
        return (self.acked_seq + 1 + len(self.outstanding)) & 0xFFFF

    def space(self, capacity: int) -> int:
        """Return how many bytes may be written, if there may be ``capacity`` in all."""
        return self._memory.room(capacity, self.held)

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        self._chunks.append(data)
        self._hold(len(data))
        self.waiting += len(data)

    def peek(self, limit: int) -> bytes:
        """Return the first bytes that wait, and leave them there."""
        return b"".join(self._chunks)[:limit] if self._chunks else b""

    def skip(self, length: int) -> None:
        """So many of the first bytes that wait have arrived by other means."""
        if length:
            self._take(length)
            self._hold(-length)

    def unsent(self) -> bool:
        """Tell whether there are bytes, or the end, that were never sent."""
        return self.waiting > 0 or (self.finished and not self.fin_sent)

    def has_lost(self) -> bool:
        """Tell whether anything is to be sent again, unless it arrives after all."""
        return bool(self._lost)

    def can_send(self, window: int, segment: int) -> bool:
        """Tell whether `next_packet` returns one, unless what was lost arrives after all."""
        if self._lost:
            return True
        if len(self.outstanding) >= MAX_OUTSTANDING:
            return False
        if self.waiting:
            return self._payload_length(window, segment) > 0
        return self.finished and not self.fin_sent

    def next_packet(self, window: int, segment: int) -> SentPacket | None:
        """Return what is to be sent next: what was lost first, then what is new and fits the far end's window."""
        lost = self._lost
        while lost:
            packet = lost[0]
            if packet.status == _LOST:
                if not self._cut(packet, segment):
                    lost.popleft()
                return packet
            lost.popleft()
        if not self.can_send(window, segment):
            return None
        if self.waiting:
            packet = SentPacket(ST_DATA, self.next_seq, self._take(self._payload_length(window, segment)))
        else:
            packet = SentPacket(ST_FIN, self.next_seq, b"")
            self.fin_sent = True
        packet.stop = len(packet.payload)
        self.outstanding.append(packet)
        return packet

    def send_new(self, limit: int, window: int, segment: int, now: float) -> list[SentPacket]:
        """Return what leaves now of that which is new, about ``limit`` bytes, as `next_packet` and `sent` one by one.

        Nothing while anything lost is to be sent, and neither the end nor a packet cut to fit a small window: that is
        `next_packet`'s business.
        """
        packets: list[SentPacket] = []
        outstanding = self.outstanding
        count, length_left = self._budget.room()
        count = min(count, MAX_OUTSTANDING - len(outstanding)) if not self._lost else 0
        window -= self.held - self.waiting
        seq_nr = self.next_seq
        sent = 0
        while self.waiting and sent < limit and sent < length_left and len(packets) < count:
            length = self._next_length(segment)
            if sent + length > window:
                break
            packet = SentPacket(ST_DATA, seq_nr, self._take(length))
            self._order += 1
            packet.order = self._order
            packet.sends = packet.parts = 1
            packet.stop = packet.parts_length = length
            packet.sent_at = packet.parts_at = now
            packet.status = _IN_FLIGHT
            packets.append(packet)
            seq_nr = (seq_nr + 1) & 0xFFFF
            sent += length
        if packets:
            outstanding += packets
            self._budget.take(len(packets), sent, now)
        return packets

    def _cut(self, packet: SentPacket, segment: int) -> bool:
        """Decide how much of a lost packet leaves now, behind what has left of it; tell whether something is left over.

        A packet larger than those of today leaves in fragments, since the path may have become too slow for it.
        """
        length = len(packet.payload)
        packet.start = packet.stop
        whole = not packet.start and (not self.fragments or length <= segment)
        packet.stop = length if whole else min(length, packet.start + max(segment - FRAGMENT_OVERHEAD, 1))
        return packet.stop < length

    def sent(self, packet: SentPacket, now: float) -> None:
        """The packet from `next_packet` leaves, or a fragment of it; with the last one it has been sent."""
        if not packet.parts:
            packet.parts_at = now
        packet.parts += 1
        packet.parts_length += packet.stop - packet.start
        self._budget.take(1, packet.stop - packet.start, now)
        if packet.stop == len(packet.payload):
            self._order += 1
            packet.order = self._order
            packet.sends += 1
            packet.sent_at = now
            packet.status = _IN_FLIGHT

    def acknowledge(self, advance: int, selective: bytes, now: float) -> int:
        """The next ``advance`` packets have arrived, and those of ``selective``; return how many that is news of."""
        count = 0
        self.sampled_at = 0.0
        outstanding = self.outstanding
        for _ in range(advance):
            packet = outstanding.popleft()
            if packet.status != _ARRIVED:
                count += 1
                self._arrived(packet, now)
        self.acked_seq = (self.acked_seq + advance) & 0xFFFF
        if selective:
            # Bit 0 is for the packet after the one that is missing.
            bits = int.from_bytes(selective, "little")
            for packet in islice(outstanding, 1, None):
                if not bits:
                    break
                if bits & 1 and packet.status != _ARRIVED:
                    count += 1
                    self._arrived(packet, now)
                bits >>= 1
        return count

    def _arrived(self, packet: SentPacket, now: float) -> None:
        self._hold(-len(packet.payload))
        if packet.status == _IN_FLIGHT and packet.sends == 1:
            # What was taken for lost says how long we waited, not how long the way is.
            self.sampled_at = max(self.sampled_at, packet.sent_at)
        self._release(packet)
        packet.status = _ARRIVED
        packet.payload = b""
        # Of a repeat that cannot have been answered yet it was the first sending that arrived.
        if packet.sends == 1 or now - packet.sent_at >= self._budget.rtt.minimum:
            self._arrived_order = max(self._arrived_order, packet.order)

    def release_fragments(self, now: float) -> None:
        """The far end has heard something of us.

        It acknowledges a packet when all of its fragments are there, and these may be more than may be in flight. Those
        that are older than a round trip are not, whatever became of them, and make room for the next.
        """
        if self._lost:
            packet = self._lost[0]
            if packet.parts and now - packet.parts_at >= self._budget.rtt.minimum:
                self._release(packet)

    def detect_lost(self, now: float) -> float | None:
        """Mark what must be lost, since later packets have arrived; return when the youngest was sent, or None.

        That is what several packets, or one and a good round trip, have overtaken (RFC 8985, RFC 9002 §6.1).
        """
        arrived = self._arrived_order
        limit = arrived - REORDERING
        overtaken = self._budget.rtt.overtaken
        youngest = None
        lost_at = NEVER
        for packet in self.outstanding:
            if packet.order > arrived:
                if packet.sends == 1:
                    # Whatever follows was sent later still.
                    break
            elif packet.status == _IN_FLIGHT:
                if packet.order > limit and now < packet.sent_at + overtaken:
                    lost_at = min(lost_at, packet.sent_at + overtaken)
                    continue
                self._lose(packet)
                youngest = packet.sent_at if youngest is None else max(youngest, packet.sent_at)
        self.lost_at = lost_at
        return youngest

    def repeat_last(self) -> bool:
        """Have the last packet that is in flight sent again; tell whether there is one."""
        for packet in reversed(self.outstanding):
            if packet.status == _IN_FLIGHT:
                self._lose(packet)
                return True
        return False

    def lose_first(self) -> float | None:
        """Mark the first outstanding packet as lost if it is in flight; return when it was sent, or None."""
        packet = self.outstanding[0]
        if packet.status != _IN_FLIGHT:
            return None
        self._lose(packet)
        return packet.sent_at

    def lose_all(self) -> None:
        """Mark all that is in flight as lost, so that it is sent again in order."""
        for packet in self.outstanding:
            if packet.status != _ARRIVED:
                packet.status = _LOST
                packet.stop = 0
                self._release(packet)
        self._lost = deque(packet for packet in self.outstanding if packet.status == _LOST)
        self.lost_at = NEVER

    def discard(self) -> None:
        """The connection is over: nothing of it is in flight any more."""
        self.lose_all()
        self._lost.clear()
        self._hold(-self.held)

    def _hold(self, length: int) -> None:
        self.held += length
        self._memory.held += length

    def _lose(self, packet: SentPacket) -> None:
        packet.status = _LOST
        packet.stop = 0
        self._release(packet)
        self._lost.append(packet)

    def _release(self, packet: SentPacket) -> None:
        """Nothing of the packet is in flight any more."""
        if packet.parts:
            self._budget.release(packet.parts, packet.parts_length)
            packet.parts = packet.parts_length = 0

    def _payload_length(self, window: int, segment: int) -> int:
        """Return how many bytes the next new packet may have: a whole one, or a smaller one if nothing is under way.

        Waiting for more window costs nothing as long as an acknowledgement is to come.
        """
        length = self._next_length(segment)
        unacknowledged = self.held - self.waiting
        if length <= window - unacknowledged:
            return length
        return 0 if unacknowledged else window

    def _next_length(self, segment: int) -> int:
        """Return how many bytes the next new packet has, as far as windows allow.

        A large piece is not joined with the next one: what is written in whole segments stays so, and is not copied.
        """
        rest = len(self._chunks[0]) - self._offset
        return rest if _LARGE <= rest < segment <= 2 * rest else min(segment, self.waiting)

    def _take(self, length: int) -> bytes:
        self.waiting -= length
        chunks = self._chunks
        start = self._offset
        parts = []
        while True:
            chunk = chunks[0]
            stop = start + length
            if stop < len(chunk):
                self._offset = stop
                parts.append(chunk[start:stop])
                break
            parts.append(chunk[start:] if start else chunk)
            chunks.popleft()
            length -= len(chunk) - start
            start = 0
            if not length:
                self._offset = 0
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)
