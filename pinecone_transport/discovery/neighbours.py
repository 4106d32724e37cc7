"""Whom to dial, of those who announce themselves near by, and when (§9). No sockets and no clock: `now` comes in."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

import attrs

from pinecone_transport.discovery.interfaces import Candidate, CandidateState
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import HostPort, Link

FIRST_DELAY: Final = 2.0
LONGEST_DELAY: Final = 60.0
REFUSED_DELAY: Final = 60.0
GOOD_LINK_LIFETIME: Final = 10.0
"""Seconds after which a link was a good one, and the delays begin anew."""
HEAD_START: Final = 2.5
"""Seconds that the node with the lower key has for its dial, so that dials seldom cross: it hears us every 2 s."""

MAX_NEIGHBOURS: Final = 256
MAX_PER_HOST: Final = 8
"""Keys without a link that one address may announce: it takes an address each to crowd out others."""
MAX_ADDRESSES: Final = 4
MAX_DIALS: Final = 8
DIALS_PER_SECOND: Final = 10.0
NEWS_PER_SECOND: Final = 16.0
NEWS_AT_ONCE: Final = 64.0


@attrs.frozen
class NeighbourDial:
    """A dial to make now; `Neighbours.dial_ended` is to tell how it went, unless a link came up by it."""

    key: PublicKey
    zone: str
    address: HostPort


@final
class _Pace:
    """So many at once, and so many a second after that."""

    __slots__ = ("_at", "_burst", "_per_second", "_room")

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._room = burst
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Take one, if there is room."""
        self._room = min(self._burst, self._room + (now - self._at) * self._per_second)
        self._at = now
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True

    def next_at(self) -> float:
        """Return when there will be room."""
        return self._at + max(0.0, 1.0 - self._room) / self._per_second


@final
class _Neighbour:
    """What is known of one key in one zone.

    Attributes:
        addresses: Where it said it listens, and when it said so last.
        tried: Those of them that failed since the last wait.
        links: To it, each with whether it is this source's own.
        not_before: When it may be dialled.
        dialling: The address that is being dialled.
        dialled: The one that was dialled last.
    """

    __slots__ = (
        "addresses",
        "delay",
        "dialled",
        "dialling",
        "failures",
        "heard_at",
        "key",
        "links",
        "not_before",
        "reason",
        "tried",
        "unwanted",
        "up_at",
        "zone",
    )

    def __init__(self, key: PublicKey, zone: str, not_before: float) -> None:
        self.key: Final = key
        self.zone: Final = zone
        self.addresses: Final[dict[HostPort, float]] = {}
        self.tried: Final[set[HostPort]] = set()
        self.links: Final[dict[Link, bool]] = {}
        self.heard_at = float("-inf")
        self.up_at = 0.0
        self.not_before = not_before
        self.delay = FIRST_DELAY
        self.failures = 0
        self.reason = ""
        self.unwanted = False
        self.dialling: HostPort | None = None
        self.dialled: HostPort | None = None

    @property
    def idle(self) -> bool:
        return not self.links and self.dialling is None

    def next_address(self) -> HostPort | None:
        """Return the address heard of last among those that did not just fail."""
        untried = [address for address in self.addresses if address not in self.tried]
        return max(untried, key=self.addresses.__getitem__, default=None)

    def state(self) -> CandidateState:
        if self.links:
            return CandidateState.CONNECTED
        if self.dialling is not None:
            return CandidateState.DIALLING
        return CandidateState.UNWANTED if self.unwanted else CandidateState.WAITING

    def wait(self, now: float) -> None:
        """Let the next of the growing delays pass."""
        self.not_before = now + self.delay
        self.delay = min(2 * self.delay, LONGEST_DELAY)
        self.tried.clear()


