"""Which links are not read from, and for how long."""

from __future__ import annotations

from pinecone_transport.back_pressure import MAX_PAUSE, SLOW_FACTOR, SLOW_PAUSE, Pause, Pauses
from tests.support.frames import key

SLOW, OTHER = 7, 8


def pause(began_at: float, slow_link: int = SLOW) -> Pause:
    return Pause(slow_link, key(1), key(2), began_at)


def test_a_link_is_paused_once_and_waits_for_one_other() -> None:
    pauses = Pauses()
    assert pauses.begin(1, pause(10.0))
    assert not pauses.begin(1, pause(10.1, OTHER))
    assert pauses.begin(2, pause(10.2))
    assert 1 in pauses
    assert 3 not in pauses
    assert pauses.waiting_for(SLOW) == [1, 2]
    assert pauses.waiting_for(OTHER) == []
    assert pauses.of(1).ends_at == 10.0 + MAX_PAUSE


def test_a_pause_that_is_over_is_forgotten() -> None:
    pauses = Pauses()
    pauses.begin(1, pause(10.0))
    pauses.begin(2, pause(10.0))
    pauses.end(1, 10.01)
    assert pauses.waiting_for(SLOW) == [2]
    pauses.end(2, 10.01)
    assert pauses.waiting_for(SLOW) == []
    assert 1 not in pauses


def test_a_link_that_soon_has_room_is_waited_for_again_at_once() -> None:
    pauses = Pauses()
    pauses.begin(1, pause(10.0))
    pauses.end(1, 10.0 + SLOW_PAUSE / 2)
    assert pauses.begin(1, pause(10.0 + SLOW_PAUSE / 2))


def test_a_slow_link_is_not_waited_for_most_of_the_time() -> None:
    pauses = Pauses()
    pauses.begin(1, pause(10.0))
    pauses.end(1, 10.5)
    assert not pauses.begin(1, pause(10.5 + 0.9 * SLOW_FACTOR * 0.5))
    assert pauses.begin(1, pause(10.5, OTHER))
    pauses.end(1, 10.5)
    assert pauses.begin(1, pause(10.5 + 1.1 * SLOW_FACTOR * 0.5))


def test_of_a_link_that_is_gone_nothing_is_remembered() -> None:
    pauses = Pauses()
    pauses.begin(1, pause(10.0))
    pauses.end(1, 10.5)
    pauses.forget(SLOW)
    assert pauses.begin(1, pause(10.6))
