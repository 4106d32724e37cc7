"""The core, joined: session to router to peering and back, as one machine of the same shape as its parts.

From below come a link's bytes (`Stack.receive_buffer`), from above streams (`Stack.connect`, `Stack.write`, …), from
the side the time. Up go events; down go bytes, pulled per link with `Stack.data_to_send` after `Stack.pump` has
turned what the sessions want to send into frames. Nobody but this file sees more than one machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from pinecone_transport.back_pressure import Pause, Pauses
from pinecone_transport.deadlines import Deadlines
from pinecone_transport.errors import HandshakeError, LocalProtocolError, PineconeError, UnreachableError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.peering import HandshakeCompleted, LinkTerms, Peering, PeeringEvent
from pinecone_transport.randomness import RandomSource
from pinecone_transport.router import (
    CoordinatesLearned,
    PacketReceived,
    Passage,
    PeerAtFault,
    RouteLearned,
    Router,
    RouterEvent,
    Run,
    TreeChanged,
    WakeupReceived,
)
from pinecone_transport.session import Kinds, SessionEvent, Sessions, StreamAccepted, UtpLimits
from pinecone_transport.wire import TREE_ANNOUNCEMENT, Frame, PeerType

ROUTE_GRACE: Final = 2.0
"""Seconds after which a dial without any answer fails, unless we know a node with that key. A packet for a key that
nobody has is passed on to where that key would be and dropped there, so that silence is the only sign."""

_ROUTER: Final = -1
_SOCKET: Final = -2
_GRACE: Final = -3
_NO_ROUTE_LIMIT: Final = 1 << 16


@dataclass(slots=True)
class LinkUp:
    """A link's peering is open: the peer has ``key`` and is on ``port``."""

    link: int
    key: PublicKey
    port: int


@dataclass(slots=True)
class LinkLost:
    """The stack has given the link up for ``error``; the owner closes it. Its number is no longer valid."""

    link: int
    error: PineconeError


@final
class Offer:
    """Traffic for a link that has nothing else to write: it can be written from where it lies.

    Attributes:
        link: That it leaves by.
        run: The frames.
        came_by: The link that it came by.
    """

    __slots__ = ("came_by", "link", "run")

    def __init__(self, link: int, run: Run, came_by: int) -> None:
        self.link: Final = link
        self.run: Final = run
        self.came_by: Final = came_by


@final
class Received:
    """What came of a buffer.

    Attributes:
        consumed: Where what has not been used begins: less than one frame, to be given again with what follows it.
        events: As of every ``receive_…``.
        offers: Traffic for other links, of each of which `Stack.offer_taken` wants to hear before the buffer changes.
        is_quiet: Whether there is nothing to pump: no more has happened than that traffic was offered, and taken.
    """

    __slots__ = ("consumed", "events", "is_quiet", "offers")

    def __init__(self, consumed: int = 0) -> None:
        self.consumed = consumed
        self.events: list[StackEvent] = []
        self.offers: list[Offer] = []
        self.is_quiet = True


StackEvent: TypeAlias = LinkUp | LinkLost | TreeChanged | RouteLearned | WakeupReceived | SessionEvent


@final
class _Link:
    """A link's peering, its port once the handshake is done, and whether the peer has announced its tree."""

    __slots__ = ("announced", "blocked", "key", "peer_type", "peering", "port")

    def __init__(self, peering: Peering, peer_type: PeerType) -> None:
        self.peering: Final = peering
        self.peer_type: Final = peer_type
        self.key: PublicKey = b""
        self.port: int | None = None
        self.announced = False
        self.blocked = False


