"""The shell around the core: sockets, one timer, a clock, and the only driver of a stack besides the simulator.

In from below come links and their bytes, from above streams to open and to write. Out come bytes for links, and calls
to the receivers of streams. Endpoints need no more than `INode`.
"""

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.node.config import NodeConfig, parse_node_config
from pinecone_transport.node.events import LinkDown
from pinecone_transport.node.interfaces import Acceptor, INode, NodeObserver, StreamReceiver
from pinecone_transport.node.keyfile import KeyFileError, format_signing_key, read_key_file, write_key_file
from pinecone_transport.node.node import Node

__all__ = [
    "Acceptor",
    "ConfigurationError",
    "INode",
    "KeyFileError",
    "LinkDown",
    "Node",
    "NodeConfig",
    "NodeObserver",
    "StreamReceiver",
    "format_signing_key",
    "parse_node_config",
    "read_key_file",
    "write_key_file",
]
