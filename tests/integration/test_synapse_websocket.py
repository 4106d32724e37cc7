"""Peers that come in by WebSocket through Synapse's own listener, straight and behind the real nginx and Caddy."""

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
from twisted.web.client import readBody

from pinecone_transport.identity import Identity
from pinecone_transport.links import Link
from pinecone_transport.links.websocket import NoWebSocketError, dial_websocket
from pinecone_transport.links.websocket_url import parse_websocket_url
from pinecone_transport.node.config import parse_node_config
from pinecone_transport.node.control import ask as ask_control
from pinecone_transport.node.node import Node
from pinecone_transport.stack import LinkUp
from tests.support.synapse_processes import Process, Synapse, free_port
from twisted_endpoints import PineconeAgent

pytestmark = pytest.mark.synapse

PATH = "/_synapse/pinecone/ws"
EXAMPLES = Path(__file__).parents[2] / "docs/examples"


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
class Proxy:
    """A reverse proxy with TLS before the homeserver, set up as the documentation says."""

    port: int
    certificate: Path

    def url(self, host: str = "localhost") -> str:
        return f"wss://{host}:{self.port}{PATH}"


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, synapse: Synapse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    program = shutil.which(request.param) or shutil.which(request.param, path="/usr/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed (Debian: nginx-light, caddy)")
    directory = tmp_path_factory.mktemp(request.param)
    certificate(directory)
    port = free_port()
    set_up = {"nginx": set_up_nginx, "caddy": set_up_caddy}[request.param]
    # Caddy keeps its configuration where its user's are.
    command = ["env", f"XDG_CONFIG_HOME={directory}", program, *set_up(directory, port, synapse.port)]
    process = Process(request.param, command, directory / "output.log")
    process.start()
    try:
        process.wait_until(lambda: answers(port), "listen", 30.0)
        yield Proxy(port, directory / "certificate.pem")
    finally:
        process.stop()


def set_up_nginx(directory: Path, port: int, synapse_port: int) -> list[str]:
    snippet = (EXAMPLES / "nginx.conf").read_text().replace("127.0.0.1:8008", f"127.0.0.1:{synapse_port}")
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
    return ["-p", str(directory), "-c", "nginx.conf"]


def set_up_caddy(directory: Path, port: int, synapse_port: int) -> list[str]:
    snippet = (EXAMPLES / "Caddyfile").read_text().replace("127.0.0.1:8008", f"127.0.0.1:{synapse_port}")
    site = f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {directory}/certificate.pem {directory}/key.pem"
    (directory / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {directory}\n}}\n"
        + snippet.replace("example.org {", site)
    )
    return ["run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


def answers(port: int) -> bool:
    try:
        ssl.get_server_certificate(("localhost", port))  # Caddy shows it to whoever asks for that name
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
def test_a_peer_comes_in_through_a_proxy_as_the_documentation_sets_it_up(synapse, proxy, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    before = in_flight(synapse)
    node = yield peered(proxy.url())
    assert b"Synapse" in (yield ask(node, synapse))
    links = ask_control(str(synapse.homeserver.directory / "pinecone.sock"), "status")["links"]
    # Without port: it is the address that the proxy has told, not the proxy's.
    assert [(link["way"], link["address"]) for link in links] == [("ws", "127.0.0.1:0")]
    yield node.stopService()
    while in_flight(synapse) > before:
        yield settle()


@pytest_twisted.inlineCallbacks
def test_a_proxy_that_the_system_does_not_trust_is_not_used(proxy):
    with pytest.raises(NoWebSocketError, match="TLS failed: certificate verify failed"):
        yield dial_websocket(reactor, parse_websocket_url(proxy.url()), NoOwner())


@pytest_twisted.inlineCallbacks
def test_a_proxy_with_the_certificate_of_another_name_is_not_used(proxy, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    with pytest.raises(NoWebSocketError, match=r"no WebSocket there: (its certificate is not|TLS failed)"):
        yield dial_websocket(reactor, parse_websocket_url(proxy.url("127.0.0.1")), NoOwner())


class NoOwner:
    """Gets no link."""

    def link_made(self, link: Link) -> None:
        raise AssertionError("a link to somebody who is not trusted")

    link_data = link_writable = link_lost = link_made
