"""Links over WebSocket (RFC 6455): dial ``ws://`` and ``wss://``, and accept them on a port or from a web server.

A link is a byte stream, so where messages begin and end means nothing (§9). What we send fits what Go nodes read.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast, final

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.types import ConnectionRequest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.links.address import HostPort, host_and_port, plain_ip
from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.links.websocket_url import WAY, WebSocketUrl
from pinecone_transport.wire import PeerType

logger = logging.getLogger("pinecone_transport.links")

CONNECT_TIMEOUT: Final = 10.0
"""Seconds until a dial is given up; the upgrade has as long again."""
LONGEST_SENT: Final = 32_768
"""Bytes of a message that Go nodes read (§9)."""
LONGEST_RECEIVED: Final = 1 << 20
"""Bytes of a message that we read. Go nodes send a frame a message."""
LONGEST_UPGRADE: Final = 64 * 1024
"""Bytes that may come before the link is open: an upgrade, or the answer to ours, and what is sent right behind it."""
MAX_CONNECTIONS: Final = 512
"""Connections of one port, upgraded or not."""

_UPGRADE_REFUSED: Final = re.compile(r"WebSocket connection upgrade failed \[(?P<status>[0-9]+)\]: (?P<phrase>.*)")
_BACKLOG: Final = 128
_OPTIONS: Final = {
    "maxFramePayloadSize": LONGEST_RECEIVED,
    "maxMessagePayloadSize": LONGEST_RECEIVED,
    "openHandshakeTimeout": CONNECT_TIMEOUT,
    "closeHandshakeTimeout": 1.0,
    "tcpNoDelay": True,  # whole frames are written, many at once where there are many
    "failByDrop": True,
}

_Protocol: TypeAlias = "WebSocketServerLinkProtocol | WebSocketClientLinkProtocol"


class NoWebSocketError(ConnectError):
    """Whoever was dialled is there, and is or speaks something else; the message says what."""

    MESSAGE = "no WebSocket there"

    def __init__(self, reason: str) -> None:
        cast(Any, super()).__init__(string=reason)


@final
@implementer(IPushProducer)
class WebSocketLink:
    """A `Link` over a WebSocket that is open.

    Attributes:
        lost: Fires with None when the link is gone, after the owner was told.
    """

    def __init__(self, owner: LinkOwner, protocol: _Protocol, *, address: str, outbound: bool) -> None:
        self.peer_type = PeerType.REMOTE
        self.way = WAY
        self.address = address
        self.outbound = outbound
        self.writable = True
        self.write_limit = 2 * LONGEST_SENT
        self.lost: Deferred[None] = Deferred()
        self._owner = owner
        self._protocol = protocol
        self._open = True
        protocol.registerProducer(self, True)
        owner.link_made(self)

    @property
    def transport(self) -> ITransport | None:
        """What the WebSocket is on, for whoever looks at its socket."""
        transport: ITransport | None = self._protocol.transport
        return transport

    # Link

    def write(self, data: Sequence[bytes]) -> None:
        """Hand bytes to the transport, in order, in messages of at most 32,768 bytes."""
        # After a far end's goodbye autobahn raises, and the connection is about to be lost.
        if self._open and self._protocol.state == WebSocketProtocol.STATE_OPEN:
            whole = b"".join(data)
            for start in range(0, len(whole), LONGEST_SENT):
                self._protocol.sendMessage(whole[start : start + LONGEST_SENT], isBinary=True)

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write nothing: who knows how long it would wait in the transport."""
        return 0

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        if self._open:
            cast(IPushProducer, self._protocol.transport).pauseProducing()

    def resume_reading(self) -> None:
        """Read again."""
        if self._open:
            cast(IPushProducer, self._protocol.transport).resumeProducing()

    def close(self) -> None:
        """Write what is queued, then close."""
        if self._open:
            self._open = False
            # A transport with a producer waits for it before it closes.
            self._protocol.unregisterProducer()
            self._protocol.sendClose()

    def abort(self) -> None:
        """Close at once."""
        self._open = False
        self._protocol.dropConnection(abort=True)

    # From the protocol

    def message_received(self, payload: bytes) -> None:
        """Hand bytes up."""
        self._owner.link_data(self, payload)

    def connection_lost(self, reason: Failure) -> None:
        """Tell the owner, then whoever dialled."""
        self._open = self.writable = False
        self._owner.link_lost(self, reason)
        self.lost.callback(None)

    # IPushProducer

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.writable = False

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if not self.writable and self._open:
            self.writable = True
            self._owner.link_writable(self)

    def stopProducing(self) -> None:
        """The transport is closing; the protocol tells of it."""
        self.writable = False


