"""Which connection a stream goes on: when one is dialled, taken from the far end, waited for, or given up."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.errors import PineconeError
from pinecone_transport.identity import PublicKey
from pinecone_transport.session.events import SessionEvent, StreamConnected, StreamLost
from pinecone_transport.session.quic.connection import Connection, State
from pinecone_transport.session.quic.engine import Engine
from pinecone_transport.session.quic.headers import LongHeader
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.remote import Remote
from pinecone_transport.session.quic.settings import Settings
from pinecone_transport.session.quic.table import Table


@final
class Placement:
    """The connections of a node as its streams need them.

    Args:
        key: The node's.
        settings: Of its connections.
        table: Where they are.
        repeated: Keys that left a packet unanswered are added to it.
    """

    def __init__(self, key: PublicKey, settings: Settings, table: Table, repeated: set[PublicKey]) -> None:
        self._key: Final = key
        self._settings: Final = settings
        self._limits: Final[QuicLimits] = settings.limits
        self._table: Final = table
        self._counters: Final = table.counters
        self._deadlines: Final = table.deadlines
        self._repeated: Final = repeated

    def place(self, remote: Remote, now: float, events: list[SessionEvent]) -> None:
        """Put the streams that wait on a connection, or see to it that there will be one."""
        usable = remote.usable()
        if remote.waiting and usable is not None:
            if usable.is_doubtful(now):
                self._probe(usable, now)
            else:
                self._attach_waiting(remote, usable, events)
        elif remote.may_dial(now) and not self._table.is_full():
            self._dial(remote, now)
        elif remote.dial is not None and not remote.is_dial_wanted():
            self._withdraw(remote.dial, remote, now)
        self._deadlines.schedule(remote.number, remote.deadline(now))
        self._table.forget_if_empty(remote)

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
        self._table.mark_ready(connection)
        remote.fresh_wanted = connection.engine.stream_credit() <= self._limits.spare_streams

    def fail_waiting(self, remote: Remote, error: PineconeError, until: float, events: list[SessionEvent]) -> None:
        """Give up the streams that have waited since ``until`` or longer."""
        for stream in list(remote.waiting.values()):
            if stream.opened_at <= until:
                del remote.waiting[stream.number]
                self._table.lose(stream)
                events.append(StreamLost(stream.number, error))

    def greet(self, remote: Remote, now: float) -> None:
        """Dial a key to show that we are there, with no stream in mind."""
        remote.greeting = True
        self._dial(remote, now)

    def _dial(self, remote: Remote, now: float) -> None:
        engine = Engine(self._settings, remote.budget)
        engine.start(now)
        remote.dial = self._table.add(remote, engine, now)
        self._deadlines.schedule(remote.dial.number, remote.dial.deadline())
        self._table.mark_ready(remote.dial)
        for rival in remote.rivals():
            self._let_go_first(rival, remote, now)

    def accept(self, key: PublicKey, header: LongHeader, now: float) -> Connection | None:
        """Return the connection that a far node's first packet begins; None if there is no place for it."""
        if not self._table.make_place(key):
            return None
        remote = self._table.add_remote(key)
        connection = self._table.add(remote, Engine(self._settings, remote.budget, header.destination), now)
        self._table.half_open[connection.number] = connection
        return connection

    def begun(self, connection: Connection, now: float) -> None:
        """Stand back for a connection that the far end has just begun, if it was understood: else it began none."""
        if connection.engine.begun and (not connection.engine.is_far_end_like_us() or self._key > connection.key):
            self._let_go_first(connection, self._table.remotes[connection.key], now)

    def _let_go_first(self, rival: Connection, remote: Remote, now: float) -> None:
        """Two dials cross. A Go node would close ours when it has both, so ours waits whether theirs succeeds (§8).

        Between nodes of ours, the higher key's waits: our connection ids differ in length from those of Go nodes.
        """
        if remote.dial is not None and remote.dial.state is State.DIALLING and rival.state is State.ACCEPTING:
            self._counters["dials that stood back"] += 1
            remote.dial.hold(now)
            self._deadlines.schedule(remote.dial.number, remote.dial.deadline())

    def touch(self, connection: Connection, now: float, events: list[SessionEvent], *, sent: bool = False) -> None:
        """Note what a connection wants after something was done to it, and what became of it."""
        remote = self._table.remotes[connection.key]
        engine = connection.engine
        self._table.note_ids(remote, connection)
        if engine.repeated:
            engine.repeated = False
            self._repeated.add(connection.key)
        if connection.state is not State.ACCEPTING and self._table.half_open.pop(connection.number, None) is not None:
            self._opened(remote, connection, now)
        if connection is remote.dial and connection.state is State.OPEN:
            if not remote.is_mere_greeting(connection):
                remote.dial = None
                remote.fresh_wanted = remote.greeting = False
                self._hurry(remote, now)
            elif connection.is_confirmed():
                self._withdraw(connection, remote, now)
                return
        if connection.state is State.CLOSED:
            self._closed(remote, connection, now, events)
            return
        if connection.settled and connection.state is State.OPEN:
            remote.taken()
        if remote.waiting:
            self.place(remote, now, events)
        if not sent:
            self._table.mark_ready(connection)
        self._deadlines.schedule(connection.number, connection.deadline())

    def _opened(self, remote: Remote, connection: Connection, now: float) -> None:
        """The far end has dialled us: what it had before it may have lost, and our own dial is not needed."""
        if not connection.was_opened():
            return
        if remote.dial is not None and connection.state is State.OPEN and not remote.is_neglected(connection):
            self._withdraw(remote.dial, remote, now)
        for other in remote.connections.values():
            if other is not connection:
                self._probe(other, now)
        self._hurry(remote, now)

    def _probe(self, connection: Connection, now: float) -> None:
        connection.probe(now)
        self._deadlines.schedule(connection.number, connection.deadline())
        self._table.mark_ready(connection)

    def _hurry(self, remote: Remote, now: float) -> None:
        """One connection is open: what else the far end has begun is most likely what it has left of crossing dials."""
        for other in remote.half_open():
            other.hurry(now)
            self._deadlines.schedule(other.number, other.deadline())

    def _withdraw(self, dial: Connection, remote: Remote, now: float) -> None:
        self._counters["dials withdrawn"] += 1
        if dial.engine.may_be_known:
            dial.shut()
            self._table.forget(dial, now)
        else:
            self._table.drop(dial)

    def _closed(self, remote: Remote, connection: Connection, now: float, events: list[SessionEvent]) -> None:
        error = connection.error
        assert error is not None
        if connection.refused:
            self._counters["connections replaced"] += 1
            remote.refused(connection, now)
        elif connection is remote.dial:
            self.fail_waiting(remote, error, float("inf"), events)
            remote.fresh_wanted = False
        for stream in connection.streams.values():
            self._table.lose(stream)
            events.append(StreamLost(stream.number, error))
        connection.streams.clear()
        self._table.forget(connection, now)
        if remote.key in self._table.remotes:
            self.place(remote, now, events)
