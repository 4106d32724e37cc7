"""The machine that joins tree, snake, traffic and wakeups: packets to frames for a port, and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple, final

from pinecone_transport.errors import LocalProtocolError, RemoteProtocolError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.randomness import RandomSource
from pinecone_transport.router.broadcast import Wakeups
from pinecone_transport.router.constants import (
    ANNOUNCEMENT_INTERVAL,
    HASTY_TIME,
    LOCAL,
    MAINTENANCE_INTERVAL,
    MAX_LOOPBACK,
    WAKEUP_INTERVAL,
)
from pinecone_transport.router.events import (
    CoordinatesLearned,
    PacketReceived,
    PeerAtFault,
    RouterEvent,
    TreeChanged,
)
from pinecone_transport.router.next_hop import Root, snake_next_hop, tree_next_hop
from pinecone_transport.router.outbox import Outbox
from pinecone_transport.router.ports import Peer, lowest_free_port
from pinecone_transport.router.sequences import Sequences
from pinecone_transport.router.signatures import VerifiedSignatures
from pinecone_transport.router.snake import Snake
from pinecone_transport.router.state import RouterState
from pinecone_transport.router.traffic import HOP_LIMIT_REACHED, decide_traffic
from pinecone_transport.router.transit import Flow, Passage, Transit
from pinecone_transport.router.tree import Tree
from pinecone_transport.wire import (
    BOOTSTRAP,
    KEEPALIVE,
    MAX_FRAME_LENGTH,
    NO_WATERMARK,
    TRAFFIC,
    TRAFFIC_FIXED_LENGTH,
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Coordinates,
    Frame,
    PeerType,
    Watermark,
    encode_traffic_fixed,
    encode_traffic_way,
)


class Route(NamedTuple):
    """Where a packet of ours leaves for a key, and what its frame says. Good until something else is done.

    Attributes:
        port: That it leaves by; 0 where the key is our own.
        destination: The key, 32 bytes.
        coordinates: Of the destination; empty where the packet finds its way by key.
        watermark: Of a packet that finds its way by key.
    """

    port: int
    destination: PublicKey
    coordinates: Coordinates
    watermark: Watermark


@final
class Router:
    """One node's part in the overlay: its place in tree and snake, and the frames that pass through it.

    Feed it peers and their frames, call `handle_timer` when `next_timer` says so, and take `frames_to_send` after
    each of these. When it reports `PeerAtFault`, close that link and call `remove_peer`.

    Args:
        identity: The node's key.
        random: Spreads the ticks of many nodes.
        unix_time: What is to be added to ``now`` for Unix time, seconds.
        now: Monotonic seconds, as in every call.
        hop_limiting: Whether frames lose a hop at each node and end where none is left.
        hop_limit: What our own traffic starts with, 2 to 255.
        state: What it knows at first; nothing if not given.

    Raises:
        LocalProtocolError: The hop limit is out of range.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        random: RandomSource,
        unix_time: float,
        now: float,
        hop_limiting: bool = True,
        hop_limit: int = 64,
        state: RouterState | None = None,
    ) -> None:
        if not 2 <= hop_limit <= 255:
            raise LocalProtocolError(f"a hop limit is 2 to 255, not {hop_limit}")
        if state is None:
            state = RouterState(identity.key, announce_at=now + ANNOUNCEMENT_INTERVAL, bootstrap_at=now)
        self.state: Final = state
        self._random: Final = random
        self._hop_limiting: Final = hop_limiting
        self._hop_limit: Final = hop_limit
        self._outbox: Final = Outbox()
        sequences = Sequences(unix_time)
        # Shared, since a broadcast or an announcement comes by several links with the same signatures.
        signatures = VerifiedSignatures()
        self._transit: Final = Transit(state, self._outbox.counters, hop_limiting=hop_limiting)
        self._tree: Final = Tree(identity, state, self._outbox, signatures)
        self._snake: Final = Snake(identity, state, self._outbox, sequences)
        self._wakeups: Final = Wakeups(identity, state, self._outbox, sequences, signatures)
        self._loopback: list[RouterEvent] = []
        self._loopback_at = math.inf
        self._reported = self._place()

    @property
    def counters(self) -> Counter[str]:
        """How often something was dropped, by reason."""
        return self._outbox.counters

    @property
    def key(self) -> PublicKey:
        """Our own, 32 bytes."""
        return self.state.key

    @property
    def root(self) -> Root:
        """The tree's root as we see it: key and sequence."""
        return self.state.root

    @property
    def parent(self) -> int | None:
        """The port of our parent, or None while we are root."""
        return self.state.parent

    @property
    def coordinates(self) -> Coordinates:
        """Our own; empty for a root."""
        return self.state.coordinates

    @property
    def descending(self) -> PublicKey | None:
        """The key of our descending neighbour, or None."""
        entry = self.state.descending
        return entry.key if entry is not None else None

    @property
    def peers(self) -> list[Peer]:
        """The peers, in the order of their ports."""
        return [peer for _, peer in sorted(self.state.peers.items())]

    def add_peer(self, key: PublicKey, peer_type: PeerType, now: float) -> int:
        """Take on a link whose handshake is done, and announce ourselves to it. Return its port.

        Raises:
            LocalProtocolError: There are 253 links.

        Source: §2, "Ports"; §4, "Announcements".
        """
        state = self.state
        port = lowest_free_port(state.peers)
        if math.isinf(state.maintenance_at):
            state.maintenance_at = now + MAINTENANCE_INTERVAL * self._random.random()
            state.wakeup_at = now + WAKEUP_INTERVAL
        peer = Peer(port, key, peer_type)
        state.peers[port] = peer
        state.neighbours_changed()
        self._tree.announce_to(peer)
        return port

    def remove_peer(self, port: int, now: float) -> list[RouterEvent]:
        """Forget a link and what it led to. Unknown ports are ignored. Source: §4, §5."""
        state = self.state
        root = state.root
        if state.peers.pop(port, None) is None:
            return []
        state.neighbours_changed()
        state.coordinates_cache.trust()
        if any(peer.up for peer in state.peers.values()):
            self._snake.drop_port(port, now)
            if state.parent == port:
                self._tree.select_parent(root, now)
        else:
            state.reset(now)
        return self._report_tree([], now)

    def receive_frame(self, port: int, frame: Frame, now: float) -> list[RouterEvent]:
        """Take a frame that came by a port; it is the router's from now on. Never raises."""
        if frame.type == TRAFFIC:
            return self._receive_traffic(port, frame, now)
        peer = self.state.peers.get(port)
        if peer is None or not peer.up:
            self._outbox.drop("frame from no peer")
            return []
        try:
            if frame.type == BOOTSTRAP:
                return self._snake.receive_bootstrap(port, frame, now)
            if frame.type == TREE_ANNOUNCEMENT:
                return self._receive_announcement(peer, frame.payload, now)
            if frame.type == WAKEUP_BROADCAST:
                return self._wakeups.receive_wakeup(port, frame, now)
        except RemoteProtocolError as error:
            peer.up = False
            self.state.neighbours_changed()
            return [PeerAtFault(port, error)]
        if frame.type != KEEPALIVE:
            self._outbox.drop("frame of unknown type")
        return []

    def receive_traffic(self, passage: Passage, buffer: bytearray, end: int, now: float) -> None:
        """Take traffic out of a link's buffer, without an object for each frame: see `Transit.receive`.

        The owner calls `learn_coordinates` for each delivery.
        """
        self._transit.receive(passage, buffer, end, now)

    def decide_traffic(self, port: int, way: bytes, now: float) -> Flow:
        """Return what becomes of traffic, without any: see `Transit.decide`."""
        return self._transit.decide(port, way, now)

    def learn_coordinates(self, source: PublicKey, coordinates: Coordinates, now: float) -> bool:
        """Note where the sender of a packet for us says it is; tell whether that is news. Source: §6."""
        return self.state.coordinates_cache.learn(source, coordinates, now)

    def route(self, destination: PublicKey, now: float) -> Route | None:
        """Return where a packet to the key (32 bytes) would leave now, or None if nothing leads to it. Source: §6."""
        state = self.state
        if destination == state.key:
            return Route(LOCAL, destination, (), NO_WATERMARK)
        coordinates = state.coordinates_cache.get(destination, now)
        if coordinates:
            port = tree_next_hop(state.neighbourhood, coordinates, LOCAL)
            if port is not None:
                return Route(port, destination, coordinates, NO_WATERMARK) if port != LOCAL else None
        port, watermark = snake_next_hop(
            state.neighbourhood, state.table, destination, NO_WATERMARK, now, bootstrap=False
        )
        if port is None or port == LOCAL:
            return None
        return Route(port, destination, (), watermark)

    def route_by_parent(self, destination: PublicKey) -> Route | None:
        """Return how our parent is asked to find a key that `route` knows no way to, or None without a parent.

        A node that has just come stands between others in the snake, and gets to know the one below it when that
        bootstraps next, which takes up to 5 s. Neighbours of that one know it all the while. Whoever knows no better
        way than back to us drops the packet.

        Source: §6.
        """
        parent = self.state.neighbourhood.parent
        return Route(parent, destination, (), NO_WATERMARK) if parent is not None else None

    def send_packet(self, route: Route, payload: bytes, now: float) -> None:
        """Send a packet where `route` said. One to ourselves comes back at the next timer, which is due at once."""
        state = self.state
        if route.port == LOCAL:
            if len(self._loopback) < MAX_LOOPBACK:
                self._loopback.append(PacketReceived(state.key, route.destination, payload))
                self._loopback_at = min(self._loopback_at, now)
            else:
                self._outbox.drop("loopback full")
            return
        self._outbox.forward(
            route.port,
            Frame(
                TRAFFIC,
                payload,
                hop_limit=self._hop_limit - 1 if self._hop_limiting else self._hop_limit,
                destination=route.coordinates,
                source=state.neighbourhood.coordinates,
                destination_key=route.destination,
                source_key=state.key,
                watermark=route.watermark,
            ),
        )

    def frame_packets(self, route: Route, packets: Iterable[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
        """Return the frames that `send_packet` makes of packets to another node, both in pieces: the header first.

        Packets that came from the session together mostly have one length, and thus one header.
        """
        way = encode_traffic_way(
            route.coordinates, self.state.neighbourhood.coordinates, route.destination, self.state.key, route.watermark
        )
        hop_limit = self._hop_limit - 1 if self._hop_limiting else self._hop_limit
        frames: list[tuple[bytes, ...]] = []
        length = -1
        header = b""
        for packet in packets:
            size = sum(map(len, packet))
            if size != length:
                length = size
                if TRAFFIC_FIXED_LENGTH + len(way) + length > MAX_FRAME_LENGTH:
                    self._outbox.drop("frame too long")
                    length = -1
                    continue
                header = encode_traffic_fixed(hop_limit, len(way), length) + way
            frames.append((header + packet[0], *packet[1:]))
        return frames

    def doubt_coordinates(self, key: PublicKey, seen_before: float) -> None:
        """The key (32 bytes) has not answered: route packets to it by key, until there is reason to trust them again.

        Coordinates that its traffic brought at the time ``seen_before`` or later are left in peace once.
        """
        self.state.coordinates_cache.doubt(key, seen_before)

    def forget_coordinates(self, key: PublicKey) -> None:
        """Route packets to the key (32 bytes) by key, until it has sent us traffic again."""
        self.state.coordinates_cache.forget(key)

    def frames_to_send(self) -> list[tuple[int, Frame]]:
        """Return (port, frame) of all that is to be sent, in order. A port may have lost its link since."""
        return self._outbox.take()

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        state = self.state
        due = min(state.announce_at, state.maintenance_at, state.wakeup_at, self._loopback_at)
        if state.reparent_at is not None:
            due = min(due, state.reparent_at)
        return due if due != math.inf else None

    def handle_timer(self, now: float) -> list[RouterEvent]:
        """Do what has become due."""
        state = self.state
        events = self._loopback
        self._loopback = []
        self._loopback_at = math.inf
        if state.reparent_at is not None and now >= state.reparent_at:
            self._tree.select_parent(state.root, now)
        if now >= state.announce_at:
            self._tree.renew(now)
        if now >= state.maintenance_at:
            state.maintenance_at = now + MAINTENANCE_INTERVAL
            self._snake.maintain(now)
        if now >= state.wakeup_at:
            self._wakeups.broadcast(now)
        return self._report_tree(events, now)

    def _receive_announcement(self, peer: Peer, payload: bytes, now: float) -> list[RouterEvent]:
        state = self.state
        greeted = any(other.key == peer.key and other.announcement is not None for other in state.peers.values())
        events = self._tree.receive_announcement(peer, payload, now)
        if not greeted and peer.announcement is not None:
            self._wakeups.send_to(peer.port, now)
        return self._report_tree(events, now)

    def _receive_traffic(self, port: int, frame: Frame, now: float) -> list[RouterEvent]:
        """Deliver traffic or pass it on. Source: §6."""
        key = frame.destination_key
        decision = decide_traffic(self.state, port, frame, now)
        if decision.limited and self._hop_limiting:
            if frame.hop_limit <= 1:
                self._outbox.drop(HOP_LIMIT_REACHED)
                return []
            frame.hop_limit -= 1
        if decision.port is None:
            self._outbox.drop(decision.reason)
        elif decision.port == LOCAL:
            events: list[RouterEvent] = [PacketReceived(frame.source_key, key, frame.payload)]
            if key == self.state.key and self.learn_coordinates(frame.source_key, frame.source, now):
                events.append(CoordinatesLearned(frame.source_key))
            return events
        else:
            frame.destination = decision.destination
            frame.watermark = decision.watermark
            self._outbox.forward(decision.port, frame)
        return []

    def _place(self) -> tuple[PublicKey, int | None, Coordinates]:
        state = self.state
        return state.root.key, state.parent, state.coordinates

    def _report_tree(self, events: list[RouterEvent], now: float) -> list[RouterEvent]:
        """Add `TreeChanged` to the events, if our place in the tree is not what it was."""
        place = self._place()
        if place != self._reported:
            self._reported = place
            self.state.coordinates_cache.trust()
            self.state.hasty_until = now + HASTY_TIME
            events.append(TreeChanged())
        return events
