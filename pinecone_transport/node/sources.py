"""Which sources of links a configuration asks for: the one place where they are made.

What only some of them need is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorFromThreads, IReactorTCP

from pinecone_transport.discovery import Dial, Listener
from pinecone_transport.discovery.bluetooth import DEFAULT_ADAPTER, BluetoothSource, backend_maker
from pinecone_transport.discovery.dns_sd import DnsSdSource
from pinecone_transport.discovery.multicast import LanSource
from pinecone_transport.links import HostPort, WebSocketListen, WebSocketUrl, dial_tcp, listen_tcp
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.endpoint_sources import plan_endpoints
from pinecone_transport.node.source_plans import (
    Plan,
    SourcePlan,
    StaticPlan,
    Surroundings,
    missing_package,
    static_plan,
)

ALL_IPV4: Final = "0.0.0.0"  # compared with, not listened on
ALL_IPV6: Final = "::"


def plan_sources(config: NodeConfig, surroundings: Surroundings) -> list[Plan]:
    """Return a plan for each source that the configuration asks for and does not switch off.

    Raises:
        ConfigurationError: What one of them needs is not installed.
    """
    plans = [*(plan(config, surroundings) for plan in _PLANS), *plan_endpoints(config, surroundings)]
    return [plan for plan in plans if plan is not None and config.source(plan.name).enabled is not False]


def _tcp(config: NodeConfig, surroundings: Surroundings) -> StaticPlan | None:
    dials = tuple(_dial_tcp(address, surroundings) for address in config.peers if isinstance(address, HostPort))
    listen = [(index, address) for index, address in enumerate(config.listen) if isinstance(address, HostPort)]
    # The socket of [::] may take the port on IPv4 with it, so it comes first.
    listen.sort(key=lambda item: item[1].host != ALL_IPV6)
    return static_plan(HostPort.way, dials, tuple(_listen_tcp(*item, surroundings) for item in listen), surroundings)


def _dial_tcp(address: HostPort, surroundings: Surroundings) -> Dial:
    return Dial(str(address), lambda: dial_tcp(surroundings.reactor, address, surroundings.owner))


def _listen_tcp(index: int, address: HostPort, surroundings: Surroundings) -> Listener:
    def listen() -> Deferred[IListeningPort]:
        return succeed(listen_tcp(IReactorTCP(surroundings.reactor), address, surroundings.owner))

    covered_by = str(HostPort(ALL_IPV6, address.port)) if address.host == ALL_IPV4 else ""
    return Listener(f"listen.{index}", str(address), listen, covered_by)


def _websocket(config: NodeConfig, surroundings: Surroundings) -> StaticPlan | None:
    urls = [address for address in config.peers if isinstance(address, WebSocketUrl)]
    listen = [(index, address) for index, address in enumerate(config.listen) if isinstance(address, WebSocketListen)]
    if not urls and not listen:
        return None
    try:
        from pinecone_transport.links.websocket import dial_websocket, listen_websocket
    except ModuleNotFoundError as error:
        raise missing_package("peers" if urls else "listen", "WebSocket", error, "websocket") from None

    def dial(url: WebSocketUrl) -> Dial:
        return Dial(str(url), lambda: dial_websocket(surroundings.reactor, url, surroundings.owner))

    def listener(index: int, address: WebSocketListen) -> Listener:
        def open_port() -> Deferred[IListeningPort]:
            return succeed(listen_websocket(IReactorTCP(surroundings.reactor), address.where, surroundings.owner))

        return Listener(f"listen.{index}", str(address), open_port)

    return static_plan(
        WebSocketUrl.way, tuple(map(dial, urls)), tuple(listener(*item) for item in listen), surroundings
    )


def _lan(config: NodeConfig, surroundings: Surroundings) -> SourcePlan | None:
    options = config.source("lan")
    if not options.enabled:
        return None

    def make() -> LanSource:
        return LanSource(
            surroundings.identity.key,
            surroundings.owner,
            interfaces=options.interfaces,
            admits=surroundings.admits,
            news=surroundings.network_changed,
            reactor=surroundings.reactor,
            clock=surroundings.clock,
            look=surroundings.look,
        )

    return SourcePlan("lan", options.apart_from_rules(), make)


def _mdns(config: NodeConfig, surroundings: Surroundings) -> SourcePlan | None:
    options = config.source("mdns")
    if not options.enabled:
        return None
    try:
        from pinecone_transport.discovery.zeroconf_responder import ZeroconfResponder
    except ModuleNotFoundError as error:
        raise missing_package("sources.mdns", "DNS-SD", error, "mdns") from None
    make_responder = partial(ZeroconfResponder, reactor=cast(IReactorFromThreads, surroundings.reactor))

    def make() -> DnsSdSource:
        return DnsSdSource(
            surroundings.identity.key,
            surroundings.owner,
            interfaces=options.interfaces,
            admits=surroundings.admits,
            make_responder=make_responder,
            reactor=surroundings.reactor,
            clock=surroundings.clock,
            look=surroundings.look,
        )

    return SourcePlan("mdns", options.apart_from_rules(), make)


def _ble(config: NodeConfig, surroundings: Surroundings) -> SourcePlan | None:
    options = config.source("ble")
    if not options.enabled:
        return None
    try:
        make_backend = backend_maker(options.adapter or DEFAULT_ADAPTER, surroundings.reactor)
    except ModuleNotFoundError as error:
        raise missing_package("sources.ble", "Bluetooth LE", error, "bluetooth") from None

    def make() -> BluetoothSource:
        return BluetoothSource(
            surroundings.identity.key,
            surroundings.owner,
            make_backend=make_backend,
            admits=surroundings.admits,
            reactor=surroundings.reactor,
            clock=surroundings.clock,
        )

    return SourcePlan("ble", options.apart_from_rules(), make)


_PLANS: Final[tuple[Callable[[NodeConfig, Surroundings], Plan | None], ...]] = (_tcp, _websocket, _lan, _mdns, _ble)
