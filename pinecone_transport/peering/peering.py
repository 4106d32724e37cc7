"""Pinecone on one link: how it opens, frames, keepalives, and what ends the link (§2, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, final

from pinecone_transport.errors import (
    FrameError,
    HandshakeError,
    LinkTimeoutError,
    LocalProtocolError,
    RemoteProtocolError,
)
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.peering.counts import FrameCounts
from pinecone_transport.peering.events import HandshakeCompleted, LinkFailed, PeeringEvent
from pinecone_transport.peering.opening import LinkTerms, Opening
from pinecone_transport.peering.queues import FairQueue, ProtocolQueue
from pinecone_transport.peering.splitter import FrameSplitter
from pinecone_transport.randomness import RandomSource
from pinecone_transport.wire import (
    KEEPALIVE,
    LINK_PROOF,
    TRAFFIC,
    WAKEUP_BROADCAST,
    Frame,
    PeerType,
    decode_frame,
    encode_frame,
    frame_length,
)

HANDSHAKE_TIMEOUT: Final = 10.0  # §2, as the three that follow
KEEPALIVE_INTERVAL: Final = 3.0
SILENCE_TIMEOUT: Final = 5.0
BLOCKED_TIMEOUT: Final = 3.0
LEAST_RATE: Final = 100.0
"""Bytes a second in which a frame that is not whole yet has to come, or else it counts as silence: less than a serial
line of 1,200 baud brings. Otherwise a byte now and then would hold a link on which nothing ever arrives."""
PROTOCOL_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of protocol frames that may wait. They cannot be dropped one by one without making routing wrong, and a link
that has let so many pile up is of no use."""
HELD_LIMIT: Final = 256 * 1024
"""Bytes of frames that are kept from a peer that has yet to prove its key."""

_NEVER: Final = float("inf")
_TYPE_AT: Final = 5
_KEEPALIVE_FRAME: Final = encode_frame(Frame(KEEPALIVE))


class PeeringState(Enum):
    """Where a peering stands; it goes down this list and never back."""

    HANDSHAKE = "handshake"
    PROOF = "proof"
    ESTABLISHED = "established"
    FAILED = "failed"