class _QuietLog:
    """Autobahn's logger: what strangers do to a port is not worth a line each."""

    def _log(self, format: str | None = None, **values: object) -> None:
        logger.debug("autobahn: %s %s", format, values)

    trace = debug = info = warn = error = failure = _log


class _LinkProtocol:
    """What both ends' protocols have in common; stands before autobahn's class in theirs."""

    log = _QuietLog()
    link: WebSocketLink | None = None
    fault: str | None = None
    _upgrade_length = 0

    def dataReceived(self, data: bytes) -> None:
        """Bound the upgrade, which autobahn would keep whatever its length."""
        if self.fault is not None:
            return
        if self.link is None:
            self._upgrade_length += len(data)
            if self._upgrade_length > LONGEST_UPGRADE:
                self.fail("the WebSocket upgrade has no end")
                return
        cast(Any, super()).dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Take bytes of the link; text is none."""
        if not isBinary:
            self.fail("a text message came on the WebSocket, which carries bytes")
        elif self.link is not None and self.fault is None:
            self.link.message_received(payload)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the link."""
        cast(Any, super()).connectionLost(reason)
        link, self.link = self.link, None
        if link is not None:
            link.connection_lost(reason if self.fault is None else Failure(ConnectionLost(self.fault)))

    def fail(self, fault: str) -> None:
        """Close at once, for a fault of the far end's."""
        self.fault = fault
        cast(Any, self).dropConnection(abort=True)


@final
class WebSocketServerLinkProtocol(_LinkProtocol, WebSocketServerProtocol):
    """Makes a link of a connection that comes in and is upgraded.

    Args:
        owner: Who gets the link.
        client: The far end for people, if a web server has found it out; None to look.
        closed: Called when the connection is gone, upgraded or not.
    """

    def __init__(
        self, owner: LinkOwner, client: str | None = None, closed: Callable[[Failure], None] | None = None
    ) -> None:
        super().__init__()
        self._owner = owner
        self._client = client
        self._closed = closed

    def onConnect(self, request: ConnectionRequest) -> None:
        """Note who it is: what comes from this host is a proxy's, and its word counts."""
        if self._client is not None:
            return
        peer = cast(ITransport, self.transport).getPeer()
        host, port = plain_ip(getattr(peer, "host", "?")), getattr(peer, "port", 0)
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if _is_loopback(host) and _is_ip_address(forwarded):
            host, port = forwarded, 0
        self._client = host_and_port(host, port)

    def onOpen(self) -> None:
        """Begin the link."""
        self.link = WebSocketLink(self._owner, self, address=self._client or "", outbound=False)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the link, and the web server if there is one."""
        super().connectionLost(reason)
        if self._closed is not None:
            self._closed(reason)


@final
class WebSocketLinkFactory(WebSocketServerFactory):
    """Makes a link of each WebSocket that comes in, on a port or through a web server's resource.

    Args:
        owner: Who gets the links.
        reactor: For the time that an upgrade has.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, reactor: IReactorTime) -> None:
        super().__init__(reactor=reactor)
        self._owner = owner
        self.setProtocolOptions(webStatus=False, maxConnections=MAX_CONNECTIONS, **_OPTIONS)

    def buildProtocol(self, addr: IAddress | None) -> WebSocketServerLinkProtocol:
        """Return a protocol whose connection is not upgraded yet."""
        return self.accept()

    def accept(
        self, client: str | None = None, closed: Callable[[Failure], None] | None = None
    ) -> WebSocketServerLinkProtocol:
        """Return the same for a request that a web server has read: see `WebSocketServerLinkProtocol`."""
        protocol = WebSocketServerLinkProtocol(self._owner, client, closed)
        protocol.factory = self
        return protocol


