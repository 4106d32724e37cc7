"""Nodes with one link source, Bluetooth LE, over whatever backend a test gives them."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.protocols.basic import FileSender
from twisted.web.client import readBody
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from pinecone_transport.discovery.bluetooth import BluetoothBackend, BluetoothSource
from pinecone_transport.identity import Identity
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.node import Node
from pinecone_transport.node.source_plans import SourcePlan, Surroundings
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint


class Content(Resource):
    """Answers ``/N`` with N bytes, as fast as they can be sent."""

    isLeaf = True

    def render_GET(self, request) -> int:
        sending = FileSender().beginFileTransfer(io.BytesIO(body(int(request.path[1:]))), request)
        sending.addCallbacks(lambda _: request.finish(), lambda _: None)
        return NOT_DONE_YET


def body(length: int) -> bytes:
    return hashlib.shake_256(b"radio").digest(length)


class RadioNode:
    """A node with Bluetooth and nothing else, which serves `Content`."""

    def __init__(self, make_backend: Callable[[], BluetoothBackend], seed: int) -> None:
        def plan(surroundings: Surroundings) -> list[SourcePlan]:
            def make() -> BluetoothSource:
                return BluetoothSource(
                    surroundings.identity.key,
                    surroundings.owner,
                    make_backend=make_backend,
                    admits=surroundings.admits,
                    reactor=surroundings.reactor,
                    clock=surroundings.clock,
                )

            return [SourcePlan("ble", None, make)]

        self.node = Node(Identity(bytes([seed]) * 32), NodeConfig(), reactor, more_sources=plan)
        self.node.startService()
        self.agent = PineconeAgent(self.node)
        PineconeServerEndpoint(self.node).listen(Site(Content()))

    def get(self, other: RadioNode, length: int) -> Deferred[bytes]:
        url = f"matrix://{other.node.identity.server_name}/{length}".encode()
        return self.agent.request(b"GET", url, None, None).addCallback(readBody)

    def links(self) -> list[dict]:
        return [link for link in self.node.status()["links"] if link["key"] is not None]

    @pytest_twisted.inlineCallbacks
    def stop(self):
        yield self.agent.pool.closeCachedConnections()
        yield self.node.stopService()


@pytest_twisted.inlineCallbacks
def until(look):
    """Wait until something is so."""
    give_up_at = time.monotonic() + 30.0
    while not look():
        assert time.monotonic() < give_up_at, "it does not come about"
        yield deferLater(reactor, 0.01, lambda: None)