@final
class Stack:
    """One node of the overlay, without its sockets and its clock.

    Args:
        identity: The node's key.
        random: Where connection ids and first sequence numbers come from; not guessable in production.
        unix_time: What is to be added to ``now`` for Unix time, seconds.
        now: Monotonic seconds, as in every call.
        hop_limiting: Whether frames lose a hop at each node, as in Dendrite's networks.
        hop_limit: What our own traffic starts with.
        limits: Of the µTP sessions.
        kinds: Which kind of session dials take; None for µTP alone.
        route_grace: Seconds after which a dial to a key that we do not know, and that had no answer at all, fails. They
            count anew from when the ways of the overlay changed: our place in the tree, a link that has just come up,
            news of the key.
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
        limits: UtpLimits | None = None,
        kinds: Kinds | None = None,
        route_grace: float = ROUTE_GRACE,
    ) -> None:
        self.identity: Final = identity
        self.counters: Final[Counter[str]] = Counter()
        self._random: Final = random
        self.router: Final = Router(
            identity, random=random, unix_time=unix_time, now=now, hop_limiting=hop_limiting, hop_limit=hop_limit
        )
        limits = limits or UtpLimits()
        self.socket: Final = Sessions(identity, random=random, kinds=kinds, utp_limits=limits)
        self._min_rto: Final = limits.min_rto
        self._links: dict[int, _Link] = {}
        self._link_of_port: dict[int, int] = {}
        self._next_link = 1
        self._sendable: dict[int, None] = {}
        self._route_grace: Final = route_grace
        # When the grace of each dial began, by key and stream; entries go when it is over.
        self._dials: dict[PublicKey, dict[int, float]] = {}
        self._changed_at = now
        self._deadlines = Deadlines()
        self._pauses: Final = Pauses()
        self._pause_changes: dict[int, bool] = {}

    # Links

    def add_link(
        self, peer_type: PeerType, now: float, *, outbound: bool = False, terms: LinkTerms | None = None
    ) -> int:
        """Take on a connected link; what opens it is ready to be sent. Return the link's number.

        Args:
            peer_type: What kind of link it is.
            now: Monotonic seconds.
            outbound: Whether we dialled.
            terms: What is asked of the peer before there is `LinkUp`; None for Pinecone's handshake alone.
        """
        link = self._next_link
        self._next_link += 1
        peering = Peering(self.identity, peer_type, now, outbound=outbound, terms=terms, random=self._random)
        self._links[link] = _Link(peering, peer_type)
        self._link_changed(link, self._links[link])
        return link

    def remove_link(self, link: int, now: float) -> list[StackEvent]:
        """Forget a link that its owner has lost or closed. Unknown numbers are ignored."""
        events: list[StackEvent] = []
        self._detach(link, now, events)
        return events

    def receive_buffer(self, link: int, buffer: bytearray, fresh: int, end: int, now: float) -> Received:
        """Take what a link has read into a buffer, whose first ``end`` bytes count. Never raises, whatever they are.

        Traffic in it becomes no object of its own: see `pinecone_transport.router.transit`. `receive_data` is the plain
        twin of this.

        Args:
            link: Its number.
            buffer: Begins with what was not used the last time. It is changed, and lent until all offers are taken.
            fresh: How many of its bytes have just come.
            end: How many bytes there are.
            now: Seconds.
        """
        record = self._links.get(link)
        if record is None:
            return Received(consumed=end)
        received = Received()
        record.peering.data_arrived(fresh, now)
        passage = Passage()
        came_to = -1
        while came_to != passage.position and link in self._links:
            if record.port is not None:
                passage.port = record.port
                self._receive_traffic(record.peering, passage, buffer, end, now)
            if passage.deliveries:
                received.is_quiet = False
                self._take_deliveries(passage, now, received.events)
            came_to = passage.position
            passage.position, peering_events = record.peering.receive_next(buffer, came_to, end, now)
            received.is_quiet = received.is_quiet and passage.position == came_to
            self._peering_up(link, record, peering_events, now, received.events)
        received.consumed = passage.position if link in self._links else end
        for run in passage.runs.values():
            if run.frames:  # else what it was made for has become too long
                self._offer(run, link, now, received)
        return received

    def offer_taken(self, offer: Offer, taken: int, now: float, received: Received) -> bytes:
        """Note that ``taken`` bytes of an offer were written; what follows the frame that was cut there is queued.

        Returns:
            The rest of that frame, which has to be written next.
        """
        record = self._links.get(offer.link)
        if record is None:
            return b""
        run = offer.run
        if taken == run.size:
            record.peering.traffic_sent(run.frames, taken, now)
            self._link_changed(offer.link, record)
            return b""
        received.is_quiet = False
        cut, left = run.after(taken)
        if taken:
            record.peering.traffic_sent(run.frames - len(left), taken + len(cut), now)
        self._queue(offer, record, left, now)
        self._link_changed(offer.link, record)
        return cut

    def take_pauses(self) -> dict[int, bool]:
        """Return the links that are not to be read from any more (True), or are again (False), since the last call."""
        changes, self._pause_changes = self._pause_changes, {}
        return changes

    def receive_data(self, link: int, data: bytes, now: float) -> list[StackEvent]:
        """Take bytes that a link brought, cut anywhere, one object per frame: the plain twin of `receive_buffer`."""
        events: list[StackEvent] = []
        record = self._links.get(link)
        if record is None:
            return events
        self._peering_up(link, record, record.peering.receive_data(data, now), now, events)
        return events

    def link_blocked(self, link: int, now: float) -> None:
        """The link's socket takes no more bytes; after 3 s of that the link is given up (§2)."""
        record = self._links.get(link)
        if record is not None and not record.blocked:
            record.blocked = True
            record.peering.link_blocked(now)
            self._link_changed(link, record)

    def link_unblocked(self, link: int, now: float) -> None:
        """The link's socket takes bytes again."""
        record = self._links.get(link)
        if record is not None and record.blocked:
            record.blocked = False
            record.peering.link_unblocked(now)
            self._link_changed(link, record)

    def links_to_send(self) -> list[int]:
        """Return the links that have bytes to send and are not blocked."""
        return list(self._sendable)

    def data_to_send(self, link: int, limit: int, now: float) -> list[bytes]:
        """Return about ``limit`` bytes for the link, in order; none for a link that is unknown or blocked."""
        if link not in self._sendable:
            return []
        record = self._links[link]
        data = record.peering.data_to_send(limit, now)
        for waiting in self._pauses.waiting_for(link):
            pause = self._pauses.of(waiting)
            if record.peering.is_half_empty(pause.destination, pause.source):
                self._end_pause(waiting, now)
        self._link_changed(link, record)
        return data

    def peering(self, link: int) -> Peering | None:
        """Return a link's peering, for looking at."""
        record = self._links.get(link)
        return record.peering if record is not None else None

    # Streams

    def connect(self, key: PublicKey, now: float) -> int:
        """Dial the node with this key; return the stream's number. `StreamConnected` or `StreamLost` follows.

        Raises:
            LocalProtocolError: The key is our own.
        """
        if key == self.identity.key:
            raise LocalProtocolError("a node does not dial its own key")
        stream = self.socket.connect(key, now)
        self._dials.setdefault(key, {})[stream] = now
        self._deadlines.schedule(_GRACE, now + self._route_grace)
        return stream

    def write(self, stream: int, data: bytes, now: float) -> None:
        """Queue bytes, at most ``room(stream)``."""
        self.socket.write_pieces(stream, (data,), now)

    def write_pieces(self, stream: int, pieces: Sequence[bytes], now: float) -> None:
        """Queue bytes as `write` of each piece does, cheaper."""
        self.socket.write_pieces(stream, pieces, now)

    def room(self, stream: int) -> int:
        """Return how many bytes the stream takes now."""
        return self.socket.room(stream)

    def segment(self, stream: int) -> int:
        """Return the payload of one packet of the stream, bytes."""
        return self.socket.segment(stream)

    def is_authenticated(self, stream: int) -> bool:
        """Tell whether the session itself has made sure of the far end's key: then no TLS goes around the stream."""
        return self.socket.is_authenticated(stream)

    def close(self, stream: int, now: float) -> None:
        """Send the end behind what was written; the stream can still be read."""
        self.socket.close(stream, now)

    def abort(self, stream: int, now: float) -> None:
        """Reset the stream; no event follows."""
        self.socket.abort(stream, now)

    def abort_all(self, now: float) -> None:
        """Reset every stream, so that the far ends notice at once."""
        self.socket.abort_all(now)

    def acknowledge_received_data(self, stream: int, length: int, now: float) -> None:
        """Give back receive window for bytes that a `StreamData` brought."""
        self.socket.acknowledge_received_data(stream, length, now)

    # The turn

    def pump(self, now: float, *, data_only: bool = False) -> None:
        """Turn what the sessions want to send into frames in the links' queues: the end of a turn.

        Each pair of keys is asked for packets as long as the queue of its next hop has room for them.

        Args:
            now: Seconds.
            data_only: Whether what only acknowledges waits for the next call. In the middle of a turn, data may come
                up that carries it.
        """
        for key in self.socket.ready_keys():
            self._send_packets(key, now, data_only)
        for port, frame in self.router.frames_to_send():
            link = self._link_of_port.get(port)
            if link is not None:
                record = self._links[link]
                record.peering.send_frame(frame, now)
                self._link_changed(link, record)

    def has_more_to_send(self) -> bool:
        """Tell whether `pump` and `data_to_send` may give more, now that links have taken what they gave."""
        return bool(self._sendable or self.socket.ready_keys())

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, seconds on the ``now`` axis, or None."""
        self._deadlines.schedule(_ROUTER, self.router.next_timer())
        self._deadlines.schedule(_SOCKET, self.socket.next_timer())
        return self._deadlines.next()

    def handle_timer(self, now: float) -> list[StackEvent]:
        """Do what has become due. `pump` should follow."""
        events: list[StackEvent] = []
        for owner in self._deadlines.take_due(now):
            if owner == _ROUTER:
                self._route_up(self.router.handle_timer(now), now, events)
            elif owner == _SOCKET:
                events += self.socket.handle_timer(now)
                for key in self.socket.take_repeated_keys():
                    # The coordinates that we hold may be of where the peer was (§6); by key it is found anew. Those
                    # that came after what is now repeated had left have not been tried yet.
                    self.router.doubt_coordinates(key, now - self._min_rto)
            elif owner == _GRACE:
                self._end_grace(now, events)
            else:
                record = self._links[owner]
                self._look_at_pause(owner, now)
                self._peering_up(owner, record, record.peering.handle_timer(now), now, events)
        return events

    # Inside

    def _receive_traffic(self, peering: Peering, passage: Passage, buffer: bytearray, end: int, now: float) -> None:
        """Take traffic out of a link's buffer, up to what is none."""
        began_at, frames = passage.position, passage.frames
        self.router.receive_traffic(passage, buffer, end, now)
        if passage.frames > frames:
            peering.traffic_arrived(passage.frames - frames, passage.position - began_at, now)

    def _take_deliveries(self, passage: Passage, now: float, events: list[StackEvent]) -> None:
        """Hand up what ended here."""
        deliveries, passage.deliveries = passage.deliveries, []
        for delivery in deliveries:
            key = delivery.source
            self._deliver(key, delivery.destination, delivery.packets, now, events)
            if delivery.destination == self.identity.key and self.router.learn_coordinates(
                key, delivery.coordinates, now
            ):
                self.socket.wake(key, now)

    def _deliver(
        self,
        source: PublicKey,
        destination: PublicKey,
        packets: Sequence[bytes | memoryview],
        now: float,
        events: list[StackEvent],
    ) -> None:
        """Hand packets that end here to the session."""
        if destination != self.identity.key:
            self.counters["packets for other keys"] += len(packets)
            return
        received = self.socket.receive_run(source, packets, now)
        events += received
        if any(isinstance(event, StreamAccepted) for event in received):
            # The far end is there, whatever has kept dials of ours to it unanswered so far.
            self._key_is_there(source, now)

    def _offer(self, run: Run, came_by: int, now: float, received: Received) -> None:
        """Offer what leaves by an idle link, queue what leaves by another."""
        link = self._link_of_port[run.port]
        record = self._links[link]
        offer = Offer(link, run, came_by)
        if record.blocked or record.peering.has_data_to_send():
            self.offer_taken(offer, 0, now, received)
        else:
            received.offers.append(offer)

    def _queue(self, offer: Offer, record: _Link, left: list[tuple[PublicKey, PublicKey, bytes]], now: float) -> None:
        """Have frames of an offer wait, and the link that they came by with them if there are too many."""
        peering = record.peering
        for destination, source, frame in left:
            peering.send_traffic(destination, source, ((frame,),))
            if not peering.is_half_empty(destination, source) and offer.came_by in self._links:
                pause = Pause(offer.link, destination, source, now)
                if self._pauses.begin(offer.came_by, pause):
                    self._links[offer.came_by].peering.reading_paused(now)
                    self._pause_changes[offer.came_by] = True
                    self._deadlines.schedule(offer.came_by, pause.ends_at)

    def _look_at_pause(self, link: int, now: float) -> None:
        """End a link's pause that has lasted long enough; what is due may be something else of the link's."""
        if link in self._pauses:
            ends_at = self._pauses.of(link).ends_at
            if now >= ends_at:
                self._end_pause(link, now)
            else:
                self._deadlines.schedule(link, ends_at)

    def _end_pause(self, link: int, now: float) -> None:
        self._pauses.end(link, now)
        self._links[link].peering.reading_resumed(now)
        self._pause_changes[link] = False

    def _peering_up(
        self, link: int, record: _Link, peering_events: list[PeeringEvent], now: float, events: list[StackEvent]
    ) -> None:
        """Take what a peering reports: frames to the router, its beginning and end further up."""
        for event in peering_events:
            if isinstance(event, Frame):
                if record.port is not None:
                    self._route_up(self.router.receive_frame(record.port, event, now), now, events)
                    if event.type == TREE_ANNOUNCEMENT and not record.announced:
                        # From now on the link is a way to somewhere.
                        record.announced = True
                        self._ways_changed(now)
                        self.socket.link_up(record.key, now)
            elif isinstance(event, HandshakeCompleted):
                self._open_peering(link, record, event.key, now, events)
            else:
                self._fail(link, event.error, now, events)
        if link in self._links:
            self._link_changed(link, record)

    def _open_peering(self, link: int, record: _Link, key: PublicKey, now: float, events: list[StackEvent]) -> None:
        if key == self.identity.key:
            self._fail(link, HandshakeError("the peer has our own key"), now, events)
            return
        try:
            port = self.router.add_peer(key, record.peer_type, now)
        except LocalProtocolError as error:
            self._fail(link, error, now, events)
            return
        record.key = key
        record.port = port
        self._link_of_port[port] = link
        events.append(LinkUp(link, key, port))

    def _route_up(self, router_events: list[RouterEvent], now: float, events: list[StackEvent]) -> None:
        """Take what the router reports: packets to the session, faults to the link, the rest further up."""
        for event in router_events:
            if isinstance(event, PacketReceived):
                self._deliver(event.source, event.destination, [event.payload], now, events)
            elif isinstance(event, CoordinatesLearned):
                # What went where the far end no longer is, or had no way to go, arrives if it is sent now.
                self.socket.wake(event.key, now)
            elif isinstance(event, PeerAtFault):
                self._fail(self._link_of_port[event.port], event.error, now, events)
            else:
                events.append(event)
                if isinstance(event, TreeChanged):
                    self._ways_changed(now)
                    # Whoever knows our old coordinates sends there until we show it the new ones (§6).
                    self.socket.acknowledge_all(now)
                else:
                    self._key_is_there(event.key, now)
                    if isinstance(event, RouteLearned):
                        # What we said when we moved had no way to go.
                        self.socket.acknowledge(event.key, now)

    def _ways_changed(self, now: float) -> None:
        """What had no answer may have one now, from whomever it is."""
        self._changed_at = now
        self.socket.wake_all(now)

    def _key_is_there(self, key: PublicKey, now: float) -> None:
        """The same for one key."""
        self.socket.wake(key, now)
        for stream in self._dials.get(key, ()):
            self._dials[key][stream] = now

    def _send_packets(self, key: PublicKey, now: float, data_only: bool) -> None:
        route = self.router.route(key, now) or self.router.route_by_parent(key)
        link = self._link_of_port.get(route.port) if route is not None else None
        if route is None or link is None:
            # Nobody we know of is nearer to the key than we, or to the root. What is sent now is lost, as on any bad
            # path, and the session's own timers repeat it.
            lost = self.socket.pieces_to_send(key, _NO_ROUTE_LIMIT, now, data_only)
            self.counters["packets without a route"] += len(lost)
            return
        record = self._links[link]
        room = record.peering.room(key, self.identity.key)
        packets = self.socket.pieces_to_send(key, room, now, data_only) if room > 0 else None
        if packets:
            frames = self.router.frame_packets(route, packets)
            record.peering.send_traffic(key, self.identity.key, frames)
            self._link_changed(link, record)

    def _is_known(self, key: PublicKey, now: float) -> bool:
        """Tell whether a way leads to the very key, and not only to where it would be."""
        route = self.router.route(key, now)
        return route is not None and route.watermark.key == key

    def _end_grace(self, now: float, events: list[StackEvent]) -> None:
        """Fail the dials that have waited long enough."""
        for key, dials in list(self._dials.items()):
            for stream, since in list(dials.items()):
                until = max(since, self._changed_at) + self._route_grace
                if until > now:
                    self._deadlines.schedule(_GRACE, until)
                    continue
                del dials[stream]
                if self._is_known(key, now):
                    continue  # so it is there, or was a moment ago, and has the session's own time to answer
                events += self.socket.fail_connecting(stream, UnreachableError(f"nothing of {key.hex()} is there"), now)
            if not dials:
                del self._dials[key]

    def _fail(self, link: int, error: PineconeError, now: float, events: list[StackEvent]) -> None:
        """Give a link up, once: what its peering finds wrong behind the frame that ended it is no news."""
        if link not in self._links:
            return
        self._detach(link, now, events)
        events.append(LinkLost(link, error))

    def _detach(self, link: int, now: float, events: list[StackEvent]) -> None:
        record = self._links.pop(link, None)
        if record is None:
            return
        self._sendable.pop(link, None)
        self._deadlines.forget(link)
        for waiting in self._pauses.waiting_for(link):
            self._end_pause(waiting, now)
        if link in self._pauses:
            self._pauses.end(link, now)
        self._pauses.forget(link)
        port = record.port
        if port is not None:
            record.port = None
            del self._link_of_port[port]
            self._route_up(self.router.remove_peer(port, now), now, events)
            if all(other.key != record.key for other in self._links.values()):
                events += self.socket.link_lost(record.key, now)

    def _link_changed(self, link: int, record: _Link) -> None:
        """Note what a link's peering wants after it was touched: to send, to be called at a time."""
        self._deadlines.schedule(link, record.peering.next_timer())
        if record.peering.has_data_to_send() and not record.blocked:
            self._sendable[link] = None
        else:
            self._sendable.pop(link, None)
