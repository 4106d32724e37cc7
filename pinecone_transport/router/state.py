"""All that a router knows: plain data, apart from what is done with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from pinecone_transport.identity import PublicKey
from pinecone_transport.router.coordinates_cache import CoordinatesCache
from pinecone_transport.router.next_hop import Neighbourhood, Root
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.table import SnakeEntry, SnakeTable
from pinecone_transport.wire import Announcement, Coordinates


class SeenWakeup(NamedTuple):
    """The last wakeup broadcast of a node: its sequence, and when it came."""

    sequence: int
    received_at: float


@dataclass(slots=True)
class RouterState:
    """What a node knows of its network. Times are on the ``now`` axis, seconds.

    After a change to ``peers``, to one of them, to ``parent`` or to ``sequence``, `neighbours_changed` is to be called.

    Attributes:
        key: Our own, 32 bytes.
        sequence: Of our own announcements, those that we make as root.
        peers: Port to peer.
        parent: The parent's port, or None while we are root.
        last_order: Of the announcement that came last.
        reparent_at: When the reparent wait ends, or None while there is none.
        reparent_again_at: Until then a parent is not changed without a wait.
        announce_at: When the root announces itself again.
        table: The snake's routes.
        descending: The nearest node below us in the snake, as its bootstrap told.
        bootstrap_at: When our next bootstrap may leave; it does so at the tick that follows.
        hasty_until: Until then bootstraps leave more often.
        maintenance_at: When the next tick is, or infinite while there are no peers.
        coordinates_cache: Where the nodes are that sent us traffic.
        wakeups: The last broadcast of each node.
        wakeup_at: When we make the next one ourselves, or infinite while there are no peers.
    """

    key: PublicKey
    sequence: int = 1
    peers: dict[int, Peer] = field(default_factory=dict)
    parent: int | None = None
    last_order: int = 0
    reparent_at: float | None = None
    reparent_again_at: float = -math.inf
    announce_at: float = math.inf
    table: SnakeTable = field(default_factory=SnakeTable)
    descending: SnakeEntry | None = None
    bootstrap_at: float = 0.0
    hasty_until: float = -math.inf
    maintenance_at: float = math.inf
    coordinates_cache: CoordinatesCache = field(default_factory=CoordinatesCache)
    wakeups: dict[PublicKey, SeenWakeup] = field(default_factory=dict)
    wakeup_at: float = math.inf
    _neighbourhood: Neighbourhood | None = None
    _changes: int = 0

    @property
    def epoch(self) -> int:
        """A number that is another one after each change that a decision about traffic may depend on."""
        return self._changes + self.table.changes

    @property
    def parent_announcement(self) -> Announcement | None:
        """What the parent announced last, even if its link is down since or that is long ago; None for a root."""
        parent = self.peers.get(self.parent) if self.parent is not None else None
        return parent.announcement if parent is not None else None

    @property
    def root(self) -> Root:
        """The root as we see it, which may be ourselves. Source: §4."""
        announcement = self.parent_announcement
        if announcement is None:
            return Root(self.key, self.sequence)
        return Root(announcement.root_key, announcement.root_sequence)

    @property
    def coordinates(self) -> Coordinates:
        """Our own; empty for a root."""
        announcement = self.parent_announcement
        return announcement.coordinates if announcement is not None else ()

    @property
    def neighbourhood(self) -> Neighbourhood:
        """The peers, ordered for look-ups."""
        if self._neighbourhood is None:
            self._neighbourhood = Neighbourhood(self.key, self.root, self.coordinates, self.parent, self.peers.values())
        return self._neighbourhood

    def neighbours_changed(self) -> None:
        """Have the peers ordered anew."""
        self._neighbourhood = None
        self._changes += 1

    def set_parent(self, port: int | None, before: Root) -> None:
        """Change the parent; where that changes the root key, coordinates that were learnt are void.

        Args:
            port: The new parent's, or None to be root.
            before: The root until what led to this, which the old parent may have left, or taken with it, already.

        Source: §4.
        """
        kept = (before.key, self.root.key)
        self.parent = port
        self.neighbours_changed()
        if self.root.key not in kept:
            self.coordinates_cache.clear()

    def reset(self, now: float) -> None:
        """Forget what peers told us: the last one is gone. We announce ourselves anew. Source: §4, "Without peers"."""
        self.set_parent(None, self.root)
        for peer in self.peers.values():
            peer.announcement = None
        self.neighbours_changed()
        self.last_order = 0
        self.reparent_at = None
        self.announce_at = now
        self.table.clear()
        self.descending = None
        self.bootstrap_at = now
        self.maintenance_at = math.inf
        self.coordinates_cache.clear()
        self.wakeup_at = math.inf

    def bootstrap_soon(self, now: float) -> None:
        """Let our next bootstrap leave at the next tick. Source: §5, "Every second"."""
        self.bootstrap_at = min(self.bootstrap_at, now)
