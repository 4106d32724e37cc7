"""Links over whatever Twisted has an endpoint for: unix sockets, TLS, onion services and more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, cast, final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from pinecone_transport.links.address import EndpointString, host_and_port, plain_ip
from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.links.stream import StreamLink
from pinecone_transport.links.tcp import CONNECT_TIMEOUT, FIRST_WRITE, next_write_limit
from pinecone_transport.wire import PeerType

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that the far end has to take what is queued, and to agree to the end where a transport asks it."""

_MISSING: Final = re.compile(r"missing [0-9]+ required .* arguments?: (.+)")
_UNKNOWN: Final = re.compile(r"unexpected keyword argument ('.+')")


@final
class EndpointLink(StreamLink):
    """A link over any stream transport, which keeps its buffer short as a TCP link does.

    Args:
        owner: Gets the link.
        reactor: For transports that cannot be closed at once.
        peer_type: What kind of link the protocol is to take it for.
        way: The kind of endpoint.
        address: The far end, for people.
        outbound: Whether we dialled.
        write_limit: How many bytes are handed over at once; None: as many as leave quickly, as is found out.
        clock: Monotonic seconds.
    """

    streaming: ClassVar[bool] = False

    def __init__(
        self,
        owner: LinkOwner,
        reactor: IReactorTime,
        *,
        peer_type: PeerType = PeerType.REMOTE,
        way: str,
        address: str,
        outbound: bool,
        write_limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(owner, peer_type=peer_type, way=way, address=address, outbound=outbound)
        self.write_limit = write_limit or FIRST_WRITE
        self._adapts: Final = write_limit is None
        self._reactor = reactor
        self._clock = clock
        self._buffered = 0
        self._buffered_since = 0.0
        self._closing: IDelayedCall | None = None

    def write(self, data: Sequence[bytes]) -> None:
        """Hand bytes to the transport, in order."""
        if not self._buffered:
            self._buffered_since = self._clock()
        self._buffered += sum(map(len, data))
        if self._buffered >= self.write_limit:
            self.writable = False
        super().write(data)

    def close(self) -> None:
        """Write what is queued, then close; at once, if the far end does not let that end."""
        if self._connected is not None and self._closing is None:
            # Links that were refused are counted no more, so nobody else would see to it.
            self._closing = self._reactor.callLater(CLOSE_TIMEOUT, self.abort)
            super().close()

    def abort(self) -> None:
        """Close at once, whether the transport has a way for that or not."""
        transport: Any = self._connected
        if transport is None:
            return
        if hasattr(transport, "abortConnection"):
            transport.abortConnection()
            return
        transport.unregisterProducer()
        transport.loseConnection()
        # It may wait for its buffer to empty, for ever.
        self._reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        buffered, self._buffered = self._buffered, 0
        if self._adapts and buffered >= self.write_limit:
            self.write_limit = next_write_limit(buffered, self._clock() - self._buffered_since)
        super().resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes up, unless the link counts as lost already."""
        if self._connected is not None:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, once, then whoever dialled."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if self._connected is not None:
            super().connectionLost(reason)


@final
class EndpointLinkFactory(Factory):
    """Makes a link of each connection of an endpoint.

    Args:
        owner: Who gets the links.
        reactor: Theirs.
        address: The endpoint.
        outbound: Whether it is dialled.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, reactor: IReactorTime, address: EndpointString, *, outbound: bool) -> None:
        self._owner = owner
        self._reactor = reactor
        self._address = address
        self._outbound = outbound

    def buildProtocol(self, addr: IAddress | None) -> EndpointLink:
        """Return a link that is not connected yet."""
        text = str(self._address) if self._outbound else _far_end(addr, self._address)
        return EndpointLink(self._owner, self._reactor, way=self._address.way, address=text, outbound=self._outbound)


def client_endpoint(reactor: IReactorTime, address: EndpointString) -> IStreamClientEndpoint:
    """Return the endpoint to dial.

    Raises:
        ValueError: The string is not one of a client endpoint, with a sentence that says why.
    """
    return cast(IStreamClientEndpoint, _parsed(address, "dialled", clientFromString, reactor))


def server_endpoint(reactor: IReactorTime, address: EndpointString) -> IStreamServerEndpoint:
    """Return the endpoint to listen on.

    Raises:
        ValueError: The string is not one of a server endpoint, with a sentence that says why.
    """
    return cast(IStreamServerEndpoint, _parsed(address, "listened on", serverFromString, reactor))


def dial_endpoint(
    reactor: IReactorTime, endpoint: IStreamClientEndpoint, address: EndpointString, owner: LinkOwner
) -> Deferred[EndpointLink]:
    """Dial; the result is the connected link, which the owner has been told of. Cancelling gives the dial up."""
    factory = EndpointLinkFactory(owner, reactor, address, outbound=True)
    connected: Deferred[Any] = endpoint.connect(factory).addTimeout(CONNECT_TIMEOUT, reactor)
    # An endpoint may wrap the factory's protocol in one of its own.
    return connected.addCallback(_unwrapped)


def listen_endpoint(
    reactor: IReactorTime, endpoint: IStreamServerEndpoint, address: EndpointString, owner: LinkOwner
) -> Deferred[IListeningPort]:
    """Listen; each connection becomes a link of the owner's."""
    return endpoint.listen(EndpointLinkFactory(owner, reactor, address, outbound=False))


def _parsed(address: EndpointString, what: str, parse: Callable[[Any, str], object], reactor: object) -> object:
    try:
        return parse(reactor, address.text)
    except Exception as error:
        # What a plug-in raises at a string that it does not like is its own affair.
        raise ValueError(f"{address.text!r} cannot be {what}: {_for_people(error)}") from None


def _for_people(error: Exception) -> str:
    """Return what is wrong with an endpoint string, whose parts become the arguments of a function of Twisted's."""
    missing, unknown = _MISSING.search(str(error)), _UNKNOWN.search(str(error))
    if isinstance(error, TypeError) and missing is not None:
        return f"it lacks {missing[1]}"
    if isinstance(error, TypeError) and unknown is not None:
        return f"there is no {unknown[1]} there"
    return str(error) or type(error).__name__


def _unwrapped(protocol: Any) -> EndpointLink:
    while not isinstance(protocol, EndpointLink):
        protocol = protocol.wrappedProtocol
    return protocol


def _far_end(addr: object, address: EndpointString) -> str:
    host = getattr(addr, "host", None)
    return host_and_port(plain_ip(host), getattr(addr, "port", 0)) if isinstance(host, str) else str(address)
