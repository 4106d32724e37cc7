"""Streams of sessions that authenticate and encrypt themselves behave at the endpoints as those with TLS do."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone

from tests.unit.twisted_endpoints import test_endpoints, test_flow


class _Authenticated(test_endpoints.EndpointTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network.authenticated = True


class PlainHalfCloseTests(_Authenticated, test_endpoints.HalfCloseTests):
    pass


class PlainProducerTests(_Authenticated, test_flow.ProducerTests):
    pass


class PlainPauseTests(_Authenticated, test_flow.PauseTests):
    pass


class PlainTests(_Authenticated):
    def test_nothing_but_what_is_written_goes_to_the_node(self) -> None:
        client, server = self.connect()
        assert self.network.carried == []
        client.transport.write(b"as ")
        client.transport.write(b"it is")
        self.run_turns()
        assert self.network.carried == [b"as it is"]
        assert server.received == b"as it is"

    def test_the_end_of_the_stream_is_the_end(self) -> None:
        client, server = self.connect()
        client.transport.write(b"last words")
        client.transport.loseConnection()
        self.run_turns()
        assert server.received == b"last words"
        assert [reason.type for reason in client.lost + server.lost] == [ConnectionDone, ConnectionDone]
        assert (self.alice.ends, self.bob.ends) == ({}, {})
