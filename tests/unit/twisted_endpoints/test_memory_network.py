"""The endpoints over real nodes: line of pipes on one clock, from `twisted_endpoints.testing`."""

from __future__ import annotations

import hashlib

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, NoRouteError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.support.twisted_protocols import Recorders
from twisted_endpoints import PineconeAgent, PineconeClientEndpoint, PineconeServerEndpoint
from twisted_endpoints.testing import MemoryNetwork


class MemoryNetworkTests(SynchronousTestCase):
    """Three nodes in a line; the last one listens."""

    def setUp(self) -> None:
        self.network = MemoryNetwork()
        self.alice = self.network.node()
        self.relay = self.network.node(self.alice)
        self.bob = self.network.node()
        self.cut = self.network.link(self.relay, self.bob)
        self.network.settle()
        self.servers = Recorders()
        self.port = self.network.result_of(PineconeServerEndpoint(self.bob).listen(self.servers))

    def tearDown(self) -> None:
        self.network.stop()
        assert self.network.clock.getDelayedCalls() == []

    def dial(self, key: bytes) -> Deferred:
        return PineconeClientEndpoint(self.alice, key).connect(Recorders())

    def test_streams_go_through_the_relay(self) -> None:
        client = self.network.result_of(self.dial(self.bob.identity.key))
        client.transport.write(b"ping")
        self.network.advance_until(lambda: self.servers.made and self.servers.made[0].received)
        server = self.servers.made[0]
        assert server.transport.getPeer().key == self.alice.identity.key
        server.transport.write(b"pong")
        self.network.advance_until(lambda: client.received)
        client.transport.loseConnection()
        self.network.advance_until(lambda: client.lost and server.lost)
        client.lost[0].trap(ConnectionDone)
        server.lost[0].trap(ConnectionDone)

    def test_large_transfers_come_whole_both_ways_at_once(self) -> None:
        data = hashlib.shake_256(b"both ways").digest(3_000_000)
        client = self.network.result_of(self.dial(self.bob.identity.key))
        self.network.advance_until(lambda: self.servers.made)
        server = self.servers.made[0]
        client.transport.write(data)
        server.transport.write(data[::-1])
        client.transport.loseWriteConnection()
        self.network.advance_until(lambda: len(server.received) == len(client.received) == len(data))
        assert (server.received, client.received) == (data, data[::-1])

    def test_a_paused_reader_halts_its_writer_and_loses_nothing(self) -> None:
        data = hashlib.shake_256(b"paused").digest(12_000_000)
        client = self.network.result_of(self.dial(self.bob.identity.key))
        self.network.advance_until(lambda: self.servers.made)
        server = self.servers.made[0]
        server.transport.pauseProducing()
        client.transport.write(data)
        client.transport.loseConnection()
        self.network.advance(5)
        assert (len(server.received), client.lost) == (0, [])
        server.transport.resumeProducing()
        self.network.advance_until(lambda: server.lost)
        assert hashlib.sha256(server.received).digest() == hashlib.sha256(data).digest()

    def test_nobody_has_the_key(self) -> None:
        start = self.network.clock.seconds()
        with pytest.raises(NoRouteError):
            self.network.result_of(self.dial(bytes(31) + b"\1"))
        assert self.network.clock.seconds() - start < 5

    def test_nobody_listens(self) -> None:
        with pytest.raises(ConnectionRefusedError):
            self.network.result_of(self.dial(self.relay.identity.key))

    def test_a_stopped_node_is_a_lost_connection_at_once(self) -> None:
        client = self.network.result_of(self.dial(self.bob.identity.key))
        self.network.advance_until(lambda: self.servers.made)
        self.network.result_of(self.bob.stopService())
        self.network.advance(1)
        client.lost[0].trap(ConnectionLost)
        self.servers.made[0].lost[0].trap(ConnectionLost)

    def test_a_cut_can_be_made_good(self) -> None:
        client = self.network.result_of(self.dial(self.bob.identity.key))
        self.network.advance_until(lambda: self.servers.made)
        self.cut()
        self.network.advance(1)
        client.transport.write(b"after the cut")
        self.network.advance(1)
        self.network.link(self.relay, self.bob)
        self.network.advance_until(lambda: self.servers.made[0].received == b"after the cut")

    def test_a_site_answers_an_agent(self) -> None:
        root = Resource()
        root.putChild(b"page", Data(b"a page" * 100_000, "text/plain"))
        self.port.stopListening()
        site = Site(root, reactor=self.network.clock)
        port = self.network.result_of(PineconeServerEndpoint(self.bob).listen(site))
        agent = PineconeAgent(self.alice)
        url = f"http://{self.bob.identity.server_name}/page".encode()
        for _ in range(2):
            body = self.network.result_of(agent.request(b"GET", url).addCallback(readBody))
            assert body == b"a page" * 100_000
        self.network.result_of(agent.pool.closeCachedConnections())
        port.stopListening()

    def test_what_does_not_come_to_pass_fails_the_test(self) -> None:
        with pytest.raises(AssertionError, match="within 5 s"):
            self.network.advance_until(lambda: False, timeout=5)
