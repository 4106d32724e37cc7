"""Sources of links over the endpoint strings of a configuration, one for each kind."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Final

from pinecone_transport.discovery import Dial, Listener
from pinecone_transport.errors import ConfigurationError
from pinecone_transport.links import EndpointString
from pinecone_transport.links.endpoint import client_endpoint, dial_endpoint, listen_endpoint, server_endpoint
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.source_plans import StaticPlan, Surroundings, missing_package, static_plan

SERIAL: Final = "serial"


def plan_endpoints(config: NodeConfig, surroundings: Surroundings) -> list[StaticPlan]:
    """Return a plan for each kind of endpoint; a serial line is dialled, whichever end it is.

    Raises:
        ConfigurationError: A string is not one of an endpoint, or what it needs is not installed.
    """
    dials: dict[str, list[Dial]] = defaultdict(list)
    listeners: dict[str, list[Listener]] = defaultdict(list)
    for option, addresses in (("peers", config.peers), ("listen", config.listen)):
        for index, address in enumerate(addresses):
            if not isinstance(address, EndpointString):
                continue
            path = f"{option}.{index}"
            try:
                if address.way == SERIAL:
                    dials[SERIAL].append(_dial_serial(address, surroundings, path, outbound=option == "peers"))
                elif option == "peers":
                    dials[address.way].append(_dial_endpoint(address, surroundings))
                else:
                    listeners[address.way].append(_listen_endpoint(path, address, surroundings))
            except ValueError as error:
                raise ConfigurationError(path, f"{error}.") from None
    plans = [static_plan(way, tuple(dials[way]), tuple(listeners[way]), surroundings) for way in {**dials, **listeners}]
    return [plan for plan in plans if plan is not None]


def _dial_serial(address: EndpointString, surroundings: Surroundings, path: str, *, outbound: bool) -> Dial:
    try:
        from pinecone_transport.links.serial import dial_serial, parse_serial
    except ModuleNotFoundError as error:
        raise missing_package(path, "A serial line", error, "serial") from None
    line = parse_serial(address)
    start = partial(dial_serial, surroundings.reactor, line, address, surroundings.owner, outbound=outbound)
    return Dial(str(address), start)


def _dial_endpoint(address: EndpointString, surroundings: Surroundings) -> Dial:
    reactor, owner = surroundings.reactor, surroundings.owner
    return Dial(str(address), partial(dial_endpoint, reactor, client_endpoint(reactor, address), address, owner))


def _listen_endpoint(option: str, address: EndpointString, surroundings: Surroundings) -> Listener:
    reactor, owner = surroundings.reactor, surroundings.owner
    endpoint = server_endpoint(reactor, address)
    return Listener(option, str(address), partial(listen_endpoint, reactor, endpoint, address, owner))
