"""LAN discovery over sockets in memory: what is announced where, whom a source dials, and which links it closes."""

from __future__ import annotations

import logging
import socket
from random import Random

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.python.failure import Failure

from pinecone_transport.discovery.multicast import ANNOUNCE_INTERVAL, LanSource
from pinecone_transport.discovery.neighbours import HEAD_START
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.wire import PeerType, encode_lan_announcement
from tests.support.virtual_lan import Owner, Port, Reactor, connect, interface

LOW, OURS, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
ETH0 = interface("eth0", "192.0.2.5/24", "fe80::5/64")
ETH1 = interface("eth1", "198.51.100.5/24", index=3)
FROM_HIGH = encode_lan_announcement(HIGH, 4000)
INET, INET6 = socket.AF_INET, socket.AF_INET6


class Lan:
    """A source, and what is around it."""

    def __init__(self, *there, interfaces: tuple[str, ...] | None = None, unusable: tuple = ()) -> None:
        self.reactor = Reactor()
        self.owner = Owner()
        self.there = there
        self.unusable = unusable
        self.opened: list[Port] = []
        self.news = 0
        self.refused: str | None = None
        self.source = LanSource(
            OURS,
            self.owner,
            interfaces=interfaces,
            admits=lambda source, key: self.refused,
            news=self._news,
            reactor=self.reactor,
            clock=self.reactor.seconds,
            look=lambda: self.there,
            open_port=self._open,
        )
        self.source.listen()
        self.source.start()

    def _news(self) -> None:
        self.news += 1
        self.source.network_changed()

    def _open(self, where, family, heard) -> Port:
        if (where.name, family) in self.unusable:
            raise PermissionError(1, "Operation not permitted")
        self.opened.append(Port(where.name, family, heard))
        return self.opened[-1]

    def open(self) -> list[tuple[str, int]]:
        return [port.place for port in self.opened if not port.closed]

    def hear(self, datagram: bytes = FROM_HIGH, host: str = "192.0.2.7", port: int = 0) -> None:
        self.opened[port].hear(datagram, host)

    def change(self, *there) -> None:
        self.there = there
        self.source.network_changed()

    def up(self, number: int, key: bytes = HIGH):
        link = self.owner.links[number]
        self.source.link_up(link, key)
        return link

    def come_in(self, address: IPv4Address | IPv6Address):
        """Let somebody dial us; return the link, None if it is not taken."""
        made = self.reactor.tcpServers[0][1].buildProtocol(address)
        if made is not None:
            connect(made)
        return made


@pytest.fixture
def lan() -> Lan:
    return Lan(ETH0)


def test_it_announces_its_key_and_port_on_each_interface_and_family_every_two_seconds() -> None:
    lan = Lan(ETH0, ETH1, interface("tun0", "10.0.0.1/32", multicast=False))
    assert lan.open() == [("eth0", INET), ("eth0", INET6), ("eth1", INET)]
    lan.reactor.pump([1.0] * 4)
    assert [port.sent for port in lan.opened] == [[encode_lan_announcement(OURS, 40_001)] * 3] * 3


def test_it_keeps_to_the_interfaces_that_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lan = Lan(ETH0, interfaces=("eth0", "eth1"))
    assert lan.open() == [("eth0", INET), ("eth0", INET6)]
    assert "no network interface eth1 that can multicast" in caplog.text
    lan.change(ETH1, interface("eth2", "10.0.0.1/24"))
    assert lan.open() == [("eth1", INET)]


def test_it_dials_the_sender_at_the_announced_port_from_the_address_of_the_interface(lan: Lan) -> None:
    lan.hear()
    host, port, _, timeout, source = lan.reactor.tcpClients[0]
    assert (host, port, timeout, source) == ("192.0.2.7", 4000, 5.0, ("192.0.2.5", 0))


def test_it_dials_link_local_senders_with_the_interface_as_scope(lan: Lan) -> None:
    lan.hear(host="fe80::7", port=1)
    assert lan.reactor.dialled() == [("fe80::7%eth0", 4000)]
    assert lan.reactor.tcpClients[0][4] is None


