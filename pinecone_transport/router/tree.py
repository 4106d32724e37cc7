"""The spanning tree: what announcements make of us, and what we announce (§4).

`decide_announcement` and `select_parent` decide; `Tree` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, final

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import Identity
from pinecone_transport.router.constants import (
    ANNOUNCEMENT_INTERVAL,
    ANNOUNCEMENT_TIMEOUT,
    MAX_ANNOUNCEMENT_LENGTH,
    REPARENT_WAIT,
)
from pinecone_transport.router.events import RouteLearned, RouterEvent
from pinecone_transport.router.next_hop import Root
from pinecone_transport.router.outbox import Outbox
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.signatures import VerifiedSignatures
from pinecone_transport.router.state import RouterState
from pinecone_transport.wire import TREE_ANNOUNCEMENT, Announcement, Frame, decode_announcement


class AnnouncementAction(Enum):
    """What an announcement makes us do, besides storing it. Source: §4, "On receipt"."""

    NOTHING = auto()
    BECOME_ROOT = auto()
    """Be our own root for a second, then select a parent."""
    ANNOUNCE = auto()
    """Pass the news on to all peers."""
    TAKE_PARENT = auto()
    """The peer leads to a stronger root."""
    TELL = auto()
    """The peer has a weaker root: send it our announcement."""
    SELECT_PARENT = auto()


def decide_announcement(
    announcement: Announcement, root: Root, key: bytes, from_parent: bool, first: bool
) -> AnnouncementAction:
    """Return what to do about an announcement outside a reparent wait.

    Args:
        announcement: Verified, sane, and no replay.
        root: As we saw it before.
        key: Our own, 32 bytes.
        from_parent: Whether it came by the parent's link.
        first: Whether it is the first one of its link.

    Source: §4, "On receipt".
    """
    contains_us = key in announcement.signers
    new = Root(announcement.root_key, announcement.root_sequence)
    if from_parent:
        if contains_us or new.key < root.key or new == root:
            return AnnouncementAction.BECOME_ROOT
        return AnnouncementAction.ANNOUNCE
    if contains_us:
        return AnnouncementAction.NOTHING
    if new.key > root.key:
        return AnnouncementAction.TAKE_PARENT
    if new.key < root.key:
        return AnnouncementAction.NOTHING if first else AnnouncementAction.TELL
    return AnnouncementAction.SELECT_PARENT


def select_parent(peers: Iterable[Peer], root: Root, own: Root, now: float) -> int | None:
    """Return the port of the peer that is the best parent, or None where we had better be root.

    Args:
        peers: All of them.
        root: As we see it now.
        own: Ourselves as root.
        now: Seconds, against which announcements are too old.

    Source: §4, "Selecting a parent".
    """
    best: tuple[Root, int, int] | None = None
    for peer in peers:
        announcement = peer.announcement
        if announcement is None or not peer.up or now - peer.received_at >= ANNOUNCEMENT_TIMEOUT:
            continue
        if own.key in announcement.signers:
            continue
        # Of equal roots the announcement that came first is the better one.
        candidate = (Root(announcement.root_key, announcement.root_sequence), -peer.order, -peer.port)
        if best is None or candidate > best:
            best = candidate
    if best is None or best[0] < root or best[0] < own:
        return None
    return -best[2]


def replacement_parent(peers: Iterable[Peer], lost: Peer, root: Root, own: Root, now: float) -> int | None:
    """Return the port of the peer that takes the place of a parent at once, or None where there had better be a wait.

    What others heard through the lost parent is out of date as its own news is not; so what leads through it does not
    count, unless it is the parent itself, which may have moved only.

    Args:
        peers: All of them.
        lost: The parent that is no good any more as it was.
        root: As we saw it before.
        own: Ourselves as root.
        now: Seconds, against which announcements are too old.

    Source: §4, "On receipt".
    """

    def is_independent(peer: Peer) -> bool:
        return peer is lost or peer.announcement is None or lost.key not in peer.announcement.signers

    return select_parent(filter(is_independent, peers), root, own, now)


def _is_replay(announcement: Announcement, last: Announcement) -> bool:
    return announcement.root_key == last.root_key and announcement.root_sequence < last.root_sequence


@final
class Tree:
    """This node's place in the spanning tree."""

    __slots__ = ("_identity", "_outbox", "_signatures", "_state")

    def __init__(self, identity: Identity, state: RouterState, outbox: Outbox, signatures: VerifiedSignatures) -> None:
        self._signatures: Final = signatures
        self._identity: Final = identity
        self._state: Final = state
        self._outbox: Final = outbox

    def receive_announcement(self, peer: Peer, payload: bytes, now: float) -> list[RouterEvent]:
        """Take an announcement in.

        Raises:
            AnnouncementError: The peer is at fault.
        """
        state = self._state
        if len(payload) > MAX_ANNOUNCEMENT_LENGTH:
            # Nobody can pass it on within one frame, so it leads nowhere.
            self._outbox.drop("announcement too long")
            return []
        announcement = decode_announcement(payload, self._signatures.verify)
        announcement.check_sane(peer.key)
        last = peer.announcement
        if last is not None and _is_replay(announcement, last):
            raise AnnouncementError("announcement replayed", "§4")
        root = state.root
        learned = self._store(peer, announcement, now)
        if state.reparent_at is None:
            from_parent = peer.port == state.parent
            action = decide_announcement(announcement, root, state.key, from_parent, last is None)
            self._carry_out(action, peer, root, now)
        return learned

    def announce_to(self, peer: Peer) -> None:
        """Send a peer our current announcement."""
        state = self._state
        announcement = state.parent_announcement or Announcement(state.key, state.sequence)
        signed = announcement.signed_by(self._identity, peer.port)
        self._outbox.send(peer.port, Frame(TREE_ANNOUNCEMENT, signed.encode()))

    def announce(self) -> None:
        """Send every peer our current announcement."""
        for peer in self._state.peers.values():
            if peer.up:
                self.announce_to(peer)

    def renew(self, now: float) -> None:
        """Announce ourselves once more, if we are root. Source: §4, "Announcements"."""
        state = self._state
        state.announce_at = now + ANNOUNCEMENT_INTERVAL
        if state.parent is None:
            state.sequence += 1
            state.neighbours_changed()
            self.announce()

    def become_root(self, before: Root, now: float) -> None:
        """Be our own root instead of the one before; whoever is already does nothing. Source: §4, "On receipt"."""
        if self._state.parent is not None:
            self._state.set_parent(None, before)
            self.renew(now)

    def select_parent(self, before: Root, now: float) -> None:
        """Look for the best parent, and end a reparent wait.

        Args:
            before: The root until now, although the link to it may be gone.
            now: Seconds.

        Source: §4, "Selecting a parent".
        """
        state = self._state
        state.reparent_at = None
        port = select_parent(state.peers.values(), state.root, Root(state.key, state.sequence), now)
        if port is None:
            self.become_root(before, now)
        elif port != state.parent:
            state.set_parent(port, before)
            self.announce()
            state.bootstrap_soon(now)

    def _reparent_at_once(self, lost: Peer, root: Root, now: float) -> bool:
        """Take another parent without a wait, if there is one that may be trusted; not twice within a wait."""
        state = self._state
        if now < state.reparent_again_at:
            return False
        port = replacement_parent(state.peers.values(), lost, root, Root(state.key, state.sequence), now)
        if port is None:
            return False
        state.reparent_again_at = now + REPARENT_WAIT
        state.set_parent(port, root)
        self.announce()
        state.bootstrap_soon(now)
        return True

    def _store(self, peer: Peer, announcement: Announcement, now: float) -> list[RouterEvent]:
        """Keep an announcement; return what keys it makes known."""
        state = self._state
        known = state.neighbourhood.ways
        learned: list[RouterEvent] = [
            RouteLearned(key)
            for key in announcement.signers
            if key not in known and key not in state.table and key != state.key
        ]
        state.last_order += 1
        peer.announcement = announcement
        peer.order = state.last_order
        peer.received_at = now
        state.neighbours_changed()
        return learned

    def _carry_out(self, action: AnnouncementAction, peer: Peer, root: Root, now: float) -> None:
        if action is AnnouncementAction.BECOME_ROOT:
            if not self._reparent_at_once(peer, root, now):
                self.become_root(root, now)
                self._state.reparent_at = now + REPARENT_WAIT
        elif action is AnnouncementAction.ANNOUNCE:
            self.announce()
        elif action is AnnouncementAction.TAKE_PARENT:
            self._state.set_parent(peer.port, root)
            self.announce()
        elif action is AnnouncementAction.TELL:
            self.announce_to(peer)
        elif action is AnnouncementAction.SELECT_PARENT:
            self.select_parent(root, now)
