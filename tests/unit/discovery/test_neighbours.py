"""Whom to dial of those who announce themselves, and when: within bounds, whatever is announced."""

from __future__ import annotations

from math import inf

import pytest

from pinecone_transport.discovery import Candidate, CandidateState
from pinecone_transport.discovery.neighbours import (
    HEAD_START,
    MAX_DIALS,
    MAX_NEIGHBOURS,
    MAX_PER_HOST,
    NeighbourDial,
    Neighbours,
)
from pinecone_transport.links import HostPort, StreamLink
from pinecone_transport.wire import PeerType
from tests.support.clock import VirtualClock

LOW, OURS, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
IPV4, IPV6 = HostPort("192.0.2.7", 4000), HostPort("fe80::7%eth0", 4000)
EXPIRY = 10.0


def link(outbound: bool, address: str = "192.0.2.7:4000") -> StreamLink:
    return StreamLink(None, peer_type=PeerType.MULTICAST, way="lan", address=address, outbound=outbound)


class Lan:
    """Neighbours of one zone, and their time."""

    def __init__(self, **options) -> None:
        options.setdefault("expiry", EXPIRY)
        self.clock = VirtualClock()
        self.neighbours = Neighbours("lan", OURS, **options)
        self.counters = self.neighbours.counters

    def heard(self, key: bytes = HIGH, address: HostPort = IPV4, zone: str = "eth0") -> bool:
        return self.neighbours.heard(key, zone, address, self.clock.now)

    def dials(self) -> list[HostPort]:
        return [dial.address for dial in self.neighbours.dials(self.clock.now)]

    def fail(self, address: HostPort = IPV4, key: bytes = HIGH) -> None:
        self.neighbours.dial_ended(NeighbourDial(key, "eth0", address), "refused", self.clock.now)

    def up(self, new: StreamLink, key: bytes = HIGH, **options) -> list[StreamLink]:
        return self.neighbours.link_up(new, key, "eth0", self.clock.now, **options)

    def down(self, old: StreamLink) -> None:
        self.neighbours.link_down(old, self.clock.now)

    def dial_after(self, seconds: float) -> list[HostPort]:
        """Let others go on announcing themselves while time passes."""
        self.clock.advance(seconds)
        self.heard()
        return self.dials()

    def candidate(self) -> Candidate:
        return self.neighbours.candidates()[0]


@pytest.fixture
def lan() -> Lan:
    return Lan()


def test_whoever_is_heard_of_is_dialled_once(lan: Lan) -> None:
    assert lan.heard()
    assert lan.dials() == [IPV4]
    assert not lan.heard()
    assert lan.dials() == []
    assert lan.candidate().state is CandidateState.DIALLING


def test_we_are_no_neighbour_of_ours(lan: Lan) -> None:
    assert not lan.heard(OURS)
    assert lan.neighbours.candidates() == []


def test_a_node_with_a_lower_key_has_a_head_start(lan: Lan) -> None:
    lan.heard(LOW)
    assert lan.dials() == []
    assert lan.neighbours.next_timer() == lan.clock.now + HEAD_START
    lan.clock.advance(HEAD_START)
    assert lan.dials() == [IPV4]


def test_who_is_linked_is_not_dialled_in_that_zone(lan: Lan) -> None:
    lan.up(link(outbound=False))
    lan.heard()
    assert lan.dials() == []
    assert lan.candidate().state is CandidateState.CONNECTED
    lan.heard(zone="eth1")
    assert lan.dials() == [IPV4]


def test_after_a_failure_the_other_address_is_tried_at_once(lan: Lan) -> None:
    lan.heard()
    lan.clock.advance(0.1)
    lan.heard(address=IPV6)
    assert lan.dials() == [IPV6]
    lan.fail(IPV6)
    assert lan.dials() == [IPV4]


def test_waits_grow_to_a_minute(lan: Lan) -> None:
    lan.heard()
    lan.dials()
    for wait in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        lan.fail()
        for _ in range(int(wait) - 1):
            assert lan.dial_after(1.0) == []
        assert lan.dial_after(1.0) == [IPV4]
    assert lan.candidate().failures == 7
    assert lan.candidate().reason == "refused"


def test_another_port_is_tried_at_once(lan: Lan) -> None:
    lan.heard()
    lan.dials()
    lan.fail()
    lan.clock.advance(0.1)
    new = HostPort(IPV4.host, 5000)
    assert lan.heard(address=new)
    assert lan.dials() == [new]


def test_a_changed_network_ends_the_waits(lan: Lan) -> None:
    lan.heard()
    lan.dials()
    lan.fail()
    lan.neighbours.retry_now(lan.clock.now)
    assert lan.dials() == [IPV4]


