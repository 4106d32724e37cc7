"""One process of a path: its part is a JSON object on the command line, then it gets one command a line.

It prints a JSON object when it is ready, and one for each command.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final, final

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IOpenSSLClientConnectionCreator
from twisted.internet.ssl import KeyPair
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent, IPolicyForHTTPS
from zope.interface import implementer

from benchmarks.http import download, measured_site, upload
from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint

SMALL: Final = 100
"""Bytes of a small answer."""

PATIENCE: Final = 30.0
"""Seconds until the first answer has to be there: the overlay has to find its paths."""


@final
class Commands(LineOnlyReceiver):
    """Carries out what comes on standard input; its end is the process's end."""

    delimiter = b"\n"

    def __init__(self, agent: IAgent, base: bytes) -> None:
        self._agent = agent
        self._base = base

    def say(self, what: dict[str, Any]) -> None:
        """Print one answer."""
        self.sendLine(json.dumps(what).encode())  # type: ignore[no-untyped-call]  # Twisted's is not annotated

    def lineReceived(self, line: bytes) -> None:
        """Carry out a command."""
        Deferred.fromCoroutine(self._carry_out(json.loads(line))).addCallbacks(self.say, self._failed)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the process with its owner."""
        if reactor.running:
            reactor.stop()

    def _failed(self, failure: Failure) -> None:
        self.say({"error": failure.getErrorMessage()})

    async def _carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        match command:
            case {"command": "cpu"}:
                return {"seconds": time.process_time()}
            case {"command": "first"}:
                return {"seconds": await self._first()}
            case {"command": "upload", "length": length}:
                return {"seconds": await upload(self._agent, self._base, length)}
            case {"command": "download", "length": length}:
                return {"seconds": await download(self._agent, self._base, length)}
            case {"command": "small", "count": count}:
                return {"seconds": [await download(self._agent, self._base, SMALL) for _ in range(count)]}
        return {"error": f"unknown command {command}"}

    async def _first(self) -> float:
        """Repeat a small request until it is answered, and return the seconds that took."""
        began = time.perf_counter()
        while True:
            try:
                await download(self._agent, self._base, SMALL)
            except Exception:
                if time.perf_counter() - began > PATIENCE:
                    raise
                await deferLater(reactor, 0.1)
            else:
                return time.perf_counter() - began


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


async def serve_https() -> int:
    """Serve over HTTPS on the loopback and return the port."""
    pair = KeyPair.generate(size=2048)
    certificate = pair.selfSignedCert(1, CN="localhost")
    endpoint = SSL4ServerEndpoint(reactor, 0, certificate.options(), interface="127.0.0.1")
    port: IListeningPort = await endpoint.listen(measured_site())
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


async def begin(part: dict[str, Any]) -> None:
    """Take the part: any of serving, dialling and passing on."""
    agent: IAgent = Agent(reactor, AnyCertificate(), pool=HTTPConnectionPool(reactor))
    ready: dict[str, Any] = {}
    if part["transport"] == "https":
        if "base" not in part:
            ready["base"] = f"https://127.0.0.1:{await serve_https()}/"
    else:
        node = Node(
            Identity.generate(), parse_node_config({"listen": ["127.0.0.1:0"], "peers": part["peers"]}), reactor
        )
        node.startService()
        agent = PineconeAgent(node)
        await PineconeServerEndpoint(node).listen(measured_site())
        ready["base"] = f"pinecone://{node.identity.server_name}/"
        ready["address"] = node.listening_addresses()[0]
    commands = Commands(agent, part.get("base", "").encode())
    StandardIO(commands)
    commands.say(ready)


def main() -> None:
    """Run until standard input ends."""
    began = Deferred.fromCoroutine(begin(json.loads(sys.argv[1])))
    began.addErrback(lambda failure: (failure.printTraceback(), reactor.callWhenRunning(reactor.stop)))
    reactor.run()


if __name__ == "__main__":
    main()