@final
class Peering:
    """One end of a link. Feed it bytes, hand out its events, write what it gives, and mind its timer.

    Once it has reported `LinkFailed` it ignores whatever it is told, and has nothing to send.

    Args:
        identity: Ours.
        peer_type: What kind of link it is.
        now: Monotonic seconds; the peer has 10 s from here to shake hands, and to prove its key where it has to.
        outbound: Whether we dialled.
        terms: What is asked of the peer; None for Pinecone's handshake alone.
        random: For nonces; needed with terms.

    Attributes:
        key: The peer's, 32 bytes; None until `HandshakeCompleted`.
        peer_type: As given.
        state: Where it stands.
        established_at: When the handshake was completed, or None.
        bytes_in: All bytes received, handshake and garbage too.
        bytes_out: All bytes handed out to be written.
    """

    __slots__ = (
        "_blocked_until",
        "_frames_in",
        "_frames_out",
        "_held",
        "_held_size",
        "_keepalive_at",
        "_listening_until",
        "_opening",
        "_overflowed_at",
        "_paused_at",
        "_proof_until",
        "_protocol",
        "_splitter",
        "_too_long",
        "_traffic",
        "_unknown",
        "bytes_in",
        "bytes_out",
        "established_at",
        "key",
        "peer_type",
        "state",
    )

    def __init__(
        self,
        identity: Identity,
        peer_type: PeerType,
        now: float,
        *,
        outbound: bool = False,
        terms: LinkTerms | None = None,
        random: RandomSource | None = None,
    ) -> None:
        self.key: PublicKey | None = None
        self.peer_type: Final = peer_type
        self.state = PeeringState.HANDSHAKE
        self.established_at: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._opening: Final = Opening(identity, terms, outbound=outbound, random=random)
        self._held: list[Frame] = []  # what came before the peer had proved its key
        self._held_size = 0
        self._splitter: Final = FrameSplitter()
        self._protocol: Final = ProtocolQueue()
        self._traffic: Final = FairQueue(peer_type)
        self._frames_in: Final = FrameCounts()
        self._frames_out: Final = FrameCounts()
        self._unknown = 0
        self._too_long = 0
        self._listening_until = now + HANDSHAKE_TIMEOUT
        self._proof_until = _NEVER if terms is None or not terms.require_proof else now + HANDSHAKE_TIMEOUT
        self._keepalive_at = _NEVER
        self._blocked_until = _NEVER
        self._overflowed_at = _NEVER
        self._paused_at = _NEVER

    @property
    def queued_bytes(self) -> int:
        """Bytes of whole frames that wait to be written."""
        return self._protocol.size + self._traffic.size

    @property
    def queued_frames(self) -> int:
        """Whole frames that wait to be written."""
        return len(self._protocol) + len(self._traffic)

    @property
    def counters(self) -> dict[str, int]:
        """Frames and bytes by direction and type, and frames dropped by reason."""
        return {
            **self._frames_in.named("in"),
            **self._frames_out.named("out"),
            "dropped_in_unknown_type": self._unknown,
            "dropped_out_queue_full": self._traffic.dropped,
            "dropped_out_too_long": self._too_long,
            "dropped_in_challenges": self._opening.unanswered,
        }

    # From below.

    def receive_data(self, data: bytes, now: float) -> list[PeeringEvent]:
        """Take bytes as the link gives them, in pieces of any size; return what they complete, in order.

        Keepalives and frames of unknown types are not reported. `LinkFailed`, if any, is the last event and stands
        behind every good frame before the fault. Source: §2, §3.
        """
        if self.state is PeeringState.FAILED or not data:
            return []
        self.bytes_in += len(data)
        events: list[PeeringEvent] = []
        try:
            start = 0
            if self.state is PeeringState.HANDSHAKE:
                start = self._receive_opening(data, now, events)
            else:
                self._hear(len(data), now)
            for frame in self._splitter.split(data, start):
                self._receive_frame(frame, now, events)
        except RemoteProtocolError as error:
            events.append(self._fail(error))
        return events

    def receive_next(self, buffer: bytearray, start: int, end: int, now: float) -> tuple[int, list[PeeringEvent]]:
        """Take one frame, or what opens the link, from the beginning of ``buffer[start:end]``.

        For whoever keeps the bytes that are no whole frame yet; `receive_data` keeps them itself.

        Returns:
            Where the next frame begins, which is ``start`` if this one is not whole, and what came of it.
        """
        events: list[PeeringEvent] = []
        if self.state is PeeringState.FAILED:
            return end, events
        try:
            if self.state is PeeringState.HANDSHAKE:
                return start + self._receive_opening(bytes(buffer[start:end]), now, events), events
            length = frame_length(buffer, start, end)
            if length is None or start + length > end:
                return start, events
            self._receive_frame(bytes(buffer[start : start + length]), now, events)
        except RemoteProtocolError as error:
            events.append(self._fail(error))
            return end, events
        return start + length, events

    def data_arrived(self, length: int, now: float) -> None:
        """Note that the link has brought so many bytes, which `receive_next` or somebody else will look at."""
        self.bytes_in += length
        if self.state is not PeeringState.HANDSHAKE:
            self._hear(length, now)

    def traffic_arrived(self, frames: int, length: int, now: float) -> None:
        """Count whole frames of traffic that somebody else has looked at, one at least, and their bytes."""
        self._frames_in.add_traffic(frames, length)
        self._listening_until = now + SILENCE_TIMEOUT

    def reading_paused(self, now: float) -> None:
        """Note that nothing is read from the link for a while: the peer is not to blame for its silence."""
        self._paused_at = now

    def reading_resumed(self, now: float) -> None:
        """Note that the link is read from again; the time between does not count."""
        self._listening_until += now - self._paused_at
        self._paused_at = _NEVER

    def link_blocked(self, now: float) -> None:
        """Note that the socket takes no more for now; after 3 s of that the link is dead.

        Call it again when the socket has taken some bytes and still holds others: the 3 s begin anew. Until
        `link_unblocked` there is nothing to send. Source: §2.
        """
        self._blocked_until = now + BLOCKED_TIMEOUT

    def link_unblocked(self, now: float) -> None:
        """Note that the socket takes bytes again."""
        self._blocked_until = _NEVER

    # From above.

    def send_frame(self, frame: Frame, now: float) -> None:
        """Queue a frame: traffic by its flow, which may drop its oldest, all others in order and first.

        A frame that would be longer than 65,535 bytes is dropped and counted: it may be another node's, that grew
        on its way through here. When more than 4 MiB of protocol frames wait, the timer comes due and reports
        `LinkFailed`.

        Raises:
            LocalProtocolError: Before `HandshakeCompleted`: nobody is known to be there yet.

        Source: §3, "Queues towards a peer".
        """
        if self.state is not PeeringState.ESTABLISHED:
            if self.state is PeeringState.FAILED:
                return
            raise LocalProtocolError("frames cannot be sent before the handshake is completed")
        try:
            encoded = encode_frame(frame)
        except LocalProtocolError:
            self._too_long += 1
            return
        if frame.type == TRAFFIC:
            self._traffic.push(frame.destination_key, frame.source_key, (encoded,))
        elif self._protocol.size + len(encoded) <= PROTOCOL_LIMIT:
            self._protocol.push(encoded)
        else:
            self._overflowed_at = min(self._overflowed_at, now)

    def send_traffic(self, destination: PublicKey, source: PublicKey, frames: Sequence[tuple[bytes, ...]]) -> None:
        """Queue encoded frames of traffic of one flow, each in pieces. The peering must be established."""
        self._traffic.push(destination, source, *frames)

    def traffic_sent(self, frames: int, length: int, now: float) -> None:
        """Count frames of traffic, and their bytes, that were written to the link without waiting here."""
        self._frames_out.add_traffic(frames, length)
        self.bytes_out += length
        self._keepalive_at = now + KEEPALIVE_INTERVAL

    def room(self, destination: PublicKey, source: PublicKey) -> int:
        """Return how many bytes of payload the flow of these keys takes now; within that it drops nothing."""
        return self._traffic.room(destination, source)

    def is_half_empty(self, destination: PublicKey, source: PublicKey) -> bool:
        """Tell whether at most half of the room of these keys' flow is taken."""
        return self._traffic.is_half_empty(destination, source)

    # To below.

    def has_data_to_send(self) -> bool:
        """Tell whether `data_to_send` would give anything: never while the link is blocked."""
        if self.state is PeeringState.FAILED or self._blocked_until != _NEVER:
            return False
        return self._protocol.size > 0 or self._traffic.size > 0 or self._opening.has_data_to_send()

    def data_to_send(self, limit: int, now: float) -> list[bytes]:
        """Take what is to be written now: what opens the link, then whole frames, until there are ``limit`` bytes.

        At least one frame is given if one waits. What is returned counts as written.
        """
        if not self.has_data_to_send():
            return []
        pieces: list[bytes] = []
        size = 0
        if self._opening.has_data_to_send():
            pieces.append(self._opening.data_to_send())
            size = len(pieces[0])
        while self._protocol.size and (size < limit or not pieces):
            frame = self._protocol.pop()
            self._frames_out.add(frame[_TYPE_AT], len(frame))
            pieces.append(frame)
            size += len(frame)
        size += self._pull_traffic(pieces, limit - size)
        self.bytes_out += size
        if self.state is not PeeringState.HANDSHAKE:
            self._keepalive_at = now + KEEPALIVE_INTERVAL
        return pieces

    # Time.

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`; None once the link has failed."""
        if self.state is PeeringState.FAILED:
            return None
        listening_until = self._listening_until if self._paused_at == _NEVER else _NEVER
        return min(listening_until, self._keepalive_at, self._blocked_until, self._overflowed_at, self._proof_until)

    def handle_timer(self, now: float) -> list[PeeringEvent]:
        """Do what is due: fail a link that is silent or takes nothing, or queue a keepalive. Source: §2."""
        if self.state is PeeringState.FAILED:
            return []
        error = self._overdue(now)
        if error is not None:
            return [self._fail(error)]
        if now >= self._keepalive_at:
            self._keepalive_at = now + KEEPALIVE_INTERVAL
            if self.queued_frames == 0 and self._blocked_until == _NEVER:
                self._protocol.push(_KEEPALIVE_FRAME)
        return []

    def _overdue(self, now: float) -> LinkTimeoutError | None:
        if now >= self._listening_until and self._paused_at == _NEVER:
            if self.state is PeeringState.HANDSHAKE:
                return LinkTimeoutError(f"no handshake within {HANDSHAKE_TIMEOUT:.0f} s")
            return LinkTimeoutError(f"no whole frame received for {SILENCE_TIMEOUT:.0f} s")
        if now >= self._blocked_until:
            return LinkTimeoutError(f"nothing could be written for {BLOCKED_TIMEOUT:.0f} s")
        if now >= self._proof_until:
            return LinkTimeoutError(f"the peer did not prove its key within {HANDSHAKE_TIMEOUT:.0f} s", "§11")
        if now >= self._overflowed_at:
            return LinkTimeoutError("the peer takes protocol frames too slowly", "§3")
        return None

    # Inside.

    def _pull_traffic(self, pieces: list[bytes], limit: int) -> int:
        """Take traffic until there are ``limit`` bytes of it; return how many there are."""
        traffic = self._traffic
        before = traffic.size
        frames = 0
        while traffic.size and (before - traffic.size < limit or not pieces):
            pieces += traffic.pop()
            frames += 1
        taken = before - traffic.size
        self._frames_out.add_traffic(frames, taken)
        return taken

    def _receive_opening(self, data: bytes, now: float, events: list[PeeringEvent]) -> int:
        """Take what the opening lacks; return the offset of what follows it in the data."""
        start = self._opening.receive_data(data)
        if self._opening.key is None:
            return start
        self._listening_until = now + SILENCE_TIMEOUT
        self._keepalive_at = now + KEEPALIVE_INTERVAL
        self.state = PeeringState.PROOF
        if self._opening.is_done:
            self._establish(now, events)
        return start

    def _establish(self, now: float, events: list[PeeringEvent]) -> None:
        self.key = key = self._opening.key
        assert key is not None  # opening is done
        self.established_at = now
        self.state = PeeringState.ESTABLISHED
        self._proof_until = _NEVER
        events.append(HandshakeCompleted(key))
        events += self._held
        self._held = []

    def _hear(self, length: int, now: float) -> None:
        """Wait longer for a whole frame, since bytes have come that may be a part of one."""
        until = max(self._listening_until, now) + length / LEAST_RATE
        self._listening_until = min(until, now + SILENCE_TIMEOUT)

    def _receive_frame(self, data: bytes, now: float, events: list[PeeringEvent]) -> None:
        self._listening_until = now + SILENCE_TIMEOUT
        kind = data[_TYPE_AT]
        if kind == LINK_PROOF:
            self._receive_link_proof(data, now, events)
            return
        if kind > WAKEUP_BROADCAST:
            self._unknown += 1
            return
        frame = decode_frame(data)
        self._frames_in.add(kind, len(data))
        if kind == KEEPALIVE:
            return
        if self.state is PeeringState.PROOF:
            self._hold(frame, len(data))
        else:
            events.append(frame)

    def _receive_link_proof(self, data: bytes, now: float, events: list[PeeringEvent]) -> None:
        try:
            proved = self._opening.receive_link_proof(data)
        except FrameError:
            self._unknown += 1  # of somebody's who uses the type for something else
            return
        if proved and self.state is PeeringState.PROOF:
            self._establish(now, events)

    def _hold(self, frame: Frame, length: int) -> None:
        """Keep a frame until the peer has proved its key."""
        self._held_size += length
        if self._held_size > HELD_LIMIT:
            raise HandshakeError("the peer sends much and does not prove its key", "§11")
        self._held.append(frame)

    def _fail(self, error: RemoteProtocolError) -> LinkFailed:
        self.state = PeeringState.FAILED
        self._held = []
        return LinkFailed(error)
