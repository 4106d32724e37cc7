"""Sending on one connection: what goes out when, what an acknowledgement means, what happens when none comes."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from pinecone_transport.session.budget import Budget
from pinecone_transport.session.packet_size import MIN_SIZE
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.memory import Memory
from pinecone_transport.session.utp.packet import HEADER_LENGTH, MAX_PAYLOAD, MAX_SELECTIVE_ACK, ST_STATE, UtpPacket
from pinecone_transport.session.utp.rtt import NEVER, RepeatTimer
from pinecone_transport.session.utp.send_buffer import SendBuffer, SentPacket

OVERHEAD: Final = HEADER_LENGTH + 2 + MAX_SELECTIVE_ACK
"""Bytes of a data packet besides its payload, at most."""
DUPLICATE_ACKS: Final = 3
"""So many acknowledgements of the same packet mean that the next one is lost (BEP 29, packet loss)."""


@final
class Sender:
    """The sending half of a connection.

    Attributes:
        buffer: The bytes and packets.
        progress_at: When the far end last acknowledged something new; or when there was something to send again.
        timer: When the oldest outstanding packet, or the question for a larger window, goes out again.
    """

    __slots__ = (
        "_answered_at",
        "_budget",
        "_counters",
        "_duplicate_acks",
        "_fixed_segment",
        "_largest",
        "_limits",
        "_patience",
        "_peer_window",
        "_room_from",
        "_room_wanted",
        "_tail_at",
        "_window_probe",
        "buffer",
        "progress_at",
        "timer",
    )

    def __init__(  # noqa: PLR0917  # one caller, which has them all
        self, first_seq: int, budget: Budget, memory: Memory, limits: UtpLimits, counters: Counter[str], now: float
    ) -> None:
        self._budget: Final = budget
        self._counters: Final = counters
        self._limits: Final = limits
        self._patience: Final = limits.patience
        self._answered_at = self.progress_at = now
        self._duplicate_acks = 0
        self._peer_window = 0
        self._room_wanted = False
        self._tail_at = NEVER
        self._window_probe = False
        self._room_from: Final = min(MAX_PAYLOAD, limits.packet - OVERHEAD, limits.send_buffer)
        self.buffer: Final = SendBuffer(first_seq, budget, memory)
        # The same for all who do not say what they take; 0 once the far end has, and then it depends on the path.
        self._fixed_segment = min(MAX_PAYLOAD, limits.packet - OVERHEAD)
        self._largest = 0
        self.timer: Final = RepeatTimer(budget.rtt, limits.max_rto)

    @property
    def segment(self) -> int:
        """Payload of a full packet, bytes."""
        return self._fixed_segment or min(self._budget.packet_size.size, self._largest) - OVERHEAD

    def negotiate(self, largest: int, fragments: bool) -> None:
        """The far end takes packets of ``largest`` bytes, header included, and perhaps fragments."""
        self._largest = max(largest, MIN_SIZE)
        self._fixed_segment = 0
        self.buffer.fragments = fragments

    def open(self, wnd_size: int, now: float) -> None:
        """The far end is there, and takes so many bytes."""
        self._peer_window = wnd_size
        self._answered_at = self.progress_at = now
        self._budget.paced = not self.buffer.fragments
        self.timer.stop()

    # From above

    def room(self) -> int:
        """Return how many bytes may be written: none, rather than less than an ordinary packet."""
        space = self.space()
        return space if space >= self._room_from else 0

    def space(self) -> int:
        """Return how many bytes the send buffer takes: what `room` said may come in several pieces."""
        return 0 if self.buffer.finished else self.buffer.space(self._limits.send_buffer)

    def write(self, data: bytes, now: float) -> None:
        """Queue bytes, at most `space`."""
        if not data:
            return
        if not self.buffer.held:
            self.progress_at = now
        self.buffer.write(data)
        if not self.room():
            self._room_wanted = True

    def finish(self, now: float) -> None:
        """Put the end behind what was written."""
        if not self.buffer.held:
            self.progress_at = now
        self.buffer.finished = True
        self._room_wanted = False

    def overdue_at(self) -> float:
        """Return when what is outstanding should have been acknowledged by a path that is as it was."""
        return self.progress_at + 2 * self._budget.rtt.smoothed

    def wake(self, now: float) -> None:
        """The path may be back: have what is outstanding sent again."""
        self.buffer.lose_all()
        self.timer.restart(now)

    # From below

    def receive_ack(self, packet: UtpPacket, advance: int, now: float) -> bool:
        """Take a packet that acknowledges ``advance`` more; return True when an owner that waits may write again."""
        buffer = self.buffer
        if advance or packet.extensions:
            held = buffer.held
            count = buffer.acknowledge(advance, packet.selective_ack, now)
            if count:
                self._progress(count, held - buffer.held, packet.reply_micro, now)
            self._lost(buffer.detect_lost(now), now)
        elif packet.type == ST_STATE and packet.wnd_size == self._peer_window and buffer.outstanding:
            self._duplicate_acks += 1
            # Of a packet in fragments each is acknowledged, while that is not.
            if self._duplicate_acks == DUPLICATE_ACKS and not buffer.fragments:
                self._lost(buffer.lose_first(), now)
        buffer.release_fragments(now)
        self._answered_at = now
        self._peer_window = packet.wnd_size
        if self._window_shut():
            # It is alive and takes nothing: that is patience, not death.
            self.progress_at = now
        if self._room_wanted and buffer.space(self._limits.send_buffer) >= self._writable_from():
            self._room_wanted = False
            return True
        return False

    def fin_acknowledged(self) -> bool:
        """Tell whether the end, and so all before it, has arrived."""
        return self.buffer.fin_sent and not self.buffer.outstanding

    def _progress(self, count: int, length: int, reply_micro: int, now: float) -> None:
        """So many packets, and bytes of payload, have arrived."""
        buffer = self.buffer
        if buffer.sampled_at:
            self._budget.rtt.add_sample(now - buffer.sampled_at)
        self._budget.acknowledged(count, length, reply_micro, now)
        self.progress_at = now
        self._duplicate_acks = 0
        self._window_probe = False
        if buffer.outstanding:
            self.timer.restart(now)
            self._tail_at = self._next_tail(now)
        else:
            self.timer.stop()
            self._tail_at = NEVER

    def _lost(self, sent_at: float | None, now: float) -> None:
        if sent_at is not None:
            self._counters["losses"] += 1
            self._budget.congestion.on_lost(sent_at, now)

    # To below

    def has_data(self) -> bool:
        """Tell whether `next_packet` returns one, unless what was lost arrives after all."""
        buffer = self.buffer
        return (buffer.unsent() or buffer.has_lost()) and buffer.can_send(self._window(), self.segment)

    def new_packets(self, limit: int, now: float) -> list[SentPacket]:
        """Return packets that leave now, about ``limit`` bytes: new ones alone, and nothing special about them."""
        packets = self.buffer.send_new(limit, self._window(), self.segment, now)
        if packets:
            if self.timer.at == NEVER or packets[0] is self.buffer.outstanding[0]:
                self.timer.start(now)
            self._tail_at = self._next_tail(now)
        return packets

    def next_packet(self, now: float) -> SentPacket | None:
        """Return the packet that leaves now, or None."""
        buffer = self.buffer
        packet = buffer.next_packet(self._window(), self.segment)
        if packet is None:
            return None
        if packet.sends:
            self._counters["packets repeated"] += 1
            if packet.is_fragment:
                self._counters["fragments sent"] += 1
        buffer.sent(packet, now)
        if self.timer.at == NEVER or packet is buffer.outstanding[0]:
            self.timer.start(now)
        if packet.sends == 1:
            self._tail_at = self._next_tail(now)
        return packet

    # Time

    def pending(self) -> bool:
        """Tell whether anything is unsent or unacknowledged."""
        return bool(self.buffer.outstanding) or self.buffer.unsent()

    def deadline(self, now: float) -> float:
        """Return when `handle_timer` is to be called, while something is `pending`."""
        if self.timer.at == NEVER and not self.has_data():
            # The window is shut and no packet is out whose acknowledgement would open it.
            self.timer.start(now)
        at = min(self.timer.at, self._tail_at, self.buffer.lost_at, self.progress_at + self._patience)
        return min(at, self._budget.room_at()) if self.has_data() else at

    def is_dead(self, now: float) -> bool:
        """Tell whether what is `pending` has been so for too long."""
        return now >= self.progress_at + self._patience

    def handle_timer(self, now: float) -> bool:
        """Have sent again what was not acknowledged in time; return True if the path may be at fault."""
        outstanding = self.buffer.outstanding
        if now >= self.buffer.lost_at:
            self._lost(self.buffer.detect_lost(now), now)
        if now < self.timer.at:
            if now >= self._tail_at:
                self._repeat_tail()
            return False
        if not outstanding:
            self._window_probe = True
        elif self._window_shut() and self._answered_at >= outstanding[0].sent_at:
            self.buffer.lose_first()
        else:
            self._counters["timeouts"] += 1
            self.buffer.lose_all()
            self._tail_at = NEVER
            self._budget.timed_out(outstanding[0].sent_at, now)
            self.timer.back_off(now)
            return True
        self.timer.start(now)
        return False

    def _next_tail(self, now: float) -> float:
        """Return when the last packet goes again if nothing is heard; never to who may hold answers back."""
        return now + self._budget.rtt.tail if self.buffer.fragments else NEVER

    def _repeat_tail(self) -> None:
        """Whatever the last packet's acknowledgement says brings to light what else is missing (RFC 8985 §7)."""
        self._tail_at = NEVER
        if self.buffer.repeat_last():
            self._counters["tails repeated"] += 1

    def _window(self) -> int:
        """Return the far end's window; one byte may always go to see whether it is still shut."""
        return self._peer_window or self._window_probe

    def _window_shut(self) -> bool:
        """Tell whether the far end has no room for what it must have next."""
        outstanding = self.buffer.outstanding
        if outstanding:
            return self._peer_window < len(outstanding[0].payload)
        return self._peer_window == 0

    def _writable_from(self) -> int:
        """Return the room from which on a waiting owner is told: enough for large pieces."""
        return max(self._room_from, min(self._limits.send_buffer, self._limits.share) // 4)
