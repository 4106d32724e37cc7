"""Which of the devices near by to ask for their key, and whom to dial (§9). No radio and no clock: `now` comes in.

A radio connects to one device at a time, so there is one step at a time: `next_step`, and how it went.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeAlias, final

import attrs

from pinecone_transport.discovery.interfaces import Candidate, CandidateState
from pinecone_transport.errors import HandshakeError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link
from pinecone_transport.randomness import RandomSource
from pinecone_transport.wire import KEY_PREFIX_LENGTH, decode_psm_characteristic

FIRST_WAIT: Final = 1.0
"""Seconds at most until a device that comes into sight is asked."""
FIRST_DELAY: Final = 2.0  # §9: a device is not asked again sooner
LONGEST_DELAY: Final = 60.0
ASK_AGAIN: Final = 60.0
"""Seconds after which somebody who should dial us, and did not, is asked again who it is."""
GOOD_LINK_LIFETIME: Final = 10.0
EXPIRY: Final = 60.0
"""Seconds after which a device that does not advertise any longer is forgotten."""
SILENCE: Final = 10.0
"""Seconds after which a device that does not advertise any longer is not tried; it begins anew when it does again."""
MAX_DEVICES: Final = 64


@attrs.frozen
class Ask:
    """Connect to the device and read its characteristic."""

    address: str


@attrs.frozen
class Dial:
    """Open the channel with this PSM, to whom has a key that begins so."""

    address: str
    psm: int
    prefix: bytes


Step: TypeAlias = Ask | Dial


class _Device:
    """One address that advertises the service.

    Attributes:
        prefix: Of its key, once it was asked.
        not_before: When the next step may be made.
        link: To it, while there is one that we dialled.
    """

    __slots__ = (
        "address",
        "delay",
        "failures",
        "link",
        "not_before",
        "prefix",
        "psm",
        "reason",
        "seen_at",
        "unwanted",
        "up_at",
    )

    def __init__(self, address: str, now: float, not_before: float) -> None:
        self.address: Final = address
        self.seen_at = now
        self.not_before = not_before
        self.delay = FIRST_DELAY
        self.failures = 0
        self.prefix: bytes | None = None
        self.psm = 0
        self.reason = ""
        self.unwanted = False
        self.link: Link | None = None
        self.up_at = 0.0

    def begin_anew(self, not_before: float) -> None:
        self.not_before = not_before
        self.delay = FIRST_DELAY
        self.failures = 0
        self.prefix = None

    def failed(self, reason: str, now: float, chance: float) -> None:
        self.failures += 1
        self.reason = reason
        self.prefix = None  # it may be somebody else's address by then
        self.not_before = now + self.delay * (1.0 + chance)
        self.delay = min(2 * self.delay, LONGEST_DELAY)


@final
class Devices:
    """The devices near by, by address. Addresses change, so the same key may be behind several.

    Args:
        source: Its name.
        own_key: Ours, 32 bytes.
        random: For waits.

    Attributes:
        counters: What was ignored, by reason.
    """

    def __init__(self, source: str, own_key: PublicKey, random: RandomSource) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._source = source
        self._random = random
        self._own_prefix = own_key[:KEY_PREFIX_LENGTH]
        self._devices: Final[dict[str, _Device]] = {}
        self._linked: Final[dict[Link, PublicKey]] = {}
        self._step: Step | None = None

    def seen(self, address: str, now: float) -> bool:
        """Note that a device advertises the service; tell whether it did not before."""
        device = self._devices.get(address)
        if device is not None:
            is_back = now - device.seen_at >= SILENCE and not self.is_under_way(address)
            device.seen_at = now
            if is_back:
                device.begin_anew(now + FIRST_WAIT * self._random.random())
            return is_back
        self._expire(now)
        if len(self._devices) >= MAX_DEVICES:
            self.counters["devices over the limit"] += 1
            return False
        # Two that see each other at once must not connect at once: devices have one connection between them.
        self._devices[address] = _Device(address, now, now + FIRST_WAIT * self._random.random())
        return True

    def next_step(self, now: float) -> Step | None:
        """Return what to do now, and take it for begun; None while something is under way, or nothing is due."""
        if self.busy:
            return None
        self._expire(now)
        due = [device for device in self._free(now) if device.not_before <= now]
        # Who has just answered is connected with the radio, and comes first.
        for device in sorted(due, key=lambda device: (device.prefix is None, device.failures, device.not_before)):
            self._step = self._step_for(device, now)
            if self._step is not None:
                return self._step
        return None

    @property
    def busy(self) -> bool:
        """Whether a step is under way."""
        return self._step is not None

    def is_under_way(self, address: str) -> bool:
        """Whether the step under way is about this device."""
        return self._step is not None and self._step.address == address

    def next_timer(self, now: float) -> float | None:
        """Return when `next_step` may have something, if nothing is under way, and nobody else comes into sight."""
        if self.busy:
            return None
        return min((device.not_before for device in self._free(now)), default=None)

    def answered(self, value: bytes, now: float) -> bool:
        """Take the characteristic that was asked for; tell whether it is one."""
        device = self._finish()
        if device is None:
            return False
        try:
            device.psm, device.prefix = decode_psm_characteristic(value)
        except HandshakeError as error:
            self.counters["characteristics that are none"] += 1
            device.failed(str(error), now, self._random.random())
            return False
        return True

    def failed(self, reason: str, now: float) -> None:
        """Note that what was under way brought nothing, and why, for people."""
        device = self._finish()
        if device is not None:
            device.failed(reason, now, self._random.random())

    def refused(self, reason: str, now: float) -> None:
        """Note that there shall be no link to whom was to be dialled."""
        device = self._finish()
        if device is not None:
            device.unwanted = True
            device.reason = reason
            device.not_before = now + ASK_AGAIN

    def dialled(self, link: Link) -> None:
        """Note the link that the dial brought; it has not shaken hands yet."""
        device = self._finish()
        if device is not None:
            device.link = link
            device.reason = ""
            device.unwanted = False

    def link_up(self, link: Link, key: PublicKey, now: float) -> bool:
        """Note a link of this source that has shaken hands; tell whether it leads to whom it should."""
        device = self._of(link)
        if device is not None:
            if device.prefix is not None and not key.startswith(device.prefix):
                self.counters["other keys than were shown"] += 1
                return False
            device.up_at = now
        self._linked[link] = key
        return True

    def link_lost(self, link: Link, now: float) -> None:
        """Note that a link of this source is gone, up or not."""
        was_up = self._linked.pop(link, None) is not None
        device = self._of(link)
        if device is None:
            return
        device.link = None
        if was_up and now - device.up_at >= GOOD_LINK_LIFETIME:
            device.failures = 0
            device.delay = FIRST_DELAY
        reason = "the link was lost" if was_up else "the link did not come up"
        device.failed(reason, now, self._random.random())

    def retry_now(self, now: float) -> None:
        """Do not wait any longer with anybody."""
        for device in self._devices.values():
            device.delay = FIRST_DELAY
            device.not_before = min(device.not_before, now)

    def candidates(self) -> list[Candidate]:
        """Return all devices that are known."""
        return [self._candidate(device) for device in self._devices.values()]

    # Inside

    def _step_for(self, device: _Device, now: float) -> Step | None:
        if device.prefix is None:
            return Ask(device.address)
        reason = self._why_not(device.prefix)
        if reason is None:
            return Dial(device.address, device.psm, device.prefix)
        device.reason = reason
        device.prefix = None  # asked again, later
        device.not_before = now + ASK_AGAIN
        return None

    def _why_not(self, prefix: bytes) -> str | None:
        if prefix == self._own_prefix:
            return "that is ourselves"
        if any(key.startswith(prefix) for key in self._linked.values()):
            return "linked already"
        # The lower key dials, so that two do not dial one another.
        return "the other one dials" if prefix < self._own_prefix else None

    def _finish(self) -> _Device | None:
        step, self._step = self._step, None
        return self._devices.get(step.address) if step is not None else None

    def _of(self, link: Link) -> _Device | None:
        return next((device for device in self._devices.values() if device.link is link), None)

    def _free(self, now: float) -> list[_Device]:
        """Return who is in sight and not linked, by whichever side."""
        linked = {link.address for link in self._linked}
        return [
            device
            for device in self._devices.values()
            if device.link is None and device.address not in linked and now - device.seen_at < SILENCE
        ]

    def _expire(self, now: float) -> None:
        for device in list(self._devices.values()):
            if now - device.seen_at >= EXPIRY and device.link is None and not self.is_under_way(device.address):
                del self._devices[device.address]

    def _candidate(self, device: _Device) -> Candidate:
        key = next((key for link, key in self._linked.items() if link.address == device.address), None)
        is_linked = key is not None or device.link is not None
        if is_linked:
            state = CandidateState.CONNECTED
        elif self.is_under_way(device.address):
            state = CandidateState.DIALLING
        else:
            state = CandidateState.UNWANTED if device.unwanted else CandidateState.WAITING
        return Candidate(
            source=self._source,
            address=device.address,
            key=key,
            state=state,
            reason="" if is_linked else device.reason,
            failures=device.failures,
            seen_at=device.seen_at,
        )
