"""The sources of a node's links, together, on a virtual clock and a reactor that dials nobody."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.discovery.network_interfaces import Interface
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import StreamLink
from pinecone_transport.node import parse_node_config
from pinecone_transport.node.peerings import Peerings
from pinecone_transport.node.source_plans import Surroundings
from pinecone_transport.wire import PeerType
from tests.unit.links.test_stream_link import RecordingOwner

KEY = bytes(32)
LOOPBACK = Interface(name="lo", index=1)


class Resolver:
    """Resolves every name to two addresses, the first of which is on a network that leads nowhere."""

    def resolveHostName(
        self, receiver: Any, host: str, portNumber: int = 0, *arguments: object, **more: object
    ) -> object:
        receiver.resolutionBegan(self)
        for address in (IPv6Address("TCP", "2001:db8::7", portNumber), IPv4Address("TCP", "192.0.2.7", portNumber)):
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return self


class SlowlyClosedPort:
    """A port that takes its time to close."""

    def __init__(self, closed: Deferred[None]) -> None:
        self.closed = closed

    def getHost(self) -> IPv6Address:
        return IPv6Address("TCP", "::", 5)

    def stopListening(self) -> Deferred[None]:
        return self.closed


class SlowlyClosingReactor(MemoryReactorClock):
    """Dials nobody; its ports close when ``closed`` fires, if that is set."""

    closed: Deferred[None] | None = None

    def listenTCP(self, *arguments: Any, **more: Any) -> Any:
        port = super().listenTCP(*arguments, **more)
        return port if self.closed is None else SlowlyClosedPort(self.closed)


class PeeringsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = SlowlyClosingReactor()
        self.reactor.installNameResolver(Resolver())
        self.owner = RecordingOwner()
        self.failed: list[str] = []
        self.interfaces: tuple[Interface, ...] = (LOOPBACK,)

    def peerings(self, **options: object) -> Peerings:
        surroundings = Surroundings(
            identity=Identity(bytes(32)),
            owner=self.owner,
            admits=lambda source, key: None,
            failed=lambda address, reason: self.failed.append(address),
            network_changed=lambda: None,
            reactor=self.reactor,
            clock=self.reactor.seconds,
            look=lambda: self.interfaces,
        )
        return Peerings(parse_node_config(options), surroundings)

    def _refuse(self, dial: int = -1) -> None:
        self.reactor.tcpClients[dial][2].clientConnectionFailed(
            self.reactor.connectors[dial], Failure(ConnectionRefusedError())
        )

    def _connect(self, dial: int = -1) -> StringTransport:
        transport = StringTransport()
        self.reactor.tcpClients[dial][2].buildProtocol(None).makeConnection(transport)
        return transport

    def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers(self) -> None:
        peerings = self.peerings(peers=["relay.example.org:5"])
        peerings.start()
        assert [client[:2] for client in self.reactor.tcpClients] == [("2001:db8::7", 5)]
        # The first address says nothing; soon the second is tried beside it.
        self.reactor.advance(1)
        assert [client[:2] for client in self.reactor.tcpClients] == [("2001:db8::7", 5), ("192.0.2.7", 5)]
        self._connect(1)
        assert self.owner.names() == ["made"]
        (candidate,) = peerings.candidates()
        assert (candidate.address, candidate.state.value) == ("relay.example.org:5", "connected")

    def test_a_change_of_interfaces_ends_the_waiting(self) -> None:
        peerings = self.peerings(peers=["192.0.2.1:5"])
        peerings.start()
        for wait in (1, 1, 1, 2, 4):
            self._refuse()
            self.reactor.advance(wait)
        self._refuse()
        assert len(self.reactor.tcpClients) == 6
        self.reactor.advance(4)
        assert len(self.reactor.tcpClients) == 6
        self.interfaces = (LOOPBACK, Interface(name="eth0", index=2))
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            self.reactor.advance(2)
        assert len(self.reactor.tcpClients) == 7
        assert "interfaces have changed" in logged.output[0]

    def test_the_local_networks_are_listened_to_only_if_that_is_asked_for(self) -> None:
        assert self.peerings().addresses() == []
        for options in ({"enabled": True}, {"enabled": True, "interfaces": ["eth7"]}):
            peerings = self.peerings(sources={"lan": options})
            peerings.listen()
            assert len(self.reactor.tcpServers) == 1
            # Nothing is announced: of the interfaces of this test none can multicast.
            peerings.start()
            peerings.stop()
            self.reactor.tcpServers.clear()
        peerings = self.peerings(sources={"lan": {"enabled": False}})
        peerings.listen()
        assert self.reactor.tcpServers == []

    def test_services_are_looked_for_only_if_that_is_asked_for(self) -> None:
        peerings = self.peerings(sources={"mdns": {"enabled": True}})
        peerings.listen()
        assert len(self.reactor.tcpServers) == 1
        # Nothing is advertised: of the interfaces of this test none can multicast.
        peerings.start()
        assert peerings.counters() == {"mdns": {}}
        peerings.stop()

    def test_the_package_that_services_need_is_named_where_it_is_missing(self) -> None:
        with patch.dict(sys.modules, {"zeroconf": None}):
            sys.modules.pop("pinecone_transport.discovery.zeroconf_responder", None)
            with pytest.raises(ConfigurationError) as raised:
                self.peerings(sources={"mdns": {"enabled": True}})
        assert str(raised.value) == "sources.mdns: DNS-SD needs zeroconf: pip install 'synapse-pinecone[mdns]'."

    def test_bluetooth_is_used_only_if_that_is_asked_for(self) -> None:
        assert "ble" not in self.peerings().counters()
        for adapter in (None, "hci1", "usb:1"):
            assert self.peerings(sources={"ble": {"enabled": True, "adapter": adapter}}).counters() == {"ble": {}}

    def test_the_packages_that_bluetooth_needs_are_named_where_they_are_missing(self) -> None:
        for adapter, package, name, module in (
            ("hci0", "dbus_fast", "dbus-fast", "bluez_backend"),
            ("usb:0", "bumble", "bumble", "bumble_backend"),
        ):
            with patch.dict(sys.modules, {package: None}):
                sys.modules.pop(f"pinecone_transport.discovery.bluetooth.{module}", None)
                with pytest.raises(ConfigurationError) as raised:
                    self.peerings(sources={"ble": {"enabled": True, "adapter": adapter}})
            expected = f"sources.ble: Bluetooth LE needs {name}: pip install 'synapse-pinecone[bluetooth]'."
            assert str(raised.value) == expected

    def test_a_source_that_is_made_anew_knows_the_links_that_there_are(self) -> None:
        peerings = self.peerings(sources={"lan": {"enabled": True}})
        peerings.listen()
        peerings.start()
        link = StreamLink(self.owner, peer_type=PeerType.MULTICAST, way="lan", address="192.0.2.7:5", outbound=False)
        peerings.link_up(link, bytes(32))
        for interfaces in (["eth0"], ["eth1"]):
            peerings.reconfigure(parse_node_config({"sources": {"lan": {"enabled": True, "interfaces": interfaces}}}))
            assert [(found.address, found.state.value) for found in peerings.candidates()] == [
                ("192.0.2.7:5", "connected")
            ]
        assert peerings.counters() == {"lan": {}}
        peerings.link_down(link, bytes(32))
        assert peerings.candidates() == []
        peerings.stop()

    def test_after_stop_nobody_is_dialled_and_nothing_watched(self) -> None:
        peerings = self.peerings(peers=["192.0.2.1:5"])
        peerings.start()
        peerings.stop()
        self._refuse()
        assert self.reactor.getDelayedCalls() == []
        assert peerings.candidates()[0].state.value == "unwanted"

    def test_what_is_stopped_in_the_middle_of_a_change_begins_nothing_anew(self) -> None:
        self.reactor.closed = closed = Deferred()
        peerings = self.peerings(sources={"lan": {"enabled": True}})
        peerings.listen()
        peerings.start()
        other = {"lan": {"enabled": True, "interfaces": ["eth1"]}}
        changing = peerings.reconfigure(parse_node_config({"sources": other}))
        peerings.stop()
        self.reactor.tcpServers.clear()
        closed.callback(None)
        self.successResultOf(changing)
        assert self.reactor.tcpServers == []
        assert self.reactor.getDelayedCalls() == []

    def test_why_there_is_no_link_is_shown_with_whom_it_led_to(self) -> None:
        peerings = self.peerings(peers=["192.0.2.1:5"])
        peerings.start()
        self._refuse()
        assert "refused" in peerings.candidates()[0].reason
        self.reactor.advance(2)
        self._connect()
        assert peerings.candidates()[0].reason == ""
        link = self.owner.calls[-1][1]
        peerings.link_up(link, KEY)
        assert (peerings.candidates()[0].reason, peerings.candidates()[0].key) == ("", KEY)
        peerings.link_ended(link, "its key is on the deny list")
        peerings.link_down(link, KEY)
        link.connectionLost(Failure(ConnectionRefusedError()))
        (candidate,) = peerings.candidates()
        assert (candidate.reason, candidate.state.value) == ("its key is on the deny list", "waiting")

    def test_reasons_are_kept_for_a_bounded_number_of_addresses(self) -> None:
        peerings = self.peerings(peers=["192.0.2.1:5"])

        class Link:
            way, outbound = "tcp", True

            def __init__(self, address: str) -> None:
                self.address = address

        peerings.link_ended(Link("192.0.2.1:5"), "first")
        for number in range(256):
            peerings.link_ended(Link(f"192.0.2.2:{number}"), "other")
        assert peerings.candidates()[0].reason == ""


@pytest.mark.parametrize(
    ("options", "path", "part"),
    [
        ({"peers": ["unix:"]}, "peers.0", "write what is meant behind the colon, as in unix:/run/pinecone.sock"),
        ({"listen": ["tls:"]}, "listen.0", "write what is meant behind the colon, as in tls:…"),
        ({"peers": ["bicycle:"]}, "peers.0", "is not an address"),
        ({"peers": ["unix:timeout=5"]}, "peers.0", "cannot be dialled: it lacks 'path'"),
        ({"peers": ["unix:/a:mode=660"]}, "peers.0", "cannot be dialled: there is no 'mode' there"),
        ({"peers": ["pinecone:" + "ab" * 32]}, "peers.0", "cannot be carried by itself"),
        ({"listen": ["haproxy:pinecone:"]}, "listen.0", "cannot be carried by itself"),
        ({"listen": ["tcp:interface=0.0.0.0:port=5"]}, "listen.0", "is TCP, whose addresses are written host:port"),
        ({"peers": ["carrier:pigeon:5"]}, "peers.0", "of the kind 'carrier' nothing installed here knows"),
        ({"peers": ["unix:/a:nonsense=1"]}, "peers.0", "cannot be dialled: "),
        ({"peers": ["systemd:domain=INET:index=0"]}, "peers.0", "cannot be dialled: "),
        ({"listen": ["ssl:5:privateKey=/no/such/file"]}, "listen.0", "cannot be listened on: "),
        ({"peers": ["serial:/dev/tty:speed=5"]}, "peers.0", "write serial:/dev/ttyUSB0:baudrate=115200"),
    ],
)
def test_an_endpoint_string_that_makes_no_link_is_one_sentence(
    options: dict[str, object], path: str, part: str
) -> None:
    test = PeeringsTests()
    test.setUp()
    with pytest.raises(ConfigurationError) as raised:
        test.peerings(**options)
    assert raised.value.path == path
    assert part in raised.value.sentence
    assert raised.value.sentence.endswith(".")
