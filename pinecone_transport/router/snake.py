"""The snake: bootstraps that make routes, and the neighbour below us (§5)."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.router.constants import BOOTSTRAP_HASTE, BOOTSTRAP_INTERVAL, HASTY_TIME
from pinecone_transport.router.events import RouteLearned, RouterEvent
from pinecone_transport.router.next_hop import Root, snake_next_hop
from pinecone_transport.router.outbox import Outbox
from pinecone_transport.router.sequences import Sequences
from pinecone_transport.router.state import RouterState
from pinecone_transport.router.table import SnakeEntry
from pinecone_transport.wire import (
    BOOTSTRAP,
    NO_WATERMARK,
    Bootstrap,
    Frame,
    decode_bootstrap,
    sign_bootstrap,
)


def becomes_descending(key: PublicKey, present: SnakeEntry | None, candidate: PublicKey, now: float) -> bool:
    """Tell whether the node that bootstraps is our descending neighbour from now on.

    Args:
        key: Our own, 32 bytes.
        present: The descending neighbour until now.
        candidate: The key of the node that bootstraps, 32 bytes.
        now: Seconds, against which the present one is too old.

    Source: §5, "Bootstraps".
    """
    if candidate >= key:
        return False
    return present is None or present.expired(now) or present.key <= candidate


@final
class Snake:
    """This node's place in the snake."""

    __slots__ = ("_identity", "_outbox", "_sequences", "_state")

    def __init__(self, identity: Identity, state: RouterState, outbox: Outbox, sequences: Sequences) -> None:
        self._identity: Final = identity
        self._sequences: Final = sequences
        self._state: Final = state
        self._outbox: Final = outbox

    def receive_bootstrap(self, source: int, frame: Frame, now: float) -> list[RouterEvent]:
        """Take a bootstrap in and pass it on. Nothing in it is held against the peer that it came by."""
        state = self._state
        key = frame.destination_key
        bootstrap = self.accept(frame, now)
        if bootstrap is None:
            return []
        port, watermark = snake_next_hop(state.neighbourhood, state.table, key, frame.watermark, now, bootstrap=True)
        learned = self.store(key, bootstrap, source, port, now)
        if port is None:
            return learned
        if port == source or watermark.is_worse_than(frame.watermark):
            self._outbox.drop("bootstrap would turn back")
            return learned
        frame.watermark = watermark
        self._outbox.forward(port, frame)
        return learned

    def store(
        self, key: PublicKey, bootstrap: Bootstrap, source: int, destination: int | None, now: float
    ) -> list[RouterEvent]:
        """Keep the route that a good bootstrap made; return what key it makes known."""
        state = self._state
        known = key in state.table or key in state.neighbourhood.ways or key == state.key
        entry = SnakeEntry(
            key, source, destination, bootstrap.sequence, bootstrap.root_key, bootstrap.root_sequence, now
        )
        stored = state.table.store(entry)
        if not stored:
            self._outbox.drop("table full")
        if becomes_descending(state.key, state.descending, key, now):
            self.set_descending(entry, now)
        return [RouteLearned(key)] if stored and not known else []

    def set_descending(self, entry: SnakeEntry | None, now: float) -> None:
        """Change the descending neighbour, or renew it. A change lets us bootstrap soon. Source: §5."""
        state = self._state
        before = state.descending
        state.descending = entry
        if (before.key if before is not None else None) != (entry.key if entry is not None else None):
            state.bootstrap_soon(now)

    def drop_port(self, port: int, now: float) -> None:
        """A link is gone, and what it led to with it. Source: §5, "Bootstraps".

        Others held routes to us that came by it, though our place in the tree may be what it was.
        """
        state = self._state
        state.hasty_until = now + HASTY_TIME
        state.table.drop_port(port)
        if state.descending is not None and state.descending.source == port:
            self.set_descending(None, now)

    def maintain(self, now: float) -> None:
        """Do the work of a tick. Source: §5, "Every second"."""
        state = self._state
        descending = state.descending
        if descending is not None:
            root = Root(descending.root_key, descending.root_sequence)
            if descending.expired(now) or root != state.root:
                self.set_descending(None, now)
        state.table.drop_expired(now)
        if state.parent is not None and now >= state.bootstrap_at - (BOOTSTRAP_HASTE if now < state.hasty_until else 0):
            self._bootstrap(now)

    def _bootstrap(self, now: float) -> None:
        state = self._state
        port, watermark = snake_next_hop(state.neighbourhood, state.table, state.key, NO_WATERMARK, now, bootstrap=True)
        if port is None:
            return
        state.bootstrap_at = now + BOOTSTRAP_INTERVAL
        payload = sign_bootstrap(self._identity, self._sequences.next(now), *state.root).encode()
        frame = Frame(BOOTSTRAP, payload, destination_key=state.key, watermark=watermark)
        self._outbox.send(port, frame)

    def accept(self, frame: Frame, now: float) -> Bootstrap | None:
        """Return the bootstrap if it is one to store. The signature comes last, since it costs most."""
        state = self._state
        try:
            bootstrap = decode_bootstrap(frame.payload)
        except AnnouncementError:
            self._outbox.drop("bootstrap malformed")
            return None
        if Root(bootstrap.root_key, bootstrap.root_sequence) != state.root:
            self._outbox.drop("bootstrap of another root")
            return None
        entry = state.table.get(frame.destination_key)
        if (
            entry is not None
            and (entry.root_key, entry.root_sequence) == state.root
            and bootstrap.sequence <= entry.sequence
        ):
            self._outbox.drop("bootstrap too old")
            return None
        if not bootstrap.verify(frame.destination_key):
            self._outbox.drop("bootstrap with a bad signature")
            return None
        return bootstrap
