"""A process that passes the bytes of every connection on to an address: what a relay in Twisted costs at least.

Its part is ``{"target": "host:port"}``.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.protocols.portforward import ProxyFactory

from benchmarks.commands import Command, run

if TYPE_CHECKING:
    from twisted.internet.protocol import ServerFactory


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Listen."""
    host, _, port = json.loads(sys.argv[1])["target"].rpartition(":")
    factory = cast("ServerFactory[Any]", ProxyFactory(host, int(port)))
    address = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost()
    assert isinstance(address, IPv4Address)
    return {"listen": f"127.0.0.1:{address.port}"}, {}


if __name__ == "__main__":
    run(begin)
