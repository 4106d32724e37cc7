"""The next hop as the protocol tells it, walk by walk (§4, §5): slow, and so plain that it can be read beside it.

Where the protocol draws among equals, ``shuffle`` decides the order of looking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pinecone_transport.router import Peer, Root
from pinecone_transport.router.table import SnakeEntry
from pinecone_transport.wire import Coordinates, Watermark, distance


def literal_tree_next_hop(
    own_coordinates: Coordinates, root: Root, peers: Iterable[Peer], destination: Coordinates, source: int
) -> set[int | None]:
    """Return every port that the protocol allows."""
    ours = distance(own_coordinates, destination)
    if ours == 0:
        return {0}
    distances = {
        peer.port: distance(peer.announcement.sender_coordinates, destination)
        for peer in peers
        if peer.up
        and peer.port != source
        and peer.announcement is not None
        and (peer.announcement.root_key, peer.announcement.root_sequence) == root
    }
    nearest = min(distances.values(), default=ours)
    if nearest >= ours:
        return {None}
    return {port for port, hops in distances.items() if hops == nearest}


def literal_snake_next_hop(  # noqa: PLR0917  # as many things as the protocol names
    own: bytes,
    root: Root,
    parent: int | None,
    peers: Iterable[Peer],
    table: Iterable[SnakeEntry],
    d: bytes,
    w: Watermark,
    bootstrap: bool,
    now: float,
    shuffle: Callable[[list], object] = lambda items: None,
) -> tuple[int | None, Watermark]:
    peers = list(peers)
    table = list(table)
    shuffle(peers)
    shuffle(table)
    by_port = {peer.port: peer for peer in peers}
    announced = [peer for peer in peers if peer.announcement is not None]
    live = [peer for peer in announced if peer.up]

    # 1.
    if not bootstrap and d == own:
        return 0, w
    best, sequence, link = own, 0, None if bootstrap else 0

    def consider(c: bytes, seq: int, via: int) -> None:
        nonlocal best, sequence, link
        if (not bootstrap and c == d and best != d) or d < c < best:
            best, sequence, link = c, seq, via

    # 2.
    if parent is not None and parent in by_port and by_port[parent].up:
        if (bootstrap and best == d) or best < d < root.key:
            best, link = root.key, parent
        if by_port[parent].announcement is not None:
            for signer in by_port[parent].announcement.signers:
                consider(signer, 0, parent)
    # 3.
    for peer in live:
        for signer in peer.announcement.signers:
            consider(signer, 0, peer.port)
    # 4.
    for peer in live:
        if peer.key == best:
            link = peer.port
            break
    # 5.
    for entry in table:
        mark = Watermark(entry.key, entry.sequence)
        source_up = entry.source in by_port and by_port[entry.source].up
        if not entry.expired(now) and source_up and not mark.is_worse_than(w):
            consider(entry.key, entry.sequence, entry.source)
    # 6.
    if link in by_port and by_port[link].announcement is not None:
        for peer in announced:
            if peer.key != best:
                continue
            chosen = by_port[link]
            same_root = (peer.announcement.root_key, peer.announcement.root_sequence) == (
                chosen.announcement.root_key,
                chosen.announcement.root_sequence,
            )
            if peer.type < chosen.type or (peer.type == chosen.type and same_root and peer.order < chosen.order):
                link = peer.port
    return link, Watermark(best, sequence)
