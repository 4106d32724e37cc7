"""All QUIC connections of a node: packets find their connection, streams find one with their key.

The same face as `UtpSocket` has. One connection with a key carries all streams, whoever opens them; it is dialled when
the first stream is wanted and none is there.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Final, final

from pinecone_transport.deadlines import Deadlines
from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamTimeoutError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.session.events import SessionEvent, StreamConnected, StreamLost
from pinecone_transport.session.quic.connection import Connection, State
from pinecone_transport.session.quic.engine import ID_LENGTH, VERSION_1, Engine, Settings
from pinecone_transport.session.quic.headers import (
    LONG,
    MAX_ID_LENGTH,
    MIN_FIRST_ID,
    MIN_INITIAL,
    LongHeader,
    destination_of,
    read_long_header,
    stateless_reset,
    version_negotiation,
)
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.remote import Remote
from pinecone_transport.session.quic.streams import Stream
from pinecone_transport.session.utp.socket import SessionInfo

MATRIX: Final = "matrix"

_NOISE_BITS: Final = 208
_LEFT_OVER: Final = 0


@final
class QuicSocket:
    """The QUIC end of one node.

    A call for a stream that has just ended does nothing: its owner may not have got to the event that says so.

    Args:
        identity: The node's key.
        random: Fills packets that must look random.
        protocol: The application's name (ALPN).
        limits: Bounds and times.

    Attributes:
        counters: Packets sent and received, and what was dropped or given up, by reason.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        random: RandomSource,
        protocol: str = MATRIX,
        limits: QuicLimits | None = None,
    ) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._key: Final = identity.key
        self._random: Final = random
        self._limits: Final = limits or QuicLimits()
        self._settings: Final = Settings(identity, protocol, self._limits)
        self._remotes: Final[dict[PublicKey, Remote]] = {}
        self._connections: Final[dict[int, Connection]] = {}
        self._remote_of_number: Final[dict[int, Remote]] = {}
        self._half_open: Final[dict[int, Connection]] = {}
        self._streams: Final[dict[int, Stream]] = {}
        self._stream_numbers: Final = count(1)
        self._numbers: Final = count(1)
        self._active: Final[dict[PublicKey, None]] = {}
        self._stray_count = 0
        self._repeated: Final[set[PublicKey]] = set()
        self._events: list[SessionEvent] = []  # that came of a call from above
        self._deadlines: Final = Deadlines()

    # From above

    def connect(self, key: PublicKey, now: float) -> int:
        """Open a stream; return its number. `StreamConnected` or `StreamLost` follows; writing may begin at once.

        The far end hears of a stream with its first byte.

        Raises:
            LocalProtocolError: There are as many connections, or streams that wait for one, as the limits allow.
        """
        limits = self._limits
        remote = self._remotes.get(key)
        if remote is None:
            if len(self._connections) >= limits.connections:
                raise LocalProtocolError("as many connections are open as the limits allow")
            remote = self._add_remote(key)
        if len(remote.waiting) >= limits.waiting_per_key:
            raise LocalProtocolError("as many streams wait for a connection as the limits allow")
        stream = Stream(next(self._stream_numbers), key, now)
        self._streams[stream.number] = remote.waiting[stream.number] = stream
        self._place(remote, now, self._events)
        self._schedule_events(now)
        return stream.number

    def write(self, stream: int, data: bytes, now: float) -> None:
        """Queue bytes of a stream, at most what ``room(stream)`` said.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner.
        """
        record = self._streams.get(stream)
        if record is None:
            return
        if record.finished:
            raise LocalProtocolError("the stream was closed")
        if len(data) > record.space(self._limits.send_buffer) and not record.deaf:
            raise LocalProtocolError("more was written than there was room for")
        record.write(data)
        self._space(record)
        self._mark(record.key)

    def room(self, stream: int) -> int:
        """Return how many bytes may be written now; 0 also where there is room for less than a packet."""
        record = self._streams.get(stream)
        if record is None or record.finished:
            return 0
        return self._space(record)

    def segment(self, stream: int) -> int:
        """Return the payload of one full packet of a stream, about, bytes."""
        return self._limits.packet - 40 if stream in self._streams else 1

    def close(self, stream: int, now: float) -> None:
        """Send the end behind what was written; the stream can still be read. Closing again does nothing."""
        record = self._streams.get(stream)
        if record is None or record.finished:
            return
        if record.connection is None:
            record.finish()
        else:
            record.connection.close_stream(record)
        self._mark(record.key)

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream; no event follows."""
        record = self._streams.pop(stream, None)
        if record is None:
            return
        remote = self._remotes[record.key]
        if record.connection is not None:
            record.connection.abort_stream(record)
            self._touch(record.connection, now, self._events)
        else:
            del remote.waiting[stream]
        self._place(remote, now, self._events)
        self._schedule_events(now)

    def abort_all(self, now: float) -> None:
        """End every connection, so that the far ends notice at once. No events follow."""
        self._streams.clear()
        for remote in list(self._remotes.values()):
            remote.waiting.clear()
            remote.fresh_wanted = False
            for connection in list(remote.connections.values()):
                connection.streams.clear()
                connection.shut()
                self._forget(connection, remote, now)

    def acknowledge_received_data(self, stream: int, length: int, now: float) -> None:
        """The owner is done with ``length`` bytes that `StreamData` brought; the window reopens by as much."""
        record = self._streams.get(stream)
        if record is not None and record.connection is not None:
            record.connection.acknowledge(record, length)
            self._mark(record.key)

    def fail_connecting(self, stream: int, error: PineconeError, now: float) -> list[SessionEvent]:
        """Give a stream up if it still waits for its first connection: a `StreamLost` with ``error``."""
        events: list[SessionEvent] = []
        record = self._streams.get(stream)
        if record is not None and not record.connected:
            remote = self._remotes[record.key]
            del remote.waiting[stream], self._streams[stream]
            events.append(StreamLost(stream, error))
            self._place(remote, now, events)
        return events

    def wake(self, key: PublicKey, now: float) -> None:
        """The far end can be heard: what had no answer is sent again, and it has to show that it knows us."""
        remote = self._remotes.get(key)
        if remote is not None:
            for connection in remote.connections.values():
                connection.wake(now)
                connection.probe(now)
                self._deadlines.schedule(connection.number, connection.deadline())
            self._mark(key)

    def wake_all(self, now: float) -> None:
        """The ways may be back: what had no answer in its time is sent again at once."""
        for remote in self._remotes.values():
            for connection in remote.connections.values():
                connection.wake(now)
            self._mark(remote.key)

    def acknowledge(self, key: PublicKey, now: float) -> None:
        """Send the key something if it has an open connection: the frame around it says where we are."""
        remote = self._remotes.get(key)
        usable = remote.usable() if remote is not None else None
        if usable is not None:
            usable.ping(now)
            self._mark(key)

    def acknowledge_all(self, now: float) -> None:
        """`acknowledge` for every key."""
        for key in self._remotes:
            self.acknowledge(key, now)

    # From below

    def knows(self, key: PublicKey, packet: bytes) -> bool:
        """Tell whether the packet is for a connection that we have with the key."""
        remote = self._remotes.get(key)
        return remote is not None and destination_of(packet) in remote.ids

    def receive_packet(self, key: PublicKey, packet: bytes, now: float) -> list[SessionEvent]:
        """Take the payload of a traffic frame from the key. Never raises, whatever it is."""
        events: list[SessionEvent] = []
        self.counters["packets received"] += 1
        remote = self._remotes.get(key)
        destination = destination_of(packet)
        connection = remote.ids.get(destination) if remote is not None else None
        if connection is None:
            connection = self._begin(key, packet, destination, now)
        if connection is not None:
            connection.receive(packet, now, events)
            if connection.engine.begun:
                self._touch(connection, now, events)
            else:
                # It only looked like one that begins a connection.
                self.counters["malformed packets"] += 1
                self._drop(connection, now)
        return events

    # To below

    def ready_keys(self) -> list[PublicKey]:
        """Return the keys that may have packets to send now; who was served last comes last."""
        return list(self._active)

    def packets_to_send(self, key: PublicKey, limit: int, now: float) -> list[bytes]:
        """Return packets for the key, about ``limit`` bytes; the last one may go beyond."""
        self._active.pop(key, None)
        remote = self._remotes.get(key)
        if remote is None:
            return []
        packets = list(remote.strays)
        self._stray_count -= len(packets)
        remote.strays.clear()
        left = limit - sum(map(len, packets))
        for connection in list(remote.connections.values()):
            sent = connection.packets(remote.allowance(left), now, self._events)
            left -= sum(map(len, sent))
            packets += sent
            self._touch(connection, now, self._events, sent=True)
        if left <= 0:
            self._mark(key)
        self.counters["packets sent"] += len(packets)
        self._schedule_events(now)
        self._forget_if_empty(remote)
        return packets

    def take_repeated_keys(self) -> set[PublicKey]:
        """Return the keys that left a packet unanswered in its time, and forget them: the way to them may be wrong."""
        repeated = set(self._repeated)
        self._repeated.clear()
        return repeated

    # Time

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        return self._deadlines.next()

    def handle_timer(self, now: float) -> list[SessionEvent]:
        """Do what has become due: packets to be repeated, connections to be given up, events to be told."""
        events, self._events = self._events, []
        for number in self._deadlines.take_due(now):
            if number in self._connections:
                connection = self._connections[number]
                connection.handle_timer(now, events)
                self._touch(connection, now, events)
            elif number in self._remote_of_number:
                remote = self._remote_of_number[number]
                error = StreamTimeoutError("the far end did not answer")
                self._fail_waiting(remote, error, now - self._limits.connect_timeout, events)
                self._place(remote, now, events)
        return events

    # To look at

    @property
    def connection_count(self) -> int:
        """How many connections there are, half-open and closing ones included."""
        return len(self._connections)

    def sessions(self) -> list[SessionInfo]:
        """Return how things stand with each key that we have connections with."""
        return [
            SessionInfo(
                key,
                len(remote.connections),
                max((connection.engine.rtt for connection in remote.connections.values()), default=0.0),
                self._limits.window_packets,
                -(-remote.flight() // self._limits.packet),
            )
            for key, remote in self._remotes.items()
        ]

    def _space(self, stream: Stream) -> int:
        """Return the room of a stream, and note it if there is none: its owner then waits to hear of some."""
        space = self._limits.send_buffer if stream.deaf else stream.space(self._limits.send_buffer)
        if space >= self._limits.packet:
            return space
        if stream.connection is not None:
            stream.connection.note_full(stream)
        else:
            stream.full = True
        return 0

    # Inside: streams that wait

    def _place(self, remote: Remote, now: float, events: list[SessionEvent]) -> None:
        """Put the streams that wait on a connection, or see to it that there will be one."""
        usable = remote.usable()
        if remote.waiting and usable is not None:
            if usable.is_doubtful(now):
                usable.probe(now)
                self._deadlines.schedule(usable.number, usable.deadline())
            else:
                self._attach_waiting(remote, usable, events)
        elif remote.may_dial(now) and len(self._connections) < self._limits.connections:
            self._dial(remote, now)
        elif remote.dial is not None and not remote.waiting and not remote.fresh_wanted:
            self._withdraw(remote.dial, remote, now)
        self._deadlines.schedule(remote.number, remote.deadline(now))
        self._mark(remote.key)
        self._forget_if_empty(remote)

    def _attach_waiting(self, remote: Remote, connection: Connection, events: list[SessionEvent]) -> None:
        for stream in list(remote.waiting.values()):
            if not connection.is_usable():
                break
            del remote.waiting[stream.number]
            stream.attach(connection)
            if stream.full:
                connection.note_full(stream)
            if not stream.connected:
                stream.connected = True
                events.append(StreamConnected(stream.number))
        self._deadlines.schedule(connection.number, connection.deadline())
        remote.fresh_wanted = connection.engine.stream_credit() <= self._limits.spare_streams

    def _fail_waiting(self, remote: Remote, error: PineconeError, until: float, events: list[SessionEvent]) -> None:
        """Give up the streams that have waited since ``until`` or longer."""
        for stream in list(remote.waiting.values()):
            if stream.opened_at <= until:
                del remote.waiting[stream.number], self._streams[stream.number]
                events.append(StreamLost(stream.number, error))

    # Inside, of connections

    def _dial(self, remote: Remote, now: float) -> None:
        engine = Engine(self._settings)
        engine.start(now)
        remote.dial = self._add(remote, engine, now)
        self._deadlines.schedule(remote.dial.number, remote.dial.deadline())
        for rival in remote.rivals():
            self._let_go_first(rival, remote, now)

    def _begin(self, key: PublicKey, packet: bytes, destination: bytes, now: float) -> Connection | None:
        """Return a new connection if the packet is one that begins it; else count it, and answer where that is due."""
        header = read_long_header(packet)
        if header is None:
            self._reset(key, packet, destination)
        elif len(packet) < MIN_INITIAL:
            self.counters["packets of unknown connections"] += 1
        elif header.version != VERSION_1:
            self._negotiate(key, header)
        elif not header.is_initial or not MIN_FIRST_ID <= len(destination) <= MAX_ID_LENGTH:
            self.counters["packets of unknown connections"] += 1
        else:
            return self._accept(key, header, now)
        return None

    def _accept(self, key: PublicKey, header: LongHeader, now: float) -> Connection | None:
        remote = self._remotes.get(key)
        self._make_place(remote, now)
        remote = self._remotes.get(key)
        connections = len(remote.connections) if remote is not None else 0
        if connections >= self._limits.connections_per_key or len(self._connections) >= self._limits.connections:
            self.counters["connections refused"] += 1
            return None
        remote = remote or self._add_remote(key)
        connection = self._add(remote, Engine(self._settings, header.destination), now)
        self._half_open[connection.number] = connection
        if len(header.source) != ID_LENGTH or self._key > key:
            self._let_go_first(connection, remote, now)
        return connection

    def _let_go_first(self, rival: Connection, remote: Remote, now: float) -> None:
        """Two dials cross. A Go node would close ours when it has both, so ours waits whether theirs succeeds (§8).

        Between nodes of ours, the higher key's waits: our connection ids differ in length from those of Go nodes.
        """
        if remote.dial is not None and remote.dial.state is State.DIALLING and rival.state is State.ACCEPTING:
            self.counters["dials that stood back"] += 1
            remote.dial.hold(now)
            self._deadlines.schedule(remote.dial.number, remote.dial.deadline())

    def _make_place(self, remote: Remote | None, now: float) -> None:
        """Let the oldest half-open connection go if there are too many, of the key or in all."""
        of_key = remote.half_open() if remote is not None else []
        if len(of_key) >= self._limits.half_open_per_key:
            oldest = of_key[0]
        elif len(self._half_open) >= self._limits.half_open:
            oldest = next(iter(self._half_open.values()))
        else:
            return
        self.counters["half-open connections dropped"] += 1
        self._drop(oldest, now)

    def _touch(self, connection: Connection, now: float, events: list[SessionEvent], *, sent: bool = False) -> None:
        """Note what a connection wants after something was done to it, and what became of it."""
        if connection.number not in self._connections:
            return
        remote = self._remotes[connection.key]
        engine = connection.engine
        for connection_id in engine.ids:
            remote.ids[connection_id] = connection
        if engine.repeated:
            engine.repeated = False
            self._repeated.add(connection.key)
        if connection.state is not State.ACCEPTING and self._half_open.pop(connection.number, None) is not None:
            self._opened(remote, connection, now)
        if connection is remote.dial and connection.state is State.OPEN:
            remote.dial = None
            remote.fresh_wanted = False
        if connection.state is State.CLOSED:
            self._closed(remote, connection, now, events)
            return
        if connection.settled and connection.state is State.OPEN:
            remote.taken()
        if remote.waiting:
            self._place(remote, now, events)
        if not sent:
            self._mark(connection.key)
        self._deadlines.schedule(connection.number, connection.deadline())

    def _opened(self, remote: Remote, connection: Connection, now: float) -> None:
        """The far end has dialled us: what it had before it may have lost, and our own dial is not needed."""
        if connection.state is not State.OPEN:
            return
        if remote.dial is not None and not remote.is_neglected(connection):
            self._withdraw(remote.dial, remote, now)
        for other in remote.connections.values():
            if other is not connection:
                other.probe(now)
                self._deadlines.schedule(other.number, other.deadline())

    def _withdraw(self, dial: Connection, remote: Remote, now: float) -> None:
        self.counters["dials withdrawn"] += 1
        dial.shut()
        self._forget(dial, remote, now)

    def _closed(self, remote: Remote, connection: Connection, now: float, events: list[SessionEvent]) -> None:
        error = connection.error
        assert error is not None
        if connection.refused:
            self.counters["connections replaced"] += 1
            remote.refused(connection, now)
        elif connection is remote.dial:
            self._fail_waiting(remote, error, float("inf"), events)
            remote.fresh_wanted = False
        for stream in connection.streams.values():
            del self._streams[stream.number]
            events.append(StreamLost(stream.number, error))
        connection.streams.clear()
        self._forget(connection, remote, now)
        if remote.key in self._remotes:
            self._place(remote, now, events)

    def _add_remote(self, key: PublicKey) -> Remote:
        remote = Remote(next(self._numbers), key, self._limits)
        self._remotes[key] = self._remote_of_number[remote.number] = remote
        return remote

    def _add(self, remote: Remote, engine: Engine, now: float) -> Connection:
        connection = Connection(
            next(self._numbers),
            remote.key,
            engine,
            limits=self._limits,
            counters=self.counters,
            streams=self._streams,
            numbers=self._stream_numbers,
            now=now,
        )
        self._connections[connection.number] = remote.connections[connection.number] = connection
        for connection_id in engine.ids:
            remote.ids[connection_id] = connection
        return connection

    def _drop(self, connection: Connection, now: float) -> None:
        """Forget a connection without a word."""
        remote = self._remotes[connection.key]
        self._half_open.pop(connection.number, None)
        del self._connections[connection.number], remote.connections[connection.number]
        self._deadlines.forget(connection.number)
        for connection_id in [known for known, owner in remote.ids.items() if owner is connection]:
            del remote.ids[connection_id]
        if remote.dial is connection:
            remote.dial = None
        self._forget_if_empty(remote)

    def _forget(self, connection: Connection, remote: Remote, now: float) -> None:
        """Forget a connection; its last words are still sent."""
        for packet in connection.engine.packets(self._limits.packet, now):
            self._add_stray(remote, packet)
        self._drop(connection, now)

    def _forget_if_empty(self, remote: Remote) -> None:
        if remote.is_empty() and self._remotes.get(remote.key) is remote:
            del self._remotes[remote.key], self._remote_of_number[remote.number]
            self._deadlines.forget(remote.number)
            self._active.pop(remote.key, None)

    def _mark(self, key: PublicKey) -> None:
        self._active[key] = None

    def _schedule_events(self, now: float) -> None:
        if self._events:
            self._deadlines.schedule(_LEFT_OVER, now)

    # Inside: packets of no connection

    def _reset(self, key: PublicKey, packet: bytes, destination: bytes) -> None:
        """Tell the sender of a packet for a connection that we do not know, perhaps of before a restart, to give it up.

        Source: RFC 9000, section 10.3.
        """
        if not packet or packet[0] & LONG:
            self.counters["malformed packets"] += 1
            return
        self.counters["packets of unknown connections"] += 1
        noise = self._random.getrandbits(_NOISE_BITS)
        answer = stateless_reset(len(packet), noise, self._settings.reset_token(destination))
        if answer is not None:
            self._answer(key, answer)

    def _negotiate(self, key: PublicKey, header: LongHeader) -> None:
        if header.version == 0 or max(len(header.source), len(header.destination)) > MAX_ID_LENGTH:
            self.counters["malformed packets"] += 1
            return
        self.counters["packets of unknown versions"] += 1
        self._answer(key, version_negotiation(header))

    def _answer(self, key: PublicKey, packet: bytes) -> None:
        remote = self._remotes.get(key)
        waiting = len(remote.strays) if remote is not None else 0
        if self._stray_count >= self._limits.strays or waiting >= self._limits.strays_per_key:
            self.counters["answers withheld"] += 1
        else:
            self._add_stray(remote or self._add_remote(key), packet)

    def _add_stray(self, remote: Remote, packet: bytes) -> None:
        remote.strays.append(packet)
        self._stray_count += 1
        self._mark(remote.key)
