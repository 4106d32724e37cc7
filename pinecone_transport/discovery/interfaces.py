"""Where links come from, as the node sees it. Sources never import the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import attrs
from twisted.internet.defer import Deferred

from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link

Admits = Callable[[str, PublicKey | None], str | None]
"""Asked with a source's name, and the key if that is known, before a dial: why there shall be no link; None if it
may be dialled."""


class CandidateState(Enum):
    """Where it stands with somebody whom a source knows of."""

    WAITING = "waiting"
    DIALLING = "dialling"
    CONNECTED = "connected"
    UNWANTED = "unwanted"


@attrs.frozen(kw_only=True)
class Candidate:
    """Somebody whom a source knows of, linked or not.

    Attributes:
        source: The source's name.
        address: For people, such as ``192.0.2.1:65432`` or ``[fe80::1%eth0]:41234``.
        key: If it is known before the handshake; what is announced is not proved.
        state: Where it stands.
        reason: Why there is no link, one clause for people; empty while there is one.
        failures: Dials that failed since the last good link.
        seen_at: When it was last heard of; None for one from the configuration. Monotonic seconds.
    """

    source: str
    address: str
    key: PublicKey | None = None
    state: CandidateState
    reason: str = ""
    failures: int = 0
    seen_at: float | None = None


@runtime_checkable
class Counting(Protocol):
    """A source that counts what it ignores.

    Attributes:
        counters: By reason.
    """

    counters: Counter[str]


class LinkSource(Protocol):
    """One way to come to links: it listens, finds, and dials; each link it makes goes to the node as `LinkOwner`.

    Its links carry its name in ``Link.way``. The node calls `listen`, `start` and, once, `stop`.

    Attributes:
        name: Such as ``tcp``, ``lan``, ``mdns``, ``ws``, ``ble``: for people, and in rules about who may peer.
    """

    @property
    def name(self) -> str:
        """See above."""

    def listen(self) -> None:
        """Open what is listened on.

        Raises:
            ConfigurationError: It cannot be had; what was opened before stays open until `stop`.
        """

    def start(self) -> None:
        """Begin to announce and to dial."""

    def stop(self) -> Deferred[Any]:
        """Give up dials, announce no more, listen no more; links stay. The result fires when all is closed."""

    def network_changed(self) -> None:
        """An interface came or went, or somebody near by spoke up: dial now whoever is waited with."""

    def link_up(self, link: Link, key: PublicKey) -> None:
        """A link, of this source or of another, has shaken hands with this key."""

    def link_down(self, link: Link, key: PublicKey) -> None:
        """A link of which `link_up` told is gone."""

    def addresses(self) -> list[str]:
        """Return what is listened on, with the ports that the system chose."""

    def candidates(self) -> list[Candidate]:
        """Return all that the source knows of, bounded."""
