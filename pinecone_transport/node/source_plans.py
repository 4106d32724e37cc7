"""What a source of links is made with, and how a configuration asks for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery import Admits, Dial, LinkSource, Listener, StaticSource
from pinecone_transport.discovery.network_interfaces import Interface, network_interfaces
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import LinkOwner

_PACKAGES: Final = {"dbus_fast": "dbus-fast", "serial": "pyserial"}
"""Names of packages whose modules have others."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """What sources of links are made with.

    Attributes:
        identity: The node's key.
        owner: Gets the links.
        admits: Asked before a dial to somebody who was found.
        failed: Told of an address that could not be dialled, and why.
        network_changed: Called when an interface came or went, or somebody near by spoke up: all sources hear of it.
        reactor: Provides IReactorTCP if there is anything to listen on or to dial.
        clock: Monotonic seconds.
        look: Returns the network interfaces that there are.
    """

    identity: Identity
    owner: LinkOwner
    admits: Admits
    failed: Callable[[str, Failure], None]
    network_changed: Callable[[], None]
    reactor: IReactorTime
    clock: Callable[[], float]
    look: Callable[[], tuple[Interface, ...]] = network_interfaces


@attrs.frozen
class SourcePlan:
    """One source that a configuration asks for.

    Attributes:
        name: Its name.
        options: What of the configuration it is made of: if that changes, it is made anew.
        make: Makes it.
    """

    name: str
    options: object
    make: Callable[[], LinkSource] = attrs.field(eq=False)


@attrs.frozen
class StaticPlan:
    """The same for a source of given addresses, which takes over other ones as it runs."""

    name: str
    dials: tuple[Dial, ...]
    listeners: tuple[Listener, ...]
    make: Callable[[], StaticSource] = attrs.field(eq=False)


Plan: TypeAlias = SourcePlan | StaticPlan

MoreSources: TypeAlias = Callable[[Surroundings], Sequence[Plan]]
"""Makes plans for sources beyond those of the configuration; their names are to be others than its."""


def no_more_sources(surroundings: Surroundings) -> Sequence[Plan]:
    """Return none."""
    return ()


def static_plan(
    name: str, dials: tuple[Dial, ...], listeners: tuple[Listener, ...], surroundings: Surroundings
) -> StaticPlan | None:
    """Return a plan for a source of these addresses; None if there are none."""
    if not dials and not listeners:
        return None

    def make() -> StaticSource:
        return StaticSource(
            name,
            dials,
            listeners,
            failed=surroundings.failed,
            reactor=surroundings.reactor,
            clock=surroundings.clock,
        )

    return StaticPlan(name, dials, listeners, make)


def missing_package(option: str, what: str, error: ModuleNotFoundError, extra: str) -> ConfigurationError:
    """Return the sentence about a package that is not installed and would come with an extra of ours."""
    package = _PACKAGES.get(error.name or "", error.name)
    return ConfigurationError(option, f"{what} needs {package}: pip install 'synapse-pinecone[{extra}]'.")
