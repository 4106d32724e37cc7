"""Links over endpoints: strings, and transports that lack what TCP has."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.links import EndpointString, parse_listen, parse_peer
from pinecone_transport.links.endpoint import (
    CLOSE_TIMEOUT,
    EndpointLink,
    client_endpoint,
    dial_endpoint,
    listen_endpoint,
    server_endpoint,
)
from pinecone_transport.links.tcp import FIRST_WRITE
from tests.unit.links.test_stream_link import RecordingOwner


class TransportWithoutAbort:
    """As much of a transport as a process's standard streams have."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def writeSequence(self, data: list[bytes]) -> None:
        self.written += b"".join(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.closing = True


class EndpointLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.owner = RecordingOwner()

    def _link(self, write_limit: int | None = None) -> EndpointLink:
        return EndpointLink(
            self.owner,
            self.reactor,
            way="unix",
            address="unix:/s",
            outbound=True,
            write_limit=write_limit,
            clock=self.reactor.seconds,
        )

    def test_a_transport_that_cannot_be_cut_counts_as_lost_at_once(self) -> None:
        link, transport = self._link(), TransportWithoutAbort()
        link.makeConnection(transport)
        link.abort()
        self.reactor.advance(0)
        assert transport.closing
        assert self.owner.names() == ["made", "lost"]
        assert self.owner.reasons == [ConnectionAborted]
        link.dataReceived(b"late")
        link.connectionLost(Failure(ConnectionDone()))
        link.abort()
        assert self.owner.names() == ["made", "lost"]

    def test_a_far_end_that_does_not_let_a_link_close_has_it_cut(self) -> None:
        link, transport = self._link(), StringTransport()
        link.makeConnection(transport)
        link.close()
        link.close()
        assert transport.disconnecting
        self.reactor.advance(CLOSE_TIMEOUT - 1)
        assert not transport.disconnected
        self.reactor.advance(1)
        assert transport.disconnected

    def test_a_link_that_closes_in_time_leaves_no_timer(self) -> None:
        link = self._link()
        link.makeConnection(StringTransport())
        link.close()
        link.connectionLost(Failure(ConnectionDone()))
        assert self.owner.names() == ["made", "lost"]
        assert self.reactor.getDelayedCalls() == []
        link.close()
        assert self.reactor.getDelayedCalls() == []

    def test_where_the_transport_is_slow_less_is_written_at_once(self) -> None:
        link, transport = self._link(), StringTransport()
        link.makeConnection(transport)
        link.write([bytes(FIRST_WRITE)])
        assert not link.writable
        self.reactor.advance(1)
        transport.producer.resumeProducing()
        assert link.writable
        assert link.write_limit == FIRST_WRITE // 4

    def test_a_limit_that_is_known_beforehand_stays(self) -> None:
        link, transport = self._link(write_limit=300), StringTransport()
        link.makeConnection(transport)
        link.write([bytes(299)])
        assert link.writable
        link.write([bytes(1)])
        assert not link.writable
        transport.producer.resumeProducing()
        assert (link.writable, link.write_limit) == (True, 300)

    def test_a_unix_socket_is_dialled_and_listened_on(self) -> None:
        address = EndpointString("unix:/run/link.sock")
        dial_endpoint(self.reactor, client_endpoint(self.reactor, address), address, self.owner)
        listen_endpoint(self.reactor, server_endpoint(self.reactor, address), address, self.owner)
        assert self.reactor.unixClients[0][0] == "/run/link.sock"
        assert self.reactor.unixServers[0][0] == "/run/link.sock"
        factory = self.reactor.unixServers[0][1]
        factory.buildProtocol(None).makeConnection(StringTransport())
        ((_, link),) = self.owner.calls
        assert (link.way, link.address, link.outbound) == ("unix", "unix:/run/link.sock", False)

    def test_a_dial_that_nobody_answers_ends(self) -> None:
        address = EndpointString("unix:/run/link.sock")
        dialling = dial_endpoint(self.reactor, client_endpoint(self.reactor, address), address, self.owner)
        self.reactor.advance(10)
        self.failureResultOf(dialling)


@pytest.mark.parametrize(
    "text", ["unix:/run/s", "ssl:host=relay:port=5", "serial:/dev/ttyUSB0", "tls:relay:5", r"unix:/with\:colon"]
)
def test_endpoint_strings_are_known_by_their_kind(text: str) -> None:
    for parse in (parse_peer, parse_listen):
        address = parse(text)
        assert isinstance(address, EndpointString)
        assert (str(address), address.way) == (text, text.partition(":")[0])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tcp:relay:5:timeout=5", "is TCP, whose addresses are written host:port"),
        ("pinecone:" + "ab" * 32, "the overlay cannot be carried by itself"),
        ("haproxy:pinecone:", "the overlay cannot be carried by itself"),
        ("pigeon:loft:5", "'pigeon' nothing installed here knows"),
    ],
)
def test_strings_that_make_no_link_are_refused(text: str, part: str) -> None:
    for parse in (parse_peer, parse_listen):
        with pytest.raises(ValueError, match=part):
            parse(text)
