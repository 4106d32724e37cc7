"""Sessions of both kinds behind one face: which kind a packet is of, and which kind a dial takes.

The face is that of `UtpSocket` and `QuicSocket`. Nobody has to know beforehand which kind a far node speaks: a dial
takes what the node used last; with a node that nothing is known of, both are tried, the native kind a little earlier,
and what is open first carries the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final, final

from pinecone_transport.deadlines import Deadlines
from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamResetError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.session.attempts import AttemptedStream
from pinecone_transport.session.budget import Budgets
from pinecone_transport.session.demux import is_syn, looks_like_quic, may_be_either
from pinecone_transport.session.events import SessionEvent, StreamAccepted, StreamClosed, StreamConnected, StreamLost
from pinecone_transport.session.kinds import Kind, Kinds
from pinecone_transport.session.quic import QuicLimits, QuicSocket
from pinecone_transport.session.socket import Pieces, SessionInfo
from pinecone_transport.session.utp import UtpLimits, UtpSocket
from pinecone_transport.session.utp.remote import new_budget

STAGGER: Final = 0.005
"""Seconds by which the native kind is ahead where nothing is known of a node: what a near one needs for its answer."""
FALLBACK_AFTER: Final = 1.0
"""Seconds that a node has to answer in the kind that it used last before the other is tried, too."""

NATIVE_GRACE: Final = 0.05
"""Seconds beyond as long as QUIC took, or its round trip, that the native kind has when QUIC is ahead with a node of
our kind."""
LARGEST_TO_UNKNOWN: Final = 1452
"""Bytes of a packet to a node that may speak QUIC: more is its end (§8)."""
LATE_ANSWER: Final = 2.0
"""Seconds for which a native answer that comes after QUIC's is still of interest."""

MOST_REMEMBERED: Final = 4096
"""Keys of which it is known what they speak; who was heard longest ago goes first."""


