"""All QUIC connections with one key, and the streams that wait for one."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.session.budget import Budget
from pinecone_transport.session.quic.connection import Connection, State
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.streams import Stream
from pinecone_transport.session.utp.memory import Holding, Memory

_REDIALS_AT_ONCE: Final = 2
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 1.0


@final
class Remote:
    """A key that we have connections with, or want one with.

    Attributes:
        number: Its own.
        key: The key.
        connections: By number, oldest first.
        ready: Those of them that may have packets to send; who was served last comes last.
        ids: Which connection a packet is for, by its connection id.
        waiting: Streams that wait for a connection, by number.
        dial: Our dial that is under way, if any.
        greeting: Whether the dial is one that only shows that we are there anew.
        fresh_wanted: Whether a connection is to be dialled although there is one: its streams are nearly used up.
        budget: What connections of all kinds with the key have in common.
        holding: What all streams to the key have to be sent.
    """

    __slots__ = (
        "_limits",
        "_newest_neglected",
        "_redial_at",
        "_refusals",
        "budget",
        "connections",
        "dial",
        "fresh_wanted",
        "greeting",
        "holding",
        "ids",
        "key",
        "number",
        "ready",
        "waiting",
    )

    def __init__(self, number: int, key: PublicKey, budget: Budget, limits: QuicLimits, sent: Memory) -> None:
        self.number: Final = number
        self.key: Final = key
        self.budget: Final = budget
        self.holding: Final = Holding(sent)
        self._limits: Final = limits
        self.connections: Final[dict[int, Connection]] = {}
        self.ready: Final[dict[int, Connection]] = {}
        self.ids: Final[dict[bytes, Connection]] = {}
        self.waiting: Final[dict[int, Stream]] = {}
        self.dial: Connection | None = None
        self.fresh_wanted = False
        self.greeting = False
        self._newest_neglected = 0
        self._redial_at = float("-inf")
        self._refusals = 0

    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember of it."""
        return not (self.connections or self.waiting)

    def half_open(self) -> list[Connection]:
        """Return the connections that the far end has begun and not finished beginning, oldest first."""
        return [connection for connection in self.connections.values() if connection.state is State.ACCEPTING]

    def usable(self) -> Connection | None:
        """Return the connection that new streams go on: the newest that the far end is known to look at."""
        for connection in reversed(self.connections.values()):
            if connection.is_usable() and not self.is_neglected(connection):
                return connection
        return None

    def is_neglected(self, connection: Connection) -> bool:
        """Tell whether the far end may have lost sight of a connection: it takes streams of ours, and does not look."""
        return connection.number <= self._newest_neglected

    def rivals(self) -> list[Connection]:
        """Return the half-open connections that would spare us a dial of our own."""
        return [connection for connection in self.half_open() if not self.is_neglected(connection)]

    def refused(self, connection: Connection, now: float) -> None:
        """The far end has closed a connection of ours in favour of another one, or of none: dial again now.

        A Go node then loses sight of all connections that it has with us, the one that it dialled itself included:
        one more stream of ours is answered there, or none (§8). So ours go on a connection that is begun from now on.
        """
        self._newest_neglected = max(self.connections)
        wait = 0.0
        if self._refusals >= _REDIALS_AT_ONCE:
            wait = min(_FIRST_WAIT * 2 ** (self._refusals - _REDIALS_AT_ONCE), _LONGEST_WAIT)
        self._redial_at = now + wait
        self._refusals += 1
        for stream in connection.streams.values():
            stream.detach()
            self.waiting[stream.number] = stream
        connection.streams.clear()

    def taken(self) -> None:
        """The far end uses a connection with us."""
        self._refusals = 0

    def is_dial_wanted(self) -> bool:
        """Tell whether a dial has a purpose."""
        return bool(self.waiting or self.fresh_wanted or self.greeting)

    def is_mere_greeting(self, dial: Connection) -> bool:
        """Tell whether an open dial has done its duty once the far end knows of it.

        A node of ours then puts its old connections to the test; left open, this one would draw streams from µTP.
        """
        return self.greeting and not self.waiting and not dial.streams and dial.engine.is_far_end_like_us()

    def may_dial(self, now: float) -> bool:
        """Tell whether a dial is wanted, and not under way."""
        return self.dial is None and bool(self.waiting or self.fresh_wanted) and now >= self._redial_at

    def deadline(self, now: float) -> float | None:
        """Return when the owner has to look after the streams that wait."""
        if not self.waiting:
            return None
        at = min(stream.opened_at for stream in self.waiting.values()) + self._limits.connect_timeout
        return min(at, self._redial_at) if self._redial_at > now else at

    def packets_in_flight(self) -> int:
        """Return how many packets of QUIC are in flight to the key."""
        return sum(connection.engine.packets_in_flight for connection in self.connections.values())

    def take_ready(self) -> list[Connection]:
        """Return the connections that may have packets to send; they no longer count as such."""
        ready = list(self.ready.values())
        self.ready.clear()
        return ready

    def room(self, now: float) -> int:
        """Return how many more packets may be sent; one at least where none of QUIC is under way, whatever else is."""
        own = self.packets_in_flight()
        self.budget.pass_time(now)
        packets, length = self.budget.room()
        return max(min(self._limits.window_packets - own, packets if length > 0 else 0), 0 if own else 1)
