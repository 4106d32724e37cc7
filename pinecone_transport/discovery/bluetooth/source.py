"""Bluetooth LE as a source of links: asks devices near by who they are, and dials or is dialled (§9)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery.bluetooth.backend import GATT_TIMEOUT, BluetoothBackend
from pinecone_transport.discovery.bluetooth.devices import Ask, Devices, Dial
from pinecone_transport.discovery.interfaces import Admits, Candidate
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link, LinkOwner, StreamLink
from pinecone_transport.repeats import RepeatFilter
from pinecone_transport.wire import PeerType, encode_psm_characteristic

logger = logging.getLogger("pinecone_transport.node")

NAME: Final = "ble"
WRITE_LIMIT: Final = 4096
"""Bytes handed to a channel at once: a twelfth of a second of a slow one, so that what matters need not wait long."""
STEP_TIMEOUT: Final = 2 * GATT_TIMEOUT
"""Seconds after which a step has failed, whatever the radio does."""
HOLD: Final = 10.0
"""Seconds for which a connection without a link is kept."""
RESTART_DELAY: Final = 30.0
LONGEST_RESTART_DELAY: Final = 300.0
"""Seconds until a radio that is gone is looked for again: at first, and when it was looked for in vain many times."""

_IMPOSTORS: Final = "devices that show another key than they have"


@final
class BluetoothSource:
    """A `LinkSource` over one radio.

    Args:
        own_key: Ours, 32 bytes.
        owner: Gets the links.
        make_backend: Makes the radio's driver; called again when the radio was gone.
        admits: Asked before each dial.
        reactor: For the waits.
        clock: Monotonic seconds.

    Attributes:
        name: ``ble``.
        counters: What was ignored, by reason.
    """

    def __init__(
        self,
        own_key: PublicKey,
        owner: LinkOwner,
        *,
        make_backend: Callable[[], BluetoothBackend],
        admits: Admits,
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self.name: Final = NAME
        self._own_key = own_key
        self._owner = owner
        self._make_backend = make_backend
        self._admits = admits
        self._reactor = reactor
        self._clock = clock
        self._devices: Final = Devices(NAME, own_key, SystemRandom())
        self.counters: Final[Counter[str]] = self._devices.counters
        self._backend: BluetoothBackend | None = None
        self._psm: int | None = None
        self._links: Final[set[StreamLink]] = set()
        self._timer: IDelayedCall | None = None
        self._step: Deferred[Any] = succeed(None)
        self._releases: Final[dict[str, IDelayedCall]] = {}
        self._restart_delay = RESTART_DELAY
        self._last_reason = ""
        self._log: Final = RepeatFilter(logger)

    # LinkSource

    def listen(self) -> None:
        """Do nothing: the radio is switched on by `start`, and may come and go later."""

    def start(self) -> None:
        """Switch the radio on."""
        self._switch_on()

    def stop(self) -> Deferred[Any]:
        """Switch the radio off; that ends its links, too."""
        backend = self._leave_backend()
        return self._switch_off(backend) if backend is not None else succeed(None)

    def network_changed(self) -> None:
        """Ask and dial whoever is waited with."""
        self._devices.retry_now(self._clock())
        self._go_on()

    def link_up(self, link: Link, key: PublicKey) -> None:
        """Note whom one of our links leads to; close it if that is somebody else than was shown."""
        now = self._clock()
        if link.way == NAME and not self._devices.link_up(link, key, now):
            # Whoever does that can change its address as well.
            self._log.info(_IMPOSTORS, now, "Link closed, %s shows another key than it has", link.address)
            link.close()

    def link_down(self, link: Link, key: PublicKey) -> None:
        """Do nothing: the link itself says when it is lost."""

    def addresses(self) -> list[str]:
        """Return the PSM that is listened on."""
        return [f"ble:{self._psm}"] if self._psm is not None else []

    def candidates(self) -> list[Candidate]:
        """Return the devices near by."""
        return self._devices.candidates()

    # The radio

    def _switch_on(self) -> None:
        self._timer = None
        try:
            self._backend = backend = self._make_backend()
        except Exception as error:
            self._try_again(str(error) or type(error).__name__)
            return
        starting = backend.start(
            seen=self._seen, accept=self._accept, failed=lambda reason: self._radio_failed(backend, reason)
        )
        starting.addCallback(self._started, backend)
        starting.addErrback(lambda reason: self._radio_failed(backend, _sentence(reason)))

    def _started(self, psm: int, backend: BluetoothBackend) -> Deferred[Any] | None:
        if backend is not self._backend:
            return None
        self._psm = psm
        self._restart_delay, self._last_reason = RESTART_DELAY, ""
        logger.info("Bluetooth is on; peers near by are looked for")
        return backend.advertise(encode_psm_characteristic(psm, self._own_key))

    def _radio_failed(self, backend: BluetoothBackend, reason: str) -> None:
        if backend is not self._backend:
            return
        self._devices.failed("the radio is gone", self._clock())
        self._leave_backend()
        self._switch_off(backend)
        self._try_again(reason)

    def _try_again(self, reason: str) -> None:
        # The same line every few minutes would tell nothing new.
        level = logging.DEBUG if reason == self._last_reason else logging.WARNING
        logger.log(level, "Bluetooth cannot be used, and is tried again from time to time: %s", reason)
        self._last_reason = reason
        self._timer = self._reactor.callLater(self._restart_delay, self._switch_on)
        self._restart_delay = min(2 * self._restart_delay, LONGEST_RESTART_DELAY)

    def _leave_backend(self) -> BluetoothBackend | None:
        self._set_timer(None)
        for release in self._releases.values():
            release.cancel()
        self._releases.clear()
        backend, self._backend, self._psm = self._backend, None, None
        self._step.cancel()
        return backend

    def _switch_off(self, backend: BluetoothBackend) -> Deferred[Any]:
        return backend.stop().addErrback(
            lambda reason: logger.debug("Bluetooth was not switched off properly: %s", _sentence(reason))
        )

    def _seen(self, address: str) -> None:
        if self._backend is not None and self._devices.seen(address, self._clock()):
            self._go_on()

    def _accept(self, address: str) -> StreamLink:
        link = self._link(address, outbound=False)
        self._keep(link)
        return link

    # Steps

    def _go_on(self) -> None:
        """Make the next step, if it is time; else wait until it is."""
        backend = self._backend
        if backend is None or self._psm is None or self._devices.busy:
            return
        self._set_timer(None)
        now = self._clock()
        step = self._devices.next_step(now)
        if step is None:
            self._set_timer(self._devices.next_timer(now))
        elif isinstance(step, Ask):
            self._finish(step.address, backend.read(step.address), self._answered)
        else:
            self._dial(step, backend)

    def _dial(self, step: Dial, backend: BluetoothBackend) -> None:
        unwanted = self._admits(NAME, None)
        if unwanted is not None:
            self._devices.refused(unwanted, self._clock())
            self._go_on()
            return
        link = self._link(step.address, outbound=True)
        self._finish(step.address, backend.dial(step.address, step.psm, link), lambda _: self._dialled(link))

    def _finish(self, address: str, step: Deferred[Any], done: Callable[[Any], bool]) -> None:
        """Go on when the step has ended, and see to it that it does: a radio may swallow what it is told."""
        self._step = step
        step.addTimeout(STEP_TIMEOUT, self._reactor)
        step.addCallbacks(done, self._step_failed)
        step.addCallback(lambda succeeded: self._release_after(HOLD if succeeded else 0.0, address))
        step.addCallback(lambda _: self._go_on())

    def _answered(self, value: bytes) -> bool:
        return self._devices.answered(value, self._clock())

    def _dialled(self, link: StreamLink) -> bool:
        self._devices.dialled(link)
        self._keep(link)
        return True

    def _step_failed(self, reason: Failure) -> bool:
        self._devices.failed(_sentence(reason), self._clock())
        return False

    # Links

    def _keep(self, link: StreamLink) -> None:
        self._links.add(link)
        link.lost.addCallback(lambda _: self._lost(link))

    def _lost(self, link: StreamLink) -> None:
        self._links.discard(link)
        self._devices.link_lost(link, self._clock())
        self._release_after(HOLD, link.address)
        self._go_on()

    def _release_after(self, seconds: float, address: str) -> None:
        """Hang up, but not at once on a node: it may be about to dial us over this very connection."""
        if self._backend is None:
            return
        waiting = self._releases.pop(address, None)
        if waiting is not None:
            waiting.cancel()
        self._releases[address] = self._reactor.callLater(seconds, self._release, address)

    def _release(self, address: str) -> None:
        del self._releases[address]
        in_use = any(link.address == address for link in self._links)
        if self._backend is not None and not in_use and not self._devices.is_under_way(address):
            self._backend.release(address)

    def _link(self, address: str, *, outbound: bool) -> StreamLink:
        link = StreamLink(self._owner, peer_type=PeerType.BLUETOOTH, way=NAME, address=address, outbound=outbound)
        link.write_limit = WRITE_LIMIT
        return link

    def _set_timer(self, at: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if at is not None:
            self._timer = self._reactor.callLater(max(0.0, at - self._clock()), self._go_on)


def _sentence(reason: Failure) -> str:
    if reason.check(TimeoutError, DeferredTimeoutError):
        return "no answer in time"
    return reason.getErrorMessage() or type(reason.value).__name__