@final
class Sessions:
    """All sessions of a node.

    Args:
        identity: The node's key.
        random: Where connection ids and first sequence numbers come from; not guessable in production.
        kinds: Which kind dials take; None for a node that speaks µTP alone.
        utp_limits: Bounds and times of µTP.
        quic_limits: Bounds and times of QUIC.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        random: RandomSource,
        kinds: Kinds | None = None,
        utp_limits: UtpLimits | None = None,
        quic_limits: QuicLimits | None = None,
    ) -> None:
        budgets = Budgets(partial(new_budget, utp_limits or UtpLimits()))
        self._utp: Final = UtpSocket(random=random, limits=utp_limits, budgets=budgets)
        self._quic: Final = (
            QuicSocket(identity, random=random, limits=quic_limits, budgets=budgets) if kinds is not None else None
        )
        self._kinds: Final = kinds or Kinds(Kind.UTP)
        self._sockets: Final[dict[Kind, UtpSocket | QuicSocket]] = {Kind.UTP: self._utp}
        if self._quic is not None:
            self._sockets[Kind.QUIC] = self._quic
            self._turns: tuple[UtpSocket | QuicSocket, UtpSocket | QuicSocket] = self._utp, self._quic
        self._next_stream = 1
        self._streams: Final[dict[int, AttemptedStream]] = {}
        self._by_attempt: Final[dict[Kind, dict[int, AttemptedStream]]] = {kind: {} for kind in Kind}
        # µTP attempts that were too late for their stream, but whose answer shows what the far node speaks.
        self._late: Final[dict[int, PublicKey]] = {}
        self._last_used: Final[dict[PublicKey, Kind]] = {}
        self._deadlines: Final = Deadlines()

    # From above

    def connect(self, key: PublicKey, now: float) -> int:
        """Dial a key; return the stream's number. `StreamConnected` or `StreamLost` follows.

        Unless the far node is known to speak QUIC, writing may begin at once (§11): the dial carries the first bytes.

        Raises:
            LocalProtocolError: There are as many connections, with the key or in all, as the limits allow.
        """
        wanted = self._kinds.of(key)
        known = self._last_used.get(key)
        stream = AttemptedStream(self._next_stream, key, now)
        first = wanted or known or Kind.UTP
        stream.begins_native = first is Kind.UTP
        stream.is_known = (wanted or known) is not None
        self._attempt(stream, first, now)
        if wanted is None and self._quic is not None:
            stream.second = Kind.QUIC if first is Kind.UTP else Kind.UTP
            self._deadlines.schedule(stream.number, now + (STAGGER if known is None else FALLBACK_AFTER))
        self._next_stream += 1
        self._streams[stream.number] = stream
        return stream.number

    def write(self, stream: int, data: bytes, now: float) -> None:
        """Queue bytes of a stream, at most what ``room(stream)`` said, in one piece or in several.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner.
        """
        self.write_pieces(stream, (data,), now)

    def write_pieces(self, stream: int, pieces: Sequence[bytes], now: float) -> None:
        """Queue bytes as `write` of each piece does, cheaper.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner.
        """
        record = self._find(stream)
        if record is None:
            return
        chosen = self._chosen(record)
        if chosen is None:
            raise LocalProtocolError("more was written than there was room for")
        socket, attempt = chosen
        socket.write_pieces(attempt, pieces, now)

    def room(self, stream: int) -> int:
        """Return how many bytes may be written now; 0 also where there is room for less than a packet."""
        record = self._find(stream)
        chosen = self._chosen(record) if record is not None else None
        return chosen[0].room(chosen[1]) if chosen is not None else 0

    def segment(self, stream: int) -> int:
        """Return the payload of one full packet of the stream, bytes."""
        record = self._find(stream)
        chosen = self._chosen(record) if record is not None else None
        return chosen[0].segment(chosen[1]) if chosen is not None else 1

    def is_authenticated(self, stream: int) -> bool:
        """Tell whether the session has made sure of the far end's key, and keeps what is said secret."""
        record = self._find(stream)
        return record is not None and record.open and Kind.QUIC in record.attempts

    def close(self, stream: int, now: float) -> None:
        """Send the end behind what was written; the stream can still be read. Closing again does nothing."""
        record = self._find(stream)
        if record is None:
            return
        if not record.open:
            record.closing = True
            return
        for kind, attempt in record.attempts.items():
            self._sockets[kind].close(attempt, now)

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream; no event follows."""
        record = self._find(stream)
        if record is not None:
            for kind, attempt in list(record.attempts.items()):
                self._sockets[kind].abort(attempt, now)
            self._forget(record)

    def abort_all(self, now: float) -> None:
        """Reset every stream, so that the far ends notice at once. No events follow."""
        for socket in self._sockets.values():
            socket.abort_all(now)
        for record in list(self._streams.values()):
            self._forget(record)
        self._late.clear()

    def acknowledge_received_data(self, stream: int, length: int, now: float) -> None:
        """The owner is done with ``length`` bytes that `StreamData` brought; the window reopens by as much."""
        record = self._find(stream)
        if record is not None:
            for kind, attempt in record.attempts.items():
                self._sockets[kind].acknowledge_received_data(attempt, length, now)

    def fail_connecting(self, stream: int, error: PineconeError, now: float) -> list[SessionEvent]:
        """Give a dial up if it still waits for its answer: a `StreamLost` with ``error``."""
        record = self._find(stream)
        if record is None or record.open:
            return []
        self.abort(stream, now)
        return [StreamLost(stream, error)]

    def wake(self, key: PublicKey, now: float) -> None:
        """The way to the key may be back: what had no answer in its time is sent again at once."""
        for socket in self._sockets.values():
            socket.wake(key, now)

    def wake_all(self, now: float) -> None:
        """`wake` for every key."""
        for socket in self._sockets.values():
            socket.wake_all(now)

    def link_up(self, key: PublicKey, now: float) -> None:
        """A link to the key has come up. A node that we forgot in a restart may hold a connection of before it (§8)."""
        if self._quic is not None and Kind.UTP not in (self._kinds.of(key), self._last_used.get(key)):
            self._quic.link_up(key, now)

    def link_lost(self, key: PublicKey, now: float) -> list[SessionEvent]:
        """The last link to the key is gone, perhaps with the node: streams that it may have forgotten are lost."""
        return self._up(Kind.QUIC, self._quic.link_lost(key, now), now) if self._quic is not None else []

    def acknowledge(self, key: PublicKey, now: float) -> None:
        """Send the key something if it has an open stream: the frame around it says where we are."""
        for socket in self._sockets.values():
            socket.acknowledge(key, now)

    def acknowledge_all(self, now: float) -> None:
        """`acknowledge` for every key."""
        for socket in self._sockets.values():
            socket.acknowledge_all(now)

    # From below

    def receive_packet(self, key: PublicKey, packet: bytes, now: float) -> list[SessionEvent]:
        """Take the payload of a traffic frame from the key. Never raises, whatever it is."""
        kind = Kind.QUIC if self._is_quic(key, packet) else Kind.UTP
        return self._up(kind, self._sockets[kind].receive_packet(key, packet, now), now)

    def receive_run(self, key: PublicKey, packets: Sequence[bytes | memoryview], now: float) -> list[SessionEvent]:
        """Take the payloads of traffic frames from the key that came together, in order: `receive_packet` of each.

        Args:
            key: Who sent them.
            packets: Lent; views are copied before this returns.
            now: Seconds.
        """
        if self._quic is None or not any(map(looks_like_quic, packets)):
            return self._up(Kind.UTP, self._utp.receive_run(key, packets, now), now)
        if all(looks_like_quic(packet) and not may_be_either(packet) for packet in packets):
            return self._up(Kind.QUIC, self._quic.receive_run(key, [bytes(packet) for packet in packets], now), now)
        events: list[SessionEvent] = []
        for packet in packets:
            events += self.receive_packet(key, bytes(packet), now)
        return events

    def _is_quic(self, key: PublicKey, packet: bytes) -> bool:
        """Tell whether the packet is for the QUIC socket.

        Source: §8; known connection ids decide before the form of the packet does.
        """
        if self._quic is None or not looks_like_quic(packet):
            return False
        return not may_be_either(packet) or self._quic.knows(key, packet) or not is_syn(packet)

    # To below

    def ready_keys(self) -> list[PublicKey]:
        """Return the keys that may have packets to send now; who was served last comes last."""
        native = self._utp.ready_keys()
        others = self._quic.ready_keys() if self._quic is not None else []
        # After a change of the tree that may be every key.
        return list(dict.fromkeys((*native, *others))) if others else native

    def packets_to_send(self, key: PublicKey, limit: int, now: float, data_only: bool = False) -> list[bytes]:
        """Return packets for the key, about ``limit`` bytes; the last one may go beyond.

        With ``data_only``, what can wait until data carries it is left for the next call; QUIC is left altogether.
        """
        return [b"".join(pieces) for pieces in self.pieces_to_send(key, limit, now, data_only)]

    def pieces_to_send(self, key: PublicKey, limit: int, now: float, data_only: bool = False) -> list[Pieces]:
        """Return packets as `packets_to_send` does, each in pieces: payload is not copied."""
        if data_only or self._quic is None:
            return self._utp.pieces_to_send(key, limit, now, data_only)
        # The budget is one, so who is asked first must change.
        first, second = self._turns
        self._turns = second, first
        packets = first.pieces_to_send(key, limit, now)
        left = limit - sum(len(piece) for pieces in packets for piece in pieces)
        return packets + second.pieces_to_send(key, left, now) if left > 0 else packets

    def take_repeated_keys(self) -> set[PublicKey]:
        """Return the keys that left a packet unanswered in its time, and forget them: the way to them may be wrong."""
        return set().union(*(socket.take_repeated_keys() for socket in self._sockets.values()))

    # Time

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        soonest = self._deadlines.next()
        for socket in self._sockets.values():
            at = socket.next_timer()
            if at is not None and (soonest is None or at < soonest):
                soonest = at
        return soonest

    def handle_timer(self, now: float) -> list[SessionEvent]:
        """Do what has become due: packets to be repeated, dials to be tried in the other kind, streams to be lost."""
        events: list[SessionEvent] = []
        for number in self._deadlines.take_due(now):
            if number < 0:
                self._withdraw_late(-number, now)
                continue
            stream = self._streams.get(number)
            if stream is None or stream.open:
                continue
            if stream.second is not None:
                self._attempt_second(stream, stream.second, now)
            elif stream.waits and Kind.QUIC in stream.attempts:
                self._opened(stream, Kind.QUIC, now)
                events.append(StreamConnected(number))
        for kind, socket in self._sockets.items():
            events += self._up(kind, socket.handle_timer(now), now)
        return events

    # To look at

    @property
    def counters(self) -> Counter[str]:
        """Packets sent and received, and what was dropped or given up, by reason; QUIC's by that name."""
        counters = Counter(self._utp.counters)
        if self._quic is not None:
            counters.update({f"QUIC {name}": number for name, number in self._quic.counters.items()})
        return counters

    @property
    def connection_count(self) -> int:
        """How many connections there are, half-open and closing ones included."""
        return sum(socket.connection_count for socket in self._sockets.values())

    @property
    def remembered_count(self) -> int:
        """Of how many keys it is known what they speak."""
        return len(self._last_used)

    def sessions(self) -> list[SessionInfo]:
        """Return how things stand with each key that we have connections with, of each kind."""
        return [info for socket in self._sockets.values() for info in socket.sessions()]

    # Inside

    def _find(self, stream: int) -> AttemptedStream | None:
        if not 0 < stream < self._next_stream:
            raise LocalProtocolError(f"there never was a stream {stream}")
        return self._streams.get(stream)

    def _chosen(self, stream: AttemptedStream) -> tuple[UtpSocket | QuicSocket, int] | None:
        """Return where the stream's bytes go; None where that is not yet clear."""
        for kind, attempt in stream.attempts.items():
            if stream.open or (kind is Kind.UTP and stream.begins_native):
                return self._sockets[kind], attempt
        return None

    def _attempt(self, stream: AttemptedStream, kind: Kind, now: float) -> None:
        if kind is Kind.UTP:
            attempt = self._utp.connect(stream.key, now, None if stream.is_known else LARGEST_TO_UNKNOWN)
        else:
            attempt = self._sockets[kind].connect(stream.key, now)
        stream.attempts[kind] = attempt
        self._by_attempt[kind][attempt] = stream

    def _attempt_second(self, stream: AttemptedStream, kind: Kind, now: float) -> None:
        stream.second = None
        try:
            self._attempt(stream, kind, now)
        except LocalProtocolError:
            self._utp.counters["second kinds not tried"] += 1

    def _forget(self, stream: AttemptedStream) -> None:
        for kind, attempt in stream.attempts.items():
            self._by_attempt[kind].pop(attempt, None)
        del self._streams[stream.number]
        self._deadlines.forget(stream.number)

    def _remember(self, key: PublicKey, kind: Kind) -> None:
        """The far node has just used a kind."""
        self._last_used.pop(key, None)
        self._last_used[key] = kind
        if len(self._last_used) > MOST_REMEMBERED:
            del self._last_used[next(iter(self._last_used))]

    def _up(self, kind: Kind, events: list[SessionEvent], now: float) -> list[SessionEvent]:
        """Give the events of one kind's socket the numbers that the owner knows, and keep what it need not know."""
        return [event for event in events if self._translate(kind, event, now)]

    def _translate(self, kind: Kind, event: SessionEvent, now: float) -> bool:
        """Tell whether the owner is to hear of it."""
        if isinstance(event, StreamAccepted):
            stream = AttemptedStream(self._next_stream, event.key, now)
            self._next_stream += 1
            stream.open = True
            stream.attempts[kind] = event.stream
            self._streams[stream.number] = self._by_attempt[kind][event.stream] = stream
            self._remember(event.key, kind)
            event.stream = stream.number
            return True
        known = self._by_attempt[kind].get(event.stream)
        if known is None:
            if kind is Kind.UTP:
                self._take_late(event, now)
            return False
        if isinstance(event, StreamConnected):
            if kind is Kind.QUIC and self._has_time_for_native(known, event.stream, now):
                return False
            self._opened(known, kind, now)
        elif isinstance(event, StreamClosed | StreamLost):
            del known.attempts[kind], self._by_attempt[kind][event.stream]
            if not known.open:
                self._attempt_failed(known, kind, event, now)
            if known.attempts:
                return False  # the other attempt goes on
            self._forget(known)
        event.stream = known.number
        return True

    def _attempt_failed(
        self, stream: AttemptedStream, kind: Kind, event: StreamClosed | StreamLost, now: float
    ) -> None:
        """Try the other kind, unless the far node has refused the stream: only who speaks a kind can."""
        if kind is Kind.UTP and isinstance(event, StreamLost) and isinstance(event.error, StreamResetError):
            for other, attempt in list(stream.attempts.items()):
                del stream.attempts[other], self._by_attempt[other][attempt]
                self._sockets[other].abort(attempt, now)
        elif stream.second is not None:
            self._attempt_second(stream, stream.second, now)

    def _has_time_for_native(self, stream: AttemptedStream, attempt: int, now: float) -> bool:
        """Tell whether QUIC's answer, if it is that of a node of our kind, waits a little for the native one.

        That may have been lost while there was no way yet, so it is asked for again. A stream stays where it begins,
        and a native one is many times as fast.
        """
        took = now - stream.dialled_at
        if Kind.UTP not in stream.attempts or took >= FALLBACK_AFTER or self._quic is None:
            return False
        stream.waits = self._quic.is_far_end_like_us(attempt)
        if stream.waits:
            # A connection that was there before answers at once; the native answer takes a round trip all the same.
            answer_takes = max(took, self._quic.round_trip(attempt))
            self._deadlines.schedule(stream.number, now + answer_takes + NATIVE_GRACE)
            self._utp.wake(stream.key, now)
        return stream.waits

    def _opened(self, stream: AttemptedStream, kind: Kind, now: float) -> None:
        """An attempt was answered: it is the stream, and the other is withdrawn."""
        stream.open = True
        self._remember(stream.key, kind)
        for other, attempt in list(stream.attempts.items()):
            if other is not kind:
                del stream.attempts[other], self._by_attempt[other][attempt]
                if other is Kind.UTP:
                    self._late[attempt] = stream.key
                    self._deadlines.schedule(-attempt, now + LATE_ANSWER)
                else:
                    self._sockets[other].abort(attempt, now)
        if stream.closing:
            self._sockets[kind].close(stream.attempts[kind], now)

    def _take_late(self, event: SessionEvent, now: float) -> None:
        """A µTP answer that came too late shows a node of our kind, with which the next stream is a native one."""
        key = self._late.get(event.stream)
        if key is not None and isinstance(event, StreamConnected):
            self._remember(key, Kind.UTP)
            self._withdraw_late(event.stream, now)

    def _withdraw_late(self, attempt: int, now: float) -> None:
        if self._late.pop(attempt, None) is not None:
            self._utp.abort(attempt, now)
