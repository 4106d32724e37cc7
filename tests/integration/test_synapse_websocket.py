"""Peers that come in by WebSocket through Synapse's own listener, straight and behind the real nginx."""

from __future__ import annotations

import re
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_twisted
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.web.client import readBody

from pinecone_transport.identity import Identity
from pinecone_transport.links import Link
from pinecone_transport.links.websocket import dial_websocket
from pinecone_transport.links.websocket_url import parse_websocket_url
from pinecone_transport.node.config import parse_node_config
from pinecone_transport.node.control import ask as ask_control
from pinecone_transport.node.node import Node
from pinecone_transport.stack import LinkUp
from tests.support.synapse_processes import Process, Synapse, free_port
from twisted_endpoints import PineconeAgent

pytestmark = pytest.mark.synapse

PATH = "/_synapse/pinecone/ws"
NGINX_SNIPPET = Path(__file__).parents[2] / "docs/examples/nginx.conf"


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    synapse = Synapse.create("a", tmp_path_factory.mktemp("websocket"), [], enable_metrics=True)
    config = yaml.safe_load(synapse.homeserver.config.read_text())
    config["listeners"][0]["x_forwarded"] = True
    config["listeners"][0]["resources"] = [{"names": ["client", "metrics"]}]
    synapse.homeserver.config.write_text(yaml.safe_dump(config))
    synapse.start()
    try:
        synapse.wait_until_up()
        yield synapse
    finally:
        synapse.stop()


def in_flight(synapse: Synapse) -> int:
    """Return how many requests Synapse is working on, the one that asks apart."""
    _, text = synapse.call("GET", "/_synapse/metrics")
    lines = re.findall(rb"^synapse_http_server_in_flight_requests_count\{.*\} ([0-9.]+)$", text, re.MULTILINE)
    assert lines
    return int(sum(map(float, lines))) - 1


def settle() -> Deferred[None]:
    """Let the reactor turn once."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned


@pytest_twisted.inlineCallbacks
def peered(url: str):
    """Return a new node that has peered at the URL."""
    node = Node(Identity.generate(), parse_node_config({"peers": [url]}), reactor)
    up: Deferred[None] = Deferred()
    node.subscribe(lambda event: up.callback(None) if isinstance(event, LinkUp) and not up.called else None)
    node.startService()
    yield up.addTimeout(20.0, reactor)
    return node


@pytest_twisted.inlineCallbacks
def ask(node: Node, synapse: Synapse):
    """Ask the homeserver for its version through the overlay."""
    agent = PineconeAgent(node)
    response = yield agent.request(
        b"GET", f"matrix://{synapse.server_name}/_matrix/federation/v1/version".encode(), None, None
    )
    body = yield readBody(response)
    yield agent.pool.closeCachedConnections()
    return body


@pytest_twisted.inlineCallbacks
def test_a_peer_comes_in_through_synapse_s_listener_and_leaves_no_request_behind(synapse):
    before = in_flight(synapse)
    node = yield peered(f"ws://127.0.0.1:{synapse.port}{PATH}")
    assert b"Synapse" in (yield ask(node, synapse))
    assert in_flight(synapse) == before + 1
    yield node.stopService()
    while in_flight(synapse) > before:
        yield settle()
    assert f"GET {PATH}" in synapse.logged()


def test_whoever_asks_for_no_websocket_is_told_what_is_there(synapse) -> None:
    status, body = synapse.call("GET", PATH)
    assert status == 426
    assert b"Pinecone" in body


@dataclass
class Nginx:
    """A reverse proxy with TLS before the homeserver, set up as the documentation says."""

    url: str
    certificate: Path


@pytest.fixture(scope="module")
def nginx(synapse: Synapse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    directory = tmp_path_factory.mktemp("nginx")
    certificate(directory)
    port = free_port()
    snippet = NGINX_SNIPPET.read_text().replace("127.0.0.1:8008", f"127.0.0.1:{synapse.port}")
    (directory / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
        events {{ }}
        http {{
            access_log off;
            client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
            server {{
                listen 127.0.0.1:{port} ssl;
                server_name localhost;
                ssl_certificate {directory}/certificate.pem; ssl_certificate_key {directory}/key.pem;
                {snippet}
            }}
        }}"""
    )
    process = Process("nginx", [program, "-p", str(directory), "-c", "nginx.conf"], directory / "output.log")
    process.start()
    try:
        process.wait_until(lambda: answers(port), "listen", 10.0)
        yield Nginx(f"wss://localhost:{port}{PATH}", directory / "certificate.pem")
    finally:
        process.stop()


def answers(port: int) -> bool:
    try:
        ssl.get_server_certificate(("127.0.0.1", port))
    except OSError:
        return False
    return True


def certificate(directory: Path) -> None:
    """Write a self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest_twisted.inlineCallbacks
def test_a_peer_comes_in_through_nginx_as_the_documentation_sets_it_up(synapse, nginx, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(nginx.certificate))
    before = in_flight(synapse)
    node = yield peered(nginx.url)
    assert b"Synapse" in (yield ask(node, synapse))
    links = ask_control(str(synapse.homeserver.directory / "pinecone.sock"), "status")["links"]
    assert [link["way"] for link in links] == ["ws"]
    yield node.stopService()
    while in_flight(synapse) > before:
        yield settle()


@pytest_twisted.inlineCallbacks
def test_a_proxy_that_the_system_does_not_trust_is_not_used(nginx):
    with pytest.raises(ConnectionLost, match="certificate verify failed"):
        yield dial_websocket(reactor, parse_websocket_url(nginx.url), NoOwner())


class NoOwner:
    """Gets no link."""

    def link_made(self, link: Link) -> None:
        raise AssertionError("a link to somebody who is not trusted")

    link_data = link_writable = link_lost = link_made