def test_its_links_are_of_the_lan_for_people_and_for_the_protocol(lan: Lan) -> None:
    lan.hear()
    lan.reactor.connect(0)
    inbound = lan.come_in(IPv4Address("TCP", "192.0.2.9", 5000))
    assert [(link.way, link.peer_type, link.outbound) for link in lan.owner.links] == [
        ("lan", PeerType.MULTICAST, True),
        ("lan", PeerType.MULTICAST, False),
    ]
    assert inbound.address == "192.0.2.9:5000"


def test_it_takes_links_from_its_networks_alone(lan: Lan) -> None:
    assert lan.come_in(IPv6Address("TCP", "fe80::9%eth0", 5000)) is not None
    assert lan.come_in(IPv6Address("TCP", "::ffff:192.0.2.9", 5000)) is not None
    assert lan.come_in(IPv4Address("TCP", "203.0.113.9", 5000)) is None
    assert lan.come_in(IPv6Address("TCP", "2001:db8::9", 5000)) is None
    assert lan.source.counters["links from elsewhere"] == 2


def test_who_is_linked_on_that_interface_is_not_dialled(lan: Lan) -> None:
    lan.come_in(IPv4Address("TCP", "192.0.2.7", 5000))
    lan.up(0)
    lan.hear()
    lan.hear(host="fe80::7", port=1)
    assert lan.reactor.dialled() == []


def test_a_link_that_is_lost_is_dialled_again(lan: Lan) -> None:
    lan.hear()
    lan.reactor.connect(0)
    link = lan.up(0)
    for _ in range(6):
        lan.reactor.advance(2.0)
        lan.hear()
    lan.owner.links[0].abort()
    lan.source.link_down(link, HIGH)
    assert len(lan.reactor.dialled()) == 2


def test_a_dial_that_fails_is_repeated_after_a_while(lan: Lan) -> None:
    lan.hear()
    lan.reactor.tcpClients[0][2].clientConnectionFailed(
        None, Failure(ConnectionRefusedError(111, "Connection refused"))
    )
    assert lan.source.candidates()[0].reason.endswith("111: Connection refused.")
    lan.reactor.advance(2.0)
    assert len(lan.reactor.dialled()) == 2
    assert lan.source.counters["dials that failed"] == 1


def test_a_link_that_does_not_come_up_counts_as_a_failure(lan: Lan) -> None:
    lan.hear()
    lan.reactor.connect(0)
    lan.owner.links[0].abort()
    assert lan.source.candidates()[0].failures == 1
    assert lan.source.candidates()[0].reason == "", "the node knows"


def test_who_is_not_wanted_is_not_dialled(lan: Lan) -> None:
    lan.refused = "it is on the list of those who may not peer"
    lan.hear()
    assert lan.reactor.dialled() == []
    assert lan.source.candidates()[0].reason == lan.refused


def test_whoever_answers_with_another_key_is_let_go(lan: Lan) -> None:
    lan.hear()
    lan.reactor.connect(0)
    lan.up(0, LOW)
    assert lan.owner.lost == lan.owner.links
    assert lan.source.counters["announced keys that were another's"] == 1
    assert [found.reason for found in lan.source.candidates()] == ["another key answered"]


def test_an_inbound_link_ends_a_dial_that_is_under_way(lan: Lan) -> None:
    lan.hear()
    lan.come_in(IPv4Address("TCP", "192.0.2.7", 5000))
    lan.up(0)
    assert lan.reactor.connectors[0].stoppedConnecting
    assert lan.source.candidates()[0].failures == 0


def test_of_two_links_that_crossed_the_higher_key_closes_its_own(lan: Lan) -> None:
    lan.hear(encode_lan_announcement(LOW, 4000))
    lan.reactor.advance(HEAD_START)
    lan.reactor.connect(0)
    lan.come_in(IPv4Address("TCP", "192.0.2.7", 5000))
    outbound = lan.up(0, LOW)
    lan.up(1, LOW)
    assert lan.owner.lost == [outbound]
    assert lan.source.counters["second links closed"] == 1


