"""Carries out what `Neighbours` decides: dials, timers, and links closed that there are two of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery.interfaces import Admits
from pinecone_transport.discovery.neighbours import NeighbourDial, Neighbours
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import HostPort, Link, TcpLink


@final
class NeighbourLinks:
    """The dials to the nodes near by.

    Args:
        name: Of the source.
        neighbours: Decides.
        dial: Starts a dial.
        admits: Asked before each dial.
        reactor: For the waits.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        neighbours: Neighbours,
        *,
        dial: Callable[[NeighbourDial], Deferred[TcpLink]],
        admits: Admits,
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._neighbours = neighbours
        self._dial = dial
        self._admits = admits
        self._reactor = reactor
        self._clock = clock
        self._running = False
        self._timer: IDelayedCall | None = None
        # Dials whose connection is not there yet, and links whose handshake is not done yet.
        self._connecting: Final[dict[NeighbourDial, Deferred[TcpLink]]] = {}
        self._dialled: Final[dict[Link, NeighbourDial]] = {}

    def start(self) -> None:
        """Dial whom there is to dial, from now on."""
        self._running = True
        self._make_dials()

    def stop(self) -> None:
        """Give up the dials under way, and dial no more."""
        self._running = False
        self._set_timer(None)
        self._cancel_all(lambda dial: True)

    def heard(self, key: PublicKey, zone: str, address: HostPort) -> bool:
        """Somebody says that it is there; tell whether that is news."""
        news = self._neighbours.heard(key, zone, address, self._clock())
        if news:
            self._make_dials()
        return news

    def retry_now(self) -> None:
        """Do not wait any longer with those who could not be reached."""
        self._neighbours.retry_now(self._clock())
        self._make_dials()

    def forget(self, key: PublicKey, zone: str) -> None:
        """Somebody said goodbye: give up the dial to it."""
        self._neighbours.forget(key, zone)
        self._cancel_all(lambda dial: (dial.key, dial.zone) == (key, zone))

    def forget_zone(self, zone: str) -> None:
        """The interface is gone: give up the dials there."""
        self._neighbours.forget_zone(zone)
        self._cancel_all(lambda dial: dial.zone == zone)

    def link_up(self, link: Link, key: PublicKey, zone: str, *, own: bool = True) -> None:
        """A link has shaken hands; if there is one too many now, close it."""
        dial = self._dialled.pop(link, None)
        if dial is not None and dial.key != key:
            # Whoever announces many keys at one address is to get one link there at most.
            self._neighbours.counters["announced keys that were another's"] += 1
            self._neighbours.dial_ended(dial, "another key answered", self._clock())
            link.abort()
            return
        if dial is not None:
            self._neighbours.dial_succeeded(dial)
        superfluous = self._neighbours.link_up(link, key, zone, self._clock(), own=own)
        # The far end can close its own link only for one of ours that it has shaken hands on: this one is not so far.
        self._cancel_all(lambda pending: (pending.key, pending.zone) == (key, zone))
        for each in superfluous:
            self._neighbours.counters["second links closed"] += 1
            each.close()

    def link_down(self, link: Link) -> None:
        """A link is gone."""
        self._neighbours.link_down(link, self._clock())
        self._make_dials()

    # Inside

    def _make_dials(self) -> None:
        if not self._running:
            return
        for dial in self._neighbours.dials(self._clock()):
            unwanted = self._admits(self._name, dial.key)
            if unwanted is not None:
                self._neighbours.dial_refused(dial, unwanted, self._clock())
            else:
                self._connecting[dial] = connecting = self._dial(dial)
                connecting.addCallbacks(self._connected, self._failed, callbackArgs=(dial,), errbackArgs=(dial,))
        self._set_timer(self._neighbours.next_timer())

    def _connected(self, link: TcpLink, dial: NeighbourDial) -> None:
        self._connecting.pop(dial, None)
        self._dialled[link] = dial
        link.lost.addCallback(lambda _: self._lost(link))

    def _lost(self, link: TcpLink) -> None:
        dial = self._dialled.pop(link, None)
        if dial is not None:  # else it was up, and `link_down` comes
            self._ended(dial, "")  # the node knows why the link did not come up

    def _failed(self, reason: Failure, dial: NeighbourDial) -> None:
        if self._connecting.pop(dial, None) is not None:  # else it was cancelled
            self._neighbours.counters["dials that failed"] += 1
        self._ended(dial, reason.getErrorMessage())

    def _ended(self, dial: NeighbourDial, reason: str) -> None:
        self._neighbours.dial_ended(dial, reason, self._clock())
        self._make_dials()

    def _cancel_all(self, unwanted: Callable[[NeighbourDial], bool]) -> None:
        for dial in [dial for dial in self._connecting if unwanted(dial)]:
            self._connecting.pop(dial).cancel()

    def _set_timer(self, at: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if at is not None:
            self._timer = self._reactor.callLater(max(at - self._clock(), 0.0), self._make_dials)
