"""One µTP connection: the state machine between its SYN and its end (BEP 29, §8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, final

from pinecone_transport.errors import PineconeError, StreamResetError, StreamTimeoutError
from pinecone_transport.identity import PublicKey
from pinecone_transport.session.budget import Budget
from pinecone_transport.session.events import (
    SessionEvent,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
    StreamWritable,
)
from pinecone_transport.session.socket import Pieces
from pinecone_transport.session.utp.extensions import (
    EARLY,
    FRAGMENT,
    FRAGMENTS,
    OPTIONS,
    Fragment,
    Options,
    encode_fragment,
    encode_options,
    fragment_of,
    options_of,
)
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.memory import Memories
from pinecone_transport.session.utp.own_syn import OwnSyn
from pinecone_transport.session.utp.packet import (
    BEGINNING,
    HEADER,
    HEADER_LENGTH,
    NUMBERS,
    SELECTIVE_ACK,
    ST_DATA,
    ST_FIN,
    ST_RESET,
    ST_STATE,
    VERSION,
    UtpPacket,
    encode_reset,
)
from pinecone_transport.session.utp.receive_buffer import ReceiveBuffer
from pinecone_transport.session.utp.rtt import NEVER
from pinecone_transport.session.utp.sender import Sender
from pinecone_transport.session.utp.states import TRANSITIONS, Input, State

ACK_DUE: Final = 1
SYN_DUE: Final = 2
PROBE_DUE: Final = 4
ANSWER_DUE: Final = 8
"""The ST_STATE that answers a SYN, ahead of any data."""

WAKE_INTERVAL: Final = 0.1
"""Seconds between two times that a connection sends again because its path may be back."""
ASKED_PATIENCE: Final = 1.0
"""Seconds that an acceptor whom the dialler has asked waits longer before it asks, so that not both ask."""
INTRODUCTIONS: Final = 3
"""How often a dialler that has nothing to say repeats the packet that shows the acceptor that it is there."""

_FAR: Final = 1024
"""How far a number may be from what is next, either way: as a packet's may that others have overtaken.

