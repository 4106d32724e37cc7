"""Two real homeservers that can reach each other only through a relay, and strangers who knock."""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_twisted
import yaml
from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import NoRouteError
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web.client import readBody
from twisted.web.http_headers import Headers

from pinecone_transport.identity import Identity
from pinecone_transport.links import HostPort
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.keyfile import read_key_file
from pinecone_transport.node.node import Node
from synapse_module.agent import MISSPELT
from synapse_module.config import DNS_NAMED
from tests.support.processor_time import Waiting
from tests.support.synapse_processes import START_TIMEOUT, Process, Relay, Synapse, User, free_port
from twisted_endpoints import PineconeAgent, PineconeClientEndpoint
from twisted_endpoints.ping import ping

pytestmark = pytest.mark.synapse

AT_ONCE = 1.0
"""Seconds of `Waiting`. What would take a look-up, a time-out or a second try takes longer."""

LINKED = "Link up: "
"""What a homeserver logs when it becomes part of the overlay."""

PROMISED_RETURN = 3.0
"""Seconds of `Waiting`, from the link of a server that is back to what others have for it."""


@dataclass
class Network:
    """Synapse A with Alice, Synapse B with Bob, both in one room, and the relay between them."""

    relay: Relay
    a: Synapse
    b: Synapse
    alice: User
    bob: User
    room: str

    def waiting(self) -> Waiting:
        """Begin to measure how long the three of them wait."""
        return Waiting(self.relay.pid, self.a.pid, self.b.pid)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    directory = tmp_path_factory.mktemp("synapse")
    relay = Relay(directory / "relay")
    a, b = (Synapse.create(name, directory, [relay.address]) for name in "ab")
    try:
        for process in (relay, a, b):
            process.start()
        for process in (relay, a, b):
            process.wait_until_up()
        alice, bob = a.user("alice"), b.user("bob")
        room = alice.ok("POST", "/client/v3/createRoom", {"preset": "private_chat", "invite": [bob.user_id]})["room_id"]
        bob.wait_for_invite(room)
        bob.ok("POST", f"/client/v3/join/{quote(room)}", {})
        yield Network(relay, a, b, alice, bob, room)
    finally:
        for process in (a, b, relay):
            process.stop()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show a measured figure in the test's output, whether it passes or not."""

    def show(figure: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {figure}\n")

    return show


def test_messages_go_both_ways(network: Network) -> None:
    for number in range(3):
        network.alice.send(network.room, f"from Alice {number}")
        network.bob.wait_for_message(network.room, f"from Alice {number}")
        network.bob.send(network.room, f"from Bob {number}")
        network.alice.wait_for_message(network.room, f"from Bob {number}")


def test_media_are_the_same_on_the_other_side(network: Network) -> None:
    content = os.urandom(1_000_000)
    uri = network.alice.ok("POST", "/media/v3/upload", content)["content_uri"]
    assert network.bob.ok("GET", f"/client/v1/media/download/{uri.removeprefix('mxc://')}") == content


@pytest.mark.parametrize("spell", [str.upper, lambda name: f"{name}:8448"], ids=["upper-case", "port"])
def test_misspelt_keys_are_refused_at_once_and_looked_up_nowhere(network: Network, spell) -> None:
    name = quote(spell(network.b.server_name))
    for method, path in (
        ("GET", f"/client/v3/profile/@bob:{name}"),
        ("GET", f"/client/v1/media/download/{name}/media"),
        ("GET", f"/client/v3/directory/room/%23room:{name}"),
        ("POST", f"/client/v3/join/%23room:{name}"),
    ):
        waiting = network.waiting()
        status, answer = network.alice.call(method, path, {} if method == "POST" else None)
        assert status >= 400, path
        assert waiting.waited() < AT_ONCE, path
    _, answer = network.alice.call("GET", f"/client/v3/profile/@bob:{name}")
    assert answer["error"] == MISSPELT
    assert f"{spell(network.b.server_name)}/.well-known" not in network.a.logged()
    assert "DNSLookupError" not in network.a.logged()


@asynccontextmanager
async def overlay_node(relay_address: str) -> AsyncIterator[Node]:
    """A node of the test's own, linked to the relay."""
    host, _, port = relay_address.rpartition(":")
    node = Node(Identity.generate(), NodeConfig(peers=(HostPort(host, int(port)),)), reactor)
    node.startService()
    try:
        yield node
    finally:
        await node.stopService()


def x_matrix(signer: Identity, origin: str, destination: str, path: str) -> bytes:
    """Return the header that ``signer`` makes for a request in the name of ``origin``."""
    seed = base64.b64encode(signer.seed).decode()
    key = decode_signing_key_base64("ed25519", "dendrite-demo-yggdrasil", seed)
    request = {"method": "GET", "uri": path, "origin": origin, "destination": destination}
    ((key_id, signature),) = sign_json(request, origin, key)["signatures"][origin].items()
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}"'.encode()