def test_a_good_link_that_is_lost_is_dialled_again_at_once(lan: Lan) -> None:
    lan.heard()
    (dial,) = lan.neighbours.dials(lan.clock.now)
    lan.neighbours.dial_succeeded(dial)
    lost = link(outbound=True)
    lan.up(lost)
    for _ in range(10):
        assert lan.dial_after(1.0) == []
    lan.down(lost)
    assert lan.dials() == [IPV4]


def test_a_link_that_lives_shortly_is_waited_for(lan: Lan) -> None:
    lan.heard()
    lost = link(outbound=False)
    lan.up(lost)
    lan.clock.advance(1.0)
    lan.down(lost)
    assert lan.dial_after(1.9) == []
    assert lan.dial_after(0.1) == [IPV4]


def test_who_falls_silent_is_forgotten(lan: Lan) -> None:
    lan.heard(LOW)
    lan.clock.advance(EXPIRY)
    assert lan.dials() == []
    assert lan.neighbours.candidates() == []
    assert lan.neighbours.next_timer() is None


def test_who_is_linked_is_remembered_until_the_link_ends(lan: Lan) -> None:
    inbound = link(outbound=False)
    lan.up(inbound)
    lan.clock.advance(1000.0)
    lan.dials()
    assert lan.candidate().state is CandidateState.CONNECTED
    lan.down(inbound)
    assert lan.neighbours.candidates() == []


def test_an_address_that_is_announced_no_more_is_not_dialled() -> None:
    lan = Lan()
    lan.heard(address=IPV6)
    for _ in range(6):
        lan.clock.advance(2.0)
        lan.heard()
    assert lan.dials() == [IPV4]
    lan.fail()
    assert lan.dials() == []


def test_who_says_goodbye_is_not_dialled() -> None:
    lan = Lan(expiry=inf)
    lan.heard()
    lan.clock.advance(1e6)
    assert lan.candidate().state is CandidateState.WAITING
    assert lan.neighbours.next_timer() == lan.clock.now - 1e6
    lan.neighbours.forget(HIGH, "eth0")
    lan.neighbours.forget(LOW, "eth0")
    assert lan.neighbours.candidates() == []


def test_a_zone_that_is_gone_keeps_its_links_alone(lan: Lan) -> None:
    inbound = link(outbound=False)
    lan.up(inbound)
    lan.heard()
    lan.heard(LOW)
    lan.heard(HIGH, zone="eth1")
    lan.neighbours.forget_zone("eth0")
    assert [(found.key, found.state.value) for found in lan.neighbours.candidates()] == [
        (HIGH, "connected"),
        (HIGH, "waiting"),
    ]
    lan.down(inbound)
    assert len(lan.neighbours.candidates()) == 1


def test_who_is_patient_lets_others_find_the_node_first() -> None:
    lan = Lan(expiry=inf, patience=4.0)
    lan.heard()
    lan.clock.advance(3.9)
    assert lan.dials() == []
    lan.clock.advance(0.1)
    assert lan.dials() == [IPV4]


def test_of_crossing_dials_the_higher_key_closes_its_own() -> None:
    lan = Lan()  # our key is above LOW, below HIGH
    for key, closed in ((LOW, True), (HIGH, False)):
        outbound, inbound = link(outbound=True), link(outbound=False)
        assert lan.up(outbound, key) == []
        assert lan.up(inbound, key) == ([outbound] if closed else [])


def test_links_that_came_in_are_never_closed(lan: Lan) -> None:
    assert lan.up(link(outbound=False), LOW) == []
    assert lan.up(link(outbound=False), LOW) == []


def test_links_of_other_sources_make_ours_superfluous_not_the_reverse(lan: Lan) -> None:
    ours, theirs = link(outbound=True), link(outbound=True)
    assert lan.up(ours) == []
    assert lan.up(theirs, own=False) == [ours]
    lan.down(ours)
    assert lan.neighbours.candidates() == [], "that is another source's"
    lan.heard()
    assert lan.candidate().state is CandidateState.CONNECTED
    assert lan.dials() == []


def test_a_dial_that_ends_while_another_link_is_up_is_no_failure(lan: Lan) -> None:
    lan.heard()
    lan.dials()
    lan.up(link(outbound=False))
    lan.fail()
    assert lan.candidate().failures == 0


