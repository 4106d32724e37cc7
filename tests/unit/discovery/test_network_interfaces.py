"""Interfaces: which addresses are on their networks, which of ours others can reach, and when that changes."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_interface
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from twisted.internet.task import Clock

from pinecone_transport.discovery.network_interfaces import (
    Interface,
    InterfaceWatcher,
    interface_of,
    network_interfaces,
)


def interface(name: str, *addresses: str) -> Interface:
    return Interface(name=name, index=2, addresses=tuple(map(ip_interface, addresses)), multicast=True)


ETH0 = interface("eth0", "127.9.9.9/8", "169.254.1.1/16", "192.0.2.5/24", "2001:db8::5/64", "fe80::5/64")
ETH1 = interface("eth1", "198.51.100.5/24")


def test_it_shows_others_a_global_ipv4_and_a_link_local_ipv6_address() -> None:
    assert ETH0.ipv4() == ip_address("192.0.2.5")
    assert ETH0.ipv6() == ip_address("fe80::5")


def test_what_neighbours_use_are_ipv4_and_link_local_addresses() -> None:
    assert [str(own) for own in ETH0.near_by().addresses] == [
        "127.9.9.9/8",
        "169.254.1.1/16",
        "192.0.2.5/24",
        "fe80::5/64",
    ]


def test_it_dials_from_its_address_in_the_same_network() -> None:
    assert ETH0.towards("192.0.2.77") == ip_address("192.0.2.5")
    assert ETH0.towards("203.0.113.1") is None
    assert ETH0.towards("fe80::77%eth0") is None


def test_it_may_have_neither() -> None:
    assert interface("eth2", "127.0.0.1/8", "2001:db8::5/64").ipv4() is None
    assert interface("eth2", "127.0.0.1/8", "2001:db8::5/64").ipv6() is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.77", "eth0"),
        ("198.51.100.5", "eth1"),
        ("203.0.113.1", None),
        ("fe80::77%eth0", "eth0"),
        ("fe80::77%eth1", "eth1"),
        ("fe80::77%eth2", None),
        ("fe80::77", None),
        ("2001:db8::77", None),
        ("example.org", None),
        ("", None),
    ],
)
def test_an_address_is_on_the_network_of_one_interface_or_of_none(host: str, name: str | None) -> None:
    found = interface_of(host, (ETH0, ETH1))
    assert (found and found.name) == name


@pytest.mark.parametrize(("host", "own"), [("192.0.2.5", True), ("192.0.2.6", False), ("fe80::5%eth0", True)])
def test_it_knows_its_own_addresses(host: str, own: bool) -> None:
    assert ETH0.has_address(host) is own


def test_this_machine_has_a_loopback_that_does_not_multicast() -> None:
    loopbacks = [found for found in network_interfaces() if found.has_address("127.0.0.1")]
    assert [found.ipv4() for found in loopbacks] == [None]
    assert loopbacks[0].index > 0


@pytest.mark.parametrize(
    ("address", "netmask", "network"),
    [
        ("192.0.2.5", "255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.5", "0.0.0.0", "0.0.0.0/0"),
        ("192.0.2.5", None, "192.0.2.5/32"),
        ("192.0.2.5", "255.0.255.0", "192.0.2.5/32"),
        ("192.0.2.5", "0.0.0.255", "192.0.2.5/32"),
        ("fe80::5%eth0", "ffff:ffff:ffff:ffff::", "fe80::/64"),
        ("fe80::5%eth0", None, "fe80::5/128"),
        ("fe80::5%eth0", "ffff::ffff", "fe80::5/128"),
    ],
)
def test_an_address_with_an_odd_netmask_is_as_good_as_alone(address: str, netmask: str | None, network: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    shown = SimpleNamespace(family=family, address=address, netmask=netmask)
    with patch("psutil.net_if_addrs", return_value={"lo": [shown]}):
        (loopback,) = [found for found in network_interfaces() if found.name == "lo"]
    assert [str(own.network) for own in loopback.addresses] == [network]


def test_a_watcher_tells_of_changes_only() -> None:
    clock, seen = Clock(), [(ETH0,)]
    changes = []
    watcher = InterfaceWatcher(clock, lambda: changes.append(watcher.interfaces), look=lambda: seen[0])
    watcher.start()
    assert watcher.interfaces == (ETH0,)
    clock.pump([1.0] * 4)
    assert changes == []
    seen[0] = (ETH0, ETH1)
    clock.pump([1.0] * 4)
    seen[0] = ()
    clock.pump([1.0] * 2)
    assert changes == [(ETH0, ETH1), ()]


def test_a_watcher_that_was_stopped_looks_no_more() -> None:
    clock = Clock()
    watcher = InterfaceWatcher(clock, lambda: None, look=lambda: ())
    watcher.stop()
    watcher.start()
    watcher.stop()
    assert clock.getDelayedCalls() == []
