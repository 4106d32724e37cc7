"""Listening: streams from far nodes in, protocols for authenticated peers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import PublicKey
from pinecone_transport.node.interfaces import INode
from twisted_endpoints.address import PineconeAddress
from twisted_endpoints.secure_stream import SecureStream
from twisted_endpoints.stream import StreamTransport
from twisted_endpoints.tls import TlsContexts, contexts_of

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds that a far node has for TLS."""
MAX_HANDSHAKES: Final = 256
"""Handshakes in progress at once; above that the keys with most of them give way to the others."""
MAX_HANDSHAKES_PER_KEY: Final = 64
"""The same for one key: above what a busy homeserver opens at once, and a quarter of all."""

AcceptFilter = Callable[[PublicKey], bool]
"""Tells whether a stream from this key is let in. Asked before TLS: the key is what the far end claims, but with
another key than that it does not get through TLS."""

_log = Logger()


@final
@implementer(IStreamServerEndpoint)
class PineconeServerEndpoint:
    """Accepts streams from all nodes of the overlay. A node has one listener at a time.

    Args:
        node: Our own node.
        accept: Lets a stream in or refuses it, by the far end's key; None lets all in.
    """

    def __init__(self, node: INode, accept: AcceptFilter | None = None) -> None:
        self._node: Final = node
        self._accept: Final = accept

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Begin to accept; the factory's protocols are built once TLS has authenticated the peer.

        The result fails with `CannotListenError` if the node has a listener already.
        """
        port = PineconeListeningPort(self._node, protocolFactory, self._accept)
        try:
            port.startListening()
        except CannotListenError:
            return fail()
        return succeed(port)


@final
@implementer(IListeningPort)
class PineconeListeningPort:
    """What `PineconeServerEndpoint.listen` gives.

    Attributes:
        counters: Streams that were refused or failed in the handshake, by reason.
    """

    def __init__(self, node: INode, factory: IProtocolFactory, accept: AcceptFilter | None) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._node: Final = node
        self._factory: Final = factory
        self._accept: Final = accept
        self._contexts: Final[TlsContexts] = contexts_of(node)
        self._handshakes: Final[dict[StreamTransport, IDelayedCall]] = {}
        self._handshakes_of: Final[Counter[PublicKey]] = Counter()
        self._listening = False

    def startListening(self) -> None:
        """Begin to accept.

        Raises:
            CannotListenError: The node has a listener already.
        """
        try:
            self._node.set_acceptor(self._stream_opened)
        except LocalProtocolError as error:
            raise CannotListenError("pinecone", self._node.identity.server_name, error) from error
        self._listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Accept no more; handshakes in progress end, open connections stay."""
        if self._listening:
            self._listening = False
            self._node.set_acceptor(None)
            for transport in list(self._handshakes):
                self._handshake_over(transport)
                transport.abandon()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> PineconeAddress:
        """Return our own address."""
        return PineconeAddress(self._node.identity.key)

    def _stream_opened(self, key: PublicKey) -> SecureStream | None:
        reason = self._reason_to_refuse(key)
        if reason is not None:
            self.counters[reason] += 1
            return None
        transport = StreamTransport(self._node, self._contexts.accept(key), self._established, self._failed)
        self._handshakes[transport] = self._node.reactor.callLater(HANDSHAKE_TIMEOUT, self._timed_out, transport)
        self._handshakes_of[key] += 1
        return transport.stream

    def _reason_to_refuse(self, key: PublicKey) -> str | None:
        if self._handshakes_of[key] >= MAX_HANDSHAKES_PER_KEY:
            return "too many handshakes"
        if self._accept is not None and not self._accept(key):
            return "key refused"
        return None if self._make_place(key) else "too many handshakes"

    def _make_place(self, key: PublicKey) -> bool:
        """End the oldest handshake of whoever has most, if there are too many; return False if that is ``key`` itself.

        Keys cost nothing, so a few of them must not be able to keep all others out.
        """
        if len(self._handshakes) < MAX_HANDSHAKES:
            return True
        ((busiest, count),) = self._handshakes_of.most_common(1)
        if count <= self._handshakes_of[key]:
            return False
        oldest = next(transport for transport in self._handshakes if transport.getPeer().key == busiest)
        self._handshake_over(oldest)
        self.counters["handshakes that gave way"] += 1
        oldest.abandon()
        return True

    def _handshake_over(self, transport: StreamTransport) -> None:
        timer = self._handshakes.pop(transport)
        if timer.active():
            timer.cancel()
        key = transport.getPeer().key
        self._handshakes_of[key] -= 1
        if not self._handshakes_of[key]:
            del self._handshakes_of[key]

    def _established(self, transport: StreamTransport) -> None:
        self._handshake_over(transport)
        try:
            protocol = self._factory.buildProtocol(transport.getPeer())
            if protocol is not None:
                transport.attach(protocol, _nothing)
                return
            self.counters["no protocol"] += 1
        except Exception:
            _log.failure("The factory failed for a stream from {peer}", peer=transport.getPeer())
        if transport.connected:
            transport.abortConnection()
        else:
            transport.abandon()

    def _failed(self, transport: StreamTransport, reason: Failure) -> None:
        self._handshake_over(transport)
        self.counters["handshake failed"] += 1
        _log.debug("A stream from {peer} failed: {reason}", peer=transport.getPeer(), reason=reason.getErrorMessage())

    def _timed_out(self, transport: StreamTransport) -> None:
        self._handshake_over(transport)
        self.counters["handshake timed out"] += 1
        transport.abandon()


def _nothing() -> None:
    """A listener has nothing to do when a connection ends."""
