"""A server that was away gets what waits for it soon after it is back: waking and greeting over real nodes.

The clock is the network's own, so what is measured is waiting, whatever the machine has to do.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater
from twisted.web.client import readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

from pinecone_transport.identity import Identity
from pinecone_transport.links import connect_nodes
from pinecone_transport.node import Node, NodeConfig
from synapse_module.greeting import Greetings
from synapse_module.wakeup import Wakeups
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint
from twisted_endpoints.testing import MemoryNetwork

PROMISED = 3.0
"""Seconds from the link of a server that was away for 20 s to what has waited for it."""

IDENTITIES = sorted((Identity(random.Random(seed).randbytes(32)) for seed in range(3)), key=lambda one: one.key)


class Home:
    """A homeserver as far as it sends, and tries again as Synapse does: after 4 s, 16 s, then each minute."""

    def __init__(self, network: MemoryNetwork, identity: Identity, known: Sequence[str] = ()) -> None:
        clock = network.clock
        self.node = Node(identity, NodeConfig(), clock, clock=clock.seconds, random=random.Random(1))
        self.node.startService()
        self.received: list[str] = []
        self.seconds = clock.seconds
        self._clock = clock
        self._known = list(known)
        self._agent = PineconeAgent(self.node)
        self._asleep: dict[str, Deferred[None]] = {}
        self._wakeups = Wakeups(self)
        self.node.subscribe(self._wakeups.overlay_event)
        self.node.subscribe(Greetings(self, self._wakeups.server_may_be_up).overlay_event)
        network.result_of(PineconeServerEndpoint(self.node).listen(_Site(self, self._wakeups.server_may_be_up)))

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        ensureDeferred(task())  # type: ignore[arg-type]

    async def together(self, tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        await DeferredList([ensureDeferred(task()) for task in tasks])  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        await deferLater(self._clock, seconds)

    async def is_backed_off(self, server_name: str) -> bool:
        return False

    async def backed_off_servers(self) -> list[str]:
        return []

    async def known_servers(self, limit: int) -> list[str]:
        return self._known

    async def forget_failures(self, server_name: str) -> None:
        pass

    def server_is_up(self, server_name: str) -> None:
        asleep = self._asleep.pop(server_name, None)
        if asleep is not None:
            asleep.callback(None)

    async def call(self, server_name: str, path: str = "version") -> bool:
        try:
            await readBody(await self._agent.request(b"GET", f"matrix-federation://{server_name}/{path}".encode()))
        except Exception:
            return False
        return True

    async def send(self, server_name: str, text: str) -> None:
        for pause in itertools.chain((4.0, 16.0), itertools.repeat(60.0)):
            answered = await self.call(server_name, text)
            self._wakeups.request_ended(server_name, answered)
            if answered:
                return
            asleep: Deferred[None] = Deferred()
            self._asleep[server_name] = asleep
            self._clock.callLater(pause, self._wake, server_name, asleep)
            await asleep

    def _wake(self, server_name: str, asleep: Deferred[None]) -> None:
        if self._asleep.get(server_name) is asleep:
            self.server_is_up(server_name)


class _Site(Site):
    def __init__(self, home: Home, session_accepted: Callable[[str], None]) -> None:
        super().__init__(_Inbox(home), reactor=home.node.reactor)
        self._session_accepted = session_accepted

    def buildProtocol(self, addr):
        self._session_accepted(addr.server_name)
        return super().buildProtocol(addr)


class _Inbox(Resource):
    isLeaf = True

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home

    def render_GET(self, request) -> bytes:
        self._home.received.append(request.uri.decode().lstrip("/"))
        return b"{}"


# 20 s, and a start-up: some in the middle of a try of the sender, some long before the next one.
@pytest.mark.parametrize("away", [21.4, 24.8, 26.2, 27.5, 28.8])
@pytest.mark.parametrize(
    "keys", list(itertools.permutations(range(3))), ids=lambda keys: "sender {} away {} relay {}".format(*keys)
)
def test_what_waits_for_a_server_comes_soon_after_its_return_whoever_is_root(
    keys: tuple[int, int, int], away: float
) -> None:
    network = MemoryNetwork()
    sender_is, away_is, relay_is = (IDENTITIES[key] for key in keys)
    relay = Node(relay_is, NodeConfig(), network.clock, clock=network.clock.seconds, random=random.Random(2))
    relay.startService()
    sender = Home(network, sender_is)
    connect_nodes(sender.node, relay)
    network.advance(20.0)
    b = Home(network, away_is)
    connect_nodes(b.node, relay)
    # So short a life that its next wakeup broadcast comes too soon after the first one, and is dropped (§7).
    network.advance(0.5)
    ensureDeferred(sender.send(away_is.server_name, "before"))
    network.advance_until(lambda: "before" in b.received)
    network.result_of(b.node.stopService())
    ensureDeferred(sender.send(away_is.server_name, "meanwhile"))
    network.advance(away)

    b = Home(network, away_is, [sender_is.server_name])
    connect_nodes(b.node, relay)
    network.advance_until(lambda: "meanwhile" in b.received, PROMISED)
    network.nodes += [relay, sender.node, b.node]
    network.stop()
