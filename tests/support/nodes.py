"""Real nodes on loopback, for tests in the reactor."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from pinecone_transport.stack import LinkUp

LOOPBACK = {4: "127.0.0.1:0", 6: "[::1]:0"}


class Nodes:
    """Makes nodes and stops them all at the end."""

    def __init__(self) -> None:
        self._made: list[Node] = []

    def start(self, **options: object) -> Node:
        """Start a node with a new key, or with the option ``identity``."""
        identity = options.pop("identity", None) or Identity.generate()
        assert isinstance(identity, Identity)
        node = Node(identity, parse_node_config(options), reactor)
        self._made.append(node)
        node.startService()
        return node

    def listening(self, version: int = 4, **options: object) -> tuple[Node, str]:
        """Start a node that listens on loopback; return it and its address."""
        node = self.start(listen=[LOOPBACK[version]], **options)
        return node, node.listening_addresses()[0]

    async def stop_all(self) -> None:
        for node in self._made:
            await node.stopService()


async def eventually(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: It does not within ``timeout`` seconds.
    """
    deadline = reactor.seconds() + timeout
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError("it did not come to pass in time")
        await deferLater(reactor, 0.02)


def link_up(node: Node) -> Deferred[LinkUp]:
    """Fires when a link of the node comes up."""
    up: Deferred[LinkUp] = Deferred()

    def observe(event: object) -> None:
        if isinstance(event, LinkUp):
            stop()
            up.callback(event)

    stop = node.subscribe(observe)
    return up