So many packets behind a missing one are kept, if the window has room for them, although an acknowledgement tells of the
first 256 only. A far end that minds nothing but the window (libtorrent) gets that far ahead, and takes for lost what is
refused: it would come again, and that as a loss that never was.
"""

RECEIVES_RUNS: Final = frozenset({State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2})
"""The states in which data is expected."""


@final
class Connection:
    """One end of a connection. Its socket feeds it packets and time, and pulls packets from it.

    Attributes:
        stream: The number that the owner knows it by.
        key: The far end's.
        receive_id: The connection id of packets to us.
        send_id: The connection id of packets from us.
        syn_seq: The number of the SYN that opened it, whoever sent it.
        state: Changed in one place only, by `TRANSITIONS`.
        due: `ACK_DUE`, `SYN_DUE`, `PROBE_DUE`, `ANSWER_DUE`: what has to leave even without data.
        reported: Whether the owner knows of it.
        sender: The sending half.
        repeated: Whether a packet was not acknowledged in time since this was last looked at, and set to False.
    """

    __slots__ = (
        "_advertised",
        "_answer",
        "_asked_at",
        "_counters",
        "_data_kind",
        "_heard_at",
        "_introductions",
        "_is_dialler",
        "_limits",
        "_opened_at",
        "_own_syn",
        "_patience",
        "_probed_at",
        "_receive_buffer",
        "_reply_micro",
        "_rtt",
        "_wake_at",
        "_wake_wanted_at",
        "_woken_at",
        "due",
        "key",
        "receive_id",
        "repeated",
        "reported",
        "send_id",
        "sender",
        "state",
        "stream",
        "syn_seq",
    )

    def __init__(
        self,
        stream: int,
        key: PublicKey,
        receive_id: int,
        *,
        first_seq: int,
        syn: UtpPacket | None,
        budget: Budget,
        memories: Memories,
        limits: UtpLimits,
        counters: Counter[str],
        now: float,
        largest_syn: int = 0,
    ) -> None:
        self.stream: Final = stream
        self.key: Final = key
        self.receive_id: Final = receive_id
        self.repeated = False
        self._counters: Final = counters
        self._data_kind: Final = (ST_DATA << 4 | VERSION) << 24 | receive_id
        self._limits: Final = limits
        self._opened_at: Final = now
        self._rtt: Final = budget.rtt
        self._patience: Final = limits.patience
        self._is_dialler: Final = syn is None
        self._advertised = limits.receive_window
        self._heard_at = self._probed_at = now
        self._asked_at = NEVER
        self._answer: Options | None = None  # what our answer to a SYN says of us, if the SYN said something
        self.reported = syn is None
        self._reply_micro = 0
        self._introductions = 0
        self._own_syn: Final = OwnSyn(receive_id, first_seq, largest_syn, limits) if syn is None else None
        self._woken_at = now - WAKE_INTERVAL
        self._wake_wanted_at = now
        self._wake_at = NEVER
        if syn is None:
            self.state = State.SYN_SENT
            self.due = SYN_DUE
            self.send_id = (receive_id + 1) & 0xFFFF
            self.syn_seq = first_seq
            self.sender = Sender((first_seq + 1) & 0xFFFF, budget, memories.sent, limits, counters, now)
            self.sender.timer.start(now)
            self._receive_buffer = ReceiveBuffer(1, limits.receive_window, memories.received, counters)
        else:
            self.state = State.SYN_RECEIVED
            self.due = ANSWER_DUE
            self.send_id = syn.connection_id
            self.syn_seq = syn.seq_nr
            self.sender = Sender(first_seq, budget, memories.sent, limits, counters, now)
            self._receive_buffer = ReceiveBuffer(
                (syn.seq_nr + 1) & 0xFFFF, limits.receive_window, memories.received, counters
            )
            self._reply_micro = _micro(now, syn.timestamp)
            if self._negotiate(syn) is not None:
                self._answer = Options(FRAGMENTS, limits.largest_packet)
            self.sender.open(syn.wnd_size, now)

    # From above

    def close(self, now: float) -> None:
        """Send the end behind what was written. While the dial goes on, that waits for its answer."""
        if self.sender.buffer.finished:
            return
        self.sender.finish(now)
        if self.state is not State.SYN_SENT and self.state is not State.SYN_RECEIVED:
            self._set_state(Input.CLOSE)

    def acknowledge_received_data(self, length: int) -> bool:
        """The owner is done with so many bytes; tell whether the far end is told, as of a good part of the window."""
        buffer = self._receive_buffer
        buffer.give_back(length)
        step = min(self._limits.receive_window // 4, self._limits.share)
        if buffer.window() - self._advertised < step or buffer.ended:
            return False
        self.due |= ACK_DUE
        return True

    def end(self) -> None:
        """The connection is over without further words."""
        self._set_state(Input.END)
        self.due = 0

    def discard(self) -> None:
        """Nothing that is here is of interest any more, however the connection ended."""
        self.sender.buffer.discard()
        self._receive_buffer.discard()

    def fail(self, error: PineconeError, events: list[SessionEvent]) -> None:
        """The connection is over for ``error``; one that the owner never heard of goes silently."""
        if self.state is State.SYN_RECEIVED:
            self._counters["half-open connections given up"] += 1
        if self.reported:
            events.append(StreamLost(self.stream, error))
        self.end()

    def may_be_known(self) -> bool:
        """Tell whether the far end may know of it: a dial whose SYN has not left is nobody else's affair."""
        return self._own_syn is None or self._own_syn.sends > 0

    @property
    def idle_since(self) -> float | None:
        """When the far end was last heard of, if the stream is open and nothing of either side is under way."""
        if self.state is not State.ESTABLISHED or self.sender.buffer.held or self._receive_buffer.unacknowledged:
            return None
        return self._heard_at

    def acknowledge(self) -> bool:
        """Send an acknowledgement although nothing came; return False if that is too early."""
        if self.state is State.SYN_SENT or self.state is State.SYN_RECEIVED:
            return False
        self.due |= ACK_DUE
        return True

    def wake(self, now: float) -> None:
        """The way to the far end may be back: send again what had no answer in its time.

        That is at once, unless it was done just now, or an answer is not due yet: then as soon as it makes sense.
        """
        self._wake_wanted_at = now
        self._try_wake(now)

    def _try_wake(self, now: float) -> None:
        self._wake_at = at = self._next_wake()
        if now < at:
            return
        self._wake_at = NEVER
        self._woken_at = now
        if self.state is State.SYN_SENT:
            self.due |= SYN_DUE
            self.sender.timer.restart(now)
        elif self.sender.buffer.outstanding:
            self.sender.wake(now)
        else:
            self._probed_at = now
            self.due |= PROBE_DUE

    def _next_wake(self) -> float:
        """Return when sending again makes sense; `NEVER` if all has been answered since it was asked for."""
        soonest = self._woken_at + WAKE_INTERVAL
        sender = self.sender
        if self.state is State.SYN_SENT:
            return soonest
        if sender.buffer.outstanding:
            return max(soonest, sender.overdue_at()) if sender.progress_at <= self._wake_wanted_at else NEVER
        return soonest if self._probed_at > self._heard_at else NEVER

    # From below

    def receive(self, packet: UtpPacket, now: float, events: list[SessionEvent]) -> None:
        """Take a packet with our connection id that is not a SYN."""
        if self.state is State.SYN_SENT:
            self._receive_answer(packet, now, events)
            return
        # How many packets this acknowledges anew; "negative" if others have overtaken it.
        advance = (packet.ack_nr - self.sender.buffer.acked_seq) & 0xFFFF
        outstanding = len(self.sender.buffer.outstanding)
        if packet.type == ST_RESET:
            if advance <= outstanding + 1 or self._is_withdrawal(packet):
                self._receive_reset(events)
            else:
                self._counters["implausible resets"] += 1
            return
        behind = (self._receive_buffer.next_seq + _FAR - packet.seq_nr) & 0xFFFF
        if (
            advance > outstanding and (advance < 0x10000 - _FAR or self.state is State.SYN_RECEIVED)
        ) or behind > 2 * _FAR:
            # Not from the far end, unless much was lost. A sender of data is told where we are.
            self._counters["implausible packets"] += 1
            if packet.type != ST_STATE:
                self.due |= ACK_DUE
            return
        self._heard_at = now
        self._reply_micro = _micro(now, packet.timestamp)
        if self.state is State.SYN_RECEIVED:
            self._rtt.bound(now - self._opened_at)
            self._open()
            if not self.reported:
                self._report(events)
        if advance <= outstanding:
            self._receive_ack(packet, advance, now, events)
        if packet.type != ST_STATE:
            self._receive_data(packet, events)

    def receive_run(
        self, packets: Sequence[bytes | memoryview], start: int, now: float, events: list[SessionEvent]
    ) -> int:
        """Take packets from ``packets[start]`` on that are plain data and follow one another; return how many.

        This is the fast path of `receive`, and does what that does for each: of headers only the sequence numbers are
        looked at, and the last one stands for all. What is in any way out of the ordinary is left to `receive`.
        """
        if self.state not in RECEIVES_RUNS:
            return 0
        count = self._receive_buffer.run_length(packets, start, self._data_kind)
        if not count:
            return 0
        run = packets[start : start + count]
        _, _, _, timestamp, reply_micro, wnd_size, seq_nr, ack_nr = HEADER.unpack_from(run[-1])
        advance = (ack_nr - self.sender.buffer.acked_seq) & 0xFFFF
        if advance > len(self.sender.buffer.outstanding):
            return 0
        self._heard_at = now
        self._reply_micro = _micro(now, timestamp)
        last = UtpPacket(ST_DATA, self.receive_id, timestamp, reply_micro, wnd_size, seq_nr, ack_nr)
        self._receive_ack(last, advance, now, events)
        data = self._receive_buffer.receive_run(run)
        self.due |= ACK_DUE
        if data:
            events.append(StreamData(self.stream, data))
        return count

    def receive_syn(self, packet: UtpPacket) -> bool:
        """Take a SYN that would have our connection id; return False if it is not the one that opened this."""
        if self.send_id != packet.connection_id or packet.seq_nr != self.syn_seq:
            return False
        self.due |= ANSWER_DUE
        return True

    def take_early(self, data: bytes, events: list[SessionEvent]) -> None:
        """Take the beginning of the stream, which came with the SYN. The owner hears of it at once."""
        self._answer = Options(FRAGMENTS | EARLY, self._limits.largest_packet)
        self._receive_buffer.take_early(len(data))
        self._report(events)
        events.append(StreamData(self.stream, data))

    def _report(self, events: list[SessionEvent]) -> None:
        self.reported = True
        events.append(StreamAccepted(self.stream, self.key))

    def _negotiate(self, packet: UtpPacket) -> Options | None:
        """Read what the far end says of itself in its SYN, or its answer to ours."""
        options = options_of(packet)
        if options is not None:
            self.sender.negotiate(options.largest, bool(options.flags & FRAGMENTS))
        return options

    def _open(self) -> None:
        """The far end has shown that it is there."""
        self._set_state(Input.OPENED)
        if self.sender.buffer.fragments:
            self._rtt.lower_floor(self._limits.min_rto_extended)
        if self.sender.buffer.finished:
            self._set_state(Input.CLOSE)

    def _receive_answer(self, packet: UtpPacket, now: float, events: list[SessionEvent]) -> None:
        """Take a packet while we wait for the ST_STATE that answers our SYN."""
        if packet.ack_nr != self.syn_seq:
            self._counters["implausible packets"] += 1
        elif packet.type == ST_RESET:
            self._receive_reset(events)
        elif packet.type == ST_STATE:
            assert self._own_syn is not None  # this waits for the answer to it
            if self._own_syn.sends == 1:
                self._rtt.add_sample(now - self._opened_at)
            options = self._negotiate(packet)
            if options is not None and options.flags & EARLY:
                self.sender.buffer.skip(len(self._own_syn.early))
            # The far end's first data carries the very number that its ST_STATE carries (§8).
            self._receive_buffer.next_seq = packet.seq_nr
            self._reply_micro = _micro(now, packet.timestamp)
            self._heard_at = self._probed_at = now
            self.sender.open(packet.wnd_size, now)
            # Unless data goes out at once, this shows the far end that its ST_STATE has come.
            self.due = PROBE_DUE
            self._introductions = INTRODUCTIONS
            events.append(StreamConnected(self.stream))
            self._open()

    def _receive_reset(self, events: list[SessionEvent]) -> None:
        """A far end that has said its end, all of which is here, may forget the connection there and then (§8)."""
        if self.state in (State.CLOSE_WAIT, State.LAST_ACK):
            self.end()
            events.append(StreamClosed(self.stream))
        else:
            self.fail(StreamResetError("the far end reset the stream"), events)

    def _is_withdrawal(self, packet: UtpPacket) -> bool:
        """Tell whether a dialler gives up that has had no answer, so that it knows no number of ours."""
        return self.state is State.SYN_RECEIVED and packet.seq_nr == (self.syn_seq + 1) & 0xFFFF and packet.ack_nr == 0

    def _receive_ack(self, packet: UtpPacket, advance: int, now: float, events: list[SessionEvent]) -> None:
        if self.sender.receive_ack(packet, advance, now):
            events.append(StreamWritable(self.stream))
        if advance:
            self._introductions = 0
            if self.sender.fin_acknowledged():
                self._set_state(Input.FIN_ACKNOWLEDGED)
                if self.state is State.CLOSED:
                    events.append(StreamClosed(self.stream))

    def _receive_data(self, packet: UtpPacket, events: list[SessionEvent]) -> None:
        buffer = self._receive_buffer
        fragment = fragment_of(packet) if packet.extensions else None
        if fragment is not None:
            data = buffer.receive_fragment(packet.seq_nr, fragment, packet.payload)
        else:
            data = buffer.receive(packet.seq_nr, packet.payload, packet.type == ST_FIN)
        self.due |= ACK_DUE
        if data is None:
            if not packet.payload:
                self._asked_at = self._heard_at
            return
        if data:
            events.append(StreamData(self.stream, data))
        if buffer.ended:
            events.append(StreamEnded(self.stream))
            if self.state is State.FIN_WAIT_2:
                events.append(StreamClosed(self.stream))
            self._set_state(Input.FIN_RECEIVED)

    # To below

    def has_data(self) -> bool:
        """Tell whether `data_packets` adds any, unless what was lost arrives after all."""
        if self.state is State.SYN_SENT or (self.state is State.SYN_RECEIVED and not self.reported):
            return False
        return self.sender.has_data()

    def data_packets(self, limit: int, now: float, now_us: int, packets: list[Pieces]) -> int:
        """Add packets of the stream, about ``limit`` bytes, with the acknowledgement that is due; return their bytes.

        Those that are new and not special leave together, the others one by one.
        """
        buffer = self._receive_buffer
        sent = self.sender.new_packets(limit, now) if not (self.due and buffer.has_gap()) else []
        if not sent:
            packet = self._data_packet(now, now_us)
            if packet is None:
                return 0
            packets.append(packet)
            return sum(map(len, packet))
        self.due = 0
        self._advertised = window = buffer.window()
        beginning = BEGINNING.pack(ST_DATA << 4 | VERSION, 0, self.send_id, now_us, self._reply_micro, window)
        ack_nr = (buffer.next_seq - 1) & 0xFFFF
        length = HEADER_LENGTH * len(sent)
        for one in sent:
            packets.append((beginning + NUMBERS.pack(one.seq_nr, ack_nr), one.payload))
            length += len(one.payload)
        return length

    def _data_packet(self, now: float, now_us: int) -> Pieces | None:
        """Return the next packet of the stream, whatever kind it is, with the acknowledgement that is due, or None."""
        packet = self.sender.next_packet(now)
        if packet is None:
            return None
        if packet.is_fragment:
            fragment = encode_fragment(Fragment(packet.start, packet.stop == len(packet.payload)))
            header = self._encode(packet.type, packet.seq_nr, now_us, FRAGMENT, fragment)
            return header, packet.payload[packet.start : packet.stop]
        selective = self._receive_buffer.selective_ack() if self.due else b""
        self.due = 0
        return self._encode(packet.type, packet.seq_nr, now_us, SELECTIVE_ACK, selective), packet.payload

    def control_packet(self, now_us: int) -> bytes:
        """Return the packet that is due: SYN, probe, or acknowledgement."""
        due = self.due
        self.due = 0
        if due & SYN_DUE:
            assert self._own_syn is not None  # who dialled has one
            return self._own_syn.encode(self.sender.buffer.peek(self._limits.early_bytes), now_us)
        if due & ANSWER_DUE:
            # Its number is that of our first data, though there is some already.
            answer = encode_options(self._answer) if self._answer is not None else b""
            return self._encode(ST_STATE, (self.sender.buffer.acked_seq + 1) & 0xFFFF, now_us, OPTIONS, answer)
        selective = self._receive_buffer.selective_ack()
        if due & PROBE_DUE:
            # A packet that the far end has had long ago, without its payload: it answers, where it would not answer
            # an acknowledgement, and resets what it does not know.
            return self._encode(ST_DATA, self.sender.buffer.acked_seq, now_us, SELECTIVE_ACK, selective)
        return self._encode(ST_STATE, self.sender.buffer.next_seq, now_us, SELECTIVE_ACK, selective)

    def reset_packet(self) -> bytes:
        """Return an ST_RESET that the far end can tell from a guess.

        It acknowledges 0, and has the number behind the SYN's, as long as there is no answer to that.
        """
        return encode_reset(self.send_id, self.sender.buffer.next_seq, (self._receive_buffer.next_seq - 1) & 0xFFFF)

    def _encode(self, kind: int, seq_nr: int, now_us: int, extension: int, content: bytes) -> bytes:
        """Return a packet but for its payload; the extension is left out if it is empty."""
        buffer = self._receive_buffer
        self._advertised = window = buffer.window()
        header = HEADER.pack(
            kind << 4 | VERSION,
            extension if content else 0,
            self.send_id,
            now_us,
            self._reply_micro,
            window,
            seq_nr,
            (buffer.next_seq - 1) & 0xFFFF,
        )
        return b"".join((header, bytes((0, len(content))), content)) if content else header

    # Time

    def deadline(self, now: float) -> float:
        """Return when `handle_timer` is to be called, if nothing else happens before."""
        if self.state is State.SYN_SENT:
            return min(self.sender.timer.at, self._wake_at, self._opened_at + self._limits.connect_timeout)
        if self.state is State.SYN_RECEIVED:
            at = self.sender.deadline(now) if self.sender.pending() else NEVER
            return min(at, self._wake_at, self._opened_at + self._limits.connect_timeout)
        at = self.sender.deadline(now) if self.sender.pending() else self._probe_at()
        return min(at, self._wake_at, self._heard_at + self._patience)

    def handle_timer(self, now: float, events: list[SessionEvent]) -> None:
        """Do what is due; harmless when called too early."""
        if now >= self._wake_at:
            self._try_wake(now)
        if self.state is State.SYN_SENT or self.state is State.SYN_RECEIVED:
            if now >= self._opened_at + self._limits.connect_timeout:
                self.fail(StreamTimeoutError("the far end did not answer"), events)
            elif self.state is State.SYN_RECEIVED:
                if self.sender.pending() and self.sender.handle_timer(now):
                    # The answer ahead of this data may be lost, too.
                    self.due |= ANSWER_DUE
                    self.repeated = True
            elif now >= self.sender.timer.at:
                self.sender.timer.back_off(now)
                self.due |= SYN_DUE
                self.repeated = True
        elif now >= self._heard_at + self._patience:
            self._give_up(events)
        elif self.sender.pending():
            if self.sender.is_dead(now):
                self._give_up(events)
            elif self.sender.handle_timer(now):
                self.repeated = True
        elif now >= self._probe_at():
            if self._probed_at > self._heard_at:
                self.repeated = True
            self._probed_at = now
            self._introductions = max(0, self._introductions - 1)
            self.due |= PROBE_DUE

    def _probe_at(self) -> float:
        """Return when the far end, with which we have nothing to do, is to be asked whether it is there.

        An acceptor that had nothing but our SYN does not yet know of the stream, and what it answers to a question does
        not differ from what it answers to a SYN, so it is asked a few times soon.
        """
        limits = self._limits
        if self._introductions:
            interval = self.sender.timer.timeout()
        elif self._probed_at > self._heard_at:
            interval = limits.max_rto
        elif self._asked_at == self._heard_at and not self._is_dialler:
            interval = limits.keepalive_after + ASKED_PATIENCE
        else:
            interval = limits.keepalive_after
        return max(self._heard_at, self._probed_at) + interval

    def _give_up(self, events: list[SessionEvent]) -> None:
        if self.state is State.LAST_ACK and not self.sender.buffer.held:
            # All bytes of both sides have arrived; only our end may not have.
            self.end()
            events.append(StreamClosed(self.stream))
        else:
            self.fail(StreamTimeoutError("the far end does not acknowledge"), events)

    def _set_state(self, what: Input) -> None:
        self.state = TRANSITIONS[self.state, what]


def _micro(now: float, timestamp: int) -> int:
    """Return how old a packet is by the two clocks, whatever that means: only differences of it count."""
    return (int(now * 1e6) - timestamp) & 0xFFFFFFFF
