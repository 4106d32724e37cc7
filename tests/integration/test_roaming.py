"""Nodes that move between LANs, and links that come and go, in network namespaces: streams only ever pause."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater

from tests.support.lan_network import LanNetwork, linked, received
from tests.support.namespaces import require_namespaces
from tests.support.own_peer import content, digest

LENGTH = 50_000_000
LONGEST_PAUSE = 10.0
FLAP_INTERVAL = 3.0
FLAPPING = float(os.environ.get("PINECONE_TEST_FLAPPING", "7"))
"""Seconds; by hand a minute: PINECONE_TEST_FLAPPING=60."""


@pytest.fixture
def namespaces() -> None:
    require_namespaces()  # not in the next: pytest-twisted takes a skip there for a fault, from the second test on


@pytest_twisted.async_yield_fixture
async def lans(namespaces: None) -> AsyncIterator[LanNetwork]:
    with LanNetwork("lan0", "lan1") as network:
        yield network
        await network.stop()


@pytest_twisted.ensureDeferred
async def test_a_transfer_survives_the_move_to_another_lan(lans: LanNetwork) -> None:
    moving_host = lans.host("moving", "lan0")
    moving, server = await lans.own(moving_host), await lans.own(lans.host("server", "lan1"))
    relay = await lans.own(lans.host("relay", "lan0", "lan1"))
    await linked(moving, relay)
    await linked(server, relay)
    transfer = moving.command("request", key=server.name, path=f"/download?bytes={LENGTH}", method="GET", timeout=120)
    await received(moving, 5_000_000)
    moving_host.move("lan1")
    answer = await transfer
    assert (answer["bytes"], answer["sha256"]) == (LENGTH, digest(content(LENGTH)))
    assert answer["pause"] < LONGEST_PAUSE
    await linked(moving, relay, server)


@pytest_twisted.ensureDeferred
async def test_requests_succeed_while_the_link_to_the_relay_flaps(lans: LanNetwork) -> None:
    flapping_host = lans.host("flapping", "lan0")
    flapping, server = await lans.own(flapping_host), await lans.own(lans.host("server", "lan1"))
    relay = await lans.own(lans.host("relay", "lan0", "lan1"))
    await linked(flapping, relay)
    await linked(server, relay)
    await flapping.request(server.name)
    give_up_at, answered = reactor.seconds() + FLAPPING, 0
    flaps = itertools.cycle([False, True])
    flap = LoopingCall(lambda: flapping_host.set_cable(next(flaps)))
    flap.start(FLAP_INTERVAL)
    try:
        # On a slow machine a link is hardly up before it is cut; the answers then take longer to come by.
        while reactor.seconds() < give_up_at or answered <= FLAPPING / FLAP_INTERVAL:
            assert (await flapping.request(server.name, timeout=30.0))["text"] == "pong"
            answered += 1
            await deferLater(reactor, 0.1)
    finally:
        flap.stop()