def test_links_of_other_sources_do_not_count(lan: Lan) -> None:
    other = lan.owner.link("tcp")
    lan.source.link_up(other, HIGH)
    lan.source.link_down(other, HIGH)
    lan.hear()
    assert len(lan.reactor.dialled()) == 1


def test_an_interface_that_comes_is_used_and_one_that_goes_is_left(lan: Lan) -> None:
    lan.hear()
    lan.change(ETH1)
    assert lan.open() == [("eth1", INET)]
    assert lan.reactor.connectors[0].stoppedConnecting
    assert lan.source.candidates() == []
    assert lan.opened[2].sent == [encode_lan_announcement(OURS, 40_001)]
    lan.hear()  # what was in the old socket's buffer
    assert len(lan.reactor.dialled()) == 1


def test_an_interface_made_anew_is_another(lan: Lan) -> None:
    lan.change(interface("eth0", "192.0.2.5/24", "fe80::5/64", index=9))
    assert [port.closed for port in lan.opened] == [True, True, False, False]


def test_an_address_more_changes_nothing_and_the_first_of_a_family_lets_it_join() -> None:
    lan = Lan(ETH1)
    lan.change(interface("eth1", "198.51.100.5/24", "198.51.100.6/24", "fe80::5/64", index=3))
    assert lan.open() == [("eth1", INET), ("eth1", INET6)]
    lan.change(ETH1)
    assert lan.open() == [("eth1", INET)]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ((interface("eth0", "192.0.2.5/24", "192.0.2.6/24", "fe80::5/64"),), True),
        ((interface("eth0", "192.0.2.5/24", "fe80::6/64"),), True),
        ((interface("eth0", "10.0.0.5/24", "fe80::5/64"),), False),
        ((interface("eth0", "192.0.2.5/24", "fe80::5/64", index=9),), False),
        ((interface("eth0", multicast=False),), True),
        ((), False),
    ],
    ids=["one more address", "another in IPv6", "another in IPv4", "made anew", "switched off", "taken away"],
)
def test_links_end_with_what_they_were_made_over(lan: Lan, change: tuple, kept: bool) -> None:
    lan.hear()
    lan.reactor.connect(0)
    lan.up(0)
    lan.change(*change)
    assert (lan.owner.lost == []) is kept


def test_links_outlive_an_interface_that_was_off_and_is_the_same_again(lan: Lan) -> None:
    lan.hear()
    lan.reactor.connect(0)
    lan.up(0)
    lan.change(interface("eth0", multicast=False))
    lan.change(ETH0)
    assert lan.owner.lost == []
    lan.change(interface("eth0", multicast=False))
    lan.change(interface("eth0", "192.0.2.6/24", "fe80::5/64"))
    assert lan.owner.lost == lan.owner.links


def test_links_over_ipv6_end_with_the_link_local_address_and_not_with_global_ones() -> None:
    lan = Lan(interface("eth0", "192.0.2.5/24", "fe80::5/64", "2001:db8::5/64"))
    lan.come_in(IPv6Address("TCP", "fe80::9%eth0", 5000))
    lan.up(0)
    lan.change(interface("eth0", "192.0.2.6/24", "fe80::5/64"))
    assert lan.owner.lost == []
    lan.change(interface("eth0", "192.0.2.6/24", "fe80::6/64"))
    assert lan.owner.lost == lan.owner.links


def test_a_socket_that_cannot_be_had_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lan = Lan(ETH0, unusable=(("eth0", INET6),))
    lan.reactor.pump([1.0] * 4)
    assert caplog.text.count("Cannot look for peers on eth0 (fe80::5): Operation not permitted") == 1
    lan.unusable = ()
    lan.reactor.advance(ANNOUNCE_INTERVAL)
    assert lan.open() == [("eth0", INET), ("eth0", INET6)]


def test_a_socket_that_the_system_closed_is_opened_anew(lan: Lan) -> None:
    lan.opened[0].closed = True
    lan.reactor.advance(ANNOUNCE_INTERVAL)
    assert [port.place for port in lan.opened] == [("eth0", INET), ("eth0", INET6), ("eth0", INET)]


