"""All QUIC connections of a node: by number, by key, by the ids of their packets; and what bounds them."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Final, final

from pinecone_transport.deadlines import Deadlines
from pinecone_transport.identity import PublicKey
from pinecone_transport.session.budget import Budgets
from pinecone_transport.session.quic.connection import Connection
from pinecone_transport.session.quic.engine import Engine
from pinecone_transport.session.quic.remote import Remote
from pinecone_transport.session.quic.settings import Settings
from pinecone_transport.session.quic.streams import Stream
from pinecone_transport.session.strays import Strays


@final
class Table:
    """What the parts of a `QuicSocket` share.

    Args:
        settings: Of its connections.
        budgets: Of all keys.
        counters: What was dropped is counted there.
        deadlines: Connections and remotes are due there by their numbers.

    Attributes:
        counters: The same.
        deadlines: The same.
        connections: By number.
        remotes: By key.
        streams: By the owner's number; those that wait for a connection, too.
        stream_numbers: Where those come from.
        half_open: Connections that far nodes have begun and not finished beginning, oldest first.
        active: Keys that may have packets to send, of ready connections or strays; who was served last comes last.
        strays: Packets of no connection.
    """

    def __init__(self, settings: Settings, budgets: Budgets, counters: Counter[str], deadlines: Deadlines) -> None:
        limits = settings.limits
        self.connections: Final[dict[int, Connection]] = {}
        self.remotes: Final[dict[PublicKey, Remote]] = {}
        self.streams: Final[dict[int, Stream]] = {}
        self.stream_numbers: Final = count(1)
        self.half_open: Final[dict[int, Connection]] = {}
        self.active: Final[dict[PublicKey, None]] = {}
        self.strays: Final = Strays(limits.strays, limits.strays_per_key)
        self._remote_of_number: Final[dict[int, Remote]] = {}
        self._numbers: Final = count(1)
        self._limits: Final = limits
        self._sent: Final = settings.memories.sent
        self._budgets: Final = budgets
        self.counters: Final = counters
        self.deadlines: Final = deadlines

    def remote_of(self, number: int) -> Remote | None:
        """Return the remote that was due; None if it was none."""
        return self._remote_of_number.get(number)

    def is_full(self) -> bool:
        """Tell whether there are as many connections as may be."""
        return len(self.connections) >= self._limits.connections

    def mark(self, key: PublicKey) -> None:
        """The key may have packets to send."""
        self.active[key] = None

    def mark_ready(self, connection: Connection) -> None:
        """The connection may have packets to send."""
        self.remotes[connection.key].ready[connection.number] = connection
        self.active[connection.key] = None

    def add_remote(self, key: PublicKey) -> Remote:
        """Return what is kept of a key, from now on if need be."""
        remote = self.remotes.get(key)
        if remote is None:
            remote = Remote(next(self._numbers), key, self._budgets.of(key), self._limits, self._sent)
            self.remotes[key] = self._remote_of_number[remote.number] = remote
        return remote

    def add(self, remote: Remote, engine: Engine, now: float) -> Connection:
        """Return a new connection with the key."""
        connection = Connection(
            next(self._numbers),
            remote.key,
            engine,
            limits=self._limits,
            counters=self.counters,
            holding=remote.holding,
            streams=self.streams,
            numbers=self.stream_numbers,
            now=now,
        )
        self.connections[connection.number] = remote.connections[connection.number] = connection
        self.note_ids(remote, connection)
        return connection

    def note_ids(self, remote: Remote, connection: Connection) -> None:
        """Take packets for all its ids to the connection, and for those that it had no longer."""
        engine = connection.engine
        for connection_id in engine.ids:
            remote.ids[connection_id] = connection
        while engine.retired:
            del remote.ids[engine.retired.pop()]

    def lose(self, stream: Stream) -> None:
        """Forget a stream that its connection does not know, or is about to be forgotten with."""
        del self.streams[stream.number]
        stream.leave()

    def make_place(self, key: PublicKey) -> bool:
        """Tell whether a far node may begin a connection: the oldest half-open one goes if there are too many."""
        limits = self._limits
        remote = self.remotes.get(key)
        of_key = remote.half_open() if remote is not None else []
        if len(of_key) >= limits.half_open_per_key:
            self._drop_half_open(of_key[0])
        elif len(self.half_open) >= limits.half_open:
            self._drop_half_open(next(iter(self.half_open.values())))
        if self.is_full() or (remote is not None and len(remote.connections) >= limits.connections_per_key):
            self.counters["connections refused"] += 1
            return False
        return True

    def drop(self, connection: Connection) -> None:
        """Forget a connection without a word."""
        remote = self.remotes[connection.key]
        connection.engine.leave()
        self.half_open.pop(connection.number, None)
        remote.ready.pop(connection.number, None)
        del self.connections[connection.number], remote.connections[connection.number]
        self.deadlines.forget(connection.number)
        for connection_id in [known for known, owner in remote.ids.items() if owner is connection]:
            del remote.ids[connection_id]
        if remote.dial is connection:
            remote.dial = None
            remote.greeting = False
        self.forget_if_empty(remote)

    def forget(self, connection: Connection, now: float) -> None:
        """Forget a connection; its last words are still sent."""
        for packet in connection.engine.packets(1, self._limits.packet, now):
            self.strays.add(connection.key, packet)
        self.mark(connection.key)
        self.drop(connection)

    def forget_if_empty(self, remote: Remote) -> None:
        """Keep nothing of a key that we have nothing to do with."""
        if remote.is_empty() and self.remotes.get(remote.key) is remote:
            del self.remotes[remote.key], self._remote_of_number[remote.number]
            self.deadlines.forget(remote.number)

    def _drop_half_open(self, connection: Connection) -> None:
        self.counters["half-open connections dropped"] += 1
        self.drop(connection)
