import tracemalloc

from pinecone_transport.deadlines import Deadlines


def test_owners_are_due_in_the_order_of_their_deadlines() -> None:
    deadlines = Deadlines()
    deadlines.schedule(1, 5.0)
    deadlines.schedule(2, 3.0)
    deadlines.schedule(3, 9.0)
    assert deadlines.next() == 3.0
    assert deadlines.take_due(5.0) == [2, 1]
    assert deadlines.next() == 9.0


def test_nothing_is_due_when_nothing_was_asked_for() -> None:
    deadlines = Deadlines()
    deadlines.schedule(1, None)
    assert deadlines.next() is None
    assert deadlines.take_due(100.0) == []


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    deadlines = Deadlines()
    deadlines.schedule(1, 5.0)
    deadlines.schedule(1, 2.0)
    assert deadlines.take_due(10.0) == [1]
    assert deadlines.next() is None


def test_a_later_deadline_keeps_the_owner_due_at_the_earlier_time() -> None:
    deadlines = Deadlines()
    deadlines.schedule(1, 5.0)
    deadlines.schedule(1, 8.0)
    assert deadlines.take_due(5.0) == [1]
    deadlines.schedule(1, 8.0)
    assert deadlines.next() == 8.0


def test_a_forgotten_owner_is_never_due() -> None:
    deadlines = Deadlines()
    deadlines.schedule(1, 5.0)
    deadlines.forget(1)
    deadlines.forget(2)
    assert deadlines.next() is None
    assert deadlines.take_due(10.0) == []


def test_owners_that_come_and_go_leave_nothing_behind_and_the_others_undisturbed() -> None:
    deadlines = Deadlines()
    deadlines.schedule(0, 7.0)
    tracemalloc.start()
    try:
        for owner in range(1, 50_000):
            deadlines.schedule(owner, 5.0 + owner)
            deadlines.forget(owner)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 200_000
    assert deadlines.take_due(100_000.0) == [0]


def test_a_deadline_that_comes_nearer_again_and_again_stays_the_nearest() -> None:
    deadlines = Deadlines()
    for owner in range(3):
        for step in range(1000):
            deadlines.schedule(owner, 5000.0 + owner - step)
    assert deadlines.take_due(4001.5) == [0]
    assert deadlines.take_due(4003.0) == [1, 2]
