"""Who waits for whom: reading of a link pauses while a link that its traffic leaves by cannot keep up.

Relays in a ring would wait for one another for ever, and a link that is not read from misses its peer's keepalives. So
a pause is short, whatever happens, and traffic that still finds no room is dropped by the flow that has most. A link
that takes long to make room is not worth waiting for: what comes by the same link and goes elsewhere would wait, too.
"""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.identity import PublicKey

MAX_PAUSE: Final = 0.5
"""Seconds for which nothing is read from a link, at most."""
SLOW_PAUSE: Final = 0.05
"""Seconds of a pause that tell of a slow link: no more than 2.6 MB/s leave by it."""
SLOW_FACTOR: Final = 10.0
"""So many times as long as it was waited for, a slow link is not waited for again."""


@final
class Pause:
    """Reading of a link, paused.

    Attributes:
        slow_link: Which other link is waited for.
        destination: Of the flow that has no room there, 32 bytes.
        source: Likewise.
        began_at: Seconds.
    """

    __slots__ = ("began_at", "destination", "slow_link", "source")

    def __init__(self, slow_link: int, destination: PublicKey, source: PublicKey, began_at: float) -> None:
        self.slow_link: Final = slow_link
        self.destination: Final = destination
        self.source: Final = source
        self.began_at: Final = began_at

    @property
    def ends_at(self) -> float:
        """When it ends at the latest, seconds."""
        return self.began_at + MAX_PAUSE


@final
class Pauses:
    """Which links are not read from, and for which other. Links are the stack's numbers."""

    __slots__ = ("_patience_at", "_pauses", "_waiting")

    def __init__(self) -> None:
        self._pauses: Final[dict[int, Pause]] = {}
        self._waiting: Final[dict[int, dict[int, None]]] = {}  # by the link that is waited for
        self._patience_at: Final[dict[int, float]] = {}  # when a slow link may be waited for again

    def __contains__(self, link: int) -> bool:
        return link in self._pauses

    def of(self, link: int) -> Pause:
        """Return the pause of a link that is paused."""
        return self._pauses[link]

    def waiting_for(self, link: int) -> list[int]:
        """Return the links that wait for this one."""
        return list(self._waiting.get(link, ()))

    def begin(self, link: int, pause: Pause) -> bool:
        """Pause a link; tell whether it is paused now and was not before."""
        slow_link = pause.slow_link
        if link in self._pauses or pause.began_at < self._patience_at.get(slow_link, pause.began_at):
            return False
        self._pauses[link] = pause
        self._waiting.setdefault(slow_link, {})[link] = None
        return True

    def end(self, link: int, now: float) -> None:
        """The link, which must be paused, is read from again."""
        pause = self._pauses.pop(link)
        waiting = self._waiting[pause.slow_link]
        del waiting[link]
        if not waiting:
            del self._waiting[pause.slow_link]
        lasted = now - pause.began_at
        if lasted >= SLOW_PAUSE:
            self._patience_at[pause.slow_link] = now + SLOW_FACTOR * lasted

    def forget(self, link: int) -> None:
        """The link, which neither is paused nor waited for, is gone."""
        self._patience_at.pop(link, None)
