"""DNS-SD with real multicast DNS, in network namespaces."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.support.lan_network import LanNetwork, linked, until
from tests.support.namespaces import require_namespaces


@pytest.fixture
def namespaces() -> None:
    require_namespaces()  # not in the next: pytest-twisted takes a skip there for a fault, from the second test on


@pytest_twisted.async_yield_fixture
async def lans(namespaces: None) -> AsyncIterator[LanNetwork]:
    with LanNetwork("lan0", "lan1") as network:
        yield network
        await network.stop()


@pytest_twisted.ensureDeferred
async def test_nodes_find_one_another_by_dns_sd_on_whatever_lan_they_are(lans: LanNetwork) -> None:
    moving_host = lans.host("moving", "lan0")
    moving = await lans.own(moving_host, lan=False, mdns=True)
    both = await lans.own(lans.host("both", "lan0", "lan1"), lan=False, mdns=True)
    await linked(moving, both, timeout=30.0)
    assert [link["way"] for link in (await both.state())["links"]] == ["mdns"]
    assert (await moving.request(both.name))["text"] == "pong"
    moving_host.move("lan1")
    await until(lambda state: not state["links"], moving, "without the old link")
    await linked(moving, both, timeout=30.0)


@pytest_twisted.ensureDeferred
async def test_whoever_is_found_in_both_ways_has_one_link_by_the_lan(lans: LanNetwork) -> None:
    one = await lans.own(lans.host("one", "lan0"), mdns=True)
    other = await lans.own(lans.host("other", "lan0"), mdns=True)

    def found_twice(state: dict) -> bool:
        candidates = [
            found for found in state["candidates"] if found["key"] == other.name and found["seen"] is not None
        ]
        return {found["source"] for found in candidates} == {"lan", "mdns"}

    await linked(one, other)
    await linked(other, one)
    await until(found_twice, one, "found in both ways")
    for peer in (one, other):
        assert [link["way"] for link in (await peer.state())["links"]] == ["lan"]
