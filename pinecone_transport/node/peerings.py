"""The sources of links of one node, together: started, told, and asked as one."""

from __future__ import annotations

import logging
from typing import Any, Final, final

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail

from pinecone_transport.discovery import Candidate, CandidateState, Counting, LinkSource, StaticSource
from pinecone_transport.discovery.network_interfaces import InterfaceWatcher
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.source_plans import MoreSources, Plan, StaticPlan, Surroundings, no_more_sources
from pinecone_transport.node.sources import plan_sources

logger = logging.getLogger("pinecone_transport.node")

_REASONS: Final = 256


@final
class Peerings:
    """Where a node's links come from.

    Args:
        config: Says from which sources.
        surroundings: What they are made with.
        more_sources: Makes plans for others.

    Raises:
        ConfigurationError: What a source needs is not installed.
    """

    def __init__(
        self, config: NodeConfig, surroundings: Surroundings, more_sources: MoreSources = no_more_sources
    ) -> None:
        self._surroundings: Final = surroundings
        self._more: Final = tuple(more_sources(surroundings))
        self._plans: dict[str, Plan] = self._plan(config)
        self._sources: dict[str, LinkSource] = {name: plan.make() for name, plan in self._plans.items()}
        self._links: dict[Link, PublicKey] = {}
        # Why the last link to an address that we dialled is no more.
        self._reasons: dict[tuple[str, str], str] = {}
        self._stopped = False
        self._watcher: Final = InterfaceWatcher(surroundings.reactor, self._interfaces_changed, look=surroundings.look)

    def listen(self) -> None:
        """Open what is listened on; after `stop`, too.

        Raises:
            ConfigurationError: It cannot be had; what was opened before stays open until `stop`.
        """
        if self._stopped:
            self._stopped = False
            self._sources = {name: plan.make() for name, plan in self._plans.items()}  # those that were are used up
        for source in self._sources.values():
            source.listen()

    def start(self) -> None:
        """Begin to announce and to dial."""
        for source in self._sources.values():
            source.start()
        self._watcher.start()

    def stop(self) -> Deferred[Any]:
        """Give up dials, announce no more, listen no more; links stay. The result fires when all is closed."""
        self._stopped = True
        self._watcher.stop()
        return DeferredList([source.stop() for source in self._sources.values()])

    def network_changed(self) -> None:
        """An interface came or went, or somebody near by spoke up."""
        for source in list(self._sources.values()):
            source.network_changed()

    def link_up(self, link: Link, key: PublicKey) -> None:
        """A link has shaken hands with this key, and may stay."""
        self._reasons.pop((link.way, link.address), None)
        self._links[link] = key
        for source in list(self._sources.values()):
            source.link_up(link, key)

    def link_down(self, link: Link, key: PublicKey) -> None:
        """A link of which `link_up` told is gone."""
        self._links.pop(link, None)
        for source in list(self._sources.values()):
            source.link_down(link, key)

    def link_ended(self, link: Link, reason: str) -> None:
        """A link is gone, up or not, for this reason: it is shown with whom it led to."""
        if link.outbound:
            self._reasons[link.way, link.address] = reason
            if len(self._reasons) > _REASONS:
                del self._reasons[next(iter(self._reasons))]

    def addresses(self) -> list[str]:
        """Return what is listened on, with the ports that the system chose."""
        return [address for source in self._sources.values() for address in source.addresses()]

    def candidates(self) -> list[Candidate]:
        """Return all that the sources know of."""
        return [self._with_reason(found) for source in self._sources.values() for found in source.candidates()]

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what the sources that count have ignored, by their names and by reason."""
        counting = {name: source for name, source in self._sources.items() if isinstance(source, Counting)}
        return {name: dict(source.counters) for name, source in counting.items()}

    def _with_reason(self, candidate: Candidate) -> Candidate:
        if candidate.reason or candidate.state is CandidateState.CONNECTED:
            return candidate
        return attrs.evolve(candidate, reason=self._reasons.get((candidate.source, candidate.address), ""))

    def _plan(self, config: NodeConfig) -> dict[str, Plan]:
        return {plan.name: plan for plan in (*plan_sources(config, self._surroundings), *self._more)}

    def _interfaces_changed(self) -> None:
        logger.info("The network interfaces have changed: peers that are waited with are dialled now")
        self.network_changed()

    # A changed configuration

    def reconfigure(self, config: NodeConfig) -> Deferred[None]:
        """Take another configuration over while running; sources whose options are the same do not notice.

        One change at a time. The result fails with `ConfigurationError` if something cannot be had; then all is as it
        was, as far as what was given up can be had again.
        """
        try:
            plans = self._plan(config)
        except ConfigurationError:
            return fail()
        return Deferred.fromCoroutine(self._take_over_or_not(plans))

    async def _take_over_or_not(self, plans: dict[str, Plan]) -> None:
        before = dict(self._plans)
        try:
            await self._take_over(plans)
        except ConfigurationError:
            await self._take_over(before)
            raise

    async def _take_over(self, plans: dict[str, Plan]) -> None:
        changed = {name: plan for name, plan in plans.items() if plan != self._plans.get(name)}
        for name in [name for name in self._plans if name not in plans]:
            await self._drop(name)
        for name, plan in changed.items():
            await self._make_way(name, plan)
        for name, plan in changed.items():
            if not self._stopped:  # meanwhile; what began now nobody would stop
                await self._change(name, plan)

    async def _drop(self, name: str) -> None:
        del self._plans[name]
        source = self._sources.pop(name)
        if isinstance(source, StaticSource):
            source.set_dials(())
        await source.stop()

    async def _make_way(self, name: str, plan: Plan) -> None:
        """Leave the addresses that the plan does not have: that of another source may have them."""
        source, before = self._sources.get(name), self._plans.get(name)
        if isinstance(source, StaticSource) and isinstance(before, StaticPlan) and isinstance(plan, StaticPlan):
            kept = tuple(listener for listener in before.listeners if listener in plan.listeners)
            self._plans[name] = attrs.evolve(before, listeners=kept)
            await source.set_listeners(kept)
        elif source is not None:
            await self._drop(name)

    async def _change(self, name: str, plan: Plan) -> None:
        source = self._sources.get(name)
        if isinstance(source, StaticSource) and isinstance(plan, StaticPlan):
            await source.set_listeners(plan.listeners)
            source.set_dials(plan.dials)
            self._plans[name] = plan
            return
        self._plans[name] = plan
        self._sources[name] = source = plan.make()
        try:
            source.listen()
        except ConfigurationError:
            await self._drop(name)
            raise
        for link, key in self._links.items():
            source.link_up(link, key)  # else it would dial whom it has links with
        source.start()
