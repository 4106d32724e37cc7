"""DNS-SD over a responder in memory: which services are believed, whom a source dials, and when it advertises anew."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed

from pinecone_transport.discovery.dns_sd import (
    LONGEST_LABEL,
    MAX_SERVICES,
    PATIENCE,
    DnsSdSource,
    Service,
    instance_name,
    key_of,
)
from pinecone_transport.discovery.neighbours import HEAD_START
from pinecone_transport.wire import PeerType
from tests.support.virtual_lan import Owner, Reactor, connect, interface

LOW, OURS, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
ETH0 = interface("eth0", "192.0.2.5/24", "fe80::5/64")
ETH1 = interface("eth1", "198.51.100.5/24", index=3)


class Responder:
    """What a source asks of multicast DNS."""

    def __init__(self, found, lost) -> None:
        self.found = found
        self.lost = lost
        self.started: list[tuple[list[str], bytes, int]] = []
        self.stopped = False

    def start(self, interfaces, key: bytes, port: int) -> None:
        self.started.append(([each.name for each in interfaces], key, port))

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)


class Mdns:
    """A source, and what is around it."""

    def __init__(self, *there, interfaces: tuple[str, ...] | None = None) -> None:
        self.reactor = Reactor()
        self.owner = Owner()
        self.there = there
        self.source = DnsSdSource(
            OURS,
            self.owner,
            interfaces=interfaces,
            admits=lambda source, key: None,
            make_responder=self._make,
            reactor=self.reactor,
            clock=self.reactor.seconds,
            look=lambda: self.there,
        )
        self.source.listen()
        self.source.start()

    def _make(self, found, lost) -> Responder:
        self.responder = Responder(found, lost)
        return self.responder

    def found(self, key: bytes = HIGH, *addresses: str, name: str = "somebody", port: int = 4000) -> None:
        text = {b"key": key.hex().encode()}
        self.responder.found(Service(name=name, text=text, port=port, addresses=addresses or ("192.0.2.7",)))

    def change(self, *there) -> None:
        self.there = there
        self.source.network_changed()

    def connected(self, number: int = 0, key: bytes = HIGH):
        self.reactor.connect(number)
        self.source.link_up(self.owner.links[number], key)
        return self.owner.links[number]


@pytest.fixture
def mdns() -> Mdns:
    return Mdns(ETH0)


def test_an_instance_is_named_by_as_much_of_the_key_as_a_label_holds() -> None:
    name = instance_name(HIGH)
    assert name == f"{HIGH.hex()[:63]}._pinecone._tcp.local."
    assert len(name.partition(".")[0]) == LONGEST_LABEL


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ({b"key": HIGH.hex().encode()}, HIGH),
        ({b"path": b"/", b"KEY": b"AB" * 32}, b"\xab" * 32),
        ({b"key": HIGH.hex()[:63].encode()}, None),
        ({b"key": HIGH.hex().encode() + b"0"}, None),
        ({b"key": b"g" * 64}, None),
        ({b"key": HIGH.hex().encode() + b"\n"}, None),
        ({b"key": b"\xff" * 64}, None),
        ({b"key": b""}, None),
        ({b"key": None}, None),
        ({}, None),
    ],
)
def test_the_key_is_in_the_text_record_in_hexadecimal(text: dict, key: bytes | None) -> None:
    assert key_of(text) == key


def test_it_advertises_its_port_on_the_interfaces_that_can_multicast() -> None:
    mdns = Mdns(ETH0, ETH1, interface("tun0", "10.0.0.1/32", multicast=False), interface("eth2", "127.0.0.2/8"))
    assert mdns.responder.started == [(["eth0", "eth1"], OURS, 40_001)]
    assert Mdns(ETH0, ETH1, interfaces=("eth1",)).responder.started[0][0] == ["eth1"]


def test_who_is_found_is_given_time_to_be_found_by_the_lan(mdns: Mdns) -> None:
    mdns.found()
    mdns.reactor.advance(PATIENCE - 0.1)
    assert mdns.reactor.dialled() == []
    mdns.reactor.advance(0.1)
    assert mdns.reactor.dialled() == [("192.0.2.7", 4000)]
    mdns.connected()
    (link,) = mdns.owner.links
    assert (link.way, link.peer_type, link.outbound) == ("mdns", PeerType.BONJOUR, True)


def test_addresses_of_other_networks_are_left_out(mdns: Mdns) -> None:
    mdns.found(HIGH, "203.0.113.7", "fe80::7%eth9", "2001:db8::7", "fe80::7%eth0", "nonsense")
    mdns.reactor.advance(PATIENCE)
    assert mdns.reactor.dialled() == [("fe80::7%eth0", 4000)]
    assert mdns.source.counters["addresses from elsewhere"] == 4


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_service_without_a_port_is_none(mdns: Mdns, port: int) -> None:
    mdns.found(port=port)
    assert mdns.source.candidates() == []
    assert mdns.source.counters["services without a key or a port"] == 1


def test_a_service_that_loses_its_key_is_dialled_no_more(mdns: Mdns) -> None:
    mdns.found()
    mdns.responder.found(Service(name="somebody", text={b"key": b"?"}, port=4000, addresses=("192.0.2.7",)))
    mdns.reactor.advance(PATIENCE)
    assert mdns.reactor.dialled() == []


def test_our_own_service_is_not_dialled(mdns: Mdns) -> None:
    mdns.found(OURS)
    mdns.reactor.advance(PATIENCE + HEAD_START)
    assert mdns.reactor.dialled() == []


def test_a_service_that_goes_ends_the_dial(mdns: Mdns) -> None:
    mdns.found()
    mdns.reactor.advance(PATIENCE)
    mdns.responder.lost("nobody")
    mdns.responder.lost("somebody")
    assert mdns.reactor.connectors[0].stoppedConnecting
    assert mdns.source.candidates() == []


def test_a_key_that_two_services_tell_goes_with_the_last_of_them(mdns: Mdns) -> None:
    mdns.found(name="one")
    mdns.found(name="two")
    mdns.responder.lost("one")
    assert len(mdns.source.candidates()) == 1
    mdns.responder.lost("two")
    assert mdns.source.candidates() == []


def test_a_service_may_change_its_key(mdns: Mdns) -> None:
    mdns.found()
    mdns.found(LOW)
    assert [found.key for found in mdns.source.candidates()] == [LOW]


def test_services_are_bounded(mdns: Mdns) -> None:
    for number in range(MAX_SERVICES + 5):
        mdns.found(HIGH, "203.0.113.1", name=f"service {number}")
    assert mdns.source.counters["services over the limit"] == 5
    mdns.found(HIGH, name="service 0")
    assert len(mdns.source.candidates()) == 1


def test_who_is_linked_by_the_lan_is_not_dialled_and_a_link_of_ours_closed(mdns: Mdns) -> None:
    mdns.found()
    mdns.reactor.advance(PATIENCE)
    ours = mdns.connected()
    by_lan = mdns.owner.link("lan")
    mdns.source.link_up(mdns.owner.link("lan"), LOW)
    assert [found.key for found in mdns.source.candidates()] == [HIGH], "LOW advertises nothing"
    mdns.source.link_up(by_lan, HIGH)
    assert mdns.owner.lost == [ours]
    mdns.source.link_down(ours, HIGH)
    mdns.reactor.advance(60.0)
    assert len(mdns.reactor.dialled()) == 1
    mdns.source.link_down(by_lan, HIGH)
    mdns.reactor.advance(60.0)
    assert len(mdns.reactor.dialled()) == 2


def test_links_of_further_sources_do_not_count(mdns: Mdns) -> None:
    other = mdns.owner.link("tcp")
    mdns.source.link_up(other, HIGH)
    mdns.found()
    mdns.reactor.advance(PATIENCE)
    assert len(mdns.reactor.dialled()) == 1
    mdns.source.link_down(other, HIGH)


def test_it_takes_links_from_its_networks_alone(mdns: Mdns) -> None:
    build = mdns.reactor.tcpServers[0][1].buildProtocol
    assert connect(build(IPv6Address("TCP", "fe80::9%eth0", 5000))) is not None
    assert build(IPv4Address("TCP", "203.0.113.9", 5000)) is None
    assert mdns.source.counters["links from elsewhere"] == 1


def test_other_interfaces_are_advertised_on_anew_and_what_was_seen_is_forgotten(mdns: Mdns) -> None:
    mdns.found()
    mdns.change(ETH0)
    assert len(mdns.responder.started) == 1
    mdns.change(ETH0, ETH1)
    assert mdns.responder.started[1] == (["eth0", "eth1"], OURS, 40_001)
    assert mdns.source.candidates() == []
    assert len(mdns.source.addresses()) == 1
    mdns.change()
    assert mdns.responder.started[2][0] == []
    assert mdns.source.addresses() == []


def test_a_source_that_was_stopped_does_nothing_more(mdns: Mdns) -> None:
    mdns.found()
    done = []
    mdns.source.stop().addCallback(done.append)
    assert len(done) == 1
    assert mdns.responder.stopped
    assert mdns.reactor.getDelayedCalls() == []
    assert mdns.source.addresses() == []
    mdns.change(ETH1)
    assert len(mdns.responder.started) == 1
