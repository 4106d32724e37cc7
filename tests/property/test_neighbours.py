"""Two nodes on one LAN come to one link and keep it, however their dials cross, fail, and take their time."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from pinecone_transport.discovery.neighbours import NeighbourDial, Neighbours
from pinecone_transport.links import HostPort, Link, StreamLink
from pinecone_transport.wire import PeerType

LOW, HIGH = bytes([1]) * 32, bytes([2]) * 32
ADDRESS = HostPort("192.0.2.7", 4000)
WILD, QUIET = 20.0, 120.0
"""Seconds in which dials may fail, and seconds after that."""


class Node:
    """One end: what `NeighbourLinks` does, with links that are made of nothing."""

    def __init__(self, lan: Lan, key: bytes) -> None:
        self.lan = lan
        self.neighbours = Neighbours("lan", key, expiry=10.0)
        self.connecting: set[NeighbourDial] = set()
        self.up: set[Link] = set()
        self.other: Node

    def look(self) -> None:
        for dial in self.neighbours.dials(self.lan.clock.seconds()):
            self.connecting.add(dial)
            self.lan.after(3.0, self.connected, dial)

    def connected(self, dial: NeighbourDial) -> None:
        if dial not in self.connecting:
            return  # cancelled
        self.connecting.discard(dial)
        if self.lan.fails():
            self.neighbours.dial_ended(dial, "refused", self.lan.clock.seconds())
            return
        ours, theirs = self.lan.link(self, self.other)
        self.lan.after(1.0, self.link_up, ours, dial)
        self.lan.after(1.0, self.other.link_up, theirs, None)

    def link_up(self, link: Link, dial: NeighbourDial | None) -> None:
        now = self.lan.clock.seconds()
        if link in self.lan.closed:
            if dial is not None:
                self.neighbours.dial_ended(dial, "did not come up", now)
            return
        if dial is not None:
            self.neighbours.dial_succeeded(dial)
        self.up.add(link)
        for superfluous in self.neighbours.link_up(link, self.lan.key_of(self.other), "eth0", now):
            self.lan.close(superfluous)
        for pending in list(self.connecting):
            self.connecting.discard(pending)
            self.neighbours.dial_ended(pending, "cancelled", now)

    def link_down(self, link: Link) -> None:
        if link in self.up:
            self.up.discard(link)
            self.neighbours.link_down(link, self.lan.clock.seconds())


class Lan:
    """Two nodes that announce themselves every two seconds."""

    def __init__(self, random: Random) -> None:
        self.clock = Clock()
        self.random = random
        self.low, self.high = Node(self, LOW), Node(self, HIGH)
        self.low.other, self.high.other = self.high, self.low
        self.closed: set[Link] = set()
        self._far_end: dict[Link, Link] = {}
        for node in (self.low, self.high):
            self.after(2.0, self.announce, node)
            self.look(node)

    def key_of(self, node: Node) -> bytes:
        return LOW if node is self.low else HIGH

    def after(self, longest: float, call, *arguments) -> None:
        self.clock.callLater(self.random.uniform(0.0, longest), call, *arguments)

    def fails(self) -> bool:
        return self.clock.seconds() < WILD and self.random.random() < 0.3

    def announce(self, node: Node) -> None:
        self.clock.callLater(2.0, self.announce, node)
        node.other.neighbours.heard(self.key_of(node), "eth0", ADDRESS, self.clock.seconds())

    def look(self, node: Node) -> None:
        self.clock.callLater(0.1, self.look, node)
        node.look()

    def link(self, dialler: Node, acceptor: Node) -> tuple[Link, Link]:
        ours, theirs = (
            StreamLink(None, peer_type=PeerType.MULTICAST, way="lan", address=str(ADDRESS), outbound=outbound)
            for outbound in (True, False)
        )
        self._far_end[ours], self._far_end[theirs] = theirs, ours
        return ours, theirs

    def close(self, link: Link) -> None:
        for end in (link, self._far_end[link]):
            self.closed.add(end)
            for node in (self.low, self.high):
                self.after(1.0, node.link_down, end)


@settings(max_examples=30)
@given(st.integers(0, 1 << 32))
def test_two_nodes_come_to_one_link_and_keep_it(seed: int) -> None:
    lan = Lan(Random(seed))
    lan.clock.pump([0.1] * int((WILD + QUIET) * 10))
    (kept,) = lan.low.up
    assert len(lan.high.up) == 1
    lan.clock.pump([0.1] * 300)
    assert lan.low.up == {kept}
    assert len(lan.closed) <= 4, "two dials cross, and one link goes"
