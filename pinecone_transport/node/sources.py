"""Which sources of links a configuration asks for: the one place where they are made.

What only some of them need is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.discovery import Admits, Dial, LinkSource, Listener, StaticSource
from pinecone_transport.identity import Identity
from pinecone_transport.links import HostPort, LinkOwner, dial_tcp, listen_tcp
from pinecone_transport.node.config import NodeConfig

ALL_IPV4: Final = "0.0.0.0"  # compared with, not listened on
ALL_IPV6: Final = "::"


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
    """

    identity: Identity
    owner: LinkOwner
    admits: Admits
    failed: Callable[[str, Failure], None]
    network_changed: Callable[[], None]
    reactor: IReactorTime
    clock: Callable[[], float]


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


def plan_sources(config: NodeConfig, surroundings: Surroundings) -> list[Plan]:
    """Return a plan for each source that the configuration asks for.

    Raises:
        ConfigurationError: What one of them needs is not installed.
    """
    plans = [plan(config, surroundings) for plan in _PLANS]
    return [plan for plan in plans if plan is not None]


def _tcp(config: NodeConfig, surroundings: Surroundings) -> StaticPlan | None:
    dials = tuple(_dial_tcp(address, surroundings) for address in config.peers if isinstance(address, HostPort))
    listen = [(index, address) for index, address in enumerate(config.listen) if isinstance(address, HostPort)]
    # The socket of [::] may take the port on IPv4 with it, so it comes first.
    listen.sort(key=lambda item: item[1].host != ALL_IPV6)
    return _static(HostPort.way, dials, tuple(_listen_tcp(*item, surroundings) for item in listen), surroundings)


def _dial_tcp(address: HostPort, surroundings: Surroundings) -> Dial:
    return Dial(str(address), lambda: dial_tcp(surroundings.reactor, address, surroundings.owner))


def _listen_tcp(index: int, address: HostPort, surroundings: Surroundings) -> Listener:
    def listen() -> Deferred[IListeningPort]:
        return succeed(listen_tcp(IReactorTCP(surroundings.reactor), address, surroundings.owner))

    covered_by = str(HostPort(ALL_IPV6, address.port)) if address.host == ALL_IPV4 else ""
    return Listener(f"listen.{index}", str(address), listen, covered_by)


def _static(
    name: str, dials: tuple[Dial, ...], listeners: tuple[Listener, ...], surroundings: Surroundings
) -> StaticPlan | None:
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


_PLANS: Final[tuple[Callable[[NodeConfig, Surroundings], Plan | None], ...]] = (_tcp,)
