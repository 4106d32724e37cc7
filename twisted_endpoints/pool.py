"""A pool of HTTP connections that also bounds how many there are to one place.

Twisted's pool bounds only how many idle connections it keeps: a burst of 80 requests makes nearly as many dials, each
with its TLS handshake over the same links. Here the requests above the bound wait for a connection instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

MAX_CONNECTIONS: Final = 8
"""Connections to one place, idle, busy and being dialled: enough to fill the path's window, few handshakes."""
IDLE_TIMEOUT: Final = 25
"""Seconds that an idle connection is kept: below the 30 s after which Dendrite's server closes it (§8)."""


class BoundedConnectionPool(HTTPConnectionPool):
    """Keeps connections alive for 25 s and has at most eight to one place; requests above that wait in a queue.

    Endpoints must call ``doStart`` of the factory they are given when they dial, and ``doStop`` when the dial has
    failed or the connection is gone, as Twisted's own do.

    Args:
        reactor: Where idle connections are timed.
        max_connections: Connections to one place.
        call_soon: Calls its argument a little later; in a later turn of the reactor if None. A node's calls it before
            the turn is over that has brought an answer, so that the next request leaves with its acknowledgement.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        max_connections: int = MAX_CONNECTIONS,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        HTTPConnectionPool.__init__(self, reactor, persistent=True)
        self.cachedConnectionTimeout = IDLE_TIMEOUT
        self.maxPersistentPerHost = max_connections
        self._max_connections: Final = max_connections
        self._call_soon: Final = call_soon or partial(reactor.callLater, 0)
        self._places: Final[dict[Hashable, _Place]] = {}

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """Return a connection for one request: an idle one, a new one, or, at the bound, the next that is free."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(self._max_connections, lambda: self._places.pop(key, None))
        return super().getConnection(key, _BoundedEndpoint(place, endpoint))

    def drop_dials(self, host: bytes) -> None:
        """Cancel what is being dialled at the host: the requests that it was dialled for fail, waiting ones dial anew.

        For a host of which one has just heard that it is up: a dial that began before that may hang for long.
        """
        # Agents name places by (scheme, host, port).
        for key in [key for key in self._places if isinstance(key, tuple) and host in key]:
            self._places[key].drop_dials()

    def _putConnection(self, key: Hashable, connection: Any) -> None:
        # Twisted's hook for a connection that has become idle. The response is not quite done with the connection
        # when this is called, so the next request must not begin in here.
        place = self._places.get(key)
        if place is None or not place.waiting:
            HTTPConnectionPool._putConnection(self, key, connection)
        else:
            self._call_soon(partial(self._hand_over, key, place, connection))

    def _hand_over(self, key: Hashable, place: _Place, connection: Any) -> None:
        if connection.state != "QUIESCENT":
            return
        if place.waiting:
            place.waiting.popleft().connected.callback(connection)
        else:
            HTTPConnectionPool._putConnection(self, key, connection)


@final
class _Place:
    """The connections to one place.

    Attributes:
        waiting: Requests at the bound, first come first.
    """

    def __init__(self, limit: int, on_empty: Callable[[], object]) -> None:
        self.waiting: Final[deque[_Waiting]] = deque()
        self._limit: Final = limit
        self._on_empty: Final = on_empty
        self._count = 0
        self._dials: Final[dict[Deferred[IProtocol], None]] = {}

    def connect(self, endpoint: IStreamClientEndpoint, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial, or wait for what comes first: leave to dial, or somebody else's idle connection."""
        if self._count < self._limit:
            return self._dial(endpoint, factory)
        waiting = _Waiting(endpoint, factory, self.waiting)
        self.waiting.append(waiting)
        return waiting.connected

    def drop_dials(self) -> None:
        for dial in list(self._dials):
            dial.cancel()

    def dial_started(self) -> None:
        self._count += 1

    def connection_gone(self) -> None:
        self._count -= 1
        if self.waiting:
            waiting = self.waiting.popleft()
            waiting.dial = self._dial(waiting.endpoint, waiting.factory)
            waiting.dial.chainDeferred(waiting.connected)
        elif not self._count:
            self._on_empty()

    def _dial(self, endpoint: IStreamClientEndpoint, factory: IProtocolFactory) -> Deferred[IProtocol]:
        dial = endpoint.connect(_CountedFactory(self, factory))
        self._dials[dial] = None

        def done(result: Any) -> Any:
            self._dials.pop(dial, None)
            return result

        return dial.addBoth(done)


@final
class _Waiting:
    """A request that waits for a connection, and may be cancelled meanwhile."""

    def __init__(self, endpoint: IStreamClientEndpoint, factory: IProtocolFactory, queue: deque[_Waiting]) -> None:
        self.endpoint: Final = endpoint
        self.factory: Final = factory
        self.dial: Deferred[IProtocol] | None = None
        self.connected: Final[Deferred[IProtocol]] = Deferred(self._cancelled)
        self._queue: Final = queue

    def _cancelled(self, _: Deferred[IProtocol]) -> None:
        if self.dial is not None:
            self.dial.cancel()
        else:
            self._queue.remove(self)


@final
@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """Connects when its place has room."""

    def __init__(self, place: _Place, endpoint: IStreamClientEndpoint) -> None:
        self._place: Final = place
        self._endpoint: Final = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._place.connect(self._endpoint, protocolFactory)

    def __repr__(self) -> str:
        return repr(self._endpoint)


@final
@implementer(IProtocolFactory)
class _CountedFactory:
    """Tells the place when a dial begins and when its connection is gone."""

    def __init__(self, place: _Place, factory: IProtocolFactory) -> None:
        self._place: Final = place
        self._factory: Final = factory

    def doStart(self) -> None:
        self._factory.doStart()
        self._place.dial_started()

    def doStop(self) -> None:
        self._factory.doStop()
        self._place.connection_gone()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        return self._factory.buildProtocol(addr)
