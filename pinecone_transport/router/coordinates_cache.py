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
    """Whether they, or those before them, were used on although they were to be doubted."""


@final
class CoordinatesCache:
    """Coordinates by key; above its limit, what was seen least recently makes room."""

    __slots__ = ("_doubted", "_seen", "limit")

    def __init__(self, limit: int = MAX_COORDINATES) -> None:
        self._seen: dict[PublicKey, _Seen] = {}
        self._doubted: set[PublicKey] = set()
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
        self._doubted.discard(key)
        if len(self._seen) > self.limit:
            self.forget(next(iter(self._seen)))
        return before != coordinates

    def get(self, key: PublicKey, now: float) -> Coordinates:
        """Return coordinates seen less than 60 s ago that are not doubted, else empty ones. Source: §6."""
        seen = self._seen.get(key)
        if seen is None or key in self._doubted or now - seen.seen_at >= COORDINATES_TIMEOUT:
            return ()
        return seen.coordinates

    def doubt(self, key: PublicKey, seen_before: float) -> None:
        """There was no answer: route by key, until there are coordinates anew or these are trusted again.

        Coordinates that were seen at the time ``seen_before`` or later stay in use, but once only. Frames are not
        signed: somebody who sends false coordinates in the key's name often enough would otherwise have all that goes
        to it led astray for good.
        """
        seen = self._seen.get(key)
        if seen is None:
            return
        if not seen.spared and seen.seen_at >= seen_before:
            self._seen[key] = seen._replace(spared=True)
            return
        self._seen[key] = seen._replace(spared=False)
        self._doubted.add(key)

    def trust(self) -> None:
        """Doubt none any more: it may have been a way of ours that was at fault, and is another one now."""
        self._doubted.clear()

    def forget(self, key: PublicKey) -> None:
        """Route by key until there are coordinates anew."""
        self._seen.pop(key, None)
        self._doubted.discard(key)

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()
        self._doubted.clear()
