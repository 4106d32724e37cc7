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
