"""One QUIC connection of aioquic, and the only file that touches what aioquic does not offer in public.

What is private there, and why it is needed: a server asks for a certificate only where a flag of its TLS says so; the
far end's certificate is shown nowhere else; windows of streams grow as data arrives, not as it is taken; resets are
answered with random tokens, which nobody knows after a restart; packets are paced and acknowledgements delayed by
timers, where our turns do both; and how a connection ended is said only three timeouts later. Each piece has a test in
``tests/unit/session/test_quic_engine.py`` that fails when it moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # that is its public home
from aioquic.quic import events
from aioquic.quic.connection import Limit, QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicFrameType, pull_quic_transport_parameters
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch
from cryptography.hazmat.primitives.serialization import Encoding

from pinecone_transport.session.budget import Budget
from pinecone_transport.session.quic.congestion import Congestion, NoPacer
from pinecone_transport.session.quic.settings import ID_LENGTH, Settings
from pinecone_transport.session.utp.memory import Holding

_MAX_BACKOFF: Final = 2.0
_ROUNDING: Final = 1e-6
"""Seconds. The library adds to get a deadline and subtracts to see whether it has come: just then it may not have."""
_MAX_STREAM_DATA_CAPACITY: Final = 17
_LIMIT_CAPACITY: Final = 9
_MAX_UDP_PAYLOAD_SIZE: Final = 0x03
_FOUR_BYTES: Final = 0x80000000
"""Beside a number, that it takes four bytes (RFC 9000, section 16)."""


@dataclass(slots=True)
class Ended:
    """How a connection ended: by whom, and with which words.

    Attributes:
        by_far_end: Whether it said so.
        is_application: Whether the code is the application's, not the transport's.
        code: Of the error.
        reason: The far end's words, or the library's.
    """

    by_far_end: bool
    is_application: bool
    code: int
    reason: str


class _Connection(QuicConnection):
    """aioquic's, with what it lacks for us."""

    def __init__(self, settings: Settings, budget: Budget, original_id: bytes | None) -> None:
        is_dialler = original_id is None
        limits = settings.limits
        super().__init__(
            configuration=settings.dialler if is_dialler else settings.listener,
            original_destination_connection_id=original_id,
        )
        self.consumed: Final[dict[int, int]] = {}
        self.control: Final = Congestion(budget, limits.window_packets)
        self.holding: Final = Holding(settings.memories.received)
        self.held_back = False
        # Streams that nobody takes anything of any more, and how many of their bytes came in order.
        self._abandoned: Final[dict[QuicStream, int]] = {}
        self._counted = 0
        self.far_limit = limits.packet
        self._settings = settings
        self._ack_delay = 0.0
        self._loss._cc = self.control
        self._loss._pacer = NoPacer(max_datagram_size=limits.first_packet)
        for limit, count in ((self._local_max_streams_bidi, limits.streams), (self._local_max_streams_uni, 0)):
            limit.value = limit.sent = count
        self._set_reset_tokens()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = not self._is_client

    def _serialize_transport_parameters(self) -> bytes:
        """Say how long packets may be that we get. Source: RFC 9000, section 18.2."""
        largest = _FOUR_BYTES | self._settings.limits.largest_packet
        return super()._serialize_transport_parameters() + bytes((_MAX_UDP_PAYLOAD_SIZE, 4)) + largest.to_bytes(4)

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        said = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
        if said is not None:  # who says nothing takes anything by the standard, and ends with a panic in practice
            self.far_limit = min(said, self._settings.limits.largest_packet)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._set_reset_tokens()

    def _set_reset_tokens(self) -> None:
        for connection_id in self._host_cids:
            if connection_id.sequence_number or not self._is_client:
                connection_id.stateless_reset_token = self._settings.reset_token(connection_id.cid)

    def count_received(self) -> None:
        """See how much has come since this was last done."""
        used = self._local_max_data.used
        if used != self._counted:
            self.holding.change(used - self._counted)
            self._counted = used
        for stream, came in list(self._abandoned.items()):
            self._abandon(stream, came)

    def abandon(self, stream_id: int) -> None:
        """Let what still comes of a stream count no longer than it has to wait for what is missing before it."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._abandon(stream, stream.receiver.starting_offset())

    def _abandon(self, stream: QuicStream, came: int) -> None:
        receiver = stream.receiver
        in_order = receiver.highest_offset if receiver.is_finished else receiver.starting_offset()
        self.holding.change(came - in_order)
        if receiver.is_finished:
            self._abandoned.pop(stream, None)
        else:
            self._abandoned[stream] = in_order

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        """Open the window of all streams as there is memory, and let so many more be opened as have ended."""
        data, streams = self._local_max_data, self._local_max_streams_bidi
        share = self._settings.limits.share
        if data.value - data.used <= share - share // 4:
            room = self.holding.room(share)
            self.held_back |= room < share
            data.value = max(data.value, data.used + room)
        if data.value != data.sent:
            self._write_limit(builder, data)
        if streams.value - streams.sent > streams.sent - streams.used:
            self._write_limit(builder, streams)

    def _write_limit(self, builder: QuicPacketBuilder, limit: Limit) -> None:
        buffer = builder.start_frame(
            limit.frame_type,
            capacity=_LIMIT_CAPACITY,
            handler=self._on_connection_limit_delivery,
            handler_args=(limit,),
        )
        buffer.push_uint_var(limit.value)
        limit.sent = limit.value

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        """Open the window as its owner takes the data, a quarter at a time."""
        window = self._settings.limits.receive_window
        limit = self.consumed.get(stream.stream_id or 0, 0) + window
        if stream.receiver.is_finished or limit - stream.max_stream_data_local_sent < window // 4:
            return
        buffer = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=_MAX_STREAM_DATA_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buffer.push_uint_var(stream.stream_id or 0)
        buffer.push_uint_var(limit)
        stream.max_stream_data_local = stream.max_stream_data_local_sent = limit


@final
class Engine:
    """One connection. Streams go by QUIC's ids here.

    Args:
        settings: The node's.
        budget: What connections with the key have in common.
        original_id: The id that the far end's first packet is for; None where we dial.

    Attributes:
        dialled: Whether we did.
        ids: The connection ids of packets for it.
        retired: Those that the far end has given back since this was last emptied.
        repeated: Whether a packet had no answer in its time since this was last looked at, and set to False.
    """

    def __init__(self, settings: Settings, budget: Budget, original_id: bytes | None = None) -> None:
        self.dialled: Final = original_id is None
        self.repeated = False
        self._quic: Final = _Connection(settings, budget, original_id)
        self._limits: Final = settings.limits
        self._path_size: Final = budget.packet_size
        self._control: Final = self._quic.control
        self._first_limit = 0
        self.retired: Final[list[bytes]] = []
        self.ids: Final = {self._quic.host_cid} | ({original_id} if original_id is not None else set())

    def start(self, now: float) -> None:
        """Dial."""
        self._quic.connect("", now)

    # Packets and time

    def receive(self, packet: bytes, now: float) -> None:
        """Take a packet."""
        self._quic.receive_datagram(packet, "", now)
        self._quic.count_received()
        self._control.settle(now)

    def packets(self, room: int, limit: int, now: float) -> list[bytes]:
        """Return what is to be sent: up to ``room`` packets with data, about ``limit`` bytes, and acknowledgements."""
        self._quic._max_datagram_size = size = self.packet_size
        self._control.allowance = min(room, -(-limit // size)) * size if limit > 0 else 0
        return [packet for packet, _ in self._quic.datagrams_to_send(now)]

    def timer(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        return self._quic.get_timer()

    def handle_timer(self, now: float) -> None:
        """Do what has become due."""
        at = self._quic.get_timer()
        if at is None or at > now:
            return
        loss = self._quic._loss
        before = loss._pto_count
        self._quic.handle_timer(now + _ROUNDING)
        if loss._pto_count > before:
            self.repeated = True
            self._shorten()
            while loss._pto_count > 1 and loss.get_probe_timeout() * 2**loss._pto_count > _MAX_BACKOFF:
                loss._pto_count -= 1

    def _shorten(self) -> None:
        """Nothing arrives, perhaps for the packets' length: this connection has shorter ones from now on."""
        size = self.packet_size
        if size > self._limits.packet:
            self._quic.far_limit = max(size // 2, self._limits.packet)

    def resend(self, now: float) -> None:
        """The way may be back: send again what had no answer, and do not wait long for the next time."""
        loss = self._quic._loss
        if loss._pto_count:
            loss._pto_count = 0
            loss.reschedule_data(now=now)

    def take_event(self) -> events.QuicEvent | None:
        """Return the next thing that happened; to be called until it is None after every other call."""
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, events.ConnectionIdIssued):
                self.ids.add(event.connection_id)
            elif isinstance(event, events.ConnectionIdRetired):
                self.ids.discard(event.connection_id)
                self.retired.append(event.connection_id)
            else:
                if isinstance(event, events.HandshakeCompleted):
                    self._first_limit = self._quic._remote_max_data
                return event
        return None

    def ended(self) -> Ended | None:
        """Return how the connection ended, if it has. `packets` may still have its last words."""
        event = self._quic._close_event
        if event is None:
            return None
        by_far_end = self._quic._state is QuicConnectionState.DRAINING
        return Ended(by_far_end, event.frame_type is None, event.error_code, event.reason_phrase)

    # The connection

    @property
    def begun(self) -> bool:
        """Whether a packet of the far end's has been understood."""
        return self._quic._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def may_be_known(self) -> bool:
        """Whether the far end may have heard of it."""
        return self.begun or self.packets_in_flight > 0

    @property
    def packet_size(self) -> int:
        """Bytes of a full packet: as many as the path carries well, towards a far end that takes long ones."""
        if not self._quic._handshake_confirmed:
            return self._limits.first_packet
        far_limit = self._quic.far_limit
        return far_limit if far_limit <= self._limits.packet else min(self._path_size.size, far_limit)

    @property
    def packets_in_flight(self) -> int:
        """Sent, and neither acknowledged nor taken for lost."""
        return self._control.packets_in_flight

    def leave(self) -> None:
        """The connection is gone, and so is all that it has under way, and that it holds."""
        self._control.end()
        self._quic.holding.change(-self._quic.holding.held)

    def take_held_back(self) -> bool:
        """Tell whether, since this was last asked, there was no memory for opening the window of all streams."""
        held_back, self._quic.held_back = self._quic.held_back, False
        return held_back

    @property
    def rtt(self) -> float:
        """Smoothed round trip time, seconds; 0.0 until known."""
        return self._quic._loss._rtt_smoothed

    def heard_at(self) -> float:
        """Return when the newest packet that the far end has encrypted came."""
        at = self._quic._spaces[Epoch.ONE_RTT].largest_received_time
        return float("-inf") if at is None else at

    def certificates(self) -> list[bytes]:
        """Return the certificates that the far end has shown, DER; its own first. It has proved to hold its key."""
        own = self._quic.tls._peer_certificate
        chain = self._quic.tls._peer_certificate_chain
        return [certificate.public_bytes(Encoding.DER) for certificate in ([own] if own is not None else []) + chain]

    def ping(self) -> None:
        """Ask the far end for a sign."""
        if not self._quic._ping_pending:
            self._quic.send_ping(0)

    def end(self, code: int, *, is_application: bool, reason: str = "") -> None:
        """Close the connection; `packets` then has the last words."""
        frame_type = None if is_application else int(QuicFrameType.PADDING)
        self._quic.close(code, frame_type, reason)

    def stream_credit(self) -> int:
        """Return how many more streams the far end lets us open."""
        return self._quic._remote_max_streams_bidi - self._quic.get_next_available_stream_id() // 4

    def far_end_reads(self) -> bool:
        """Tell whether the far end has opened the window of all streams further: it looks at what we send."""
        return self._quic._remote_max_data > self._first_limit

    def is_far_end_like_us(self) -> bool:
        """Tell whether the far end's connection ids are as long as ours: those of Go nodes are not."""
        return len(self._quic._peer_cid.cid) == ID_LENGTH

    # Streams

    def is_ours(self, stream_id: int) -> bool:
        """Tell whether we have opened the stream."""
        return bool(stream_id & 1) != self.dialled

    def open(self) -> int:
        """Open a stream; the far end hears of it with its first byte."""
        stream_id = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream_id, b"")
        return stream_id

    def write(self, stream_id: int, data: bytes) -> None:
        """Queue bytes of a stream."""
        self._quic.send_stream_data(stream_id, data)

    def finish(self, stream_id: int) -> None:
        """Queue the end of a stream."""
        self._quic.send_stream_data(stream_id, b"", end_stream=True)

    def reset(self, stream_id: int) -> None:
        """Give a stream up, both ways."""
        stream = self._quic._streams.get(stream_id)
        if stream is not None:
            self._quic.reset_stream(stream_id, 0)
            if not stream.receiver.is_finished:
                self._quic.stop_stream(stream_id, 0)

    def consumed(self, stream_id: int, length: int) -> None:
        """So many more bytes of the stream are dealt with: the far end may send as many."""
        consumed = self._quic.consumed
        consumed[stream_id] = consumed.get(stream_id, 0) + length
        self._quic.holding.change(-length)

    def forget(self, stream_id: int, unread: int) -> None:
        """Nobody will take more of the stream's bytes, nor so many that came."""
        self._quic.consumed.pop(stream_id, None)
        self._quic.holding.change(-unread)
        self._quic.abandon(stream_id)

    def knows(self, stream_id: int) -> bool:
        """Tell whether the stream is not yet over for the library."""
        return stream_id in self._quic._streams

    def unacknowledged(self, stream_id: int) -> int:
        """Return how many bytes of the stream wait for being sent or acknowledged."""
        stream = self._quic._streams.get(stream_id)
        return stream.sender._buffer_stop - stream.sender._buffer_start if stream is not None else 0

    def is_sent(self, stream_id: int) -> bool:
        """Tell whether all of the stream and its end have arrived."""
        stream = self._quic._streams.get(stream_id)
        return stream is None or stream.sender.is_finished