async def status_of(
    agent: PineconeAgent, server_name: str, path: str, *authorization: bytes, forwarded_for: str | None = None
) -> int:
    """Return the status of the answer to a GET; a node that is new may have to wait for a route."""
    uri = f"matrix-federation://{server_name}{path}".encode()
    headers = Headers({b"Authorization": list(authorization)})
    if forwarded_for is not None:
        headers.setRawHeaders(b"X-Forwarded-For", [forwarded_for.encode()])
    give_up_at = time.monotonic() + 30
    while True:
        try:
            response = await agent.request(b"GET", uri, headers).addTimeout(30, reactor)
        except NoRouteError:
            if time.monotonic() > give_up_at:
                raise
        else:
            await readBody(response)
            return int(response.code)


@pytest_twisted.ensureDeferred
async def test_an_origin_counts_only_on_the_session_of_its_key(network: Network) -> None:
    a, stranger = network.a.server_name, Identity.generate()
    path = f"/_matrix/federation/v1/query/profile?user_id={quote(network.alice.user_id)}"
    async with overlay_node(network.relay.address) as node:
        agent, me = PineconeAgent(node), node.identity
        own = x_matrix(me, me.server_name, a, path)
        forged = x_matrix(me, network.b.server_name, a, path)
        of_another = x_matrix(stranger, stranger.server_name, a, path)
        assert await status_of(agent, a, path, own) == 200
        assert await status_of(agent, a, path, forged) == 401, "a signature of ours in the name of another"
        assert await status_of(agent, a, path, of_another) == 401, "a good signature, on another's session"
        assert await status_of(agent, a, path, of_another, forwarded_for=stranger.server_name) == 401
        assert await status_of(agent, a, path, b"X-Matrix nonsense") == 400
        assert await status_of(agent, a, path, own, of_another) == 401
        assert await status_of(agent, a, path, of_another, own) == 401
        assert await status_of(agent, a, path) == 401
        assert await status_of(agent, a, "/_matrix/federation/v1/version") == 200
    assert "Failed to find any key" not in network.a.logged(), "refused before any key was looked for"


@pytest_twisted.ensureDeferred
async def test_only_federation_is_served(network: Network) -> None:
    name = network.a.server_name
    async with overlay_node(network.relay.address) as node:
        agent = PineconeAgent(node)
        for path in ("/_matrix/client/versions", "/_matrix/media/v3/config", "/_synapse/admin/v1/server_version", "/"):
            assert await status_of(agent, name, path) == 404, path


class FirstLine(Protocol):
    """Sends a request and notes the first line of the answer."""

    def __init__(self, request: bytes) -> None:
        self.line: Deferred[bytes] = Deferred()
        self._request = request
        self._received = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if b"\r\n" in self._received and not self.line.called:
            self.line.callback(self._received.partition(b"\r\n")[0])


