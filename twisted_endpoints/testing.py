"""An overlay in memory for tests of programs that use the endpoints: real nodes, real TLS, no sockets, no waiting.

    network = MemoryNetwork()
    alice = network.node()
    relay = network.node(alice)
    bob = network.node(relay)
    network.settle()
    network.result_of(PineconeServerEndpoint(bob).listen(site))
    url = server_url(bob.identity.key).to_text().encode()
    response = network.result_of(PineconeAgent(alice).request(b"GET", url))

Everything runs on one `twisted.internet.task.Clock`, so time passes only when the test says so. Keys and random
numbers are the same in every run.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pinecone_transport.identity import Identity
from pinecone_transport.links import connect_nodes
from pinecone_transport.node import Node, NodeConfig

_T = TypeVar("_T")

SETTLE_TIME: Final = 3.0
"""Seconds in which a line of nodes finds itself, per node."""


@final
class MemoryNetwork:
    """Nodes joined by pipes.

    Args:
        clock: The clock that all of them run on; one of its own if None.
        config: The options of each.

    Attributes:
        clock: The same; give it to what else the test drives.
        nodes: All nodes, in the order in which they were made.
    """

    def __init__(self, clock: Clock | None = None, config: NodeConfig | None = None) -> None:
        self.clock: Final = Clock() if clock is None else clock
        self._config: Final = config or NodeConfig()
        self.nodes: Final[list[Node]] = []

    def node(self, *peers: Node) -> Node:
        """Add a running node that has a link to each of these."""
        number = len(self.nodes)
        identity = Identity(hashlib.sha256(b"node %d of a memory network" % number).digest())
        node = Node(identity, self._config, self.clock, clock=self.clock.seconds, random=random.Random(number))
        node.startService()
        self.nodes.append(node)
        for peer in peers:
            self.link(node, peer)
        return node

    def link(self, a: Node, b: Node) -> Callable[[], None]:
        """Join two nodes; call the result to cut the link."""
        near, _far = connect_nodes(a, b)
        return near.abort

    def advance(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self.clock.seconds() + seconds
        while self._next_call() <= end:
            self._step()
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def settle(self) -> None:
        """Let time pass until nodes that were just joined can reach one another."""
        self.advance(SETTLE_TIME * len(self.nodes))

    def advance_until(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        """Let time pass until the condition holds.

        Args:
            condition: Looked at between timers.
            timeout: Seconds on the clock.

        Raises:
            AssertionError: It does not hold in time.
        """
        end = self.clock.seconds() + timeout
        while not condition():
            if self._next_call() > end:
                raise AssertionError(f"it did not come to pass within {timeout:g} s")
            self._step()

    def result_of(self, deferred: Deferred[_T], timeout: float = 60.0) -> _T:
        """Let time pass until the Deferred fires; return its result, or raise the exception that it failed with.

        Raises:
            AssertionError: It does not fire within ``timeout`` seconds on the clock.
        """
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.advance_until(lambda: results, timeout)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: _T = results[0]
        return result

    def stop(self) -> None:
        """Stop all nodes; what is left on the clock afterwards is not theirs."""
        for node in self.nodes:
            self.result_of(node.stopService())

    def _next_call(self) -> float:
        return min((call.getTime() for call in self.clock.getDelayedCalls()), default=float("inf"))

    def _step(self) -> None:
        self.clock.advance(max(0.0, self._next_call() - self.clock.seconds()))