@final
class Neighbours:
    """The nodes near by, each once per zone: an interface, or whatever else keeps links to one key apart.

    Any of two nodes may dial; of two that do so at once, the one with the higher key closes the link that it dialled.

    Args:
        source: Its name.
        own_key: Ours, 32 bytes.
        expiry: Seconds after which somebody who is not heard of is forgotten; infinite for until `forget`.
        patience: Seconds that anybody is given to become linked in another way first.

    Attributes:
        counters: What was ignored, by reason.
    """

    def __init__(self, source: str, own_key: PublicKey, *, expiry: float, patience: float = 0.0) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._source = source
        self._own_key = own_key
        self._expiry = expiry
        self._patience = patience
        self._known: Final[dict[tuple[PublicKey, str], _Neighbour]] = {}
        self._of_link: Final[dict[Link, _Neighbour]] = {}
        self._news: Final = _Pace(NEWS_PER_SECOND, NEWS_AT_ONCE)
        self._dials: Final = _Pace(DIALS_PER_SECOND, MAX_DIALS)

    # From the network

    def heard(self, key: PublicKey, zone: str, address: HostPort, now: float) -> bool:
        """Note that somebody says that it is there; tell whether `dials` has news to look at."""
        if key == self._own_key:
            return False
        known = self._known.get((key, zone))
        if known is not None:
            known.heard_at = now
            if address in known.addresses:
                known.addresses[address] = now
                return False
        if not self._news.take(now):
            self.counters["announcements over the rate"] += 1
            return False
        neighbour = known or self._add(key, zone, address, now)
        if neighbour is None:
            return False
        self._add_address(neighbour, address, now)
        return True

    def forget(self, key: PublicKey, zone: str) -> None:
        """Dial somebody no more: it said goodbye."""
        known = self._known.get((key, zone))
        if known is not None:
            known.addresses.clear()
            known.heard_at = float("-inf")
            self._drop_if_useless(known, float("inf"))

    def forget_zone(self, zone: str) -> None:
        """Dial nobody there any more: the interface is gone."""
        for known in list(self._known.values()):
            if known.zone == zone:
                self.forget(known.key, zone)

    def retry_now(self, now: float) -> None:
        """Do not wait any longer with anybody who could not be reached: the network has changed."""
        for known in self._known.values():
            if not known.unwanted:
                known.delay = FIRST_DELAY
                known.tried.clear()
                known.not_before = min(known.not_before, now + self._head_start(known.key))

    # From the links

    def link_up(self, link: Link, key: PublicKey, zone: str, now: float, *, own: bool = True) -> list[Link]:
        """Note a link that has shaken hands; return the links that are now superfluous, for us to close.

        Args:
            link: The link.
            key: Its peer's.
            zone: Where it is.
            now: The time.
            own: Whether it is one of this source; others make our own superfluous, and are never so themselves.
        """
        neighbour = self._known.get((key, zone))
        if neighbour is None:
            neighbour = self._known[key, zone] = _Neighbour(key, zone, now)
        neighbour.links[link] = own
        neighbour.up_at = now
        neighbour.unwanted = False
        neighbour.reason = ""
        self._of_link[link] = neighbour
        return self._superfluous(neighbour)

    def link_down(self, link: Link, now: float) -> None:
        """Note that a link is gone; others than those of `link_up` are ignored."""
        neighbour = self._of_link.pop(link, None)
        if neighbour is None:
            return
        del neighbour.links[link]
        if now - neighbour.up_at >= GOOD_LINK_LIFETIME:
            neighbour.failures = 0
            neighbour.delay = FIRST_DELAY
            neighbour.tried.clear()
            neighbour.not_before = now + self._head_start(neighbour.key)
        else:
            neighbour.wait(now)
        self._drop_if_useless(neighbour, now)

    # Dials

    def dials(self, now: float) -> list[NeighbourDial]:
        """Return the dials to make now, and take them for begun."""
        for known in list(self._known.values()):
            self._drop_if_useless(known, now)
        due = [known for known in self._known.values() if known.idle and known.addresses and known.not_before <= now]
        due.sort(key=lambda known: (known.failures, known.not_before))
        made = []
        for neighbour in due[: MAX_DIALS - self._dials_under_way()]:
            address = neighbour.next_address()
            if address is None or not self._dials.take(now):
                break
            neighbour.dialling = neighbour.dialled = address
            made.append(NeighbourDial(neighbour.key, neighbour.zone, address))
        return made

    def dial_ended(self, dial: NeighbourDial, reason: str, now: float) -> None:
        """Note that a dial brought no link, and why, for people; other addresses of the same node are tried at once.

        An empty reason leaves it to the node to say why the link did not come up.
        """
        neighbour = self._dialled(dial)
        if neighbour is None or neighbour.links:
            return
        neighbour.failures += 1
        neighbour.reason = reason
        neighbour.tried.add(dial.address)
        if neighbour.next_address() is None:
            neighbour.wait(now)

    def dial_refused(self, dial: NeighbourDial, reason: str, now: float) -> None:
        """Note that there shall be no link to this node, and why, for people; it is asked for again in a minute."""
        neighbour = self._dialled(dial)
        if neighbour is not None:
            neighbour.unwanted = True
            neighbour.reason = reason
            neighbour.not_before = now + REFUSED_DELAY

    def dial_succeeded(self, dial: NeighbourDial) -> None:
        """Note that a dial brought a link; `link_up` told of it."""
        self._dialled(dial)

    def next_timer(self) -> float | None:
        """Return when `dials` is to be called again at the latest."""
        idle = [known for known in self._known.values() if known.idle and known.addresses]
        times = [known.heard_at + self._expiry for known in idle]
        if self._dials_under_way() < MAX_DIALS:
            times += [max(known.not_before, self._dials.next_at()) for known in idle]
        earliest = min(times, default=float("inf"))
        return earliest if earliest < float("inf") else None

    def candidates(self) -> list[Candidate]:
        """Return all who announced themselves, or are linked by this source."""
        shown = [known for known in self._known.values() if known.addresses or any(known.links.values())]
        return [self._candidate(known) for known in shown]

    # Inside

    def _dials_under_way(self) -> int:
        return sum(known.dialling is not None for known in self._known.values())

    def _head_start(self, key: PublicKey) -> float:
        return HEAD_START if self._own_key > key else 0.0

    def _add(self, key: PublicKey, zone: str, address: HostPort, now: float) -> _Neighbour | None:
        unlinked = [known for known in self._known.values() if not known.links]
        if sum(any(address.host == own.host for own in known.addresses) for known in unlinked) >= MAX_PER_HOST:
            self.counters["keys over the limit of one address"] += 1
            return None
        if len(unlinked) >= MAX_NEIGHBOURS:
            evictable = [known for known in unlinked if known.failures and known.dialling is None]
            if not evictable:
                self.counters["neighbours over the limit"] += 1
                return None
            worst = max(evictable, key=lambda known: (known.failures, -known.heard_at))
            del self._known[worst.key, worst.zone]
        neighbour = _Neighbour(key, zone, now + self._patience + self._head_start(key))
        neighbour.heard_at = now
        self._known[key, zone] = neighbour
        return neighbour

    def _add_address(self, neighbour: _Neighbour, address: HostPort, now: float) -> None:
        if neighbour.addresses and not neighbour.unwanted:  # it has moved, or began anew with another port
            neighbour.not_before = min(neighbour.not_before, now + self._patience + self._head_start(neighbour.key))
        neighbour.addresses[address] = now
        if len(neighbour.addresses) > MAX_ADDRESSES:
            oldest = min(neighbour.addresses, key=neighbour.addresses.__getitem__)
            del neighbour.addresses[oldest]
            neighbour.tried.discard(oldest)

    def _superfluous(self, neighbour: _Neighbour) -> list[Link]:
        own = [link for link, is_own in neighbour.links.items() if is_own]
        inbound = [link for link in own if not link.outbound]
        if len(own) < len(neighbour.links) or (inbound and self._own_key > neighbour.key):
            return [link for link in own if link.outbound]
        return []

    def _dialled(self, dial: NeighbourDial) -> _Neighbour | None:
        """Return whom a dial that has ended was for, if it is still known."""
        neighbour = self._known.get((dial.key, dial.zone))
        if neighbour is None or neighbour.dialling != dial.address:
            return None
        neighbour.dialling = None
        return neighbour

    def _drop_if_useless(self, neighbour: _Neighbour, now: float) -> None:
        if not neighbour.idle:
            return
        for address, heard_at in list(neighbour.addresses.items()):
            if now - heard_at >= self._expiry:
                del neighbour.addresses[address]
                neighbour.tried.discard(address)
        if not neighbour.addresses:
            self._known.pop((neighbour.key, neighbour.zone), None)

    def _candidate(self, neighbour: _Neighbour) -> Candidate:
        # Of several addresses the one for which the node may know why there is no link.
        known = sorted(neighbour.addresses, key=lambda address: address != neighbour.dialled)
        return Candidate(
            source=self._source,
            address=next((link.address for link in neighbour.links), None) or str(known[0]),
            key=neighbour.key,
            state=neighbour.state(),
            reason="" if neighbour.links else neighbour.reason,
            failures=neighbour.failures,
            seen_at=neighbour.heard_at if neighbour.addresses else None,
        )
