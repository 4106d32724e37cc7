"""Go nodes and ours on the same local networks, in network namespaces: nobody is told any address."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.support.lan_network import LanNetwork, linked, received
from tests.support.namespaces import require_namespaces
from tests.support.own_peer import content, digest

pytestmark = pytest.mark.interop

LENGTH = 10_000_000
LONGEST_PAUSE = 10.0


@pytest.fixture
def namespaces() -> None:
    require_namespaces()  # not in the next: pytest-twisted takes a skip there for a fault, from the second test on


@pytest_twisted.async_yield_fixture
async def lans(namespaces: None) -> AsyncIterator[LanNetwork]:
    with LanNetwork("lan0", "lan1") as network:
        yield network
        await network.stop()


@pytest_twisted.ensureDeferred
async def test_go_nodes_and_ours_find_one_another(lans: LanNetwork, go_peers: dict[str, str]) -> None:
    same = lans.host("same", "lan0")
    ours = await lans.own(lans.host("ours", "lan0"))
    theirs = await lans.go(lans.host("theirs", "lan0"), go_peers["0.48"])
    # On one machine, too, where both listen to the same group and port.
    peers = (ours, theirs, await lans.own(same), await lans.go(same, go_peers["0.37"]))
    for peer in peers:
        await linked(peer, *(other for other in peers if other is not peer))
    for asking in peers:
        for asked in peers:
            if asked is not asking:
                assert (await asking.request(asked.name))["text"] == "pong"
    assert {link["way"] for link in (await ours.state())["links"]} == {"lan"}


@pytest_twisted.ensureDeferred
async def test_a_transfer_through_a_go_relay_survives_the_move_to_another_lan(
    lans: LanNetwork, go_peers: dict[str, str]
) -> None:
    moving_host = lans.host("moving", "lan0")
    moving, server = await lans.own(moving_host), await lans.own(lans.host("server", "lan1"))
    relay = await lans.go(lans.host("relay", "lan0", "lan1"), go_peers["0.48"])
    await linked(moving, relay)
    await linked(server, relay)
    transfer = moving.command("request", key=server.name, path=f"/download?bytes={LENGTH}", method="GET", timeout=120)
    await received(moving, 2_000_000)
    moving_host.move("lan1")
    answer = await transfer
    assert (answer["bytes"], answer["sha256"]) == (LENGTH, digest(content(LENGTH)))
    assert answer["pause"] < LONGEST_PAUSE
    await linked(moving, relay, server)