def test_what_cannot_be_sent_now_is_sent_two_seconds_later(lan: Lan) -> None:
    lan.opened[0].error = OSError(99, "Cannot assign requested address")
    lan.reactor.advance(ANNOUNCE_INTERVAL)
    assert (len(lan.opened[0].sent), len(lan.opened[1].sent)) == (1, 2)
    assert lan.source.counters["announcements that could not be sent"] == 1
    lan.opened[0].error = None
    lan.reactor.advance(ANNOUNCE_INTERVAL)
    assert len(lan.opened[0].sent) == 2


def test_only_what_can_have_come_from_there_is_believed(lan: Lan) -> None:
    for host in ("203.0.113.1", "2001:db8::1", "fe80::7%eth1", "nonsense", ""):
        lan.hear(host=host)
    lan.hear(encode_lan_announcement(HIGH, 40_001), "192.0.2.5")
    lan.hear(encode_lan_announcement(OURS, 4000))
    assert lan.reactor.dialled() == []
    assert lan.source.counters["announcements from elsewhere"] == 5
    assert lan.source.counters["announcements of our own port"] == 1


def test_another_node_of_this_machine_is_dialled(lan: Lan) -> None:
    lan.hear(host="192.0.2.5")
    assert lan.reactor.dialled() == [("192.0.2.5", 4000)]


def test_datagrams_of_any_length_and_content_are_counted_or_heard(lan: Lan) -> None:
    random = Random(7)
    for length in range(600):
        lan.hear(random.randbytes(length))
    assert lan.source.counters["LAN announcement too short"] == 34
    assert len(lan.source.candidates()) <= 8
    assert lan.source.counters["keys over the limit of one address"] > 0


def test_a_thousand_announcements_a_second_dial_few(lan: Lan) -> None:
    random = Random(8)
    for _ in range(5_000):
        lan.hear(random.randbytes(32) + b"\x0f\xa0", f"192.0.2.{random.randrange(6, 250)}")
        lan.reactor.advance(0.001)
    assert len(lan.reactor.dialled()) <= 8
    assert len(lan.source.candidates()) <= 256
    assert lan.news <= 1


def test_somebody_new_is_news_for_other_sources_now_and_then(lan: Lan) -> None:
    lan.hear()
    lan.hear(encode_lan_announcement(LOW, 4000))
    assert lan.news == 1
    for _ in range(5):
        lan.reactor.advance(2.0)
    lan.hear(encode_lan_announcement(bytes([9]) * 32, 4000))
    assert lan.news == 2


def test_it_shows_where_it_listens_while_somebody_can_know() -> None:
    assert Lan().source.addresses() == []
    assert len(Lan(ETH0).source.addresses()) == 1


def test_a_source_that_was_stopped_does_nothing_more(lan: Lan) -> None:
    lan.hear()
    done = []
    lan.source.stop().addCallback(done.append)
    assert len(done) == 1
    assert lan.open() == []
    assert lan.reactor.connectors[0].stoppedConnecting
    assert lan.reactor.getDelayedCalls() == []
    assert lan.source.addresses() == []
    lan.source.network_changed()
    lan.hear()
    assert len(lan.reactor.dialled()) == 1
    lan.source.stop()


def test_without_ipv6_it_listens_on_ipv4_and_without_both_it_says_so() -> None:
    lan = Lan()
    lan.source.stop()
    hosts = []

    def fail(port, factory, backlog=50, interface=""):
        hosts.append(interface)
        raise CannotListenError(interface, port, OSError(97, "Address family not supported by protocol"))

    lan.reactor.listenTCP = fail
    with pytest.raises(ConfigurationError, match=r"sources\.lan: cannot listen"):
        lan.source.listen()
    assert hosts == ["::", "0.0.0.0"]
    lan.source.start()  # whoever goes on all the same announces nothing
    assert lan.source.addresses() == []
    lan.source.stop()
