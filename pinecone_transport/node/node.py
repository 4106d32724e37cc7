"""The shell: a Twisted service that drives a `Stack` with sockets, one timer and a clock.

A turn: what the links bring goes into the stack at once, but what comes of it is handed out at the turn's end, which
is scheduled once per iteration of the reactor. There receivers are called, dirty streams flushed, packets made into
frames, and links written. So nobody is called from inside a call of his own, and what one iteration of the reactor
brings leaves in as few writes as can be.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, cast, final

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.discovery import StaticPeer
from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.links import HostPort, Link, TcpLink, dial_tcp, host_and_port, listen_tcp
from pinecone_transport.node.config import ConfigurationError, NodeConfig
from pinecone_transport.node.control import ControlSocket
from pinecone_transport.node.events import LinkDown
from pinecone_transport.node.interfaces import Acceptor, INode, NodeObserver, StreamReceiver
from pinecone_transport.node.link_table import LinkTable
from pinecone_transport.node.status import link_status, overlay_status, session_status, stack_counters, stream_status
from pinecone_transport.node.streams import Streams
from pinecone_transport.randomness import RandomSource
from pinecone_transport.router import RouteLearned, TreeChanged, WakeupReceived
from pinecone_transport.stack import LinkLost, LinkUp, Stack, StackEvent

logger = logging.getLogger("pinecone_transport.node")

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a link has to write what is queued when the node stops."""

ALL_IPV4: Final = "0.0.0.0"  # compared with, not listened on
ALL_IPV6: Final = "::"

_ROUNDS: Final = 16


