"""LAN discovery with real sockets, in network namespaces: who finds whom, and over which interface."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from pinecone_transport.node.control import ControlError, ask
from tests.support.lan_network import LanNetwork, linked
from tests.support.namespaces import require_namespaces
from tests.support.processor_time import Waiting

PINECONE = [sys.executable, "-m", "pinecone_transport.node.cli"]

FLOOD = """
import random, socket, sys
group, index = ("224.0.0.114", 60606), socket.if_nametoindex("eth0")
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
source = random.Random(1)
for number in range(3000):
    sender.sendto(source.randbytes(number % 1400), group)
"""
"""Random datagrams of all lengths, as fast as they can be sent."""


@pytest.fixture
def namespaces() -> None:
    require_namespaces()  # not in the next: pytest-twisted takes a skip there for a fault, from the second test on


@pytest_twisted.async_yield_fixture
async def lans(namespaces: None) -> AsyncIterator[LanNetwork]:
    with LanNetwork("lan0", "lan1") as network:
        yield network
        await network.stop()


def ways(state: dict) -> list[tuple[str, str]]:
    return sorted((link["key"], link["way"]) for link in state["links"])


@pytest_twisted.ensureDeferred
async def test_nodes_find_those_of_their_own_lan_and_reach_the_others_through_them(lans: LanNetwork) -> None:
    one, both, other = lans.host("one", "lan0"), lans.host("both", "lan0", "lan1"), lans.host("other", "lan1")
    first = await lans.own(one)
    same_host = await lans.own(one)
    relay = await lans.own(both)
    far = await lans.own(other)
    await linked(first, same_host, relay)
    await linked(same_host, first, relay)
    await linked(relay, first, same_host, far)
    await linked(far, relay)
    assert (await first.request(far.name))["text"] == "pong"
    for peer, others in ((first, [same_host, relay]), (relay, [first, same_host, far]), (far, [relay])):
        assert ways(await peer.state()) == sorted((each.name, "lan") for each in others), "one link to each"


@pytest_twisted.ensureDeferred
async def test_pinecone_node_without_an_address_finds_its_like(lans: LanNetwork, tmp_path: Path) -> None:
    processes = []
    try:
        for name in ("one", "two"):
            options = ["--key-file", str(tmp_path / f"{name}.key"), "--control-socket", str(tmp_path / f"{name}.sock")]
            command = lans.host(name, "lan0").command(*PINECONE, "node", *options)
            processes.append(Popen(command, stdout=DEVNULL, stderr=DEVNULL))
        await _linked_by_lan(str(tmp_path / "one.sock"))
    finally:
        for process in processes:
            process.terminate()
        assert [process.wait(20) for process in processes] == [0, 0]


async def _linked_by_lan(control_socket: str) -> None:
    give_up_at = reactor.seconds() + 20.0
    links: list[dict] = []
    while [link["way"] for link in links] != ["lan"]:
        assert reactor.seconds() < give_up_at, links
        await deferLater(reactor, 0.1)
        with suppress(ControlError):
            links = (await deferToThread(ask, control_socket, "peers"))["links"]


@pytest_twisted.ensureDeferred
async def test_an_interface_that_comes_late_is_used_and_one_that_goes_is_left_at_once(lans: LanNetwork) -> None:
    host = lans.host("late")
    late, neighbour = await lans.own(host), await lans.own(lans.host("neighbour", "lan0"))
    host.plug_in("lan0", "usb0")
    await linked(late, neighbour)
    host.unplug("usb0")
    waiting = Waiting(late.pid, neighbour.pid)
    await linked(late)
    assert waiting.waited() < 4.0


@pytest_twisted.ensureDeferred
async def test_whatever_is_sent_to_the_group_nodes_find_one_another(lans: LanNetwork) -> None:
    host = lans.host("noisy", "lan0")
    first = await lans.own(lans.host("first", "lan0"))
    command = host.command(sys.executable, "-c", FLOOD, "10.77.0.1")
    assert await getProcessOutputAndValue("/usr/bin/env", command) == (b"", b"", 0)
    second = await lans.own(lans.host("second", "lan0"))
    await linked(first, second)
    await linked(second, first)
