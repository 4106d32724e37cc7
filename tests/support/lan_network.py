"""Nodes on the LANs of a test, ours and Go's, each a process in its host's namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from pinecone_transport.identity import Identity
from tests.support.go_peer import GoPeer
from tests.support.namespaces import Host, Lans

OWN_PROGRAM = [sys.executable, "-m", "tests.support.own_program"]


class LanNetwork(Lans):
    """LANs, and the nodes on them; nobody is told any address."""

    def __init__(self, *lans: str) -> None:
        super().__init__(*lans)
        self._peers: list[GoPeer] = []

    async def own(self, host: Host, *, lan: bool = True, mdns: bool = False) -> GoPeer:
        """Start a node of ours."""
        return await self._start(host, OWN_PROGRAM, multicast=lan, further=["-mdns"] if mdns else [])

    async def go(self, host: Host, program: str) -> GoPeer:
        """Start a Go node."""
        return await self._start(host, [program], multicast=True)

    async def _start(self, host: Host, program: list[str], **options: Any) -> GoPeer:
        command = host.command(*program)
        peer = GoPeer(command[-1], Identity.generate(), listen="", transfer_time=600, prefix=command[:-1], **options)
        self._peers.append(peer)
        await peer.ready
        return peer

    async def stop(self) -> None:
        """End all processes; before the ``with`` ends."""
        for peer in self._peers:
            await peer.stop()


async def until(holds: Callable[[dict[str, Any]], bool], peer: GoPeer, what: str, timeout: float = 20.0) -> float:
    """Wait until something is true of a node's state; return after how many seconds."""
    started_at = reactor.seconds()
    while True:
        state = await peer.state()
        if holds(state):
            return reactor.seconds() - started_at
        said = "\n".join(peer.log[-20:])
        assert reactor.seconds() - started_at < timeout, f"not {what}: {state['links']}\n{said}"
        await deferLater(reactor, 0.05)


async def linked(peer: GoPeer, *others: GoPeer, timeout: float = 20.0) -> float:
    """Wait until a node has links to these nodes, and to no others; return after how many seconds."""
    wanted = {other.name for other in others}
    return await until(
        lambda state: {link["key"] for link in state["links"]} == wanted, peer, f"linked to {len(others)}", timeout
    )


async def received(peer: GoPeer, length: int) -> None:
    """Wait until a node of ours has received so many bytes by its links."""
    await until(
        lambda state: sum(link["bytes_received"] for link in state["links"]) >= length, peer, f"sent {length} bytes"
    )