@final
@implementer(INode)
class Node(Service):
    """A node of the overlay.

    Args:
        identity: Its key.
        config: Its options; ``key_file`` is not read here.
        reactor: Provides IReactorTime, and IReactorTCP if there is anything to listen on or to dial.
        clock: Monotonic seconds.
        random: Not guessable, except in tests.
    """

    def __init__(
        self,
        identity: Identity,
        config: NodeConfig,
        reactor: IReactorTime,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: RandomSource | None = None,
    ) -> None:
        self.identity: Identity = identity
        self.reactor: IReactorTime = reactor
        self.config: Final = config
        self._clock = clock
        self._now_reached = clock()
        self._stack = Stack(
            identity,
            random=random or SystemRandom(),
            unix_time=time.time() - self._now_reached,
            now=self._now_reached,
            hop_limiting=config.hop_limiting,
        )
        self._links = LinkTable(
            self._stack, max_links=config.max_links, max_links_per_address=config.max_links_per_address
        )
        self._streams = Streams(self._stack)
        self._static_peers = [self._static_peer(address) for address in config.peers]
        self._control: ControlSocket | None = None
        if config.control_socket is not None:
            self._control = ControlSocket(reactor, config.control_socket, {"status": self.status})
        self._ports: list[IListeningPort] = []
        self._observers: list[NodeObserver] = []
        self._events: list[StackEvent | LinkDown] = []
        self._turn_call: IDelayedCall | None = None
        self._in_turn = False
        self._active = False
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0
        self._started_at: float | None = None
        self._all_links_lost: Deferred[None] | None = None

    # IService

    def startService(self) -> None:
        """Listen and dial.

        Raises:
            ConfigurationError: An address to listen on, or the control socket, cannot be had.
        """
        try:
            # The socket of [::] may take the port on IPv4 with it, so it comes first: see _listen.
            for index, address in sorted(enumerate(self.config.listen), key=lambda item: item[1].host != ALL_IPV6):
                self._listen(index, address)
            if self._control is not None:
                self._control.start()
        except ConfigurationError:
            self._stop_listening()
            raise
        Service.startService(self)
        self._active = True
        self._started_at = self._now()
        for peer in self._static_peers:
            peer.start()
        self._end_turn_soon()

    def stopService(self) -> Deferred[None]:
        """Close everything, so that peers notice at once; the result fires when all is closed."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        for peer in self._static_peers:
            peer.stop()
        closing = [self._stop_listening(), self._close_links()]
        done: Deferred[None] = DeferredList(closing).addCallback(self._stopped)
        return done

    # INode

    def open_stream(self, key: PublicKey, receiver: StreamReceiver) -> int:
        """See `INode`.

        Raises:
            LocalProtocolError: The key is our own, or the node is not running.
        """
        if not self.running:
            raise LocalProtocolError("the node is not running")
        stream = self._streams.open(key, receiver, self._now())
        self._end_turn_soon()
        return stream

    def set_acceptor(self, acceptor: Acceptor | None) -> None:
        """See `INode`."""
        self._streams.set_acceptor(acceptor)

    def mark_dirty(self, stream: int) -> None:
        """See `INode`."""
        self._streams.mark_dirty(stream)
        self._end_turn_soon()

    def close_stream(self, stream: int) -> None:
        """See `INode`."""
        self._streams.close(stream)
        self._end_turn_soon()

    def abort_stream(self, stream: int) -> None:
        """See `INode`."""
        self._streams.abort(stream, self._now())
        self._end_turn_soon()

    def acknowledge_received_data(self, stream: int, length: int) -> None:
        """See `INode`."""
        self._streams.acknowledge(stream, length, self._now())
        self._end_turn_soon()

    def subscribe(self, observer: NodeObserver) -> Callable[[], None]:
        """See `INode`."""
        self._observers.append(observer)

        def unsubscribe() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return unsubscribe

    # LinkOwner

    def link_made(self, link: Link) -> None:
        """Begin the handshake."""
        if not self.running:
            link.abort()
        elif self._links.add(link, self._now()):
            self._end_turn_soon()

    def link_data(self, link: Link, data: bytes) -> None:
        """Take bytes of a link."""
        self._events += self._links.receive_data(link, data, self._now())
        self._end_turn_soon()

    def link_writable(self, link: Link) -> None:
        """Go on writing to a link."""
        self._links.unblock(link, self._now())
        self._end_turn_soon()

    def link_lost(self, link: Link, reason: Failure) -> None:
        """Forget a link."""
        self._events += self._links.remove(link, reason.getErrorMessage(), self._now())
        if self._all_links_lost is not None and not len(self._links):
            lost, self._all_links_lost = self._all_links_lost, None
            lost.callback(None)
        self._end_turn_soon()

    # For looking at

    def status(self) -> dict[str, Any]:
        """Return the state of the node, of JSON's types only: see `pinecone_transport.node.status`."""
        now = self._now()
        return {
            **overlay_status(self._stack),
            "uptime": now - self._started_at if self._started_at is not None else 0.0,
            "listen": self.listening_addresses(),
            "peers": [
                {"address": peer.address, "state": peer.state, "failures": peer.failures} for peer in self._static_peers
            ],
            "links": [link_status(record, self._stack, now) for record in self._links.records()],
            "sessions": [session_status(info) for info in self._stack.socket.sessions()],
            "streams": [stream_status(record, now) for record in self._streams.records().values()],
            "counters": {**stack_counters(self._stack), "node": dict(self._links.counters)},
        }

    def listening_addresses(self) -> list[str]:
        """Return the addresses that are listened on, with the ports that the system chose."""
        hosts = [cast(IPv4Address | IPv6Address, port.getHost()) for port in self._ports]
        return [host_and_port(host.host, host.port) for host in hosts]

    def redial_now(self) -> None:
        """Dial static peers that are waited with: the network may be back."""
        for peer in self._static_peers:
            peer.redial_now()

    # The turn

    def _now(self) -> float:
        # A timer may run a little before its time on our clock; time must not go back behind it afterwards.
        self._now_reached = max(self._now_reached, self._clock())
        return self._now_reached

    def _end_turn_soon(self) -> None:
        if self._active and self._turn_call is None and not self._in_turn:
            self._turn_call = self.reactor.callLater(0, self._turn_due)

    def _turn_due(self) -> None:
        self._turn_call = None
        now = self._now()
        if self._timer is not None and self._timer_at <= now:
            # The reactor's clock can be set back by hours, and its timers with it: whatever wakes us looks at ours.
            self._timer.cancel()
            self._timer = None
            self._events += self._stack.handle_timer(now)
        self._turn(now)

    def _timer_due(self) -> None:
        self._timer = None
        self._now_reached = max(self._now(), self._timer_at)
        self._events += self._stack.handle_timer(self._now_reached)
        self._turn(self._now_reached)

    def _turn(self, now: float) -> None:
        self._in_turn = True
        more = False
        try:
            more = self._run_rounds(now)
        finally:
            # Whatever went wrong, the node goes on.
            self._in_turn = False
            self._arm_timer(now)
            if more:
                self._end_turn_soon()

    def _run_rounds(self, now: float) -> bool:
        """Hand out events and write until nothing is left to do; tell whether something is left all the same."""
        for _ in range(_ROUNDS):
            events, self._events = self._events, []
            for event in events:
                self._hand_out(event, now)
            self._streams.flush(now)
            self._stack.pump(now)
            # What was written made room in the links' queues.
            if not self._links.write(now) and not self._events and not self._streams.has_work:
                return False
        return True

    def _arm_timer(self, now: float) -> None:
        deadline = self._stack.next_timer()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        delay = max(deadline - now, 0.0)
        self._timer_at = deadline
        if self._timer is not None:
            self._timer.reset(delay)
        else:
            self._timer = self.reactor.callLater(delay, self._timer_due)

    def _hand_out(self, event: StackEvent | LinkDown, now: float) -> None:
        if isinstance(event, LinkUp):
            link = self._links.opened(event, now)
            if link is None:
                return  # up and down within one turn
            for peer in self._static_peers:
                peer.handshake_completed(link)
            self._tell_observers(event)
        elif isinstance(event, LinkLost):
            self._links.given_up(event)
        elif isinstance(event, LinkDown | TreeChanged | RouteLearned | WakeupReceived):
            self._tell_observers(event)
        else:
            self._streams.handle(event, now)

    def _tell_observers(self, event: object) -> None:
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                logger.exception("An observer of the node failed")

    # Listening, dialling, closing

    def _listen(self, index: int, address: HostPort) -> None:
        try:
            port = listen_tcp(IReactorTCP(self.reactor), address, self)
        except CannotListenError as error:
            if address.host == ALL_IPV4 and HostPort(ALL_IPV6, address.port) in self.config.listen:
                return  # by that socket we listen there already
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigurationError(
                f"listen.{index}", f"cannot listen on {address}: {reason}; choose another port or address."
            ) from error
        self._ports.append(port)

    def _stop_listening(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        stopping: list[Deferred[Any]] = [port.stopListening() or succeed(None) for port in ports]
        if self._control is not None:
            stopping.append(self._control.stop())
        return DeferredList(stopping)

    def _static_peer(self, address: HostPort) -> StaticPeer[TcpLink]:
        def dial() -> Deferred[TcpLink]:
            return dial_tcp(self.reactor, address, self)

        return StaticPeer(str(address), dial=dial, failed=self._dial_failed, reactor=self.reactor, clock=self._now)

    def _dial_failed(self, address: str, reason: Failure) -> None:
        self._links.dial_failed(address, reason.getErrorMessage(), self._now())

    def _close_links(self) -> Deferred[None]:
        """Reset the streams, write that, and close the links."""
        if self._in_turn:
            again: Deferred[None] = deferLater(self.reactor, 0, lambda: None)
            return again.addCallback(lambda _: self._close_links())
        now = self._now()
        self._streams.abort_all(now)
        self._turn(now)
        if not len(self._links):
            return succeed(None)
        lost: Deferred[None] = Deferred()
        self._all_links_lost = lost
        deadline = self.reactor.callLater(CLOSE_TIMEOUT, self._links.abort_all)
        self._links.close_all("the node was stopped")

        def all_lost(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return lost.addCallback(all_lost)

    def _stopped(self, _: object) -> None:
        # What the last links' ends brought about is still told, then nothing runs any more.
        self._turn(self._now())
        self._active = False
        for call in (self._turn_call, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._turn_call = self._timer = None
