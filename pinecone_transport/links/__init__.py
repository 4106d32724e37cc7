"""Bytes to a socket, and back.

In from above: bytes to write, and the wish to close (`Link`). Out to above: a link made, its bytes, room, its loss
(`LinkOwner`, which the node is). A link knows nothing of frames and nothing of the node.
"""

from pinecone_transport.links.address import EndpointString, HostPort, LinkAddress, endpoint_kinds, host_and_port
from pinecone_transport.links.interfaces import Link, LinkOwner
from pinecone_transport.links.pipe import PipeLink, connect_nodes
from pinecone_transport.links.schemes import parse_listen, parse_peer
from pinecone_transport.links.stream import StreamLink
from pinecone_transport.links.tcp import TcpLink, dial_tcp, listen_tcp
from pinecone_transport.links.websocket_url import WebSocketListen, WebSocketUrl

__all__ = [
    "EndpointString",
    "HostPort",
    "Link",
    "LinkAddress",
    "LinkOwner",
    "PipeLink",
    "StreamLink",
    "TcpLink",
    "WebSocketListen",
    "WebSocketUrl",
    "connect_nodes",
    "dial_tcp",
    "endpoint_kinds",
    "host_and_port",
    "listen_tcp",
    "parse_listen",
    "parse_peer",
]
