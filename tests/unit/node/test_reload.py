"""Options that are read again while a node runs."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, NodeConfig, parse_node_config
from pinecone_transport.node.reload import reload_options
from pinecone_transport.node.source_plans import missing_package
from tests.unit.node.test_peerings import SlowlyClosingReactor

TAKEN = 7
LOGGER = "pinecone_transport.node"


class Reactor(SlowlyClosingReactor):
    """A reactor one of whose ports is taken."""

    def listenTCP(self, port: int, *arguments: Any, **more: Any) -> Any:
        if port == TAKEN:
            raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))
        return super().listenTCP(port, *arguments, **more)


class ReloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.node = Node(
            Identity(bytes(32)),
            parse_node_config({"peers": ["192.0.2.1:5"]}),
            self.reactor,
            clock=self.reactor.seconds,
        )
        self.node.startService()
        self.addCleanup(self.node.stopService)

    def _reload(self, read: object) -> list[str]:
        with self.assertLogs(LOGGER, "INFO") as logged:
            reload_options(self.node, read)  # type: ignore[arg-type]  # what it gets is the tests' matter
        return logged.output

    def _peers(self) -> list[str]:
        return [found["address"] for found in self.node.status()["candidates"]]

    def test_what_has_changed_is_taken_over_and_what_waits_is_named(self) -> None:
        said = self._reload(lambda: parse_node_config({"peers": ["192.0.2.2:5"], "dial_grace": 5}))
        assert self._peers() == ["192.0.2.2:5"]
        assert any("dial_grace has changed" in line for line in said)
        assert any("taken over" in line for line in said)

    def test_what_cannot_be_read_changes_nothing(self) -> None:
        def read() -> NodeConfig:
            raise ConfigurationError("peers.0", "is nonsense.")

        (line,) = self._reload(read)
        assert line.endswith("cannot be used: peers.0: is nonsense.")
        assert self._peers() == ["192.0.2.1:5"]

    def test_two_changes_at_once_are_made_one_after_the_other(self) -> None:
        self.reactor.closed = closed = Deferred()
        listening = self.node.reconfigure(parse_node_config({"listen": ["127.0.0.1:5"]}))
        self.successResultOf(listening)
        taken = self.node.reconfigure(parse_node_config({"listen": [f"127.0.0.1:{TAKEN}"]}))
        right = self.node.reconfigure(
            parse_node_config({"listen": ["127.0.0.1:5"], "sources": {"tcp": {"max_links": 0}}})
        )
        closed.callback(None)
        self.failureResultOf(taken, ConfigurationError)
        self.successResultOf(right)
        transport = StringTransport()
        link = self.reactor.tcpServers[-1][1].buildProtocol(IPv4Address("TCP", "192.0.2.1", 5))
        link.makeConnection(transport)
        assert transport.disconnecting

    def test_what_cannot_be_had_changes_nothing(self) -> None:
        for options, part in (
            ({"mesh_secret_file": "/no/such/file"}, "cannot be read"),
            ({"peers": ["unix:/a:b=c"], "deny": ["ab" * 32]}, "cannot be dialled"),
        ):
            (line,) = self._reload(lambda options=options: parse_node_config(options))
            assert part in line
            assert self._peers() == ["192.0.2.1:5"]
            assert self.node.config == parse_node_config({"peers": ["192.0.2.1:5"]})

    def test_lost_peers_are_dialled_at_once(self) -> None:
        self.reactor.tcpClients[0][2].clientConnectionFailed(
            self.reactor.connectors[0], Failure(ConnectionRefusedError())
        )
        assert len(self.reactor.tcpClients) == 1
        self._reload(lambda: self.node.config)
        assert len(self.reactor.tcpClients) == 2

    def test_a_node_that_does_not_run_takes_nothing_over(self) -> None:
        self.node.stopService()
        self.failureResultOf(self.node.reconfigure(parse_node_config({})), LocalProtocolError)


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(ConfigurationError) as raised:
        raise missing_package("peers.0", "A serial line", ModuleNotFoundError(name="serial"), "serial")
    assert str(raised.value) == "peers.0: A serial line needs pyserial: pip install 'synapse-pinecone[serial]'."
