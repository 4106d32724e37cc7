"""Where a frame goes next: pure look-ups in what is known of the neighbours (§4) and in the snake's table (§5).

The protocol describes both searches as walks over everything that a node knows. Here the neighbours are put in order
once after each change (`Neighbourhood`), and a search is a few look-ups with the same outcome. Where the protocol
leaves a choice among equals, it is always the same one: the parent's link before others, then the lowest port.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.router.constants import LOCAL
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.table import SnakeTable
from pinecone_transport.wire import Coordinates, Watermark, distance


class Root(NamedTuple):
    """A root and the sequence of its announcement. A greater one is stronger, or newer."""

    key: PublicKey
    sequence: int


class _Link(NamedTuple):
    """A link that an announcement has come by; ``type`` and ``order`` are lower where the link is better."""

    port: int
    type: int
    order: int
    root: Root


@final
class _Branch:
    """Peers whose coordinates begin alike, as a tree of its own: one branch per next hop.

    Attributes:
        nearest: (Length of its coordinates, port) of the two peers nearest to the root, best first. One more than the
            best is enough: the only port that a search leaves out is the frame's own.
        branches: By the hop that follows.
    """

    __slots__ = ("branches", "nearest")

    def __init__(self) -> None:
        self.nearest: list[tuple[int, int]] = []
        self.branches: dict[int, _Branch] = {}

    def add(self, length: int, port: int) -> None:
        self.nearest.append((length, port))
        self.nearest.sort()
        del self.nearest[2:]


@final
class Neighbourhood:
    """The peers and their announcements, ordered for look-ups. Stands until one of them changes.

    Args:
        key: Our own, 32 bytes.
        root: As we see it.
        coordinates: Our own.
        parent: The parent's port, or None.
        peers: All of them, up or not, in the order of their ports.

    Attributes:
        live: Ports of the links that are up.
        parent: The parent's port while its link is up.
        ways: Each signer of a live link's announcement, and the port that it is reached by.
        direct: Each neighbour that has announced, and the first link to it that is up.
    """

    __slots__ = (
        "_announced",
        "_in_tree",
        "_links",
        "_signers",
        "_trunk",
        "coordinates",
        "direct",
        "key",
        "live",
        "parent",
        "root",
        "ways",
    )

    def __init__(
        self, key: PublicKey, root: Root, coordinates: Coordinates, parent: int | None, peers: Iterable[Peer]
    ) -> None:
        self.key: Final = key
        self.root: Final = root
        self.coordinates: Final = coordinates
        self.live: Final[set[int]] = set()
        self.ways: Final[dict[PublicKey, int]] = {}
        self.direct: Final[dict[PublicKey, int]] = {}
        # A new root is announced by all links, one after the other: what only traffic needs is made for traffic.
        self._trunk: _Branch | None = None
        self._signers: list[PublicKey] | None = None
        self._in_tree: Final[list[tuple[Coordinates, int]]] = []  # of live peers below our root, and their ports
        self._announced: Final[dict[int, _Link]] = {}
        self._links: Final[dict[PublicKey, list[_Link]]] = {}
        for peer in sorted(peers, key=lambda peer: (peer.port != parent, peer.port)):
            self._add(peer)
        self.parent: Final = parent if parent in self.live else None

    @property
    def signers(self) -> list[PublicKey]:
        """The keys of ``ways``, lowest first."""
        if self._signers is None:
            self._signers = sorted(self.ways)
        return self._signers

    @property
    def trunk(self) -> _Branch:
        """The coordinates of live peers below our root."""
        if self._trunk is None:
            self._trunk = _Branch()
            for coordinates, port in self._in_tree:
                _add_coordinates(self._trunk, coordinates, port)
        return self._trunk

    def _add(self, peer: Peer) -> None:
        port = peer.port
        if peer.up:
            self.live.add(port)
        announcement = peer.announcement
        if announcement is None:
            return
        root = Root(announcement.root_key, announcement.root_sequence)
        link = _Link(port, peer.type, peer.order, root)
        self._announced[port] = link
        self._links.setdefault(peer.key, []).append(link)
        if not peer.up:
            return
        self.direct.setdefault(peer.key, port)
        for signer in announcement.signers:
            self.ways.setdefault(signer, port)
        if root == self.root:
            self._in_tree.append((announcement.sender_coordinates, port))

    def better_link(self, key: PublicKey, port: int) -> int:
        """Return the port of the link to neighbour ``key`` that outdoes ``port``, else that. Source: §5 step 6."""
        links = self._links.get(key)
        chosen = self._announced.get(port)
        if links is None or chosen is None:
            return port
        for link in links:
            if link.type < chosen.type or (
                link.type == chosen.type and link.root == chosen.root and link.order < chosen.order
            ):
                chosen = link
        return chosen.port


def _add_coordinates(branch: _Branch, coordinates: Coordinates, port: int) -> None:
    branch.add(len(coordinates), port)
    for hop in coordinates:
        branch = branch.branches.setdefault(hop, _Branch())
        branch.add(len(coordinates), port)


def tree_next_hop(neighbourhood: Neighbourhood, destination: Coordinates, source: int) -> int | None:
    """Return the port that leads to the coordinates.

    Args:
        neighbourhood: What is known of the peers.
        destination: Coordinates, not empty.
        source: The port that the frame came by, which it does not leave by; `LOCAL` for one of our own.

    Returns:
        `LOCAL` where they are ours, None where no peer is nearer to them than we are.

    Source: §4, "Tree next hop".
    """
    best = distance(neighbourhood.coordinates, destination)
    if best == 0:
        return LOCAL
    port = None
    length = len(destination)
    common = 0
    branch: _Branch | None = neighbourhood.trunk
    while branch is not None:
        for peer_length, peer_port in branch.nearest:
            if peer_port != source:
                # For a peer that has more in common than this it is too much, but then it is met again further on.
                hops = peer_length + length - 2 * common
                if hops < best:
                    best, port = hops, peer_port
                break
        branch = branch.branches.get(destination[common]) if common < length else None
        common += 1
    return port


def snake_next_hop(
    neighbourhood: Neighbourhood,
    table: SnakeTable,
    destination: PublicKey,
    watermark: Watermark,
    now: float,
    *,
    bootstrap: bool,
) -> tuple[int | None, Watermark]:
    """Return the port that leads nearer to a key, and the watermark that the frame has there.

    Args:
        neighbourhood: What is known of the peers.
        table: Routes.
        destination: The key, 32 bytes.
        watermark: Of the frame. It is up to the caller to compare it with the one returned.
        now: Seconds, against which routes are too old.
        bootstrap: Whether the frame is one; else it is traffic.

    Returns:
        The port is `LOCAL` for traffic that ends here, None for a bootstrap that does.

    Source: §5, "Next hop".
    """
    key = neighbourhood.key
    if not bootstrap and destination == key:
        return LOCAL, watermark
    best = key
    sequence = 0
    port = None if bootstrap else LOCAL
    ways = neighbourhood.ways
    root_key = neighbourhood.root.key
    parent = neighbourhood.parent
    if parent is not None and ((bootstrap and destination == key) or key < destination < root_key):
        best, port = root_key, parent
    # Steps 2 and 3: traffic takes the key itself; else the lowest key above it is what a walk would end with.
    if not bootstrap and destination in ways:
        best, port = destination, ways[destination]
    else:
        signers = neighbourhood.signers
        index = bisect_right(signers, destination)
        if index < len(signers) and signers[index] < best:
            best = signers[index]
            port = ways[best]
    port = neighbourhood.direct.get(best, port)
    if bootstrap or best != destination:
        entry = None if bootstrap else table.get(destination)
        if entry is None or not entry.usable(watermark, neighbourhood.live, now):
            entry = table.nearest(destination, best, watermark, neighbourhood.live, now)
        if entry is not None:
            best, port, sequence = entry.key, entry.source, entry.sequence
    if port is not None:
        port = neighbourhood.better_link(best, port)
    return port, Watermark(best, sequence)
