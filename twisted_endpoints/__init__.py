"""Twisted endpoints over the Pinecone overlay.

From above come what Twisted's users know: a factory for an endpoint, a request for an agent, a site to serve. From
below, a running node (`pinecone_transport.node.interfaces.INode`). In between every stream is wrapped in TLS 1.3 with
the peer's key pinned, so that a transport's ``getPeer()`` is an authenticated key.
"""

from __future__ import annotations

from twisted_endpoints.address import PineconeAddress
from twisted_endpoints.agent import PineconeAgent
from twisted_endpoints.client import PineconeClientEndpoint
from twisted_endpoints.errors import NoSuchNode, NotAServerName, TlsFailed, WrongPeerKey
from twisted_endpoints.pool import BoundedConnectionPool
from twisted_endpoints.server import PineconeListeningPort, PineconeServerEndpoint
from twisted_endpoints.strings import register_node, registered_node, unregister_node
from twisted_endpoints.urls import server_url

__all__ = [
    "BoundedConnectionPool",
    "NoSuchNode",
    "NotAServerName",
    "PineconeAddress",
    "PineconeAgent",
    "PineconeClientEndpoint",
    "PineconeListeningPort",
    "PineconeServerEndpoint",
    "TlsFailed",
    "WrongPeerKey",
    "register_node",
    "registered_node",
    "server_url",
    "unregister_node",
]
