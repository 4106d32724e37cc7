"""How the window of a path follows what becomes of its packets."""

from pinecone_transport.session.budget import Budget
from pinecone_transport.session.utp.congestion import INITIAL_WINDOW, MIN_WINDOW, TARGET_DELAY_US, Ledbat
from pinecone_transport.session.utp.rtt import RttEstimator

BASE = 0xFFFFFF00
"""A delay between clocks that have nothing to do with each other, close to where it wraps around."""


def grown(window: int, maximum: int = 256) -> Ledbat:
    """Return one that has grown to about the window on a path without loss and delay."""
    ledbat = Ledbat(maximum, RttEstimator(1.0))
    now = 0.0
    while ledbat.window < window:
        now += 0.01
        ledbat.on_acknowledged(int(ledbat.window), BASE, True, now)
    return ledbat


def test_it_begins_with_14_packets_or_less_if_less_is_allowed() -> None:
    assert Ledbat(256, RttEstimator(1.0)).window == INITIAL_WINDOW == 14
    assert Ledbat(5, RttEstimator(1.0)).window == 5


def test_it_grows_by_an_eighth_a_round_trip_until_the_first_loss() -> None:
    ledbat = Ledbat(256, RttEstimator(1.0))
    ledbat.on_acknowledged(14, BASE, True, 1.0)
    assert ledbat.window == 14 * 9 / 8
    for round_trip in range(100):
        ledbat.on_acknowledged(int(ledbat.window), BASE, True, 2.0 + round_trip)
    assert ledbat.window == 256


def test_it_does_not_grow_while_it_is_not_the_limit() -> None:
    ledbat = Ledbat(256, RttEstimator(1.0))
    ledbat.on_acknowledged(14, BASE, False, 1.0)
    assert ledbat.window == 14


def test_the_first_loss_leads_back_to_14_and_later_ones_below() -> None:
    ledbat = grown(20)
    ledbat.on_lost(sent_at=5.0, now=5.1)
    assert ledbat.window == 14
    ledbat.on_lost(sent_at=5.05, now=5.2)
    assert ledbat.window == 14, "it was under way at the same time as the first"
    ledbat.on_lost(sent_at=5.15, now=5.3)
    assert ledbat.window < 10
    for step in range(20):
        ledbat.on_lost(sent_at=6.0 + step, now=6.5 + step)
    assert ledbat.window == MIN_WINDOW


def test_a_loss_at_a_large_window_halves_it() -> None:
    ledbat = grown(200)
    before = ledbat.window
    ledbat.on_lost(sent_at=5.0, now=5.1)
    assert ledbat.window == before / 2


def test_after_a_loss_it_grows_by_a_packet_a_round_trip() -> None:
    ledbat = grown(20)
    ledbat.on_lost(sent_at=5.0, now=5.1)
    ledbat.on_acknowledged(14, BASE, True, 6.0)
    assert 14.9 < ledbat.window <= 15


def test_after_silence_it_begins_with_the_smallest_window_and_soon_has_half_the_old_one() -> None:
    ledbat = grown(100)
    before = ledbat.window
    ledbat.on_timeout(1.0, 5.0)
    ledbat.on_timeout(1.0, 7.0)
    assert ledbat.window == MIN_WINDOW
    round_trips = 0
    while ledbat.window < before / 2:
        ledbat.on_acknowledged(int(ledbat.window), BASE, True, 8.0 + round_trips)
        round_trips += 1
    assert round_trips <= 6


def test_packets_that_become_smaller_after_silence_may_be_more_up_to_the_first_window() -> None:
    ledbat = grown(100)
    ledbat.on_timeout(4.0, 5.0)
    assert ledbat.window == 4 * MIN_WINDOW
    ledbat.on_timeout(4.0, 7.0)
    ledbat.on_timeout(1.0, 9.0)
    assert ledbat.window == INITIAL_WINDOW
    ledbat.on_acknowledged(1, BASE, True, 10.0)
    ledbat.on_timeout(1.0, 11.0)
    assert ledbat.window == MIN_WINDOW


def test_delay_above_the_target_shrinks_it_and_below_lets_it_grow() -> None:
    ledbat = grown(100)
    for _ in range(4):
        ledbat.on_acknowledged(1, BASE + TARGET_DELAY_US // 2 & 0xFFFFFFFF, True, 5.0)
    before = ledbat.window
    assert not ledbat.delayed
    for _ in range(12):
        ledbat.on_acknowledged(10, BASE + 3 * TARGET_DELAY_US & 0xFFFFFFFF, True, 5.0)
    assert ledbat.window < before - 5
    assert ledbat.delayed
    for _ in range(200):
        ledbat.on_acknowledged(50, BASE + 30 * TARGET_DELAY_US & 0xFFFFFFFF, True, 5.0)
    assert ledbat.window == MIN_WINDOW


def test_one_late_packet_among_others_changes_nothing() -> None:
    ledbat = grown(100)
    before = ledbat.window
    ledbat.on_acknowledged(1, BASE + 10 * TARGET_DELAY_US & 0xFFFFFFFF, True, 5.0)
    assert ledbat.window > before


def test_a_longer_path_is_the_new_base_after_two_minutes() -> None:
    ledbat = grown(100)
    longer = BASE + 10 * TARGET_DELAY_US & 0xFFFFFFFF
    for second in range(5, 200):
        ledbat.on_acknowledged(10, longer, True, float(second))
    assert ledbat.window > MIN_WINDOW + 10


def test_a_clock_that_was_set_anew_is_a_new_base() -> None:
    for jump in (-5_000_000, 40_000_000, 0x80000000):
        ledbat = grown(100)
        before = ledbat.window
        for _ in range(10):
            ledbat.on_acknowledged(10, (BASE + jump) & 0xFFFFFFFF, True, 5.0)
        assert ledbat.window > before


def test_a_far_end_that_says_nothing_of_the_delay_has_none() -> None:
    ledbat = Ledbat(256, RttEstimator(1.0))
    ledbat.on_acknowledged(14, 0, True, 1.0)
    assert ledbat.window > 14


def test_a_budget_is_bounded_by_packets_and_by_bytes() -> None:
    budget = Budget(Ledbat(256, RttEstimator(1.0)), RttEstimator(1.0), 20_000, 8192)
    for _ in range(2):
        budget.take(1, 8000, 1.0)
    assert budget.has_room()
    budget.take(1, 8000, 1.0)
    assert not budget.has_room()
    budget.release(1, 8000)
    for _ in range(12):
        assert budget.has_room()
        assert budget.room() > (0, 0)
        budget.take(1, 1, 1.0)
    assert not budget.has_room()
    assert (budget.packets_in_flight, budget.bytes_in_flight) == (14, 16_012)


def test_the_timeout_follows_the_round_trip_time_and_never_falls_below_its_floor() -> None:
    rtt = RttEstimator(0.5)
    assert rtt.timeout == 1.0
    for _ in range(50):
        rtt.add_sample(0.01)
    assert (rtt.timeout, rtt.minimum) == (0.5, 0.01)
    for _ in range(50):
        rtt.add_sample(0.9)
    assert 0.9 < rtt.timeout < 2.0
    assert 0.8 < rtt.smoothed < 1.0
    assert rtt.minimum == 0.01
    for _ in range(50):
        rtt.add_sample(20.0)
    assert rtt.timeout == 2.0


def test_the_timeout_exceeds_two_seconds_only_where_no_answer_ever_came_sooner() -> None:
    rtt = RttEstimator(0.5)
    rtt.add_sample(3.0)
    assert rtt.timeout == 6.0
    rtt.add_sample(0.9)
    assert rtt.timeout == 2.0
