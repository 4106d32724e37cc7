"""Endpoint strings, through Twisted's own parser and plug-in."""

from __future__ import annotations

import pytest
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import TimeoutError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.errors import LocalProtocolError
from tests.support.loopback import LoopbackNetwork
from tests.support.twisted_protocols import Recorders
from twisted_endpoints import NoSuchNode, register_node, registered_node, unregister_node


class StringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = LoopbackNetwork(self.clock)
        self.alice, self.bob = self.network.node(1), self.network.node(2)
        self.name = self.bob.identity.server_name

    def test_strings_connect_and_listen(self) -> None:
        register_node(self.alice)
        register_node(self.bob, "bob")
        servers = Recorders()
        self.successResultOf(serverFromString(self.clock, "pinecone:node=bob").listen(servers))
        connecting = clientFromString(self.clock, f"pinecone:{self.name}").connect(Recorders())
        self.clock.advance(0)
        assert self.successResultOf(connecting).transport.getPeer().server_name == self.name
        assert servers.made[0].transport.getPeer().key == self.alice.identity.key

    def test_the_default_node_listens_without_a_name(self) -> None:
        register_node(self.bob)
        self.successResultOf(serverFromString(self.clock, "pinecone:").listen(Recorders()))

    def test_nodes_are_looked_up_when_used_and_not_before(self) -> None:
        client = clientFromString(self.clock, f"pinecone:{self.name}:node=late")
        server = serverFromString(self.clock, "pinecone:node=late")
        for using in (client.connect(Recorders()), server.listen(Recorders())):
            failure = self.failureResultOf(using, NoSuchNode)
            assert "no Pinecone node named 'late'" in str(failure.value)
        register_node(self.alice, "late")
        self.successResultOf(server.listen(Recorders()))

    def test_nodes_belong_to_their_reactor(self) -> None:
        register_node(self.alice)
        with pytest.raises(NoSuchNode):
            registered_node(Clock())

    def test_a_node_is_forgotten_unless_another_has_its_name(self) -> None:
        register_node(self.alice)
        register_node(self.bob)
        unregister_node(self.alice)
        assert registered_node(self.clock) is self.bob
        unregister_node(self.bob)
        with pytest.raises(NoSuchNode):
            registered_node(self.clock)

    def test_the_timeout_can_be_given(self) -> None:
        register_node(self.alice)
        self.network.silent.add(self.bob.identity.key)
        connecting = clientFromString(self.clock, f"pinecone:{self.name}:timeout=2.5").connect(Recorders())
        self.clock.advance(2.6)
        self.failureResultOf(connecting, TimeoutError)

    def test_wrong_strings_are_refused_while_parsing(self) -> None:
        for wrong in ("pinecone:matrix.example", f"pinecone:{self.name.upper()}", "pinecone:"):
            with pytest.raises(LocalProtocolError):
                clientFromString(self.clock, wrong)
        with pytest.raises(ValueError, match="node=<name>"):
            serverFromString(self.clock, "pinecone:8448")
