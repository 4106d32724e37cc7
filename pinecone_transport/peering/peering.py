"""Pinecone on one link: handshake, frames, keepalives, and what ends the link (§2, §3)."""

from __future__ import annotations

from enum import Enum
from typing import Final, final

from pinecone_transport.errors import LinkTimeoutError, LocalProtocolError, RemoteProtocolError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.peering.counts import FrameCounts
from pinecone_transport.peering.events import HandshakeCompleted, LinkFailed, PeeringEvent
from pinecone_transport.peering.queues import FairQueue, ProtocolQueue
from pinecone_transport.peering.splitter import FrameSplitter
from pinecone_transport.wire import (
    HANDSHAKE_LENGTH,
    KEEPALIVE,
    TRAFFIC,
    WAKEUP_BROADCAST,
    Frame,
    PeerType,
    decode_frame,
    decode_handshake,
    encode_frame,
    encode_handshake,
)

HANDSHAKE_TIMEOUT: Final = 10.0  # §2, as the three that follow
KEEPALIVE_INTERVAL: Final = 3.0
SILENCE_TIMEOUT: Final = 5.0
BLOCKED_TIMEOUT: Final = 3.0
PROTOCOL_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of protocol frames that may wait. They cannot be dropped one by one without making routing wrong, and a link
that has let so many pile up is of no use."""

_NEVER: Final = float("inf")
_TYPE_AT: Final = 5
_KEEPALIVE_FRAME: Final = encode_frame(Frame(KEEPALIVE))


class PeeringState(Enum):
    """Where a peering stands; it goes down this list and never back."""

    HANDSHAKE = "handshake"
    ESTABLISHED = "established"
    FAILED = "failed"


@final
class Peering:
    """One end of a link. Feed it bytes, hand out its events, write what it gives, and mind its timer.

    Once it has reported `LinkFailed` it ignores whatever it is told, and has nothing to send.

    Args:
        identity: Ours.
        peer_type: What kind of link it is.
        now: Monotonic seconds; the handshake has 10 s from here.

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
        "_handshake_in",
        "_handshake_out",
        "_keepalive_at",
        "_listening_until",
        "_overflowed_at",
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

    def __init__(self, identity: Identity, peer_type: PeerType, now: float) -> None:
        self.key: PublicKey | None = None
        self.peer_type: Final = peer_type
        self.state = PeeringState.HANDSHAKE
        self.established_at: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._handshake_in = b""  # as much as has come
        self._handshake_out = encode_handshake(identity)  # until it is sent
        self._splitter: Final = FrameSplitter()
        self._protocol: Final = ProtocolQueue()
        self._traffic: Final = FairQueue(peer_type)
        self._frames_in: Final = FrameCounts()
        self._frames_out: Final = FrameCounts()
        self._unknown = 0
        self._too_long = 0
        self._listening_until = now + HANDSHAKE_TIMEOUT
        self._keepalive_at = _NEVER
        self._blocked_until = _NEVER
        self._overflowed_at = _NEVER

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
                start = self._receive_handshake(data, now, events)
            else:
                self._listening_until = now + SILENCE_TIMEOUT
            for frame in self._splitter.split(data, start):
                self._receive_frame(frame, events)
        except RemoteProtocolError as error:
            events.append(self._fail(error))
        return events

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
            self._traffic.push(frame.destination_key, frame.source_key, encoded)
        elif self._protocol.size + len(encoded) <= PROTOCOL_LIMIT:
            self._protocol.push(encoded)
        else:
            self._overflowed_at = min(self._overflowed_at, now)

    def room(self, destination: PublicKey, source: PublicKey) -> int:
        """Return how many bytes of payload the flow of these keys takes now; within that it drops nothing."""
        return self._traffic.room(destination, source)

    # To below.

    def has_data_to_send(self) -> bool:
        """Tell whether `data_to_send` would give anything: never while the link is blocked."""
        if self.state is PeeringState.FAILED or self._blocked_until != _NEVER:
            return False
        return self._protocol.size > 0 or self._traffic.size > 0 or bool(self._handshake_out)

    def data_to_send(self, limit: int, now: float) -> list[bytes]:
        """Take what is to be written now: our handshake or whole frames, until there are ``limit`` bytes or more.

        At least one frame is given if one waits. What is returned counts as written.
        """
        if not self.has_data_to_send():
            return []
        pieces: list[bytes] = []
        size = 0
        if self._handshake_out:
            pieces.append(self._handshake_out)
            size = HANDSHAKE_LENGTH
            self._handshake_out = b""
        for queue in (self._protocol, self._traffic):
            while queue.size and (size < limit or not pieces):
                frame = queue.pop()
                self._frames_out.add(frame[_TYPE_AT], len(frame))
                pieces.append(frame)
                size += len(frame)
        self.bytes_out += size
        if self.state is PeeringState.ESTABLISHED:
            self._keepalive_at = now + KEEPALIVE_INTERVAL
        return pieces

    # Time.

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`; None once the link has failed."""
        if self.state is PeeringState.FAILED:
            return None
        return min(self._listening_until, self._keepalive_at, self._blocked_until, self._overflowed_at)

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
        if now >= self._listening_until:
            if self.state is PeeringState.HANDSHAKE:
                return LinkTimeoutError(f"no handshake within {HANDSHAKE_TIMEOUT:.0f} s")
            return LinkTimeoutError(f"nothing received for {SILENCE_TIMEOUT:.0f} s")
        if now >= self._blocked_until:
            return LinkTimeoutError(f"nothing could be written for {BLOCKED_TIMEOUT:.0f} s")
        if now >= self._overflowed_at:
            return LinkTimeoutError("the peer takes protocol frames too slowly", "§3")
        return None

    # Inside.

    def _receive_handshake(self, data: bytes, now: float, events: list[PeeringEvent]) -> int:
        """Take what the handshake lacks; return the offset of what follows it in the data."""
        missing = HANDSHAKE_LENGTH - len(self._handshake_in)
        self._handshake_in += data[:missing]
        if len(self._handshake_in) < HANDSHAKE_LENGTH:
            return len(data)
        key = decode_handshake(self._handshake_in)
        self.key = key
        self.established_at = now
        self._listening_until = now + SILENCE_TIMEOUT
        self._keepalive_at = now + KEEPALIVE_INTERVAL
        self.state = PeeringState.ESTABLISHED
        events.append(HandshakeCompleted(key))
        return missing

    def _receive_frame(self, data: bytes, events: list[PeeringEvent]) -> None:
        kind = data[_TYPE_AT]
        if kind > WAKEUP_BROADCAST:
            self._unknown += 1
            return
        frame = decode_frame(data)
        self._frames_in.add(kind, len(data))
        if kind != KEEPALIVE:
            events.append(frame)

    def _fail(self, error: RemoteProtocolError) -> LinkFailed:
        self.state = PeeringState.FAILED
        return LinkFailed(error)
