"""Options that a running node takes over: by call, and by SIGHUP of ``pinecone node``."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
import yaml

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.node import Node, parse_node_config
from tests.integration.test_relay_process import start
from tests.support.nodes import LOOPBACK, Nodes, eventually, link_up


@pytest_twisted.async_yield_fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.stop_all()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def keys(node: Node) -> set[str]:
    return {link["key"] for link in node.status()["links"]}


@pytest_twisted.ensureDeferred
async def test_peers_come_and_go_and_a_link_that_is_still_wanted_stays(nodes: Nodes) -> None:
    (first, first_address), (second, second_address), (third, third_address) = (nodes.listening() for _ in range(3))
    node = nodes.start(peers=[first_address, second_address])
    await eventually(lambda: keys(node) == {first.identity.server_name, second.identity.server_name})
    stays = next(link for link in node.status()["links"] if link["key"] == second.identity.server_name)
    await node.reconfigure(parse_node_config({"peers": [second_address, third_address]}))
    await eventually(lambda: keys(node) == {second.identity.server_name, third.identity.server_name})
    again = next(link for link in node.status()["links"] if link["key"] == second.identity.server_name)
    assert again["port"] == stays["port"]
    assert again["age"] > stays["age"]
    assert [found["address"] for found in node.status()["candidates"]] == [second_address, third_address]
    await node.reconfigure(parse_node_config({}))
    await eventually(lambda: not keys(node))
    assert node.status()["candidates"] == []


@pytest_twisted.ensureDeferred
async def test_what_is_listened_on_changes_even_where_the_old_is_in_the_way_of_the_new(nodes: Nodes) -> None:
    node, address = nodes.listening()
    port = address.rpartition(":")[2]
    await node.reconfigure(parse_node_config({"listen": [f"0.0.0.0:{port}"]}))
    assert node.listening_addresses() == [f"0.0.0.0:{port}"]
    await link_up(nodes.start(peers=[address]))


@pytest_twisted.ensureDeferred
async def test_a_port_goes_from_one_kind_of_link_to_another_and_back(nodes: Nodes) -> None:
    node, address = nodes.listening()
    for listen, peer in ((f"ws://{address}", f"ws://{address}/"), (address, address), (f"ws://{address}", "")):
        await node.reconfigure(parse_node_config({"listen": [listen]}))
        assert node.listening_addresses() == [listen]
        if peer:
            await link_up(nodes.start(peers=[peer]))


@pytest_twisted.ensureDeferred
async def test_a_port_that_has_changed_hands_goes_back_when_the_rest_cannot_be_had(nodes: Nodes) -> None:
    node, address = nodes.listening()
    await node.reconfigure(parse_node_config({"listen": [f"ws://{address}"]}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = f"127.0.0.1:{taken.getsockname()[1]}"
        for changed in ([address, other], [address, f"ws://{other}"]):
            with pytest.raises(ConfigurationError, match="Address already in use"):
                await node.reconfigure(parse_node_config({"listen": changed}))
            assert node.listening_addresses() == [f"ws://{address}"]
    assert node.listening_addresses() == [f"ws://{address}"]
    await link_up(nodes.start(peers=[f"ws://{address}/"]))


@pytest_twisted.ensureDeferred
async def test_a_node_that_was_stopped_can_be_started_again_and_changed_then(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    node, own = nodes.listening(peers=[address], sources={"lan": {"enabled": True, "interfaces": ["no-such"]}})
    await eventually(lambda: keys(node) == {relay.identity.server_name})
    listening = len(node.listening_addresses())
    await node.stopService()
    assert node.listening_addresses() == []
    await eventually(lambda: not keys(relay))
    node.startService()
    await eventually(lambda: keys(node) == {relay.identity.server_name})
    assert len(node.listening_addresses()) == listening
    await node.reconfigure(parse_node_config({"listen": [own]}))
    assert node.listening_addresses() == [own]
    await eventually(lambda: not keys(node))


@pytest_twisted.ensureDeferred
async def test_an_address_that_cannot_be_had_leaves_all_as_it_was(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    node, own = nodes.listening()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = f"127.0.0.1:{taken.getsockname()[1]}"
        changed = parse_node_config({"listen": [other], "peers": [address], "deny": [relay.identity.server_name]})
        with pytest.raises(ConfigurationError, match="Address already in use"):
            await node.reconfigure(changed)
    assert node.listening_addresses()[0].startswith("127.0.0.1:")
    assert node.listening_addresses() != [other]
    assert node.status()["candidates"] == []
    assert own  # the system may choose another port when it opens that one again
    await node.reconfigure(parse_node_config({"listen": [LOOPBACK[4]], "peers": [address]}))
    await eventually(lambda: keys(node) == {relay.identity.server_name})


@pytest_twisted.ensureDeferred
async def test_a_secret_that_cannot_be_had_leaves_all_as_it_was(nodes: Nodes, tmp_path: Path) -> None:
    node, address = nodes.listening()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await node.reconfigure(parse_node_config({"mesh_secret_file": str(tmp_path / "missing")}))
    assert node.listening_addresses() == [address]


@pytest_twisted.ensureDeferred
async def test_a_peer_that_is_denied_is_cut_off(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    bad, good = nodes.start(peers=[address]), nodes.start(peers=[address])
    both = {bad.identity.server_name, good.identity.server_name}
    await eventually(lambda: keys(relay) == both)
    await relay.reconfigure(parse_node_config({"listen": [address], "deny": [bad.identity.server_name]}))
    await eventually(lambda: keys(relay) == {good.identity.server_name})
    assert relay.listening_addresses() == [address]


def test_sighup_has_the_file_read_again(processes: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump({"listen": ["127.0.0.1:0"]}))
    start(processes, tmp_path, "relay", "--config", str(config))
    (process,) = processes
    assert process.stderr is not None

    def said_after_sighup(options: str, wanted: str) -> str:
        config.write_text(options)
        process.send_signal(signal.SIGHUP)
        too_late = threading.Timer(30, process.kill)
        too_late.start()
        lines = []
        for line in process.stderr or ():
            lines.append(line)
            if wanted in line:
                too_late.cancel()
                return line
        raise AssertionError(f"{wanted} is not in {lines}")

    for wrong, sentence in {
        "listen: here": "listen: should be a list",
        "[": "is not YAML",
        "": "needs somebody to talk to",
    }.items():
        assert "stay as they were" in said_after_sighup(wrong, sentence)
    said_after_sighup("listen: ['127.0.0.1:0']\nhop_limiting: false", "hop_limiting has changed")
    said_after_sighup("peers: ['127.0.0.1:1']", "Cannot reach 127.0.0.1:1")
