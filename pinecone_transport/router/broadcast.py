"""Wakeup broadcasts: telling the network that we are up, and passing on that others are (§7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.router.constants import (
    MAX_WAKEUPS,
    WAKEUP_FLOOD_LIMIT,
    WAKEUP_HOP_LIMIT,
    WAKEUP_INTERVAL,
    WAKEUP_SPACING,
    WAKEUP_TIMEOUT,
)
from pinecone_transport.router.events import RouterEvent, WakeupReceived
from pinecone_transport.router.outbox import Outbox
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.sequences import Sequences
from pinecone_transport.router.signatures import VerifiedSignatures
from pinecone_transport.router.state import RouterState, SeenWakeup
from pinecone_transport.wire import (
    WAKEUP_BROADCAST,
    Coordinates,
    Frame,
    decode_bootstrap,
    distance,
    sign_bootstrap,
)


def broadcast_ports(peers: Iterable[Peer], source: int, hop_limit: int, coordinates: Coordinates) -> list[int]:
    """Return the ports that a broadcast goes to, one for each neighbour.

    Args:
        peers: All of them.
        source: The port that it came by.
        hop_limit: What it leaves with.
        coordinates: Our own.

    Source: §7.
    """
    chosen: dict[PublicKey, Peer] = {}
    for peer in sorted(peers, key=lambda peer: peer.port):
        if not peer.up or peer.port == source:
            continue
        if hop_limit < WAKEUP_FLOOD_LIMIT and not _adjacent(peer, coordinates):
            continue
        rival = chosen.get(peer.key)
        if rival is None or peer.type < rival.type or _order(peer) < _order(rival):
            chosen[peer.key] = peer
    return [peer.port for peer in chosen.values()]


def _adjacent(peer: Peer, coordinates: Coordinates) -> bool:
    announcement = peer.announcement
    return announcement is not None and distance(announcement.sender_coordinates, coordinates) == 1


def _order(peer: Peer) -> float:
    return peer.order if peer.announcement is not None else float("inf")


@final
class Wakeups:
    """The broadcasts of this node and of others."""

    __slots__ = ("_identity", "_outbox", "_sequences", "_signatures", "_state")

    def __init__(
        self,
        identity: Identity,
        state: RouterState,
        outbox: Outbox,
        sequences: Sequences,
        signatures: VerifiedSignatures,
    ) -> None:
        self._identity: Final = identity
        self._signatures: Final = signatures
        self._state: Final = state
        self._outbox: Final = outbox
        self._sequences: Final = sequences

    def receive_wakeup(self, source: int, frame: Frame, now: float) -> list[RouterEvent]:
        """Take a broadcast in and pass it on.

        Raises:
            AnnouncementError: The peer that it came by is at fault.
        """
        state = self._state
        key = frame.source_key
        wakeup = decode_bootstrap(frame.payload)
        if not self._signatures.verify(key, wakeup.signature, wakeup.signed_bytes()):
            raise AnnouncementError("wakeup broadcast with a bad signature", "§7")
        if wakeup.root_key != state.root.key:
            self._outbox.drop("wakeup of another root")
            return []
        seen = state.wakeups.get(key)
        if seen is not None and (wakeup.sequence <= seen.sequence or now - seen.received_at < WAKEUP_SPACING):
            self._outbox.drop("wakeup seen before")
            return []
        self._remember(key, SeenWakeup(wakeup.sequence, now))
        if frame.hop_limit > 1:
            self._forward(source, frame)
        return [WakeupReceived(key)] if key != state.key else []

    def send_to(self, port: int, now: float) -> None:
        """Send our own broadcast by one link. Source: §4, "A new link"."""
        self._send([port], now)

    def broadcast(self, now: float) -> None:
        """Send our own broadcast to every neighbour. Source: §7."""
        state = self._state
        state.wakeup_at = now + WAKEUP_INTERVAL
        for key in [key for key, seen in state.wakeups.items() if now - seen.received_at >= WAKEUP_TIMEOUT]:
            del state.wakeups[key]
        self._send(broadcast_ports(state.peers.values(), 0, WAKEUP_HOP_LIMIT, state.coordinates), now)

    def _send(self, ports: list[int], now: float) -> None:
        state = self._state
        payload = sign_bootstrap(self._identity, self._sequences.next(now), *state.root).encode()
        for port in ports:
            frame = Frame(WAKEUP_BROADCAST, payload, hop_limit=WAKEUP_HOP_LIMIT, source_key=state.key)
            self._outbox.send(port, frame)

    def _forward(self, source: int, frame: Frame) -> None:
        state = self._state
        hop_limit = frame.hop_limit - 1
        for port in broadcast_ports(state.peers.values(), source, hop_limit, state.coordinates):
            copy = Frame(
                WAKEUP_BROADCAST,
                frame.payload,
                hop_limit=hop_limit,
                source_key=frame.source_key,
                version=frame.version,
                extra=frame.extra,
            )
            self._outbox.send(port, copy)

    def _remember(self, key: PublicKey, seen: SeenWakeup) -> None:
        wakeups = self._state.wakeups
        wakeups.pop(key, None)
        wakeups[key] = seen
        if len(wakeups) > MAX_WAKEUPS:
            del wakeups[next(iter(wakeups))]
            self._outbox.drop("wakeup table full")
