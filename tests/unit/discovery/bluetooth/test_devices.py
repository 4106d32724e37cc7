"""Whom of the devices near by to ask, and whom to dial: within bounds, whatever is shown."""

from __future__ import annotations

from random import Random

import pytest

from pinecone_transport.discovery import CandidateState
from pinecone_transport.discovery.bluetooth.devices import (
    ASK_AGAIN,
    EXPIRY,
    FIRST_DELAY,
    FIRST_WAIT,
    LONGEST_DELAY,
    MAX_DEVICES,
    SILENCE,
    Ask,
    Devices,
    Dial,
    Step,
)
from pinecone_transport.links import StreamLink
from pinecone_transport.wire import PeerType, encode_psm_characteristic
from tests.support.clock import VirtualClock

LOW, OURS, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
ADDRESS, OTHER = "C0:00:00:00:00:01", "C0:00:00:00:00:02"
PSM = 0x80


def link(outbound: bool, address: str = ADDRESS) -> StreamLink:
    return StreamLink(None, peer_type=PeerType.BLUETOOTH, way="ble", address=address, outbound=outbound)


class Air:
    """What one node sees of the air, and its time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.devices = Devices("ble", OURS, Random(1))
        self.counters = self.devices.counters

    def seen(self, address: str = ADDRESS) -> bool:
        return self.devices.seen(address, self.clock.now)

    def step(self) -> Step | None:
        return self.devices.next_step(self.clock.now)

    def step_after(self, seconds: float, address: str = ADDRESS) -> Step | None:
        """Let the device go on advertising while time passes."""
        until = self.clock.now + seconds
        while self.clock.now + 1.0 < until:
            self.clock.advance(1.0)
            self.seen(address)
        self.clock.advance(until - self.clock.now)
        self.seen(address)
        return self.step()

    def answer(self, key: bytes = HIGH, address: str = ADDRESS) -> Step | None:
        """Have the device asked, let it show this key, and return what follows."""
        assert self.step_after(FIRST_WAIT, address) == Ask(address)
        self.devices.answered(encode_psm_characteristic(PSM, key), self.clock.now)
        return self.step()

    def reason(self) -> str:
        (candidate,) = self.devices.candidates()
        return candidate.reason


@pytest.fixture
def air() -> Air:
    air = Air()
    air.seen()
    return air


def test_a_device_is_asked_soon_but_not_by_all_at_once() -> None:
    waits = set()
    for number in range(10):
        air = Air()
        air.devices = Devices("ble", OURS, Random(number))
        air.seen()
        waits.add(air.devices.next_timer(air.clock.now) - air.clock.now)
    assert len(waits) == 10
    assert 0.0 <= min(waits) <= max(waits) < FIRST_WAIT


def test_the_lower_key_dials(air: Air) -> None:
    assert air.answer(HIGH) == Dial(ADDRESS, PSM, HIGH[:18])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (LOW, "the other one dials"),
        (OURS, "that is ourselves"),
        (OURS[:18] + HIGH[18:], "that is ourselves"),
    ],
)
def test_the_higher_or_equal_one_does_not_and_asks_again_much_later(air: Air, key: bytes, reason: str) -> None:
    assert air.answer(key) is None
    assert air.reason() == reason
    assert air.step_after(ASK_AGAIN - 1.0) is None
    assert air.step_after(1.0) == Ask(ADDRESS)


def test_there_is_one_step_at_a_time(air: Air) -> None:
    air.seen(OTHER)
    assert isinstance(air.step_after(FIRST_WAIT), Ask)
    assert air.step() is None
    assert air.devices.next_timer(air.clock.now) is None
    air.devices.failed("gone", air.clock.now)
    assert isinstance(air.step_after(FIRST_WAIT, OTHER), Ask)


def test_whoever_failed_is_tried_again_after_two_seconds_and_then_ever_later(air: Air) -> None:
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)
    waits = []
    for _ in range(8):
        air.devices.failed("it went away", air.clock.now)
        waits.append(air.devices.next_timer(air.clock.now) - air.clock.now)
        assert air.step_after(waits[-1] - 0.01) is None
        assert air.step_after(0.02) == Ask(ADDRESS)
    assert FIRST_DELAY <= waits[0] < 2 * FIRST_DELAY
    assert LONGEST_DELAY <= waits[-1] < 2 * LONGEST_DELAY
    (candidate,) = air.devices.candidates()
    assert (candidate.failures, candidate.state) == (8, CandidateState.DIALLING)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bytes(20), "a characteristic without a PSM"),
        (b"", "a characteristic of 0 bytes, not 20"),
        (bytes(19), "a characteristic of 19 bytes, not 20"),
        (b"\x01" * 21, "a characteristic of 21 bytes, not 20"),
        (b"\xff" * 512, "a characteristic of 512 bytes, not 20"),
    ],
)
def test_a_characteristic_that_is_none_is_dropped_and_counted(air: Air, value: bytes, reason: str) -> None:
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)
    air.devices.answered(value, air.clock.now)
    assert air.step() is None
    assert reason in air.reason()
    assert air.counters == {"characteristics that are none": 1}


def test_who_is_linked_is_let_be_whoever_dialled(air: Air) -> None:
    for outbound in (True, False):
        made = link(outbound)
        air.devices.link_up(made, HIGH, air.clock.now)
        assert air.step_after(ASK_AGAIN) is None
        (candidate,) = air.devices.candidates()
        assert (candidate.state, candidate.key, candidate.reason) == (CandidateState.CONNECTED, HIGH, "")
        air.devices.link_lost(made, air.clock.now)


def test_who_is_linked_under_another_address_is_not_dialled(air: Air) -> None:
    air.devices.link_up(link(True, OTHER), HIGH, air.clock.now)
    assert air.answer(HIGH) is None
    assert air.reason() == "linked already"


def test_a_link_that_is_lost_is_dialled_anew_soon_if_it_was_good_and_later_if_not(air: Air) -> None:
    waits = []
    for lived in (0.0, 0.0, 3600.0):
        assert isinstance(air.answer() if not waits else air.step(), Dial)
        made = link(True)
        air.devices.dialled(made)
        air.devices.link_up(made, HIGH, air.clock.now)
        assert air.step_after(lived) is None
        air.devices.link_lost(made, air.clock.now)
        waits.append(air.devices.next_timer(air.clock.now) - air.clock.now)
        assert air.step_after(waits[-1]) == Ask(ADDRESS)
        air.devices.answered(encode_psm_characteristic(PSM, HIGH), air.clock.now)
    assert waits[0] < 2 * FIRST_DELAY <= waits[1]
    assert waits[2] < 2 * FIRST_DELAY


def test_a_link_that_never_came_up_says_so(air: Air) -> None:
    assert isinstance(air.answer(), Dial)
    made = link(True)
    air.devices.dialled(made)
    assert air.devices.candidates()[0].state is CandidateState.CONNECTED
    air.devices.link_lost(made, air.clock.now)
    assert air.reason() == "the link did not come up"


def test_a_link_to_another_key_than_was_shown_may_not_stay(air: Air) -> None:
    assert isinstance(air.answer(HIGH), Dial)
    made = link(True)
    air.devices.dialled(made)
    assert not air.devices.link_up(made, LOW, air.clock.now)
    assert air.counters == {"other keys than were shown": 1}
    air.devices.link_lost(made, air.clock.now)
    assert air.reason() == "the link did not come up"


def test_who_must_not_be_linked_is_shown_with_the_reason(air: Air) -> None:
    assert isinstance(air.answer(), Dial)
    air.devices.refused("there are enough", air.clock.now)
    (candidate,) = air.devices.candidates()
    assert (candidate.state, candidate.reason) == (CandidateState.UNWANTED, "there are enough")


def test_who_falls_silent_is_not_tried_and_begins_anew_when_it_returns(air: Air) -> None:
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)
    air.devices.failed("it went away", air.clock.now)
    air.clock.advance(SILENCE)
    assert air.step() is None
    assert air.devices.next_timer(air.clock.now) is None
    assert air.seen()
    assert not air.seen()
    assert air.devices.candidates()[0].failures == 0
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)


def test_who_is_silent_for_long_is_forgotten_unless_it_is_linked(air: Air) -> None:
    assert isinstance(air.answer(), Dial)
    air.devices.dialled(link(True))
    air.seen(OTHER)
    air.clock.advance(EXPIRY)
    air.step()
    assert [candidate.address for candidate in air.devices.candidates()] == [ADDRESS]


def test_no_more_devices_are_kept_than_there_is_room_for() -> None:
    air = Air()
    for number in range(MAX_DEVICES + 1000):
        air.seen(f"C0:00:00:00:{number // 256:02X}:{number % 256:02X}")
    assert len(air.devices.candidates()) == MAX_DEVICES
    assert air.counters == {"devices over the limit": 1000}
    air.clock.advance(EXPIRY)
    assert air.seen("D0:00:00:00:00:00")
    assert len(air.devices.candidates()) == 1


def test_news_of_the_network_end_all_waiting(air: Air) -> None:
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)
    air.devices.failed("it went away", air.clock.now)
    assert air.step() is None
    air.devices.retry_now(air.clock.now)
    assert air.step() == Ask(ADDRESS)


def test_an_answer_that_nobody_waits_for_changes_nothing(air: Air) -> None:
    air.devices.answered(encode_psm_characteristic(PSM, HIGH), air.clock.now)
    air.devices.failed("late", air.clock.now)
    air.devices.refused("late", air.clock.now)
    air.devices.dialled(link(True, OTHER))
    air.devices.link_lost(link(False), air.clock.now)
    assert air.reason() == ""
    assert air.step_after(FIRST_WAIT) == Ask(ADDRESS)
