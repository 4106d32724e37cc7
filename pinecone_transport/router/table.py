"""The snake's table: by which link a bootstrap of each key came, in the order of keys and of age."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import final

from pinecone_transport.identity import PublicKey
from pinecone_transport.router.constants import MAX_ROUTES, ROUTE_TIMEOUT
from pinecone_transport.wire import Watermark


@dataclass(slots=True)
class SnakeEntry:
    """A route to a key, learnt from its bootstrap.

    Attributes:
        key: The node that bootstrapped, 32 bytes.
        source: The port that the bootstrap came by: where frames for the key go.
        destination: The port that it went to, or None where it ended here.
        sequence: Of the bootstrap.
        root_key: Whose tree the node was in then, 32 bytes.
        root_sequence: Of that root.
        received_at: When the bootstrap came.
    """

    key: PublicKey
    source: int
    destination: int | None
    sequence: int
    root_key: PublicKey
    root_sequence: int
    received_at: float

    def expired(self, now: float) -> bool:
        """Tell whether the route is too old to be used. Source: §5."""
        return now - self.received_at >= ROUTE_TIMEOUT

    def usable(self, watermark: Watermark, live: Container[int], now: float) -> bool:
        """Tell whether a frame with this watermark may take the route. Source: §5 step 5."""
        if now - self.received_at >= ROUTE_TIMEOUT or self.source not in live:
            return False
        if self.key != watermark.key:
            return self.key < watermark.key
        return self.sequence == 0 or self.sequence >= watermark.sequence


@final
class SnakeTable:
    """The routes, at most one for a key.

    Args:
        entries: What it holds at first.
        limit: How many it holds at most.

    Attributes:
        changes: How often it was changed.
    """

    __slots__ = ("_entries", "_keys", "changes", "limit")

    def __init__(self, entries: Iterable[SnakeEntry] = (), limit: int = MAX_ROUTES) -> None:
        # The dict is kept in the order of age, so that expiry looks at no more than what has expired.
        self._entries = {entry.key: entry for entry in sorted(entries, key=lambda entry: entry.received_at)}
        self._keys = sorted(self._entries)
        self.limit = limit
        self.changes = 0

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: PublicKey) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[SnakeEntry]:
        """Iterate over the entries, lowest key first."""
        return map(self._entries.__getitem__, self._keys)

    def get(self, key: PublicKey) -> SnakeEntry | None:
        """Return the route to exactly this key, expired or not."""
        return self._entries.get(key)

    def store(self, entry: SnakeEntry) -> bool:
        """Add the route or put it in the place of the key's last one; return False where there is no room for it."""
        if self._entries.pop(entry.key, None) is None:
            if len(self._entries) >= self.limit:
                return False
            insort(self._keys, entry.key)
        self._entries[entry.key] = entry
        self.changes += 1
        return True

    def nearest(
        self, key: PublicKey, below: PublicKey, watermark: Watermark, live: Container[int], now: float
    ) -> SnakeEntry | None:
        """Return the usable route with the lowest key above ``key`` and below ``below``. Source: §5 step 5."""
        keys = self._keys
        for index in range(bisect_right(keys, key), len(keys)):
            candidate = keys[index]
            # A key above the watermark's is worse than it, and so are all that follow.
            if candidate >= below or candidate > watermark.key:
                return None
            entry = self._entries[candidate]
            if entry.usable(watermark, live, now):
                return entry
        return None

    def drop_expired(self, now: float) -> None:
        """Forget every route that is too old. Source: §5, "Every second"."""
        expired = []
        for entry in self._entries.values():
            if not entry.expired(now):
                break
            expired.append(entry.key)
        self._drop(expired)

    def drop_port(self, port: int) -> None:
        """Forget every route that came from or went to the port. Source: §5, "Bootstraps"."""
        self._drop([entry.key for entry in self._entries.values() if port in (entry.source, entry.destination)])

    def clear(self) -> None:
        """Forget every route."""
        self._entries.clear()
        self._keys.clear()
        self.changes += 1

    def _drop(self, keys: list[PublicKey]) -> None:
        if keys:
            for key in keys:
                del self._entries[key]
            self._keys = [key for key in self._keys if key in self._entries]
            self.changes += 1
