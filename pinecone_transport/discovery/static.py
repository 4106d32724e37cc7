"""Static peers: addresses that are dialled until a link is up, and again whenever it is lost (§9)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final, Generic, Protocol, TypeVar, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

DELAYS: Final = (1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds between dials; the last one again and again. A node that restarts is mostly back within three seconds, and
the reference waits for up to an hour where a homeserver is wanted back sooner."""
GOOD_LINK_LIFETIME: Final = 10.0
"""Seconds after which a link was a good one: it is dialled again at once, and the delays begin anew."""
STALE_DIAL: Final = 1.0
"""Seconds after which a dial that nobody has answered is begun anew when the network has changed: it may be on its way
over an interface that is gone, and would wait for its time limit."""


class DialledLink(Protocol):
    """What a dial results in.

    Attributes:
        lost: Fires when the link is gone.
    """

    lost: Deferred[None]

    def close(self) -> None:
        """Write what is queued, then close."""


_Link = TypeVar("_Link", bound=DialledLink)


class _State(Enum):
    STOPPED = "stopped"
    WAITING = "waiting"
    DIALLING = "dialling"
    CONNECTED = "connected"


@final
class StaticPeer(Generic[_Link]):
    """Keeps one link to one address up.

    Waits 1, 1, 1, 2, 4, 8 … 60 s between dials. A link counts as good once it has lived 10 s after its handshake.

    Args:
        dial: Starts a dial.
        failed: Told why a dial failed.
        reactor: For the waits.
        clock: Monotonic seconds.

    Attributes:
        address: For people.
        failures: Dials that failed since the last good link.
    """

    def __init__(
        self,
        address: str,
        *,
        dial: Callable[[], Deferred[_Link]],
        failed: Callable[[str, Failure], None],
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self.address: Final = address
        self.failures = 0
        self._dial = dial
        self._failed = failed
        self._reactor = reactor
        self._clock = clock
        self._state = _State.STOPPED
        self._delays = iter(DELAYS)
        self._waiting: IDelayedCall | None = None
        self._dialling: Deferred[_Link] | None = None
        self._dialled_at = 0.0
        self._link: _Link | None = None
        self._up_at: float | None = None

    @property
    def state(self) -> str:
        """``stopped``, ``waiting``, ``dialling`` or ``connected``."""
        return self._state.value

    @property
    def link(self) -> _Link | None:
        """The link that there is."""
        return self._link

    def start(self) -> None:
        """Dial, now and whenever it is needed."""
        if self._state is _State.STOPPED:
            self._delays = iter(DELAYS)
            self._start_dial()

    def stop(self) -> None:
        """Give up a dial that is under way, and dial no more. A link that is up is left alone."""
        self._set_state(_State.STOPPED)
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()

    def remove(self) -> None:
        """Stop, and close the link: it is not wanted any more."""
        self.stop()
        if self._link is not None:
            self._link.close()

    def redial_now(self) -> None:
        """Do not wait any longer: the network may be back, or another one."""
        stale = self._dialling
        if self._state is _State.WAITING or (stale is not None and self._clock() - self._dialled_at >= STALE_DIAL):
            self._delays = iter(DELAYS)
            self._start_dial()
            if stale is not None:
                stale.cancel()

    def handshake_completed(self, link: object) -> None:
        """A link has shaken hands; its life counts from here if it is ours. Others' are ignored."""
        if link is self._link:
            self._up_at = self._clock()

    def _set_state(self, state: _State) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        self._waiting = None
        self._state = state

    def _start_dial(self) -> None:
        self._set_state(_State.DIALLING)
        self._dialled_at = self._clock()
        self._dialling = dialling = self._dial()
        dialling.addCallbacks(partial(self._connected, dialling), partial(self._dial_failed, dialling))

    def _connected(self, dialling: Deferred[_Link], link: _Link) -> None:
        if dialling is not self._dialling:
            link.close()
            return  # it was given up too late
        self._dialling = None
        self._link = link
        self._up_at = None
        self._set_state(_State.CONNECTED)
        link.lost.addCallback(self._lost)

    def _dial_failed(self, dialling: Deferred[_Link], reason: Failure) -> None:
        if dialling is not self._dialling:
            return  # it was given up
        self._dialling = None
        self.failures += 1
        self._failed(self.address, reason)
        self._wait()

    def _lost(self, _: None) -> None:
        up_at, self._up_at, self._link = self._up_at, None, None
        if up_at is not None and self._clock() - up_at >= GOOD_LINK_LIFETIME:
            self.failures = 0
            self._delays = iter(DELAYS)
            self._wait(0.0)
        else:
            self._wait()

    def _wait(self, delay: float | None = None) -> None:
        """Dial again in ``delay`` seconds; by default in the next of the growing delays."""
        if self._state is _State.STOPPED:
            return
        if delay is None:
            delay = next(self._delays, DELAYS[-1])
        self._set_state(_State.WAITING)
        self._waiting = self._reactor.callLater(delay, self._start_dial)
