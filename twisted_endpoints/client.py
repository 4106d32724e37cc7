"""Dialling: a key in, a connected protocol out."""

from __future__ import annotations

from typing import Final, final

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectingCancelledError, NoProtocol, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import KEY_LENGTH, PublicKey, key_from_server_name
from pinecone_transport.node.interfaces import INode
from twisted_endpoints.address import PineconeAddress
from twisted_endpoints.errors import connect_error
from twisted_endpoints.stream import StreamTransport
from twisted_endpoints.tls import contexts_of

DIAL_TIMEOUT: Final = 30.0
"""Seconds for the whole way to a connection: route, stream and TLS."""


def key_of(key: PublicKey | str) -> PublicKey:
    """Return the 32-byte key for a key or a server name.

    Raises:
        LocalProtocolError: It is neither 32 bytes nor 64 lower-case hex digits.
    """
    if isinstance(key, str):
        return key_from_server_name(key)
    if len(key) != KEY_LENGTH:
        raise LocalProtocolError(f"a key has {KEY_LENGTH} bytes, this one {len(key)}")
    return key


@final
@implementer(IStreamClientEndpoint)
class PineconeClientEndpoint:
    """Connects to the node that has the key, and to no other.

    Args:
        node: Our own node.
        key: The far node's public key (32 bytes), or its server name (64 lower-case hex digits).
        timeout: Seconds until ``connect`` fails with `twisted.internet.error.TimeoutError`.

    Raises:
        LocalProtocolError: The key is neither.
    """

    def __init__(self, node: INode, key: PublicKey | str, timeout: float = DIAL_TIMEOUT) -> None:
        self._node: Final = node
        self._key: Final = key_of(key)
        self._timeout: Final = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial; the result fires when TLS is done and the peer has shown the key. Cancel it to give up.

        It fails with a `ConnectError`: `NoRouteError`, `TimeoutError`, `ConnectionRefusedError`, `WrongPeerKey` ….
        """
        dial = _Dial(self._node, self._key, protocolFactory)
        try:
            dial.start(self._timeout)
        except LocalProtocolError as error:
            dial.give_up()
            return fail(connect_error(error))
        return dial.connected

    def __repr__(self) -> str:
        return f"<PineconeClientEndpoint {self._key.hex()}>"


@final
class _Dial:
    """One attempt to connect."""

    def __init__(self, node: INode, key: PublicKey, factory: IProtocolFactory) -> None:
        self.connected: Final[Deferred[IProtocol]] = Deferred(self._cancelled)
        self._node: Final = node
        self._factory: Final = factory
        self._address: Final = PineconeAddress(key)
        self._contexts: Final = contexts_of(node)
        self._transport: Final = StreamTransport(node, self._contexts.dial(key), self._established, self._failed)

    def start(self, timeout: float) -> None:
        self._timer = self._node.reactor.callLater(timeout, self._timed_out, timeout)
        self._factory.doStart()
        self._transport.stream.dial()
        # What we said leaves at the end of this turn; while the answer is on its way there is time.
        self._node.reactor.callLater(0, self._contexts.prepare)

    def give_up(self) -> None:
        """End the attempt; ``connected`` is left alone."""
        self._stop_timer()
        self._transport.abandon()
        self._factory.doStop()

    def _stop_timer(self) -> None:
        if self._timer.active():
            self._timer.cancel()

    def _established(self, transport: StreamTransport) -> None:
        self._stop_timer()
        try:
            protocol = self._factory.buildProtocol(self._address)
            if protocol is None:
                raise NoProtocol
            transport.attach(protocol, self._factory.doStop)
        except Exception:
            self._build_failed(Failure())
            return
        self.connected.callback(protocol)

    def _build_failed(self, reason: Failure) -> None:
        if self._transport.connected:
            self._transport.abortConnection()
        else:
            self.give_up()
        self.connected.errback(reason)

    def _failed(self, _transport: StreamTransport, reason: Failure) -> None:
        self._stop_timer()
        self._factory.doStop()
        self.connected.errback(reason)

    def _timed_out(self, timeout: float) -> None:
        self.give_up()
        self.connected.errback(TimeoutError(string=f"no answer from {self._address.host} within {timeout:g} s"))

    def _cancelled(self, connected: Deferred[IProtocol]) -> None:
        self.give_up()
        connected.errback(ConnectingCancelledError(self._address))