def test_who_may_not_peer_is_asked_about_again_in_a_minute(lan: Lan) -> None:
    lan.heard()
    (dial,) = lan.neighbours.dials(lan.clock.now)
    lan.neighbours.dial_refused(dial, "not on the list", lan.clock.now)
    assert (lan.candidate().state, lan.candidate().reason) == (CandidateState.UNWANTED, "not on the list")
    lan.neighbours.retry_now(lan.clock.now)
    assert lan.heard(address=IPV6)
    for _ in range(59):
        assert lan.dial_after(1.0) == []
    assert lan.dial_after(1.0) == [IPV4]
    lan.neighbours.dial_refused(NeighbourDial(LOW, "eth0", IPV4), "nobody dialled it", lan.clock.now)
    assert len(lan.neighbours.candidates()) == 1


def test_only_some_dials_run_at_once(lan: Lan) -> None:
    for number in range(MAX_DIALS + 2):
        lan.heard(bytes([3, number]) * 16, HostPort(f"192.0.2.{number}", 1))
    assert len(lan.dials()) == MAX_DIALS
    lan.clock.advance(1.0)
    assert lan.dials() == []
    assert lan.neighbours.next_timer() == lan.clock.now - 1.0 + EXPIRY
    lan.fail(HostPort("192.0.2.0", 1), bytes([3, 0]) * 16)
    assert len(lan.dials()) == 1


def test_no_more_than_ten_dials_a_second_begin(lan: Lan) -> None:
    begun = 0
    for number in range(1000):
        lan.heard((1000 + number).to_bytes(2, "big") * 16, HostPort(f"10.0.{number >> 8}.{number & 255}", 1))
        for dial in lan.neighbours.dials(lan.clock.now):
            begun += 1
            lan.neighbours.dial_ended(dial, "refused", lan.clock.now)
        lan.clock.advance(0.01)
    assert 90 <= begun <= 100 + MAX_DIALS


def test_a_thousand_announcements_a_second_are_few_to_remember(lan: Lan) -> None:
    for number in range(10_000):
        lan.heard(number.to_bytes(4, "big") * 8, HostPort(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1))
        lan.clock.advance(0.001)
    assert len(lan.neighbours.candidates()) <= MAX_NEIGHBOURS
    assert lan.counters["announcements over the rate"] > 9_000


def test_one_address_announces_few_keys(lan: Lan) -> None:
    news = [lan.heard(bytes([3, number]) * 16, HostPort(IPV4.host, number + 1)) for number in range(MAX_PER_HOST + 1)]
    assert news == [True] * MAX_PER_HOST + [False]
    assert lan.counters["keys over the limit of one address"] == 1


def test_a_full_table_lets_go_of_those_who_cannot_be_reached() -> None:
    lan = Lan(expiry=inf)
    for number in range(MAX_NEIGHBOURS):
        lan.clock.advance(0.1)
        lan.heard(bytes([3, number]) * 16, HostPort(f"192.0.2.{number}", 1))
    lan.clock.advance(1.0)
    new = HostPort("198.51.100.1", 1)
    assert not lan.heard(LOW, new)
    assert lan.counters["neighbours over the limit"] == 1
    first = lan.neighbours.dials(lan.clock.now)[0]
    lan.neighbours.dial_ended(first, "refused", lan.clock.now)
    assert lan.heard(LOW, new)
    assert first.key not in [found.key for found in lan.neighbours.candidates()]
    lan.neighbours.dial_ended(first, "refused", lan.clock.now)
    assert len(lan.neighbours.candidates()) == MAX_NEIGHBOURS


def test_one_key_has_few_addresses(lan: Lan) -> None:
    for number in range(6):
        lan.clock.advance(0.1)
        lan.heard(address=HostPort("192.0.2.7", 4000 + number))
    dialled = []
    while dials := lan.dials():
        dialled += dials
        lan.fail(dials[0])
    assert [address.port for address in dialled] == [4005, 4004, 4003, 4002]


def test_a_candidate_shows_where_and_when_it_was_heard(lan: Lan) -> None:
    lan.heard()
    assert lan.candidate() == Candidate(
        source="lan", address=str(IPV4), key=HIGH, state=CandidateState.WAITING, seen_at=lan.clock.now
    )
    inbound = link(outbound=False, address="192.0.2.7:50000")
    lan.up(inbound)
    assert lan.candidate().address == "192.0.2.7:50000"


def test_a_candidate_with_several_addresses_shows_the_one_dialled_last(lan: Lan) -> None:
    lan.heard()
    lan.clock.advance(0.1)
    lan.heard(address=IPV6)
    assert lan.candidate().address == str(IPV4)
    assert lan.dials() == [IPV6]
    assert lan.candidate().address == str(IPV6)


def test_the_end_of_an_unknown_link_is_ignored(lan: Lan) -> None:
    lan.down(link(outbound=True))
    assert lan.neighbours.candidates() == []
