"""How much of a path bulk gets, and how long small requests take beside it, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.virtual_link import Faults, Side, VirtualLink, without_extensions

BLOCK = 65_536
THINKING = 0.02
"""Seconds from an answer to the next question."""


class Load:
    """Bulk from the left for as long as `run` says, and small requests beside it on a stream of their own.

    Attributes:
        goodput: Bytes per second that arrived.
        stall: The longest time in which nothing did, seconds.
        waits: How long the small requests took, seconds, shortest first.
    """

    def __init__(self, faults: Faults, alter: Callable[[Side, bytes], bytes] | None = None) -> None:
        self.link = link = VirtualLink(faults=faults, seed=3, pull=1 << 18)
        link.alter = alter
        self.bulk, self._bulk_far = link.connect()
        self.small, self._small_far = link.connect()
        self._received = 0
        self._received_at = link.now
        self._asked_at: float | None = None
        self._ask_at = link.now + 0.5
        self.stall = 0.0
        self.waits: list[float] = []
        link.right.take = self._take_right
        link.left.take = self._take_left

    def run(self, seconds: float) -> None:
        link = self.link
        began, end = link.now, link.now + seconds
        while link.now < end:
            self._write()
            at = min(link.next_at() or end, link.now + THINKING)
            link.clock.advance(max(0.0, at - link.now))
            link.turn()
        self.goodput = self._received / (end - began)
        self.waits.sort()

    def percentile(self, share: float) -> float:
        return self.waits[int(share * (len(self.waits) - 1))]

    def _write(self) -> None:
        socket, now = self.link.left.socket, self.link.now
        while socket.room(self.bulk) >= BLOCK:
            socket.write(self.bulk, bytes(BLOCK), now)
        if self._asked_at is None and now >= self._ask_at:
            self._asked_at = now
            socket.write(self.small, b"?" * 300, now)
        self.link.pump()

    def _take_right(self, stream: int, data: bytes) -> None:
        now = self.link.now
        if stream == self._small_far:
            self.link.right.socket.write(stream, b"!" * 400, now)
            return
        self._received += len(data)
        self.stall = max(self.stall, now - self._received_at)
        self._received_at = now

    def _take_left(self, stream: int, data: bytes) -> None:
        assert self._asked_at is not None
        self.waits.append(self.link.now - self._asked_at)
        self._asked_at = None
        self._ask_at = self.link.now + THINKING


@pytest.mark.parametrize(("rate", "delay", "longest"), [(1e6, 0.05, 0.5), (5e4, 0.1, 1.5), (2e7, 0.0005, 0.05)])
def test_bulk_fills_a_slow_path_and_small_requests_get_through(rate: float, delay: float, longest: float) -> None:
    load = Load(Faults(delay=delay, rate=rate))
    load.run(15)
    assert load.goodput > 0.9 * rate
    assert load.percentile(0.9) < longest
    assert load.stall < 0.5
    assert not load.link.left.socket.counters["timeouts"]


@pytest.mark.parametrize(
    ("loss", "reordering", "least"), [(0.01, 0.0, 1e6), (0.05, 0.0, 8e5), (0.0, 0.02, 1e6), (0.05, 0.02, 8e5)]
)
def test_a_path_that_loses_and_reorders_carries_on(loss: float, reordering: float, least: float) -> None:
    load = Load(Faults(delay=0.05, rate=2e7, loss=loss, reordering=reordering))
    load.run(15)
    assert load.goodput > least
    assert load.stall < 1.0
    assert load.percentile(0.9) < 0.5


def test_a_near_path_that_loses_is_full_all_the_same() -> None:
    load = Load(Faults(delay=0.0005, rate=2e7, loss=0.01))
    load.run(5)
    assert load.goodput > 0.95 * 2e7
    assert load.percentile(0.9) < 0.05


@pytest.mark.parametrize(("period", "least"), [(0.0, 2e8), (0.04, 1e8), (0.09, 1e8)])
def test_nodes_that_have_too_little_time_get_large_packets(period: float, least: float) -> None:
    load = Load(Faults(delay=0.0002, per_packet=1 / 8000, period=period, share=0.33))
    load.run(2)
    assert load.goodput > least
    assert load.link.left.socket.segment(load.bulk) > 50_000


@pytest.mark.parametrize(("delay", "least"), [(0.0005, 1.9e6), (0.05, 1e6)])
def test_a_far_end_that_holds_acknowledgements_back_gets_a_burst_per_round_trip_of_the_path(
    delay: float, least: float
) -> None:
    load = Load(Faults(delay=delay, held=0.5), without_extensions)
    load.run(10)
    assert load.goodput > least
    assert not load.link.left.socket.counters["packets repeated"]


def test_no_more_than_a_burst_is_on_the_path_to_whoever_may_hold_acknowledgements_back() -> None:
    link = VirtualLink(faults=Faults(delay=0.05, held=0.5))
    link.alter = without_extensions
    sent: list[float] = []

    def note(side: Side, packet: bytes) -> bool:
        if side is link.left and len(packet) > 1000:
            sent.append(link.now)
        return True

    link.filter = note
    stream, _ = link.connect()
    link.left.socket.write(stream, bytes(1 << 20), link.now)
    link.run(5)
    assert len(sent) >= (1 << 20) // 8192
    assert max(sum(at <= other < at + 0.099 for other in sent) for at in sent) == 14