@pytest_twisted.ensureDeferred
async def test_nobody_is_called_on_behalf_of_a_peer(network: Network) -> None:
    request = (
        f"GET matrix-federation://{network.b.server_name}/_matrix/federation/v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    async with overlay_node(network.relay.address) as node:
        assert await status_of(PineconeAgent(node), network.a.server_name, "/_matrix/federation/v1/version") == 200
        factory = Factory.forProtocol(lambda: FirstLine(request.encode()))
        protocol = await PineconeClientEndpoint(node, network.a.server_name).connect(factory)
        assert await protocol.line.addTimeout(30, reactor) == b"HTTP/1.1 404 Not Found"
        protocol.transport.abortConnection()


class Watcher(Protocol):
    """Notes when its connection is lost."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_is_missed_at_once(network: Network, report: Callable[[str], None]) -> None:
    async with overlay_node(network.relay.address) as node:
        factory = Factory.forProtocol(Watcher)
        assert await status_of(PineconeAgent(node), network.b.server_name, "/_matrix/federation/v1/version") == 200
        watcher = await PineconeClientEndpoint(node, network.b.server_name).connect(factory)
        waiting = network.waiting()
        network.b.signal(signal.SIGTERM)
        await watcher.lost.addTimeout(30, reactor)
        passed, waited = waiting.passed(), waiting.waited()
    assert network.b.wait() == 0
    report(f"missed {1000 * passed:.0f} ms after SIGTERM, of which nothing was done for {1000 * waited:.0f}")
    assert waited < AT_ONCE
    network.b.start()
    network.b.wait_until_up()


def test_a_message_arrives_within_3_s_of_the_return_of_a_server_that_was_down_for_20_s(
    network: Network, report: Callable[[str], None]
) -> None:
    network.bob.news()
    network.b.stop()
    down_at = time.monotonic()
    text = f"while you were away {down_at}"
    network.alice.send(network.room, text)
    network.a.wait_until(lambda: time.monotonic() - down_at > 20, "20 s", 60)
    links_before = network.b.logged().count(LINKED)
    network.b.start()
    # The promise is about the overlay: it begins when B is part of it, however long its start-up takes.
    network.b.wait_until(lambda: network.b.logged().count(LINKED) > links_before, "link", START_TIMEOUT)
    waiting = network.waiting()
    network.b.wait_until_up()
    network.bob.wait_to_be_told(network.room, text)
    passed, waited = waiting.passed(), waiting.waited()
    report(f"there {passed:.2f} s after B was in the overlay, of which nothing was done for {waited:.2f} s")
    assert waited < PROMISED_RETURN


def test_sighup_has_lost_peers_dialled_again_at_once(network: Network, report: Callable[[str], None]) -> None:
    before = {synapse: synapse.logged().count("Cannot reach") for synapse in (network.a, network.b)}
    network.bob.news()
    network.relay.stop()
    for synapse in (network.a, network.b):
        # They come after 2 and 4 s, the next one 8 s later.
        synapse.wait_until(lambda s=synapse: s.logged().count("Cannot reach") >= before[s] + 2, "second try", 60)
    network.relay.start()
    network.relay.wait_until_up()
    waiting = network.waiting()
    for synapse in (network.a, network.b):
        synapse.signal(signal.SIGHUP)
    network.alice.send(network.room, "through the new relay")
    network.bob.wait_to_be_told(network.room, "through the new relay")
    passed, waited = waiting.passed(), waiting.waited()
    report(f"there {passed:.2f} s after the relay was back, of which nothing was done for {waited:.2f} s")
    assert waited < 5


def rewritten(synapse: Synapse, directory: Path, **settings: object) -> Synapse:
    """A homeserver with the other's configuration, but for these settings and its own database and port."""
    other = Synapse.create("other", directory, [])
    config = {
        **yaml.safe_load(synapse.homeserver.config.read_text()),
        **{
            name: value
            for name, value in yaml.safe_load(other.homeserver.config.read_text()).items()
            if name in ("database", "listeners", "log_config", "public_baseurl")
        },
        **settings,
    }
    other.homeserver.config.write_text(yaml.safe_dump(config))
    return other


def pinecone_module(**options: object) -> list[object]:
    quiet = {"sources": {"lan": {"enabled": False}}}  # no test speaks to the machine's own networks
    return [{"module": "synapse_module.PineconeModule", "config": {**quiet, **options}}]


def said(process: Process) -> str:
    """Return what the process printed, which is to end with status 1."""
    assert process.wait(60) == 1
    return process.log.read_text()


def test_mistakes_that_only_show_at_the_start_end_it_with_one_sentence(network: Network, tmp_path: Path) -> None:
    with_taken_key = rewritten(network.a, tmp_path / "taken", modules=pinecone_module())
    with_wrong_name = rewritten(network.a, tmp_path / "wrong", server_name="ab" * 32, modules=pinecone_module())
    without_key_file = rewritten(network.a, tmp_path / "dns", server_name="dns.test", modules=pinecone_module())
    with_wrong_option = rewritten(network.a, tmp_path / "option", modules=pinecone_module(peers=["127.0.0.1"]))
    processes = (with_taken_key, with_wrong_name, without_key_file, with_wrong_option)
    for process in processes:
        process.start()
    try:
        assert f"Another process runs a node with the key in {network.a.homeserver.signing_key}" in said(with_taken_key)
        assert f"'server_name': is not the public key of the signing key, which is {network.a.server_name}" in said(
            with_wrong_name
        )
        assert "'modules.<PineconeModule>.config.key_file': is needed" in said(without_key_file)
        assert "'modules.<item 0>.config.peers.0'" in said(with_wrong_option)
        assert "Traceback" not in "".join(process.log.read_text() for process in processes)
    finally:
        for process in processes:
            process.stop()


async def options_are_taken_over_at_sighup(synapse: Synapse, key_file: str) -> None:
    """Let the homeserver listen elsewhere, by SIGHUP; what it cannot use it reports, and goes on."""
    config = yaml.safe_load(synapse.homeserver.config.read_text())
    port = free_port()
    for changed, wanted in (
        (pinecone_module(key_file=key_file, listen="here"), "stay as they were"),
        ([], "PineconeModule is not there any more"),
        (pinecone_module(key_file=key_file, listen=[f"127.0.0.1:{port}"]), "are taken over"),
    ):
        synapse.homeserver.config.write_text(yaml.safe_dump({**config, "modules": changed}))
        synapse.signal(signal.SIGHUP)
        synapse.wait_until(lambda wanted=wanted: wanted in synapse.logged() or None, wanted, 30)
    async with overlay_node(f"127.0.0.1:{port}") as node:
        assert (await ping(node, read_key_file(key_file).key))["outcome"] == "the node answers"


@pytest_twisted.ensureDeferred
async def test_a_homeserver_with_a_dns_name_is_a_relay_and_says_why_it_reaches_no_keys(
    network: Network, tmp_path: Path
) -> None:
    key_file, port = tmp_path / "node.key", free_port()
    modules = pinecone_module(key_file=str(key_file), listen=[f"127.0.0.1:{port}"], peers=[network.relay.address])
    dns_named = rewritten(network.a, tmp_path, server_name="dns.test", modules=modules)
    dns_named.start()
    try:
        dns_named.wait_until_up()
        user = dns_named.user("dora")
        waiting = Waiting(dns_named.pid)
        status, answer = user.call("GET", f"/client/v3/profile/{network.alice.user_id}")
        assert (status, answer["error"]) == (404, DNS_NAMED)
        assert waiting.waited() < AT_ONCE
        # "dns.test" may ask "localhost", and gets an ordinary failure: that way is as it was.
        status, answer = user.call("GET", "/client/v3/profile/@user:localhost:1")
        assert (status, answer["error"]) == (502, "Failed to fetch profile")
        async with overlay_node(f"127.0.0.1:{port}") as node:
            agent = PineconeAgent(node)
            assert await status_of(agent, network.a.server_name, "/_matrix/federation/v1/version") == 200
            # Its own node answers pings, and nothing else.
            own = read_key_file(key_file)
            assert await status_of(agent, own.server_name, "/_matrix/federation/v1/version") == 404
            for key in (own.key, bytes.fromhex(network.a.server_name)):
                assert (await ping(node, key))["outcome"] == "the node answers"
        await options_are_taken_over_at_sighup(dns_named, str(key_file))
    finally:
        dns_named.stop()
