"""What the configuration names as a source of links: addresses to dial, and addresses to listen on, of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, final

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery.interfaces import Candidate, CandidateState
from pinecone_transport.discovery.static import StaticPeer
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link, host_and_port

_STATES: Final = {
    "stopped": CandidateState.UNWANTED,
    "waiting": CandidateState.WAITING,
    "dialling": CandidateState.DIALLING,
    "connected": CandidateState.CONNECTED,
}


class DialledLink(Link, Protocol):
    """A link that a dial results in.

    Attributes:
        lost: Fires when the link is gone.
    """

    lost: Deferred[None]


@attrs.frozen
class Dial:
    """One address to keep a link to.

    Attributes:
        address: For people; no two of a source are the same.
        start: Starts a dial.
    """

    address: str
    start: Callable[[], Deferred[Any]] = attrs.field(eq=False)


@attrs.frozen
class Listener:
    """One address to listen on.

    Attributes:
        option: Its place in the configuration, such as ``listen.0``.
        address: For people; no two of a source are the same.
        open: Begins to listen.
        covered_by: The address of another one that may take this one's place as well; empty if there is none.
    """

    option: str = attrs.field(eq=False)
    address: str
    open: Callable[[], Deferred[IListeningPort]] = attrs.field(eq=False)
    covered_by: str = attrs.field(default="", eq=False)


@final
class StaticSource:
    """A `LinkSource` of addresses that are given.

    Args:
        name: Of the source.
        dials: Whom to dial.
        listeners: Where to listen.
        failed: Told of an address that could not be dialled, and why.
        reactor: For the waits.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        dials: Sequence[Dial],
        listeners: Sequence[Listener],
        *,
        failed: Callable[[str, Failure], None],
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self.name: Final = name
        self._failed = failed
        self._reactor = reactor
        self._clock = clock
        self._started = False
        self._listening = False
        self._listeners: tuple[Listener, ...] = tuple(listeners)
        self._ports: dict[str, IListeningPort] = {}
        self._peers: dict[str, StaticPeer[DialledLink]] = {}
        self._reasons: dict[str, str] = {}
        self._keys: dict[Link, PublicKey] = {}
        self.set_dials(dials)

    # LinkSource

    def listen(self) -> None:
        """Open what is listened on.

        Raises:
            ConfigurationError: It cannot be had; what was opened before stays open until `stop`.
        """
        self._listening = True
        for listener in self._listeners:
            if listener.address not in self._ports:
                self._open(listener)

    def start(self) -> None:
        """Begin to dial."""
        self._started = True
        for peer in self._peers.values():
            peer.start()

    def stop(self) -> Deferred[Any]:
        """Give up dials, listen no more; links stay."""
        self._started = self._listening = False
        for peer in self._peers.values():
            peer.stop()
        return self._close(list(self._ports))

    def network_changed(self) -> None:
        """Dial the peers that are waited with."""
        for peer in self._peers.values():
            peer.redial_now()

    def link_up(self, link: Link, key: PublicKey) -> None:
        """A link has shaken hands: if it is to one of the peers, its life counts from here."""
        for peer in self._peers.values():
            if peer.link is link:
                peer.handshake_completed(link)
                self._keys[link] = key

    def link_down(self, link: Link, key: PublicKey) -> None:
        """A link is gone; whose link it was dials again by itself."""
        self._keys.pop(link, None)

    def addresses(self) -> list[str]:
        """Return what is listened on, with the ports that the system chose."""
        return [_text(port, address) for address, port in self._ports.items()]

    def candidates(self) -> list[Candidate]:
        """Return the peers of the configuration, in its order."""
        return [self._candidate(peer) for peer in self._peers.values()]

    # A changed configuration

    def set_dials(self, dials: Sequence[Dial]) -> None:
        """Dial these from now on; links to others are closed."""
        wanted = {dial.address: dial for dial in dials}
        for address in [address for address in self._peers if address not in wanted]:
            self._peers.pop(address).remove()
            self._reasons.pop(address, None)
        self._peers = {address: self._peers.get(address) or self._peer(dial) for address, dial in wanted.items()}
        if self._started:
            for peer in self._peers.values():
                peer.start()

    def set_listeners(self, listeners: Sequence[Listener]) -> Deferred[None]:
        """Listen on these from now on; links that came by others stay.

        The result fails with `ConfigurationError` if one of them cannot be had; then it is as it was.
        """
        before, self._listeners = self._listeners, tuple(listeners)
        wanted = {listener.address for listener in listeners}

        def open_new(_: object) -> None:
            if self._listening:  # else it was stopped meanwhile
                self.listen()

        def put_back(reason: Failure) -> Deferred[None]:
            self._listeners = before
            known = {listener.address for listener in before}

            def listen_again(_: object) -> Failure:
                open_new(None)
                return reason

            closed: Deferred[Any] = self._close([address for address in self._ports if address not in known])
            return closed.addCallback(listen_again)

        # An address that goes may stand in the way of one that comes.
        closed: Deferred[Any] = self._close([address for address in self._ports if address not in wanted])
        return closed.addCallback(open_new).addErrback(put_back)

    # Inside

    def _open(self, listener: Listener) -> None:
        try:
            opened = listener.open()
        except Exception:
            opened = fail()
        failures: list[Failure] = []
        at_once = True

        def failed(reason: Failure) -> None:
            if at_once:
                failures.append(reason)
            else:
                self._failed(listener.address, reason)

        opened.addCallbacks(lambda port: self._opened(listener, port), failed)
        at_once = False
        for reason in failures:
            if reason.check(CannotListenError) and listener.covered_by in self._ports:
                return
            raise ConfigurationError(
                listener.option, f"cannot listen on {listener.address}: {_why(reason)}; choose another port or address."
            ) from reason.value

    def _opened(self, listener: Listener, port: IListeningPort) -> None:
        # An endpoint may take its time, and not be wanted any more by then.
        if self._listening and listener in self._listeners:
            self._ports[listener.address] = port
        else:
            port.stopListening()

    def _close(self, addresses: Sequence[str]) -> Deferred[Any]:
        ports = [self._ports.pop(address) for address in addresses]
        return DeferredList([port.stopListening() or succeed(None) for port in ports])

    def _peer(self, dial: Dial) -> StaticPeer[DialledLink]:
        def connected(link: DialledLink) -> DialledLink:
            self._reasons.pop(dial.address, None)
            return link

        def start() -> Deferred[DialledLink]:
            # An endpoint of a plug-in may raise what it should have returned.
            return maybeDeferred(dial.start).addCallback(connected)

        return StaticPeer(dial.address, dial=start, failed=self._dial_failed, reactor=self._reactor, clock=self._clock)

    def _dial_failed(self, address: str, reason: Failure) -> None:
        self._reasons[address] = _why(reason)
        self._failed(address, reason)

    def _candidate(self, peer: StaticPeer[DialledLink]) -> Candidate:
        link = peer.link
        key = next((key for known, key in self._keys.items() if known is link), None)
        reason = "" if key is not None else self._reasons.get(peer.address, "")
        return Candidate(
            source=self.name,
            address=peer.address,
            key=key,
            state=_STATES[peer.state],
            reason=reason,
            failures=peer.failures,
        )


def _why(reason: Failure) -> str:
    error = getattr(reason.value, "socketError", reason.value)
    return str(getattr(error, "strerror", None) or error or reason.getErrorMessage())


def _text(port: IListeningPort, address: str) -> str:
    """Return the address with the port that the system chose, written as it would be dialled."""
    host = port.getHost()
    if not hasattr(host, "host") or not hasattr(host, "port"):
        return address
    scheme, separator, _ = address.partition("://")
    return (scheme + separator if separator else "") + host_and_port(host.host, host.port)
