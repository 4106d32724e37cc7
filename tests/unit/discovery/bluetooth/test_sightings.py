"""Devices are told of once a second each, and a flood of addresses takes no more room than there is."""

from pinecone_transport.discovery.bluetooth.sightings import MAX_TOLD, TELL_INTERVAL, Sightings


def test_a_device_is_told_of_once_a_second() -> None:
    sightings = Sightings()
    told = [step / 10 for step in range(31) if sightings.is_news("A", step / 10)]
    assert told == [0.0, TELL_INTERVAL, 2 * TELL_INTERVAL, 3 * TELL_INTERVAL]


def test_each_device_counts_by_itself() -> None:
    sightings = Sightings()
    assert sightings.is_news("A", 5.0)
    assert sightings.is_news("B", 5.0)
    assert not sightings.is_news("A", 5.5)


def test_those_seen_longest_ago_are_forgotten_first() -> None:
    sightings = Sightings()
    for number in range(MAX_TOLD):
        sightings.is_news(str(number), 0.0)
    assert not sightings.is_news("0", 0.1)
    assert sightings.is_news("one more", 0.1)
    assert not sightings.is_news("0", 0.2)
    assert sightings.is_news("1", 0.2)
