"""Links over endpoint strings of Twisted: a unix socket, and a serial line, which is a pseudo-terminal here."""

from __future__ import annotations

import os
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.web.client import readBody
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.node import Node
from tests.support.nodes import Nodes, eventually, link_up
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint, server_url


@pytest_twisted.async_yield_fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.stop_all()


class Echo(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello from " + bytes(request.path) * 500


async def request_over(client: Node, server: Node) -> bytes:
    """Have the client ask the server for something over the overlay; return the answer."""
    port = await PineconeServerEndpoint(server).listen(Site(Echo()))
    agent = PineconeAgent(client)
    response = await agent.request(b"GET", server_url(server.identity.key, "/there").to_text().encode())
    body = await readBody(response)
    await agent.pool.closeCachedConnections()
    await port.stopListening()
    return body


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_a_link(nodes: Nodes, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/link.sock"
    server = nodes.start(listen=[address])
    client = nodes.start(peers=[address])
    await link_up(client)
    assert await request_over(client, server) == b"hello from " + b"/there" * 500
    ((ours,), (theirs,)) = (node.status()["links"] for node in (client, server))
    assert (ours["way"], ours["address"], ours["direction"]) == ("unix", address, "out")
    assert (theirs["way"], theirs["direction"]) == ("unix", "in")
    assert server.listening_addresses() == [address]


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_that_cannot_be_had_is_one_sentence(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        nodes.start(listen=[f"unix:{tmp_path}/no/such/folder/link.sock"])
    assert raised.value.path == "listen.0"
    assert "No such file or directory" in raised.value.sentence


@implementer(IReadDescriptor)
class _Wire:
    """Carries what comes out of one pseudo-terminal into another."""

    def __init__(self, source: int, destination: int) -> None:
        self._source, self._destination = source, destination

    def fileno(self) -> int:
        return self._source

    def doRead(self) -> None:
        os.write(self._destination, os.read(self._source, 2048))

    def connectionLost(self, reason: object) -> None:
        reactor.removeReader(self)

    def logPrefix(self) -> str:
        return "wire"


@pytest.fixture
def serial_line() -> Iterator[tuple[str, str]]:
    """The two ends of a line: what is written to one device is read from the other."""
    opened = [*os.openpty(), *os.openpty()]
    near, near_device, far, far_device = opened
    for descriptor in opened:
        tty.setraw(descriptor)
    wires = [_Wire(near, far), _Wire(far, near)]
    for wire in wires:
        reactor.addReader(wire)
    yield os.ttyname(near_device), os.ttyname(far_device)
    for wire in wires:
        reactor.removeReader(wire)
    for descriptor in opened:
        os.close(descriptor)


@pytest_twisted.ensureDeferred
async def test_a_serial_line_is_a_link(nodes: Nodes, serial_line: tuple[str, str]) -> None:
    near, far = serial_line
    server = nodes.start(listen=[f"serial:{far}:baudrate=230400"])
    client = nodes.start(peers=[f"serial:{near}:baudrate=230400"])
    await link_up(client)
    assert await request_over(client, server) == b"hello from " + b"/there" * 500
    assert [link["direction"] for node in (client, server) for link in node.status()["links"]] == ["out", "in"]


@pytest_twisted.ensureDeferred
async def test_an_end_of_a_serial_line_may_start_anew(nodes: Nodes, serial_line: tuple[str, str]) -> None:
    near, far = serial_line
    server = nodes.start(peers=[f"serial:{far}"])
    first = nodes.start(peers=[f"serial:{near}"])
    await link_up(first)
    await first.stopService()
    second = nodes.start(peers=[f"serial:{near}"])
    await eventually(lambda: second.identity.server_name in [link["key"] for link in server.status()["links"]])
    await eventually(lambda: server.identity.server_name in [link["key"] for link in second.status()["links"]])


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_not_there_is_a_dial_that_fails(nodes: Nodes) -> None:
    client = nodes.start(peers=["serial:/dev/no-such-line"])
    await eventually(lambda: client.status()["candidates"][0]["failures"] == 1)
    assert "No such file or directory" in client.status()["candidates"][0]["reason"]