@final
class WebSocketClientLinkProtocol(_LinkProtocol, WebSocketClientProtocol):
    """Makes a link of a connection that we dialled and that is upgraded."""

    factory: _DialFactory

    def onOpen(self) -> None:
        """Begin the link, unless nobody wants it any longer."""
        if self.factory.dial.called:
            self.dropConnection(abort=True)
            return
        self.link = WebSocketLink(self.factory.owner, self, address=self.factory.target.text, outbound=True)
        self.factory.dial.callback(self.link)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the link, or whoever dialled that there is none."""
        super().connectionLost(reason)
        if not self.factory.dial.called:
            self.factory.dial.errback(NoWebSocketError(self.fault or self._why(reason)))

    def _why(self, reason: Failure) -> str:
        if reason.check(VerificationError):
            return f"its certificate is not one for {self.factory.target.host}"
        if isinstance(reason.value, SSL.Error):
            details = reason.value.args[0] if reason.value.args else ()
            return f"TLS failed: {'; '.join(detail for _, _, detail in details) or 'it was cut off'}"
        if self.wasOpenHandshakeTimeout:
            return f"it does not answer within {CONNECT_TIMEOUT:.0f} s"
        if not self.droppedByMe:
            return "it hung up"
        said = str(self.wasNotCleanReason)
        refused = _UPGRADE_REFUSED.fullmatch(said)
        return f"the web server answers {refused['status']} {refused['phrase']}".rstrip() if refused else said


@final
class _DialFactory(WebSocketClientFactory):
    """Makes one link."""

    noisy = False

    def __init__(self, owner: LinkOwner, url: WebSocketUrl, reactor: IReactorTime) -> None:
        super().__init__(url=url.text, useragent=None, reactor=reactor)
        self.owner: Final = owner
        self.target: Final = url
        self.dial: Final[Deferred[WebSocketLink]] = Deferred()
        self.setProtocolOptions(**_OPTIONS)

    def buildProtocol(self, addr: IAddress | None) -> WebSocketClientLinkProtocol:
        """Return a protocol whose connection is not upgraded yet."""
        protocol = WebSocketClientLinkProtocol()
        protocol.factory = self
        return protocol


def listen_websocket(reactor: IReactorTCP, address: HostPort, owner: LinkOwner) -> IListeningPort:
    """Listen for WebSockets on a port of its own, at whatever path; each becomes a link of the owner's.

    A reverse proxy on this host may stand before it.

    Raises:
        CannotListenError: The port is taken, or the address is not ours.
    """
    factory = WebSocketLinkFactory(owner, cast(IReactorTime, reactor))
    return reactor.listenTCP(address.port, factory, _BACKLOG, address.host)


def dial_websocket(reactor: IReactorTime, url: WebSocketUrl, owner: LinkOwner) -> Deferred[WebSocketLink]:
    """Dial; the result is the open link, which the owner has been told of. Cancelling gives the dial up.

    ``wss`` trusts whom the system trusts.
    """
    try:
        factory = _DialFactory(owner, url, reactor)
        connecting = _client_endpoint(reactor, url).connect(factory)
    except ValueError:  # such as a name that no certificate can have
        return fail()

    def cancel(_: Deferred[WebSocketLink]) -> None:
        connecting.cancel()
        if protocols:
            protocols[0].dropConnection(abort=True)

    protocols: list[Any] = []
    connecting.addCallbacks(protocols.append, lambda failure: _fail_dial(factory.dial, failure))
    result: Deferred[WebSocketLink] = Deferred(cancel)
    factory.dial.addBoth(lambda outcome: None if result.called else result.callback(outcome))
    return result


def _fail_dial(dial: Deferred[WebSocketLink], failure: Failure) -> None:
    if not dial.called:
        dial.errback(failure)


def _client_endpoint(reactor: IReactorTime, url: WebSocketUrl) -> IStreamClientEndpoint:
    endpoint = HostnameEndpoint(reactor, url.host, url.port, timeout=CONNECT_TIMEOUT)
    return wrapClientTLS(optionsForClientTLS(url.host), endpoint) if url.secure else endpoint


def _is_loopback(host: str) -> bool:
    return _is_ip_address(host) and ipaddress.ip_address(host).is_loopback


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
