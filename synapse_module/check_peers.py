"""Looks at the options about peers as a node would, without making one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

from twisted.internet.interfaces import IReactorTime

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import LinkOwner
from pinecone_transport.node.admission import Rules
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.source_plans import Surroundings
from pinecone_transport.node.sources import plan_sources
from synapse_module.overlay_settings import Finding, Severity


def check_peers(path: str, config: NodeConfig) -> Iterator[Finding]:
    """Yield what shows only when a node is made: endpoints that are none, packages and secrets that are missing."""
    from twisted.internet import reactor

    surroundings = Surroundings(
        identity=Identity.generate(),
        owner=cast(LinkOwner, None),  # nothing is dialled, so nobody gets a link
        admits=lambda source, key: None,
        failed=lambda address, reason: None,
        network_changed=lambda: None,
        reactor=cast(IReactorTime, reactor),
        clock=time.monotonic,
    )
    try:
        Rules.read(config)
        plan_sources(config, surroundings)
    except ConfigurationError as error:
        yield Finding(Severity.ERROR, f"{path}.{error.path}", error.sentence)
