"""The peers of a node: links and where they come from, let in and cut by the rules of its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import Link, LinkOwner
from pinecone_transport.node.admission import Admission, Rules
from pinecone_transport.node.config import NodeConfig, needs_restart
from pinecone_transport.node.events import LinkDown
from pinecone_transport.node.link_table import LinkTable
from pinecone_transport.node.peerings import Peerings
from pinecone_transport.node.source_plans import MoreSources, Surroundings
from pinecone_transport.stack import LinkUp, Stack, StackEvent

logger = logging.getLogger("pinecone_transport.node")


@final
class Peers:
    """Brings together the links, the rules about them, and the sources that they come from.

    Args:
        config: Says which sources and rules.
        identity: The node's key.
        stack: Where the links go.
        owner: Gets the links.
        reactor: Provides IReactorTCP if there is anything to listen on or to dial.
        clock: Monotonic seconds.
        more_sources: Makes sources beyond those of the configuration.

    Attributes:
        links: The links that there are.
        sources: Where they come from.

    Raises:
        ConfigurationError: What the configuration names is not there: a package, the secret of a closed mesh.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        identity: Identity,
        stack: Stack,
        owner: LinkOwner,
        reactor: IReactorTime,
        clock: Callable[[], float],
        more_sources: MoreSources,
    ) -> None:
        self._admission: Final = Admission(Rules.read(config))
        self._clock = clock
        self.links: Final = LinkTable(stack, self._admission)
        surroundings = Surroundings(
            identity=identity,
            owner=owner,
            admits=self._admission.before_dial,
            failed=self._dial_failed,
            network_changed=self.network_changed,
            reactor=reactor,
            clock=clock,
        )
        self.sources: Final = Peerings(config, surroundings, more_sources)

    def start(self) -> None:
        """Begin to announce and to dial."""
        self.sources.start()
        self._say_where_we_listen([])

    def network_changed(self) -> None:
        """Dial the peers that are waited with: the network may be back."""
        self.sources.network_changed()

    def link_up(self, event: LinkUp, now: float) -> tuple[bool, list[StackEvent]]:
        """Let a peer in whose handshake is done, or close its link; tell which, and what comes of closing it."""
        record = self.links.opened(event)
        if record is None:
            return False, []  # up and down within one turn
        link, key = record.link, event.key
        refused = self._admission.peer_refused(link, key)
        if refused is not None:
            self.sources.link_ended(link, refused)
            return False, self.links.refuse(record, key, refused, now)
        self.links.welcome(record, key, now)
        self.sources.link_up(link, key)
        return True, []

    def link_lost(self, link: Link, reason: str, now: float) -> list[StackEvent | LinkDown]:
        """Forget a link that is gone. Links that were refused are not known here."""
        record = self.links.get(link)
        if record is None:
            return []
        reason = record.closed_for or reason
        self.sources.link_ended(link, reason)
        if record.key is not None:
            self.sources.link_down(link, record.key)
        return self.links.remove(link, reason, now)

    def reconfigure(self, before: NodeConfig, config: NodeConfig) -> Deferred[None]:
        """Take over other options, and cut the links that they do not allow.

        The result fails with `ConfigurationError` if something cannot be had; then all is as it was.
        """
        rules, listened = self._admission.rules, self.sources.addresses()
        try:
            self._admission.rules = Rules.read(config)
        except ConfigurationError:
            return fail()

        def taken_over(_: None) -> None:
            for name in needs_restart(before, config):
                logger.info("The option %s has changed; that counts from the next start", name)
            self._say_where_we_listen(listened)
            self._cut_unwanted_links()

        def as_before(reason: Failure) -> Failure:
            self._admission.rules = rules
            return reason

        taking_over: Deferred[Any] = self.sources.reconfigure(config)
        return taking_over.addCallbacks(taken_over, as_before)

    def _cut_unwanted_links(self) -> None:
        for record in self.links.records():
            reason = self._admission.link_may_stay(record.link, record.key)
            if reason is not None:
                record.closed_for = reason
                record.link.abort()

    def _say_where_we_listen(self, before: list[str]) -> None:
        for address in self.sources.addresses():
            if address not in before:
                logger.info("Peers may come in at %s", address)

    def _dial_failed(self, address: str, reason: Failure) -> None:
        self.links.dial_failed(address, reason.getErrorMessage(), self._clock())
