"""Endpoint strings: ``pinecone:<64 hex digits>`` to dial, ``pinecone:`` to listen, ``node=<name>`` to choose a node.

A string cannot hold a node, so nodes are registered under a name, per reactor. A string is parsed without looking:
its node may come later. It is looked up at each ``connect`` or ``listen``.
"""

from __future__ import annotations

from typing import Any, Final, final
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

from pinecone_transport.node.interfaces import INode
from twisted_endpoints.client import DIAL_TIMEOUT, PineconeClientEndpoint, key_of
from twisted_endpoints.errors import NoSuchNode
from twisted_endpoints.server import PineconeServerEndpoint

DEFAULT_NAME: Final = "default"

_nodes: WeakKeyDictionary[IReactorTime, dict[str, INode]] = WeakKeyDictionary()


def register_node(node: INode, name: str = DEFAULT_NAME) -> None:
    """Make the node known to the endpoint strings of its reactor; a node of that name before it is forgotten."""
    _nodes.setdefault(node.reactor, {})[name] = node


def unregister_node(node: INode, name: str = DEFAULT_NAME) -> None:
    """Forget the node; nothing happens if another one has the name by now."""
    names = _nodes.get(node.reactor, {})
    if names.get(name) is node:
        del names[name]


def registered_node(reactor: IReactorTime, name: str = DEFAULT_NAME) -> INode:
    """Return the node of that name.

    Raises:
        NoSuchNode: There is none.
    """
    node = _nodes.get(reactor, {}).get(name)
    if node is None:
        raise NoSuchNode(
            f"no Pinecone node named {name!r} is registered with this reactor: "
            "call twisted_endpoints.register_node(node) before connecting or listening"
        )
    return node


@final
@implementer(IStreamClientEndpoint)
class NamedNodeClientEndpoint:
    """A `PineconeClientEndpoint` of a node that is looked up for each ``connect``."""

    def __init__(self, reactor: IReactorTime, server_name: str, node: str, timeout: float) -> None:
        self._reactor: Final = reactor
        self._key: Final = key_of(server_name)
        self._node: Final = node
        self._timeout: Final = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `PineconeClientEndpoint.connect`; fails with `NoSuchNode` besides."""
        try:
            node = registered_node(self._reactor, self._node)
        except NoSuchNode as error:
            return fail(error)
        return PineconeClientEndpoint(node, self._key, self._timeout).connect(protocolFactory)


@final
@implementer(IStreamServerEndpoint)
class NamedNodeServerEndpoint:
    """A `PineconeServerEndpoint` of a node that is looked up for each ``listen``."""

    def __init__(self, reactor: IReactorTime, node: str) -> None:
        self._reactor: Final = reactor
        self._node: Final = node

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `PineconeServerEndpoint.listen`; fails with `NoSuchNode` besides."""
        try:
            node = registered_node(self._reactor, self._node)
        except NoSuchNode as error:
            return fail(error)
        return PineconeServerEndpoint(node).listen(protocolFactory)


def parse_client(
    reactor: IReactorTime, server_name: str, node: str = DEFAULT_NAME, timeout: float | str = DIAL_TIMEOUT
) -> NamedNodeClientEndpoint:
    """Parse what follows ``pinecone:`` in ``<64 lower-case hex digits>[:node=<name>][:timeout=<seconds>]``.

    Raises:
        LocalProtocolError: The server name is not 64 lower-case hex digits.
    """
    return NamedNodeClientEndpoint(reactor, server_name, node, float(timeout))


def parse_server(reactor: IReactorTime, empty: str = "", node: str = DEFAULT_NAME) -> NamedNodeServerEndpoint:
    """Parse what follows ``pinecone:`` in ``[node=<name>]``: the overlay has no ports to choose.

    Raises:
        ValueError: There is more.
    """
    if empty:
        raise ValueError(f"a pinecone server string takes nothing but node=<name>, not {empty!r}")
    return NamedNodeServerEndpoint(reactor, node)


@final
@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser)
class PineconeStringParser:
    """What Twisted's ``clientFromString`` and ``serverFromString`` ask about strings that begin with ``pinecone:``."""

    prefix = "pinecone"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> NamedNodeClientEndpoint:
        """See `parse_client`."""
        return parse_client(reactor, *args, **kwargs)

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> NamedNodeServerEndpoint:
        """See `parse_server`."""
        return parse_server(reactor, *args, **kwargs)
