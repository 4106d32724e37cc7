"""Where in the tree the nodes are that sent us traffic, for as long as that is worth something (§6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.router.constants import COORDINATES_TIMEOUT, MAX_COORDINATES, MAX_HOPS
from pinecone_transport.wire import Coordinates


class _Seen(NamedTuple):
    coordinates: Coordinates
    seen_at: float
    spared: bool
    """Whether they, or those before them, were kept although they were to be forgotten."""


@final
class CoordinatesCache:
    """Coordinates by key; above its limit, what was seen least recently makes room."""

    __slots__ = ("_seen", "limit")

    def __init__(self, limit: int = MAX_COORDINATES) -> None:
        self._seen: dict[PublicKey, _Seen] = {}
        self.limit: Final = limit

    def __len__(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[PublicKey]:
        """Iterate over the keys, the least recently seen first."""
        return iter(self._seen)

    def learn(self, key: PublicKey, coordinates: Coordinates, now: float) -> bool:
        """Note the source of a frame for us, and tell whether that is news.

        Empty coordinates say nothing, very long ones would crowd the frames.
        """
        if not 0 < len(coordinates) <= MAX_HOPS:
            return False
        before = self.get(key, now)
        seen = self._seen.pop(key, None)
        self._seen[key] = _Seen(coordinates, now, seen is not None and seen.spared)
        if len(self._seen) > self.limit:
            del self._seen[next(iter(self._seen))]
        return before != coordinates

    def get(self, key: PublicKey, now: float) -> Coordinates:
        """Return coordinates seen less than 60 s ago, else empty ones. Source: §6."""
        seen = self._seen.get(key)
        if seen is None or now - seen.seen_at >= COORDINATES_TIMEOUT:
            return ()
        return seen.coordinates

    def forget(self, key: PublicKey, seen_before: float) -> None:
        """Route by key from now on, unless the coordinates were seen at that time or later.

        That saves them once only. Frames are not signed: somebody who sends false coordinates in the key's name often
        enough would otherwise have all that goes to it led astray for good.
        """
        seen = self._seen.get(key)
        if seen is None:
            return
        if seen.spared or seen.seen_at < seen_before:
            del self._seen[key]
        else:
            self._seen[key] = seen._replace(spared=True)

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()
