"""Routers joined by perfect links: frames arrive at once, in order, and time is virtual."""

from __future__ import annotations

import random

from pinecone_transport.identity import Identity
from pinecone_transport.router import PacketReceived, PeerAtFault, Router, RouterEvent
from pinecone_transport.wire import PeerType, decode_frame, encode_frame
from tests.support.clock import VirtualClock

UNIX_TIME = 1_700_000_000.0


class RouterNetwork:
    """A network of one router per identity, without links at first.

    Args:
        identities: One per node; nodes are named by their index.
        hop_limiting: As of `Router`.
    """

    def __init__(self, identities: list[Identity], *, hop_limiting: bool = True) -> None:
        self.clock = VirtualClock()
        self.routers = [
            Router(
                identity,
                random=random.Random(number),
                unix_time=UNIX_TIME,
                now=self.clock.now,
                hop_limiting=hop_limiting,
            )
            for number, identity in enumerate(identities)
        ]
        self.received: list[tuple[int, PacketReceived]] = []
        self._ends: dict[tuple[int, int], tuple[int, int]] = {}

    def connect(self, one: int, other: int, peer_type: PeerType = PeerType.REMOTE) -> tuple[int, int]:
        """Link two nodes; return the link by its end at the first one, (node, port)."""
        here = self.routers[one].add_peer(self.routers[other].key, peer_type, self.clock.now)
        there = self.routers[other].add_peer(self.routers[one].key, peer_type, self.clock.now)
        self._ends[one, here] = (other, there)
        self._ends[other, there] = (one, here)
        self.deliver()
        return one, here

    def cut(self, link: tuple[int, int]) -> None:
        """Take a link away at both ends."""
        for node, port in (link, self._ends[link]):
            del self._ends[node, port]
            self._take(node, self.routers[node].remove_peer(port, self.clock.now))
        self.deliver()

    def deliver(self) -> None:
        """Carry frames until none is left."""
        moved = True
        while moved:
            moved = False
            for number, router in enumerate(self.routers):
                for port, frame in router.frames_to_send():
                    moved = True
                    end = self._ends.get((number, port))
                    if end is not None:
                        node, at = end
                        arrived = decode_frame(encode_frame(frame))
                        self._take(node, self.routers[node].receive_frame(at, arrived, self.clock.now))

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.clock.now + seconds
        while True:
            due = min(timer for router in self.routers if (timer := router.next_timer()) is not None)
            if due > until:
                break
            self.clock.advance(max(due - self.clock.now, 0.0))
            for number, router in enumerate(self.routers):
                timer = router.next_timer()
                if timer is not None and timer <= self.clock.now:
                    self._take(number, router.handle_timer(self.clock.now))
            self.deliver()
        self.clock.advance(until - self.clock.now)

    def reaches(self, one: int, other: int) -> bool:
        """Send a packet and tell whether it arrived."""
        route = self.routers[one].route(self.routers[other].key, self.clock.now)
        if route is None:
            return False
        self.received.clear()
        self.routers[one].send_packet(route, b"packet", self.clock.now)
        self.deliver()
        return (other, PacketReceived(self.routers[one].key, self.routers[other].key, b"packet")) in self.received

    def _take(self, node: int, events: list[RouterEvent]) -> None:
        for event in events:
            assert not isinstance(event, PeerAtFault), event.error
            if isinstance(event, PacketReceived):
                self.received.append((node, event))
