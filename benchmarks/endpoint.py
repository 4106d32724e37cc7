"""A process with a server and a client: of plain HTTPS over TCP, or of one or more nodes of the overlay.

Its part is a JSON object: ``{"transport": "https"}`` or ``{"transport": "overlay", "nodes": 1, "options": {…}}``, where
the options are a node's. It says its servers' addresses for HTTP, and where its nodes take links.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable
from typing import Any, Final, final

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IOpenSSLClientConnectionCreator
from twisted.internet.ssl import KeyPair
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent, IPolicyForHTTPS
from zope.interface import implementer

from benchmarks.commands import Command, run
from benchmarks.http import download, measured_site, ping, upload
from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint

REACH_TIMEOUT: Final = 60.0
"""Seconds until the first answer has to be there: the overlay has to find its paths."""
WORKERS: Final = 32
"""Connections that plain HTTPS keeps to one server."""


@final
@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
class AnyCertificate:
    """TLS 1.3 to a server on this machine whose certificate is its own: the cost of TLS counts here, not its trust."""

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_3_VERSION)

    def creatorForNetloc(self, hostname: bytes, port: int) -> AnyCertificate:
        """Return what makes the connections."""
        return self

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection that is about to shake hands."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return connection


@final
class Client:
    """Makes the requests that are timed.

    Args:
        agent: With connections that are kept.
        fresh: Makes one whose connections are not.
    """

    def __init__(self, agent: IAgent, fresh: IAgent) -> None:
        self._agent: Final = agent
        self._fresh: Final = fresh

    def commands(self) -> dict[str, Command]:
        """Return what this can be told."""
        return {
            "reach": self.reach,
            "upload": lambda server, length: upload(self._agent, server, length),
            "download": lambda server, length: download(self._agent, server, length),
            "small": self.small,
            "asking": self.asking,
            "load": self.load,
            "cold": self.cold,
        }

    async def reach(self, server: str) -> float:
        """Repeat a small request until it is answered, and return the seconds that took."""
        began = time.perf_counter()
        while True:
            try:
                await ping(self._agent, server)
            except Exception:
                if time.perf_counter() - began > REACH_TIMEOUT:
                    raise
                await deferLater(reactor, 0.1)
            else:
                return time.perf_counter() - began

    async def small(self, server: str, count: int) -> list[float]:
        """Make small requests one after the other; return the seconds that each took."""
        return [await ping(self._agent, server) for _ in range(count)]

    async def asking(self, server: str, seconds: float, spacing: float) -> list[float]:
        """Make small requests for so long, with a break after each; return the seconds that each took."""
        until = time.perf_counter() + seconds
        took = []
        while time.perf_counter() < until:
            took.append(await ping(self._agent, server))
            await deferLater(reactor, spacing)
        return took

    async def load(self, server: str, workers: int, seconds: float) -> dict[str, Any]:
        """Have so many workers make small requests for so long."""
        began = time.perf_counter()
        took: list[float] = []

        async def work() -> None:
            while time.perf_counter() < began + seconds:
                took.append(await ping(self._agent, server))

        await side_by_side(work() for _ in range(workers))
        return {"seconds": took, "elapsed": time.perf_counter() - began}

    async def cold(self, server: str) -> float:
        """Make a request on a connection of its own; return the seconds that it took."""
        return await ping(self._fresh, server)


def side_by_side(steps: Any) -> Awaitable[list[Any]]:
    """Run coroutines at the same time."""
    return gatherResults([Deferred.fromCoroutine(step) for step in steps], consumeErrors=True)


async def serve_https() -> int:
    """Serve over HTTPS on the loopback and return the port."""
    pair = KeyPair.generate(size=2048)
    certificate = pair.selfSignedCert(1, CN="localhost")
    endpoint = SSL4ServerEndpoint(reactor, 0, certificate.options(), interface="127.0.0.1")
    port: IListeningPort = await endpoint.listen(measured_site())
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


async def begin_https() -> tuple[dict[str, Any], dict[str, Command]]:
    """Be a client and a server of plain HTTPS."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = WORKERS
    policy = AnyCertificate()
    client = Client(Agent(reactor, policy, pool=pool), Agent(reactor, policy))
    return {"servers": [f"https://127.0.0.1:{await serve_https()}"]}, client.commands()


async def begin_overlay(count: int, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Command]]:
    """Be nodes, each of which serves; the first of them is the client as well."""
    nodes = [Node(Identity.generate(), parse_node_config(options), reactor) for _ in range(count)]
    for node in nodes:
        node.startService()
        await PineconeServerEndpoint(node).listen(measured_site())
    first = nodes[0]
    client = Client(PineconeAgent(first), PineconeAgent(first, HTTPConnectionPool(reactor, persistent=False)))
    ready = {
        "servers": [f"http://{node.identity.server_name}" for node in nodes],
        "listen": first.listening_addresses()[0] if options.get("listen") else "",
        "key": first.identity.server_name,
    }
    return ready, {**client.commands(), "state": first.status}


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Take the part."""
    part = json.loads(sys.argv[1])
    if part["transport"] == "https":
        return await begin_https()
    return await begin_overlay(part.get("nodes", 1), part["options"])


if __name__ == "__main__":
    run(begin)
