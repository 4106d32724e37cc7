"""The shell: a Twisted service that drives a `Stack` with sockets, one timer and a clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.links import Link
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.control import Command, ControlSocket
from pinecone_transport.node.events import LinkDown
from pinecone_transport.node.interfaces import Acceptor, INode, NodeObserver, StreamReceiver
from pinecone_transport.node.observers import Observers
from pinecone_transport.node.peers import Peers
from pinecone_transport.node.source_plans import MoreSources, no_more_sources
from pinecone_transport.node.status import (
    candidate_status,
    link_status,
    overlay_status,
    peers_report,
    routes_report,
    session_status,
    stack_counters,
    stream_status,
    tree_report,
)
from pinecone_transport.node.streams import Streams
from pinecone_transport.node.turns import NodeEvent, Turns
from pinecone_transport.randomness import RandomSource
from pinecone_transport.repeats import RepeatFilter
from pinecone_transport.router import RouteLearned, TreeChanged, WakeupReceived
from pinecone_transport.session import UtpLimits
from pinecone_transport.stack import LinkLost, LinkUp, Stack

logger = logging.getLogger("pinecone_transport.node")

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a link has to write what is queued when the node stops."""


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
        more_sources: Makes sources of links beyond those of the configuration, for programs with links of their own.
    """

    def __init__(
        self,
        identity: Identity,
        config: NodeConfig,
        reactor: IReactorTime,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: RandomSource | None = None,
        more_sources: MoreSources = no_more_sources,
    ) -> None:
        self.identity: Identity = identity
        self.reactor: IReactorTime = reactor
        self.config = config
        now = clock()
        self._stack: Final = Stack(
            identity,
            random=random or SystemRandom(),
            unix_time=time.time() - now,
            now=now,
            hop_limiting=config.hop_limiting,
            limits=UtpLimits(dead_after=config.dead_after),
            kinds=config.kinds(),
            route_grace=config.dial_grace,
        )
        self._peers: Final = Peers(
            config,
            identity=identity,
            stack=self._stack,
            owner=self,
            reactor=reactor,
            clock=clock,
            more_sources=more_sources,
        )
        self._links: Final = self._peers.links
        self._streams: Final = Streams(self._stack)
        self._turns: Final = Turns(
            self._stack, self._links, self._streams, hand_out=self._hand_out, reactor=reactor, clock=clock
        )
        self._control: ControlSocket | None = None
        self._commands: Final[dict[str, Command]] = {
            "status": lambda _: self.status(),
            "peers": lambda _: self.peers(),
            "tree": lambda _: tree_report(self._stack),
            "routes": lambda _: routes_report(self._stack, self._turns.now()),
        }
        if config.control_socket is not None:
            self._control = ControlSocket(reactor, config.control_socket, self._commands)
        self._observers: Final = Observers()
        self._changing: Final = DeferredLock()
        self._log: Final = RepeatFilter(logger)
        self._started_at: float | None = None
        self._all_links_lost: Deferred[None] | None = None

    # IService

    def startService(self) -> None:
        """Listen and dial.

        Raises:
            ConfigurationError: An address to listen on, or the control socket, cannot be had.
        """
        try:
            self._peers.sources.listen()
            if self._control is not None:
                self._control.start()
        except ConfigurationError:
            self._stop_listening()
            raise
        Service.startService(self)
        self._started_at = self._turns.now()
        self._peers.start()
        self._turns.start()

    def stopService(self) -> Deferred[None]:
        """Close everything, so that peers notice at once; the result fires when all is closed."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        done: Deferred[None] = DeferredList([self._stop_listening(), self._close_links()]).addCallback(
            lambda _: self._turns.stop()
        )
        return done

    # INode

    def open_stream(self, key: PublicKey, receiver: StreamReceiver) -> int:
        """See `INode`.

        Raises:
            LocalProtocolError: The key is our own, there are too many streams, or the node is not running.
        """
        if not self.running:
            raise LocalProtocolError("the node is not running")
        stream = self._streams.open(key, receiver, self._turns.now())
        self._turns.end_soon()
        return stream

    def set_acceptor(self, acceptor: Acceptor | None) -> None:
        """See `INode`."""
        self._streams.set_acceptor(acceptor)

    def is_authenticated(self, stream: int) -> bool:
        """See `INode`."""
        return self._stack.is_authenticated(stream)

    def mark_dirty(self, stream: int) -> None:
        """See `INode`."""
        self._streams.mark_dirty(stream)
        self._turns.end_soon()

    def call_soon(self, call: Callable[[], None]) -> None:
        """See `INode`."""
        self._turns.call_soon(call)

    def close_stream(self, stream: int) -> None:
        """See `INode`."""
        self._streams.close(stream)
        self._turns.end_soon()

    def abort_stream(self, stream: int) -> None:
        """See `INode`."""
        self._streams.abort(stream, self._turns.now())
        self._turns.end_soon()

    def acknowledge_received_data(self, stream: int, length: int) -> None:
        """See `INode`."""
        self._streams.acknowledge(stream, length, self._turns.now())
        self._turns.end_soon()

    def subscribe(self, observer: NodeObserver) -> Callable[[], None]:
        """See `INode`."""
        return self._observers.add(observer)

    # LinkOwner

    def link_made(self, link: Link) -> None:
        """Begin the handshake."""
        if not self.running:
            link.abort()
        elif self._links.add(link, self._turns.now()):
            self._turns.end_soon()

    def link_data(self, link: Link, data: bytes) -> None:
        """Take bytes of a link."""
        self._turns.add(self._links.receive_data(link, data, self._turns.now()))

    def link_received(self, link: Link, buffer: bytearray, fresh: int, end: int) -> int:
        """Take what a link has read into a buffer."""
        received = self._links.receive_buffer(link, buffer, fresh, end, self._turns.now())
        if not received.is_quiet:
            self._turns.add(received.events)
        return received.consumed

    def link_writable(self, link: Link) -> None:
        """Go on writing to a link."""
        self._links.unblock(link, self._turns.now())
        self._turns.end_soon()

    def link_lost(self, link: Link, reason: Failure) -> None:
        """Forget a link."""
        self._turns.add(self._peers.link_lost(link, reason.getErrorMessage(), self._turns.now()))
        if self._all_links_lost is not None and not len(self._links):
            lost, self._all_links_lost = self._all_links_lost, None
            lost.callback(None)

    # For whoever runs it

    def status(self) -> dict[str, Any]:
        """Return the state of the node, of JSON's types only: see `pinecone_transport.node.status`."""
        now = self._turns.now()
        return {
            **overlay_status(self._stack),
            "uptime": now - self._started_at if self._started_at is not None else 0.0,
            "listen": self.listening_addresses(),
            "candidates": [candidate_status(found, now) for found in self._peers.sources.candidates()],
            "links": [link_status(record, self._stack, now) for record in self._links.records()],
            "sessions": [session_status(info) for info in self._stack.socket.sessions()],
            "streams": [stream_status(record, now) for record in self._streams.records().values()],
            "counters": {
                **stack_counters(self._stack),
                "node": dict(self._links.counters),
                **self._peers.sources.counters(),
            },
        }

    def peers(self) -> dict[str, Any]:
        """Return the links, and whom the sources of links know of: see `pinecone_transport.node.status`."""
        return peers_report(self._links.records(), self._peers.sources.candidates(), self._stack, self._turns.now())

    def add_command(self, name: str, command: Command) -> None:
        """Have the control socket answer one more command."""
        self._commands[name] = command

    def listening_addresses(self) -> list[str]:
        """Return the addresses that are listened on, with the ports that the system chose."""
        return self._peers.sources.addresses()

    def reconfigure(self, config: NodeConfig) -> Deferred[None]:
        """Take over other options while running: where to listen, whom to dial, and who may peer.

        Those that need a new start are named in the log. The result fails with `ConfigurationError` if something
        cannot be had; then all is as it was.
        """
        # A change that fails puts back what was there before it, and that must not be half of another one.
        return self._changing.run(self._reconfigure, config)

    def _reconfigure(self, config: NodeConfig) -> Deferred[None]:
        if not self.running:
            return fail(LocalProtocolError("the node is not running"))

        def taken_over(_: None) -> None:
            self.config = config

        return self._peers.reconfigure(self.config, config).addCallback(taken_over)

    def redial_now(self) -> None:
        """Dial the peers that are waited with: the network may be back."""
        self._peers.network_changed()

    # Inside

    def _hand_out(self, event: NodeEvent, now: float) -> None:
        if isinstance(event, LinkUp):
            admitted, events = self._peers.link_up(event, now)
            self._turns.add(events)
            if admitted:
                self._observers.tell(event)
        elif isinstance(event, LinkLost):
            self._links.given_up(event)
        elif isinstance(event, LinkDown | TreeChanged | RouteLearned | WakeupReceived):
            if isinstance(event, TreeChanged):
                self._say_where_we_are(now)
            self._observers.tell(event)
        else:
            self._streams.handle(event, now)

    def _say_where_we_are(self, now: float) -> None:
        router = self._stack.router
        coordinates = " ".join(map(str, router.coordinates)) or "none"
        self._log.info(
            "our place", now, "Our place in the tree: root %s, coordinates %s", router.root.key.hex(), coordinates
        )

    def _stop_listening(self) -> Deferred[Any]:
        stopping = [self._peers.sources.stop()]
        if self._control is not None:
            stopping.append(self._control.stop())
        return DeferredList(stopping)

    def _close_links(self) -> Deferred[None]:
        """Reset the streams, write that, and close the links."""
        if self._turns.under_way:
            again: Deferred[None] = deferLater(self.reactor, 0, lambda: None)
            return again.addCallback(lambda _: self._close_links())
        self._streams.abort_all(self._turns.now())
        self._turns.end_now()
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
