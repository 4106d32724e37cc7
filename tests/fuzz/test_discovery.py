# Invariant: whatever comes from the local network, sources raise nothing, know few, and dial addresses there alone.
"""Datagrams and services of any content, from anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.discovery.dns_sd import DnsSdSource, Service
from pinecone_transport.discovery.multicast import LanSource
from pinecone_transport.discovery.neighbours import MAX_NEIGHBOURS
from pinecone_transport.discovery.network_interfaces import interface_of
from tests.support.strategies import keys
from tests.support.virtual_lan import Owner, Port, Reactor, interface

OURS = bytes(32)
THERE = (interface("eth0", "192.0.2.5/24", "fe80::5/64"),)

hosts = st.one_of(
    st.sampled_from(["192.0.2.5", "192.0.2.7", "203.0.113.1", "fe80::7", "fe80::7%eth0", "fe80::7%", "::1", "%eth0"]),
    st.text(max_size=50),
    st.ip_addresses().map(str),
)
datagrams = st.one_of(
    st.binary(max_size=600),
    st.builds(
        lambda key, port, rest: key + port + rest, keys, st.binary(min_size=2, max_size=2), st.binary(max_size=9)
    ),
)
services = st.builds(
    Service,
    name=st.text(max_size=70),
    text=st.dictionaries(
        st.one_of(st.sampled_from([b"key", b"KEY"]), st.binary(max_size=9)),
        st.one_of(st.none(), st.binary(max_size=300), keys.map(lambda key: key.hex().encode())),
        max_size=4,
    ),
    port=st.integers(-1, 1 << 17),
    addresses=st.lists(hosts, max_size=5).map(tuple),
)


def assert_dialled_near_by(reactor: Reactor) -> None:
    for host, port in reactor.dialled():
        assert interface_of(host, THERE) is not None
        assert 1 <= port <= 0xFFFF


@given(st.lists(st.tuples(datagrams, hosts, st.floats(0.0, 3.0)), max_size=60))
def test_announcements(heard: list[tuple[bytes, str, float]]) -> None:
    reactor, ports = Reactor(), []

    def open_port(where, family, hear) -> Port:
        ports.append(Port(where.name, family, hear))
        return ports[-1]

    source = LanSource(
        OURS,
        Owner(),
        interfaces=None,
        admits=lambda source, key: None,
        news=lambda: None,
        reactor=reactor,
        clock=reactor.seconds,
        look=lambda: THERE,
        open_port=open_port,
    )
    source.listen()
    source.start()
    for datagram, host, seconds in heard:
        ports[0].hear(datagram, host)
        reactor.advance(seconds)
    assert len(source.candidates()) <= MAX_NEIGHBOURS
    assert_dialled_near_by(reactor)
    source.stop()


class Silent:
    """A responder that a test speaks for."""

    def __init__(self, found, lost) -> None:
        self.found = found
        self.lost = lost

    def start(self, interfaces, key: bytes, port: int) -> None:
        pass


@given(st.lists(st.one_of(services, st.text(max_size=70), st.floats(0.0, 5.0)), max_size=60))
def test_services(seen: list[Service | str | float]) -> None:
    reactor, responders = Reactor(), []

    def make(found, lost) -> Silent:
        responders.append(Silent(found, lost))
        return responders[0]

    source = DnsSdSource(
        OURS,
        Owner(),
        interfaces=None,
        admits=lambda source, key: None,
        make_responder=make,
        reactor=reactor,
        clock=reactor.seconds,
        look=lambda: THERE,
    )
    source.listen()
    source.start()
    for each in seen:
        if isinstance(each, Service):
            responders[0].found(each)
        elif isinstance(each, str):
            responders[0].lost(each)
        else:
            reactor.advance(each)
    assert len(source.candidates()) <= MAX_NEIGHBOURS
    assert_dialled_near_by(reactor)
