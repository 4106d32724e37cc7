"""Networks of Go nodes and ours on loopback, and what must be true of their trees and snakes."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from pinecone_transport.identity import Identity
from tests.support.frame_relay import FrameRelay
from tests.support.go_peer import GoPeer
from tests.support.node_process import NodeProcess
from tests.support.own_peer import OwnPeer
from tests.support.peer_process import PeerProcess
from tests.support.processor_time import Waiting

Peer = GoPeer | OwnPeer | NodeProcess

GO, OWN, PROCESS = "g", "o", "p"
"""Go nodes; ours, in this process; ours, each in a process of its own."""


class MixedNetwork:
    """Makes nodes and relays, and stops them all at the end.

    Args:
        programs: The Go peers' paths by the version of quic-go.
        folder: For what processes keep.

    Attributes:
        sessions: What Go nodes speak where nothing else is said, ``utp`` or ``quic``.
        peers: Those that run, in the order of their start.
        relays: Those of frames, likewise.
    """

    def __init__(self, programs: dict[str, str], folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.sessions = "utp"
        self.peers: list[Peer] = []
        self.relays: list[FrameRelay] = []
        self._versions = itertools.cycle(sorted(programs))

    async def go(self, identity: Identity, *, quic: str | None = None, **options: Any) -> GoPeer:
        """Start a Go node; without a version of quic-go it has the one that the Go node before it has not."""
        program = self.programs[next(self._versions) if quic is None else quic]
        peer = GoPeer(program, identity, **{"sessions": self.sessions, **options})
        self.peers.append(peer)
        await peer.ready
        return peer

    async def own(self, identity: Identity, **options: Any) -> OwnPeer:
        """Start a node of ours."""
        peer = OwnPeer(identity, **options)
        self.peers.append(peer)
        return peer

    async def process(self, identity: Identity, **options: Any) -> NodeProcess:
        """Start a node of ours as a process."""
        peer = NodeProcess(self.folder, identity, **options)
        self.peers.append(peer)
        await peer.start()
        return peer

    async def start(self, kind: str, identity: Identity, **options: Any) -> Peer:
        """Start a node of the kind `GO`, `OWN` or `PROCESS`."""
        if kind == GO:
            return await self.go(identity, **options)
        return await (self.own(identity, **options) if kind == OWN else self.process(identity, **options))

    async def start_graph(self, kinds: str, edges: Iterable[tuple[int, int]], identities: Sequence[Identity]) -> None:
        """Start nodes that are joined so: the later of two dials the earlier. Relays watch links of Go's with ours."""
        edges = list(edges)
        first = len(self.peers)
        for number, (kind, identity) in enumerate(zip(kinds, identities, strict=True)):
            addresses = []
            for earlier in [min(edge) for edge in edges if max(edge) == number]:
                address = self.peers[first + earlier].address
                is_mixed = (kind == GO) is not (kinds[earlier] == GO)
                addresses.append(self.relay(address).address if is_mixed else address)
            await self.start(kind, identity, peers=addresses)

    def relay(self, target: str, **options: Any) -> FrameRelay:
        """Put a relay of frames before an address."""
        relay = FrameRelay(target, **options)
        self.relays.append(relay)
        return relay

    async def stop(self, peer: Peer) -> None:
        self.peers.remove(peer)
        await peer.stop()

    async def stop_all(self) -> None:
        for peer in reversed(self.peers):
            await peer.stop()
        for relay in self.relays:
            await relay.stop()

    def waiting(self) -> Waiting:
        """Begin to measure how long all that run now wait."""
        return Waiting(*(peer.pid for peer in self.peers if isinstance(peer, PeerProcess)))

    def faults(self) -> list[str]:
        """Return what was wrong with frames on links that a relay is in."""
        return [fault for relay in self.relays for fault in relay.faults]

    async def settled(self, links: int | None = None, timeout: float = 30.0) -> float:
        """Wait until the network is one tree and one snake; return after how many seconds that was so.

        Args:
            links: How many there must be; None for as many as there are.
            timeout: Seconds.

        Raises:
            AssertionError: It is not, in time.
        """
        started_at = reactor.seconds()
        while True:
            states = await side_by_side(peer.state() for peer in self.peers)
            fault = fault_of(states, links)
            if fault is None:
                return reactor.seconds() - started_at
            assert reactor.seconds() - started_at < timeout, fault
            await deferLater(reactor, 0.05)

    async def assert_all_reach_all(self, timeout: float = 10.0) -> float:
        """Have every node ask every other one something; return the slowest answer's seconds. Processes have no say."""
        slowest = 0.0
        peers = [peer for peer in self.peers if not isinstance(peer, NodeProcess)]
        for peer in peers:
            others = [other.name for other in peers if other is not peer]
            answers = await side_by_side(peer.request(other, timeout=timeout) for other in others)
            assert [answer["text"] for answer in answers] == ["pong"] * len(answers)
            slowest = max(slowest, *(answer["seconds"] for answer in answers))
        return slowest

    def lost_links(self) -> list[str]:
        """Return what the nodes that still run say of links that they lost. Processes have no say."""
        return [line for peer in self.peers if not isinstance(peer, NodeProcess) for line in peer.lost_links]


def identities(name: str, count: int) -> list[Identity]:
    """Return the same ones for the same name, in ascending order of their keys."""
    random = Random(name)
    return sorted((Identity(random.randbytes(32)) for _ in range(count)), key=lambda identity: identity.key)


def fault_of(states: list[dict[str, Any]], links: int | None) -> str | None:
    """Return what is not as it must be in one tree and one snake of these nodes, or None."""
    by_key = {state["key"]: state for state in states}
    names = sorted(by_key)
    ends = sorted(link["key"] for state in states for link in state["links"] if link["key"] is not None)
    if links is not None and len(ends) != 2 * links:
        return f"{len(ends)} ends of links"
    roots = {(state["root"]["key"], state["root"]["sequence"]) for state in states}
    if len(roots) != 1 or roots.pop()[0] != names[-1]:
        return "not one root, the highest key"
    for name, state in by_key.items():
        fault = _fault_in_tree(name, state, by_key) or _fault_in_snake(name, state, names)
        if fault is not None:
            return f"{name[:8]}: {fault}"
    return None


def _fault_in_tree(name: str, state: dict[str, Any], by_key: dict[str, dict[str, Any]]) -> str | None:
    if name == state["root"]["key"]:
        return "a root with a parent" if state["parent"] or state["coordinates"] else None
    if not state["parent"] or state["parent"]["key"] not in by_key:
        return "no parent"
    parent = by_key[state["parent"]["key"]]
    hops = [link["port"] for link in parent["links"] if link["key"] == name]
    # Along such coordinates the root is reached in as many steps as there are: no loop.
    if state["coordinates"] not in [[*parent["coordinates"], hop] for hop in hops]:
        return f"{state['coordinates']} below {parent['coordinates']}"
    return None


def _fault_in_snake(name: str, state: dict[str, Any], names: list[str]) -> str | None:
    index = names.index(name)
    below = names[index - 1] if index else None
    return None if state["descending"] == below else f"descending {state['descending']} instead of {below}"


def side_by_side(steps: Iterable[Coroutine[Any, Any, Any]]) -> Deferred[list[Any]]:
    """Run them at the same time; fires with their results, in order."""
    return gatherResults([ensureDeferred(step) for step in steps], consumeErrors=True)
