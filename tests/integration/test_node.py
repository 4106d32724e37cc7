"""Nodes with real sockets on loopback."""

import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from pinecone_transport.errors import StreamResetError
from pinecone_transport.identity import Identity
from pinecone_transport.node import ConfigurationError, LinkDown, Node
from pinecone_transport.node.control import ask
from pinecone_transport.wire import encode_handshake
from tests.support.nodes import LOOPBACK, Nodes, eventually, link_up
from tests.support.processor_time import Waiting
from tests.support.streams import StreamEnd, StreamEnds

MEGABYTE = 1_000_000


@pytest_twisted.async_yield_fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.stop_all()


class Client(Protocol):
    """A bare TCP connection to a node's port."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


async def connect(address: str) -> Client:
    host, _, port = address.rpartition(":")
    endpoint = HostnameEndpoint(reactor, host.strip("[]"), int(port))
    return await endpoint.connect(Factory.forProtocol(Client))


async def reachable(node: Node, peer: Node) -> None:
    """Wait until streams from the node to the peer come to pass."""
    while True:
        probe = StreamEnd(node)
        stream = node.open_stream(peer.identity.key, probe)
        await eventually(lambda probe=probe: probe.calls)
        if "connected" in probe.calls:
            node.abort_stream(stream)
            return


async def relayed(nodes: Nodes, version: int) -> tuple[Node, Node, Node]:
    """Two nodes that can reach one another through a third only."""
    relay, address = nodes.listening(version)
    a = nodes.start(peers=[address])
    b = nodes.start(peers=[address])
    await eventually(lambda: sum(link["key"] is not None for link in relay.status()["links"]) == 2)
    return a, relay, b


@pytest.mark.parametrize("version", [4, 6])
@pytest_twisted.ensureDeferred
async def test_ten_megabytes_each_way_through_a_relay(nodes: Nodes, version: int) -> None:
    a, _, b = await relayed(nodes, version)
    accepted = StreamEnds(b, echo=True)
    b.set_acceptor(accepted)
    await reachable(a, b)
    data = os.urandom(10 * MEGABYTE)
    client = StreamEnd(a, data)
    a.open_stream(b.identity.key, client)
    await eventually(lambda: len(client.received) >= len(data) or client.errors)
    assert client.errors == []
    assert hashlib.sha256(client.received).digest() == hashlib.sha256(data).digest()
    assert set(accepted.keys) == {a.identity.key}


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_acknowledges_nothing_stops_the_sender_and_memory_stays_bounded(nodes: Nodes) -> None:
    a, relay, b = await relayed(nodes, 4)
    accepted = StreamEnds(b, acknowledge=False)
    b.set_acceptor(accepted)
    await reachable(a, b)
    client = StreamEnd(a, bytes(50 * MEGABYTE))
    a.open_stream(b.identity.key, client)
    await eventually(lambda: client.sent > 0)
    sent = -1
    while sent != client.sent:
        sent = client.sent
        await deferLater(reactor, 0.5)
    # 4 MiB each way: what one end keeps until it is acknowledged, and the other until it is taken.
    assert sent < 10 * MEGABYTE
    assert len(accepted.made[-1].received) < 5 * MEGABYTE
    for node in (a, relay, b):
        assert sum(link["bytes_queued"] for link in node.status()["links"]) < MEGABYTE
    accepted.made[-1].acknowledge = True
    accepted.made[-1].give_back()
    await eventually(lambda: len(accepted.made[-1].received) == 50 * MEGABYTE)


@pytest_twisted.ensureDeferred
async def test_garbage_ends_its_link_and_nothing_else(nodes: Nodes) -> None:
    a, relay, b = await relayed(nodes, 4)
    b.set_acceptor(StreamEnds(b, echo=True))
    await reachable(a, b)
    address = relay.listening_addresses()[0]
    identity = Identity.generate()
    for garbage in (
        b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n" + bytes(104),
        os.urandom(4096),
        encode_handshake(identity)[:-1] + b"x",
        encode_handshake(identity) + b"pine" + bytes(6),
        encode_handshake(identity) + os.urandom(1000),
    ):
        stranger = await connect(address)
        stranger.transport.write(garbage)
        await stranger.lost
    await eventually(lambda: len(relay.status()["links"]) == 2)
    client = StreamEnd(a, b"still here")
    a.open_stream(b.identity.key, client)
    await eventually(lambda: client.received == b"still here")


@pytest_twisted.ensureDeferred
async def test_slow_handshakes_and_silent_peers_are_hung_up_on(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    waiting = Waiting()
    slow, silent = await connect(address), await connect(address)
    slow.transport.write(encode_handshake(Identity.generate())[:50])
    silent.transport.write(encode_handshake(Identity.generate()))
    await eventually(lambda: any(link["key"] for link in relay.status()["links"]))
    downs: list[LinkDown] = []
    relay.subscribe(lambda event: downs.append(event) if isinstance(event, LinkDown) else None)
    await silent.lost
    assert waiting.passed() > 4.9
    assert waiting.waited() < 7.0
    await slow.lost
    assert waiting.passed() > 9.9
    assert waiting.waited() < 12.0
    assert len(slow.received) == 104
    assert len(downs) == 1
    assert relay.status()["links"] == []
    assert relay.status()["counters"]["node"]["links that never came up"] == 1


@pytest_twisted.ensureDeferred
async def test_a_flood_of_connections_is_cut_off_at_the_limits_and_peers_stay(nodes: Nodes) -> None:
    relay, address = nodes.listening(max_links=40, max_links_per_address=10)
    peer = nodes.start(peers=[address])
    await link_up(peer)
    flood = [await connect(address) for _ in range(200)]
    await eventually(lambda: sum(client.lost.called for client in flood) >= 191)
    status = relay.status()
    assert len(status["links"]) == 10
    assert status["counters"]["node"]["links over the limit of one address"] == 191
    assert [link["key"] for link in status["links"] if link["key"]] == [peer.identity.server_name]
    for client in flood:
        if not client.lost.called:
            client.transport.abortConnection()
            await client.lost


@pytest_twisted.ensureDeferred
async def test_a_peer_that_restarts_is_dialled_again(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    a = nodes.start(peers=[address])
    await link_up(a)
    down: list[object] = []
    a.subscribe(down.append)
    await relay.stopService()
    await eventually(lambda: any(isinstance(event, LinkDown) for event in down), 2.0)
    again = nodes.start(identity=relay.identity, listen=[address])
    event = await link_up(a)
    assert event.key == again.identity.key
    (candidate,) = a.status()["candidates"]
    assert (candidate["address"], candidate["state"], candidate["failures"]) == (address, "connected", 0)


@pytest_twisted.ensureDeferred
async def test_a_node_that_stops_is_noticed_by_its_peers_streams_at_once(nodes: Nodes) -> None:
    a, _, b = await relayed(nodes, 4)
    accepted = StreamEnds(b)
    b.set_acceptor(accepted)
    await reachable(a, b)
    client = StreamEnd(a, b"x")
    a.open_stream(b.identity.key, client)
    await eventually(lambda: accepted.made and accepted.made[-1].received)
    await a.stopService()
    await eventually(lambda: accepted.made[-1].errors, 1.0)
    assert isinstance(accepted.made[-1].errors[0], StreamResetError)


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_and_a_dead_address_only_logged(nodes: Nodes) -> None:
    relay, address = nodes.listening()
    port = address.rpartition(":")[2]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{unused.getsockname()[1]}"
        a = nodes.start(peers=[dead, f"localhost:{port}"])
        event = await link_up(a)
        assert event.key == relay.identity.key
        await eventually(lambda: a.status()["candidates"][0]["state"] == "waiting")


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_one_sentence_and_nothing_stays_open(nodes: Nodes) -> None:
    _, address = nodes.listening()
    with pytest.raises(ConfigurationError) as raised:
        nodes.start(listen=[LOOPBACK[4], address])
    assert raised.value.path == "listen.1"
    assert raised.value.sentence == (
        f"cannot listen on {address}: Address already in use; choose another port or address."
    )


@pytest.mark.parametrize("listen", [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]])
@pytest_twisted.ensureDeferred
async def test_one_may_list_all_addresses_of_both_kinds(nodes: Nodes, listen: list[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    relay = nodes.start(listen=[f"{host}:{port}" for host in listen])
    assert f"[::]:{port}" in relay.listening_addresses()
    for address in (f"127.0.0.1:{port}", f"[::1]:{port}"):
        event = await link_up(nodes.start(peers=[address]))
        assert event.key == relay.identity.key


@pytest_twisted.ensureDeferred
async def test_many_streams_at_once_do_not_disturb_one_another(nodes: Nodes) -> None:
    a, _, b = await relayed(nodes, 4)
    b.set_acceptor(StreamEnds(b, echo=True))
    await reachable(a, b)
    clients = [StreamEnd(a, os.urandom(50_000 + number)) for number in range(100)]
    sent = [bytes(client.to_send) for client in clients]
    for client in clients:
        a.open_stream(b.identity.key, client)
    await eventually(lambda: all(len(client.received) == len(data) for client, data in zip(clients, sent, strict=True)))
    assert [bytes(client.received) for client in clients] == sent
    for client in clients:
        a.close_stream(client.stream)
    await eventually(lambda: not a.status()["streams"])
    assert [client.errors for client in clients] == [[None]] * len(clients)


@pytest_twisted.ensureDeferred
async def test_a_running_node_tells_its_owner_of_peers_tree_and_routes(nodes: Nodes, tmp_path: Path) -> None:
    relay, address = nodes.listening(control_socket=str(tmp_path / "relay.sock"))
    ends = [nodes.start(peers=[address]) for _ in range(2)]
    names = {end.identity.server_name for end in ends}
    await reachable(*ends)

    async def answer(command: str) -> dict[str, Any]:
        found: dict[str, Any] = await deferToThread(ask, str(tmp_path / "relay.sock"), command)
        return found

    links = (await answer("peers"))["links"]
    assert {link["key"] for link in links} == names
    if sys.platform == "linux":
        assert all(0 < link["round_trip"] < 5 for link in links)
    tree = await answer("tree")
    assert {peer["key"] for peer in tree["peers"]} == names
    assert tree["root"]["key"] == max(names | {relay.identity.server_name})
    routes = (await answer("routes"))["routes"]
    assert {route["key"] for route in routes} <= names
    for route in routes:
        assert route["peer"] in names
        assert route["age"] < 100


@pytest_twisted.ensureDeferred
async def test_stopped_nodes_leave_no_sockets(nodes: Nodes) -> None:
    a, relay, b = await relayed(nodes, 4)
    for node in (a, relay, b):
        await node.stopService()
    await deferLater(reactor, 0.05)
    left = [reader for reader in reactor.getReaders() if "tcp" in type(reader).__module__]
    assert left == []
