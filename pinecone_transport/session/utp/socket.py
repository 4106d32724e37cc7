"""All µTP connections of a node: packets find their connection, connections take turns to send.

From below come packets with the key that sent them, from above streams by number. The connections with one key share
a `Budget`. The owner asks `UtpSocket.ready_keys` who has something to send, and pulls it with
`UtpSocket.packets_to_send`; acknowledgements leave with it, one per connection and pull.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, final

from pinecone_transport.errors import LocalProtocolError, PineconeError, StreamError, UtpError
from pinecone_transport.identity import PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.session.budget import Budgets
from pinecone_transport.session.events import SessionEvent
from pinecone_transport.session.socket import Pieces, SessionInfo, Socket
from pinecone_transport.session.strays import Strays
from pinecone_transport.session.utp.connection import Connection
from pinecone_transport.session.utp.extensions import COMPRESSED, EARLY, expand, options_of
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.memory import Memories
from pinecone_transport.session.utp.packet import (
    HEADER_LENGTH,
    ST_RESET,
    ST_SYN,
    UtpPacket,
    decode_packet,
    encode_reset,
)
from pinecone_transport.session.utp.remote import Remote, new_budget
from pinecone_transport.session.utp.states import State


@final
class UtpSocket(Socket):
    """The µTP end of one node.

    A call for a stream that has just ended does nothing: its owner may not have got to the event that says so.

    Args:
        random: Where connection ids and first sequence numbers come from; not guessable in production.
        limits: Bounds and times.
        budgets: Shared with the other kind of session; None for budgets of its own.
    """

    def __init__(
        self, *, random: RandomSource, limits: UtpLimits | None = None, budgets: Budgets | None = None
    ) -> None:
        super().__init__()
        self._random: Final = random
        self._limits: Final = limits or UtpLimits()
        self._budgets: Final = Budgets(partial(new_budget, self._limits)) if budgets is None else budgets
        self._memories: Final = Memories(self._limits.memory, self._limits.share)
        self._remotes: Final[dict[PublicKey, Remote]] = {}
        self._streams: Final[dict[int, Connection]] = {}
        self._half_open: Final[dict[int, Connection]] = {}
        self._early: Final[dict[int, Connection]] = {}
        self._next_stream = 1
        self._active: Final[dict[PublicKey, None]] = {}
        # What was touched since somebody last asked for a time: its deadline is reckoned once, however often that was.
        self._touched: Final[dict[int, Connection]] = {}
        self._touched_at = 0.0
        self._strays: Final = Strays(self._limits.resets, self._limits.resets_per_key)

    # From above

    def connect(self, key: PublicKey, now: float, largest_syn: int | None = None) -> int:
        """Dial a key; return the stream's number. `StreamConnected` or `StreamLost` follows; writing may begin at once.

        Args:
            key: Who is dialled.
            now: Seconds.
            largest_syn: Bytes that the packet may have that carries the first bytes; None for what we take ourselves.

        Raises:
            LocalProtocolError: There are as many connections, with the key or in all, as the limits allow.

        Source: §8; BEP 29, connection setup.
        """
        remote = self._remotes.get(key) or Remote(self._budgets.of(key), self._touched)
        limits = self._limits
        if (
            len(self._streams) >= limits.connections + limits.kept_for_dials
            or len(remote.connections) >= limits.connections_per_key
        ):
            raise LocalProtocolError("as many connections are open as the limits allow")
        receive_id = self._random.getrandbits(16)
        while remote.is_near_connection(receive_id):
            receive_id = (receive_id + 1) & 0xFFFF
        connection = self._open(key, remote, receive_id, None, now, largest_syn or self._limits.largest_packet)
        self._touch(connection, now)
        return connection.stream

    def write(self, stream: int, data: bytes, now: float) -> None:
        """Queue bytes of a stream, at most what ``room(stream)`` said, in one piece or in several.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner.
        """
        self.write_pieces(stream, (data,), now)

    def write_pieces(self, stream: int, pieces: Sequence[bytes], now: float) -> None:
        """Queue bytes as `write` of each piece does, cheaper: a stream of many bytes is looked at once for all.

        Raises:
            LocalProtocolError: There are more, or the stream was closed by its owner; then none is queued.
        """
        connection = self._find(stream)
        if connection is not None:
            if sum(map(len, pieces)) > connection.sender.space():
                raise LocalProtocolError("more was written than there was room for")
            for data in pieces:
                connection.sender.write(data, now)
            self._touch(connection, now)

    def room(self, stream: int) -> int:
        """Return how many bytes may be written now; 0 also where there is room for less than a packet."""
        connection = self._find(stream)
        return connection.sender.room() if connection is not None else 0

    def segment(self, stream: int) -> int:
        """Return the payload of one full packet of the stream, bytes."""
        connection = self._find(stream)
        return connection.sender.segment if connection is not None else 1

    def close(self, stream: int, now: float) -> None:
        """Send the end behind what was written; the stream can still be read. Closing again does nothing."""
        connection = self._find(stream)
        if connection is not None:
            connection.close(now)
            self._touch(connection, now)

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream; no event follows."""
        connection = self._find(stream)
        if connection is not None:
            self._abort(connection, now)

    def abort_all(self, now: float) -> None:
        """Reset every stream, so that the far ends notice at once. No events follow."""
        for connection in list(self._streams.values()):
            self._abort(connection, now)

    def acknowledge_received_data(self, stream: int, length: int, now: float) -> None:
        """The owner is done with ``length`` bytes that `StreamData` brought; the window reopens by as much."""
        connection = self._find(stream)
        if connection is not None and connection.acknowledge_received_data(length):
            self._touch(connection, now)

    def fail_connecting(self, stream: int, error: PineconeError, now: float) -> list[SessionEvent]:
        """Give a dial up if it still waits for its answer: a `StreamLost` with ``error``."""
        events: list[SessionEvent] = []
        connection = self._find(stream)
        if connection is not None and connection.state is State.SYN_SENT:
            connection.fail(error, events)
            self._touch(connection, now)
        return events

    def wake(self, key: PublicKey, now: float) -> None:
        """The way to the key may be back: what had no answer in its time is sent again at once."""
        for connection in self._connections_with(key):
            connection.wake(now)
            self._touch(connection, now)

    def wake_all(self, now: float) -> None:
        """`wake` for every key."""
        for key in list(self._remotes):
            self.wake(key, now)

    def acknowledge(self, key: PublicKey, now: float) -> None:
        """Send the key an acknowledgement if it has an open stream: the frame around it says where we are."""
        for connection in self._connections_with(key):
            if connection.acknowledge():
                self._touch(connection, now)
                break

    def acknowledge_all(self, now: float) -> None:
        """`acknowledge` for every key."""
        for key in list(self._remotes):
            self.acknowledge(key, now)

    # From below

    def receive_packet(self, key: PublicKey, packet: bytes, now: float) -> list[SessionEvent]:
        """Take the payload of a traffic frame from the key. Never raises, whatever it is."""
        events: list[SessionEvent] = []
        counters = self.counters
        counters["packets received"] += 1
        try:
            decoded = decode_packet(packet)
        except UtpError:
            counters["malformed packets"] += 1
            return events
        if decoded.type == ST_SYN:
            self._receive_syn(key, decoded, now, events)
            return events
        remote = self._remotes.get(key)
        connection = remote.connection_of(decoded) if remote is not None else None
        if connection is not None:
            connection.receive(decoded, now, events)
            self._touch(connection, now)
        elif decoded.type == ST_RESET:
            counters["resets of unknown connections"] += 1
        else:
            counters["packets of unknown connections"] += 1
            # Its sender receives one below if it dialled, one above if it was dialled.
            self._add_reset(key, decoded, (decoded.connection_id - 1) & 0xFFFF)
            self._add_reset(key, decoded, (decoded.connection_id + 1) & 0xFFFF)
            self._active[key] = None
        return events

    def receive_run(self, key: PublicKey, packets: Sequence[bytes | memoryview], now: float) -> list[SessionEvent]:
        """Take packets from the key that came together: `receive_packet` of each, in order, and cheaper.

        Args:
            key: Who sent them.
            packets: Lent; views are copied before this returns.
            now: Seconds.
        """
        events: list[SessionEvent] = []
        start = 0
        while start < len(packets):
            taken = self._receive_part(key, packets, start, now, events)
            if not taken:
                events += self.receive_packet(key, bytes(packets[start]), now)
                taken = 1
            start += taken
        return events

    def _receive_part(
        self, key: PublicKey, packets: Sequence[bytes | memoryview], start: int, now: float, events: list[SessionEvent]
    ) -> int:
        """Take packets of one connection from ``packets[start]`` on, as far as nothing about them is special."""
        remote = self._remotes.get(key)
        first = packets[start]
        if remote is None or len(first) < HEADER_LENGTH:
            return 0
        connection = remote.connections.get(first[2] << 8 | first[3])
        if connection is None:
            return 0
        taken = connection.receive_run(packets, start, now, events)
        if taken:
            self.counters["packets received"] += taken
            self._touch(connection, now)
        return taken

    # To below

    def ready_keys(self) -> list[PublicKey]:
        """Return the keys that have packets to send now; who was served last comes last."""
        ready = []
        for key in list(self._active):
            if self._is_ready(key):
                ready.append(key)
            else:
                del self._active[key]
        return ready

    def packets_to_send(self, key: PublicKey, limit: int, now: float, data_only: bool = False) -> list[bytes]:
        """Return packets for the key, about ``limit`` bytes; the last one may go beyond.

        The key's connections take turns, one packet each. With ``data_only``, acknowledgements that no data carries
        are left for the next call.
        """
        return [b"".join(pieces) for pieces in self.pieces_to_send(key, limit, now, data_only)]

    def pieces_to_send(self, key: PublicKey, limit: int, now: float, data_only: bool = False) -> list[Pieces]:
        """Return packets as `packets_to_send` does, each in pieces: payload is not copied."""
        strays: list[bytes] = []
        left = self._strays.take(key, limit, strays)
        packets: list[Pieces] = [(packet,) for packet in strays]
        remote = self._remotes.get(key)
        if remote is not None:
            remote.take(left, now, packets, data_only)
            self._touched_at = now
        self.counters["packets sent"] += len(packets)
        self._active.pop(key, None)
        if self._is_ready(key):
            self._active[key] = None
        return packets

    # Time

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        self._schedule_touched()
        return super().next_timer()

    def handle_timer(self, now: float) -> list[SessionEvent]:
        """Do what has become due: packets to be repeated, connections to be given up."""
        events: list[SessionEvent] = []
        self._schedule_touched()
        for stream in self._deadlines.take_due(now):
            connection = self._streams[stream]
            connection.handle_timer(now, events)
            if connection.repeated:
                connection.repeated = False
                self._repeated.add(connection.key)
            self._touch(connection, now)
        return events

    # To look at

    @property
    def connection_count(self) -> int:
        """How many connections there are, half-open and closing ones included."""
        return len(self._streams)

    def sessions(self) -> list[SessionInfo]:
        """Return how things stand with each key that we have connections with."""
        return [
            SessionInfo(
                key,
                len(remote.connections),
                remote.budget.rtt.smoothed,
                int(remote.budget.congestion.window),
                remote.budget.packets_in_flight,
            )
            for key, remote in self._remotes.items()
        ]

    # Inside

    def _find(self, stream: int) -> Connection | None:
        """Return the stream's connection, or None if it has ended. Half-open ones are not yet the owner's."""
        if not 0 < stream < self._next_stream or stream in self._half_open:
            raise LocalProtocolError(f"there never was a stream {stream}")
        return self._streams.get(stream)

    def _abort(self, connection: Connection, now: float) -> None:
        if connection.may_be_known():
            self._strays.add(connection.key, connection.reset_packet())
        connection.end()
        self._touch(connection, now)

    def _connections_with(self, key: PublicKey) -> list[Connection]:
        remote = self._remotes.get(key)
        return list(remote.connections.values()) if remote is not None else []

    def _open(  # noqa: PLR0917  # two callers, for one of which the last is of no interest
        self,
        key: PublicKey,
        remote: Remote,
        receive_id: int,
        syn: UtpPacket | None,
        now: float,
        largest_syn: int = 0,
    ) -> Connection:
        connection = Connection(
            self._next_stream,
            key,
            receive_id,
            first_seq=self._random.getrandbits(16),
            syn=syn,
            budget=remote.budget,
            memories=self._memories,
            limits=self._limits,
            counters=self.counters,
            now=now,
            largest_syn=largest_syn,
        )
        self._next_stream += 1
        self._remotes[key] = remote
        remote.connections[receive_id] = connection
        self._streams[connection.stream] = connection
        return connection

    def _receive_syn(self, key: PublicKey, packet: UtpPacket, now: float, events: list[SessionEvent]) -> None:
        receive_id = (packet.connection_id + 1) & 0xFFFF
        remote = self._remotes.get(key) or Remote(self._budgets.of(key), self._touched)
        connection = remote.connections.get(receive_id)
        if connection is None:
            if self._make_place(remote, now, events):
                # A key whose last connection had to go has a new entry by now, which `_open` makes ours again.
                connection = self._open(key, remote, receive_id, packet, now)
                early = self._early_of(remote, packet)
                if early is not None:
                    remote.early[connection.stream] = self._early[connection.stream] = connection
                    connection.take_early(early, events)
                else:
                    remote.half_open[connection.stream] = self._half_open[connection.stream] = connection
            else:
                self.counters["connections refused"] += 1
        elif not connection.receive_syn(packet):
            self.counters["conflicting SYNs"] += 1
            connection = None
        if connection is None:
            self._add_reset(key, packet, packet.connection_id)
            self._active[key] = None
        else:
            self._touch(connection, now)

    def _add_reset(self, key: PublicKey, packet: UtpPacket, connection_id: int) -> None:
        """Tell who sent ``packet`` that we know no such connection, unless many are being told already. Source: §8."""
        if not self._strays.answer(key, encode_reset(connection_id, 0, packet.seq_nr)):
            self.counters["resets withheld"] += 1

    def _early_of(self, remote: Remote, packet: UtpPacket) -> bytes | None:
        """Return the beginning of the stream, if a SYN brings it and we have a place for that."""
        limits = self._limits
        options = options_of(packet)
        if options is None or not options.flags & EARLY:
            return None
        early: bytes | None = packet.payload
        if options.flags & COMPRESSED:
            early = expand(packet.payload, limits.early_bytes)
        if not early or len(early) > limits.early_bytes:
            return None
        if len(self._early) < limits.early and len(remote.early) < limits.early_per_key:
            return early
        self.counters["early data refused"] += 1
        return None

    def _make_place(self, remote: Remote, now: float, events: list[SessionEvent]) -> bool:
        """Tell whether a far node's connection can be had, having let another go if there are too many.

        What is half-open goes first, the oldest before others, then what has been idle for longest: of the key itself
        where that has too many, else of the key that has most, but never so that it has fewer than who comes.
        """
        limits = self._limits
        half_open, crowd = self._half_open, remote
        if len(remote.connections) >= limits.connections_per_key or len(remote.half_open) >= limits.half_open_per_key:
            half_open = remote.half_open
        elif len(self._streams) >= limits.connections or len(self._half_open) >= limits.half_open:
            crowd = max(self._remotes.values(), key=_connection_count, default=remote)
        else:
            return True
        if half_open:
            self.counters["half-open connections dropped"] += 1
            oldest = next(iter(half_open.values()))
            oldest.end()
            self._touch(oldest, now)
            return True
        if crowd is not remote and len(crowd.connections) <= len(remote.connections) + 1:
            return False
        idle = crowd.longest_idle()
        if idle is None:
            return False
        self.counters["idle connections dropped"] += 1
        self._strays.add(idle.key, idle.reset_packet())
        idle.fail(StreamError("it was idle, and its place was needed"), events)
        self._touch(idle, now)
        return True

    def _touch(self, connection: Connection, now: float) -> None:
        """Note what a connection wants after something was done to it: to send, to be called at a time, to be gone."""
        stream = connection.stream
        remote = self._remotes[connection.key]
        if connection.state is not State.SYN_RECEIVED:
            if stream in self._half_open:
                del self._half_open[stream], remote.half_open[stream]
            elif stream in self._early:
                del self._early[stream], remote.early[stream]
        if connection.state is State.CLOSED:
            self._forget(connection, remote, now)
            return
        if connection.due:
            remote.control[stream] = connection
        if stream not in remote.sending and connection.has_data():
            remote.sending[stream] = connection
        self._active[connection.key] = None
        remote.budget.pass_time(now)
        self._touched[stream] = connection
        self._touched_at = now

    def _schedule_touched(self) -> None:
        """Note when those that were touched want to be called."""
        for stream, connection in self._touched.items():
            self._deadlines.schedule(stream, connection.deadline(self._touched_at))
        self._touched.clear()

    def _forget(self, connection: Connection, remote: Remote, now: float) -> None:
        stream = connection.stream
        if connection.due:
            # The far end's ST_FIN is still to be acknowledged.
            self._strays.add(connection.key, connection.control_packet(int(now * 1e6) & 0xFFFFFFFF))
        connection.discard()
        remote.forget(connection)
        del self._streams[stream]
        self._touched.pop(stream, None)
        self._deadlines.forget(stream)
        self._active[connection.key] = None
        if not remote.connections:
            del self._remotes[connection.key]

    def _is_ready(self, key: PublicKey) -> bool:
        remote = self._remotes.get(key)
        return key in self._strays or (remote is not None and remote.ready())


def _connection_count(remote: Remote) -> int:
    return len(remote.connections)
