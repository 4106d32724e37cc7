"""All QUIC connections of a node: packets find their connection, streams find one with their key.

The same face as `UtpSocket` has. One connection with a key carries all streams, whoever opens them; it is dialled when
the first stream is wanted and none is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, final

from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamTimeoutError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.session.budget import Budgets
from pinecone_transport.session.events import SessionEvent, StreamLost
from pinecone_transport.session.quic.connection import Connection
from pinecone_transport.session.quic.headers import destination_of
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.placement import Placement
from pinecone_transport.session.quic.reception import Reception
from pinecone_transport.session.quic.remote import Remote
from pinecone_transport.session.quic.settings import Settings
from pinecone_transport.session.quic.streams import Stream
from pinecone_transport.session.quic.table import Table
from pinecone_transport.session.socket import Pieces, SessionInfo, Socket
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.remote import new_budget

MATRIX: Final = "matrix"

_LEFT_OVER: Final = 0
_OVERHEAD: Final = 40
"""Bytes of a packet beside a stream's, about."""


@final
class QuicSocket(Socket):
    """The QUIC end of one node.

    A call for a stream that has just ended does nothing: its owner may not have got to the event that says so.

    Args:
        identity: The node's key.
        random: Fills packets that must look random.
        protocol: The application's name (ALPN).
        limits: Bounds and times.
        budgets: Shared with the other kind of session; None for budgets of its own.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        random: RandomSource,
        protocol: str = MATRIX,
        limits: QuicLimits | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        super().__init__()
        self._limits: Final = limits or QuicLimits()
        settings = Settings(identity, protocol, self._limits)
        if budgets is None:
            budgets = Budgets(partial(new_budget, UtpLimits()))
        self._table: Final = Table(settings, budgets, self.counters, self._deadlines)
        self._placement: Final = Placement(identity.key, settings, self._table, self._repeated)
        self._reception: Final = Reception(settings, self._table, self._placement, random)
        self._first_link_at: float | None = None
        self._greetings = 0
        self._events: list[SessionEvent] = []  # that came of a call from above

    # From above

    def connect(self, key: PublicKey, now: float) -> int:
        """Open a stream; return its number. `StreamConnected` or `StreamLost` follows; writing may begin at once.

        The far end hears of a stream with its first byte.

        Raises:
            LocalProtocolError: There are as many connections, or streams that wait for one, as the limits allow.
        """
        remote = self._table.remotes.get(key)
        if remote is None:
            if self._table.is_full():
                raise LocalProtocolError("as many connections are open as the limits allow")
            remote = self._table.add_remote(key)
        if len(remote.waiting) >= self._limits.waiting_per_key:
            raise LocalProtocolError("as many streams wait for a connection as the limits allow")
        stream = Stream(next(self._table.stream_numbers), key, now, remote.holding)
        self._table.streams[stream.number] = remote.waiting[stream.number] = stream
        self._placement.place(remote, now, self._events)
        self._schedule_events(now)
        return stream.number

    def write(self, stream: int, data: bytes, now: float) -> None:
        """Queue bytes of a stream, at most what ``room(stream)`` said.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner.
        """
        record = self._table.streams.get(stream)
        if record is None:
            return
        if record.finished:
            raise LocalProtocolError("the stream was closed")
        if len(data) > record.space(self._limits.send_buffer) and not record.deaf:
            raise LocalProtocolError("more was written than there was room for")
        record.write(data)
        self._space(record)
        if record.connection is not None:
            self._table.mark_ready(record.connection)

    def write_pieces(self, stream: int, pieces: Sequence[bytes], now: float) -> None:
        """Queue bytes as `write` of each piece does."""
        for data in pieces:
            self.write(stream, data, now)

    def room(self, stream: int) -> int:
        """Return how many bytes may be written now; 0 also where there is room for less than a packet."""
        record = self._table.streams.get(stream)
        if record is None or record.finished:
            return 0
        return self._space(record)

    def segment(self, stream: int) -> int:
        """Return the payload of one full packet of a stream, about, bytes."""
        record = self._table.streams.get(stream)
        if record is None:
            return 1
        size = self._limits.packet if record.connection is None else record.connection.engine.packet_size
        return size - _OVERHEAD

    def is_far_end_like_us(self, stream: int) -> bool:
        """Tell whether an open stream's far end is a node of our kind, as far as one can see."""
        record = self._table.streams.get(stream)
        return record is not None and record.connection is not None and record.connection.engine.is_far_end_like_us()

    def round_trip(self, stream: int) -> float:
        """Return the round trip of the connection that carries a stream, seconds; 0 where there is none."""
        record = self._table.streams.get(stream)
        return record.connection.engine.rtt if record is not None and record.connection is not None else 0.0

    def close(self, stream: int, now: float) -> None:
        """Send the end behind what was written; the stream can still be read. Closing again does nothing."""
        record = self._table.streams.get(stream)
        if record is None or record.finished:
            return
        if record.connection is None:
            record.finish()
        else:
            record.connection.close_stream(record)
            self._table.mark_ready(record.connection)

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream; no event follows."""
        record = self._table.streams.get(stream)
        if record is None:
            return
        remote = self._table.remotes[record.key]
        if record.connection is not None:
            record.connection.abort_stream(record)
            self._placement.touch(record.connection, now, self._events)
        else:
            del remote.waiting[stream]
            self._table.lose(record)
        self._placement.place(remote, now, self._events)
        self._schedule_events(now)

    def abort_all(self, now: float) -> None:
        """End every connection, so that the far ends notice at once. No events follow."""
        for stream in list(self._table.streams.values()):
            self._table.lose(stream)
        for remote in list(self._table.remotes.values()):
            remote.waiting.clear()
            remote.fresh_wanted = False
            for connection in list(remote.connections.values()):
                connection.streams.clear()
                connection.shut()
                self._table.forget(connection, now)
            self._table.forget_if_empty(remote)

    def acknowledge_received_data(self, stream: int, length: int, now: float) -> None:
        """The owner is done with ``length`` bytes that `StreamData` brought; the window reopens by as much."""
        record = self._table.streams.get(stream)
        if record is not None and record.connection is not None:
            record.connection.acknowledge(record, length)
            self._table.mark_ready(record.connection)

    def fail_connecting(self, stream: int, error: PineconeError, now: float) -> list[SessionEvent]:
        """Give a stream up if it still waits for its first connection: a `StreamLost` with ``error``."""
        events: list[SessionEvent] = []
        record = self._table.streams.get(stream)
        if record is not None and not record.connected:
            remote = self._table.remotes[record.key]
            del remote.waiting[stream]
            self._table.lose(record)
            events.append(StreamLost(stream, error))
            self._placement.place(remote, now, events)
        return events

    def wake(self, key: PublicKey, now: float) -> None:
        """The far end can be heard: what had no answer is sent again, and it has to show that it knows us."""
        remote = self._table.remotes.get(key)
        if remote is not None:
            for connection in remote.connections.values():
                connection.wake(now)
                connection.probe(now)
                self._deadlines.schedule(connection.number, connection.deadline())
                self._table.mark_ready(connection)

    def wake_all(self, now: float) -> None:
        """The ways may be back: what had no answer in its time is sent again at once."""
        for remote in self._table.remotes.values():
            for connection in remote.connections.values():
                connection.wake(now)
                self._table.mark_ready(connection)

    def link_up(self, key: PublicKey, now: float) -> None:
        """There is a link to the key. If we have just begun, it may hold a connection of before that: a dial ends it.

        Its next request would go on that connection, and not all requests are sent again when it proves dead (§8).
        """
        if self._first_link_at is None:
            self._first_link_at = now
        if now - self._first_link_at > self._limits.idle_timeout or self._greetings >= self._limits.greetings:
            return
        if key not in self._table.remotes and not self._table.is_full():
            self._greetings += 1
            self._placement.greet(self._table.add_remote(key), now)

    def link_lost(self, key: PublicKey, now: float) -> list[SessionEvent]:
        """The key may be gone: connections with it are in doubt, and streams that wait for nothing are lost."""
        events: list[SessionEvent] = []
        remote = self._table.remotes.get(key)
        for connection in list(remote.connections.values()) if remote is not None else ():
            connection.doubt(now, events)
            self._placement.touch(connection, now, events)
        return events

    def acknowledge(self, key: PublicKey, now: float) -> None:
        """Send the key something if it has an open connection: the frame around it says where we are."""
        remote = self._table.remotes.get(key)
        usable = remote.usable() if remote is not None else None
        if usable is not None:
            usable.ping(now)
            self._table.mark_ready(usable)

    def acknowledge_all(self, now: float) -> None:
        """`acknowledge` for every key."""
        for key in self._table.remotes:
            self.acknowledge(key, now)

    # From below

    def knows(self, key: PublicKey, packet: bytes) -> bool:
        """Tell whether the packet is for a connection that we have with the key."""
        remote = self._table.remotes.get(key)
        return remote is not None and destination_of(packet) in remote.ids

    def receive_packet(self, key: PublicKey, packet: bytes, now: float) -> list[SessionEvent]:
        """Take the payload of a traffic frame from the key. Never raises, whatever it is."""
        return self.receive_run(key, (packet,), now)

    def receive_run(self, key: PublicKey, packets: Sequence[bytes], now: float) -> list[SessionEvent]:
        """Take the payloads of traffic frames from the key that came together, in order."""
        events: list[SessionEvent] = []
        self.counters["packets received"] += len(packets)
        last: Connection | None = None
        for packet in packets:
            connection = self._connection_of(key, packet)
            if connection is not last and last is not None:
                self._received(last, now, events)  # which may show to whom the packet goes
                connection = self._connection_of(key, packet)
            last = connection or self._reception.take(key, packet, now)
            if last is not None:
                last.receive(packet, now, events)
                if connection is None:
                    self._placement.begun(last, now)
        if last is not None:
            self._received(last, now, events)
        return events

    def _connection_of(self, key: PublicKey, packet: bytes) -> Connection | None:
        remote = self._table.remotes.get(key)
        return remote.ids.get(destination_of(packet)) if remote is not None else None

    def _received(self, connection: Connection, now: float, events: list[SessionEvent]) -> None:
        """Do what follows from packets that a connection has got."""
        if connection.engine.begun or connection.engine.dialled:
            self._placement.touch(connection, now, events)
        else:
            # It only looked like one that begins a connection: most likely it answers a dial that was withdrawn.
            self.counters["packets of unknown connections"] += 1
            self._table.drop(connection)

    # To below

    def ready_keys(self) -> list[PublicKey]:
        """Return the keys that may have packets to send now; who was served last comes last."""
        return list(self._table.active)

    def packets_to_send(self, key: PublicKey, limit: int, now: float) -> list[bytes]:
        """Return packets for the key, about ``limit`` bytes; the last one may go beyond."""
        self._table.active.pop(key, None)
        packets: list[bytes] = []
        left = self._table.strays.take(key, limit, packets)
        remote = self._table.remotes.get(key)
        if remote is not None:
            left = self._take(remote, left, now, packets)
        if left <= 0:
            self._table.mark(key)
        self.counters["packets sent"] += len(packets)
        return packets

    def pieces_to_send(self, key: PublicKey, limit: int, now: float) -> list[Pieces]:
        """Return packets as `packets_to_send` does, each of them one piece."""
        return [(packet,) for packet in self.packets_to_send(key, limit, now)]

    # Time

    def handle_timer(self, now: float) -> list[SessionEvent]:
        """Do what has become due: packets to be repeated, connections to be given up, events to be told."""
        events, self._events = self._events, []
        for number in self._deadlines.take_due(now):
            if number in self._table.connections:
                connection = self._table.connections[number]
                connection.handle_timer(now, events)
                self._placement.touch(connection, now, events)
            elif (remote := self._table.remote_of(number)) is not None:
                error = StreamTimeoutError("the far end did not answer")
                self._placement.fail_waiting(remote, error, now - self._limits.connect_timeout, events)
                self._placement.place(remote, now, events)
        return events

    # To look at

    @property
    def connection_count(self) -> int:
        """How many connections there are, half-open and closing ones included."""
        return len(self._table.connections)

    def sessions(self) -> list[SessionInfo]:
        """Return how things stand with each key that we have connections with."""
        return [
            SessionInfo(
                key,
                len(remote.connections),
                max((connection.engine.rtt for connection in remote.connections.values()), default=0.0),
                min(self._limits.window_packets, int(remote.budget.congestion.window)),
                remote.packets_in_flight(),
            )
            for key, remote in self._table.remotes.items()
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

    # Inside

    def _take(self, remote: Remote, left: int, now: float, packets: list[bytes]) -> int:
        """Add about ``left`` bytes of packets to ``packets``; return how many bytes are left."""
        for connection in remote.take_ready():
            room = min(remote.room(now), self._limits.burst)
            sent = connection.packets(room, left, now, self._events)
            left -= sum(map(len, sent))
            packets += sent
            self._placement.touch(connection, now, self._events, sent=True)
            if (left <= 0 or len(sent) >= room) and connection.number in remote.connections:
                remote.ready[connection.number] = connection  # it may have more, once there is room
        if remote.ready and remote.room(now) > 0:
            self._table.mark(remote.key)
        self._schedule_events(now)
        return left

    def _schedule_events(self, now: float) -> None:
        if self._events:
            self._deadlines.schedule(_LEFT_OVER, now)
