"""Fetch a page by its server's key: two nodes in one process, joined by a TCP link on loopback."""

from treq.client import HTTPClient
from twisted.internet import task
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from pinecone_transport.identity import Identity
from pinecone_transport.node import Node, parse_node_config
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint, server_url


async def main(reactor):
    bob = Node(Identity.generate(), parse_node_config({"listen": ["127.0.0.1:0"]}), reactor)
    bob.startService()
    alice = Node(Identity.generate(), parse_node_config({"peers": bob.listening_addresses()}), reactor)
    alice.startService()
    root = Resource()
    root.putChild(b"page", Data(b"Hello over the overlay", "text/plain"))
    await PineconeServerEndpoint(bob).listen(Site(root))
    response = await HTTPClient(PineconeAgent(alice)).get(server_url(bob.identity.key, "/page"))
    print(await response.text())


task.react(main)
