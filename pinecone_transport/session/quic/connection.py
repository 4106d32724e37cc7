"""One QUIC connection with a key: from its handshake to its end, with the streams on it."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from itertools import count
from typing import Final, final

from aioquic.quic.events import (
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

from pinecone_transport.errors import CertificateError, PineconeError, StreamResetError, StreamTimeoutError
from pinecone_transport.identity import PublicKey, key_from_certificate
from pinecone_transport.session.events import (
    SessionEvent,
    StreamAccepted,
    StreamClosed,
    StreamData,
    StreamEnded,
    StreamLost,
    StreamWritable,
)
from pinecone_transport.session.quic.engine import Ended, Engine
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.streams import Stream
from pinecone_transport.session.utp.memory import Holding

BAD_CERTIFICATE: Final = 0x100 + 42
CERTIFICATE_REQUIRED: Final = 0x100 + 116

_MAX_HELD: Final = 16
_RECENTLY: Final = 0.1
"""Seconds for which a sign of life is no older than the question would be."""


class State(Enum):
    """Where a connection is."""

    DIALLING = auto()
    HELD = auto()
    """Our dial stands back for one of the far end's."""
    ACCEPTING = auto()
    OPEN = auto()
    """The handshake is done, and the far end has shown the key."""
    CLOSED = auto()


@final
class Connection:
    """A connection with a key.

    Args:
        number: Its own.
        key: The far end's; a certificate of another ends it.
        engine: Fresh; a dialling one started.
        limits: Bounds and times.
        counters: What was dropped is counted there.
        holding: What all streams to the key have to be sent.
        streams: All of the socket's, by number: those that the far end opens are added.
        numbers: Where their numbers come from.
        now: Monotonic seconds.

    Attributes:
        state: Where it is.
        opened_at: When it became open.
        settled: Whether the far end makes use of it. What was written on one that it refuses is written anew.
        refused: Whether it has: the far end had another connection with us, or was about to have one.
        error: Why it is closed.
        streams: On it, by QUIC's ids.
        sending: Those of them that may have something to send or to be acknowledged.
    """

    __slots__ = (
        "_aborted",
        "_all_streams",
        "_counters",
        "_doubted_at",
        "_finishing",
        "_full",
        "_handshake_until",
        "_held",
        "_held_until",
        "_holding",
        "_limits",
        "_numbers",
        "_pinged_at",
        "_probe_until",
        "_probed_at",
        "engine",
        "error",
        "key",
        "number",
        "opened_at",
        "refused",
        "sending",
        "settled",
        "state",
        "streams",
    )

    def __init__(
        self,
        number: int,
        key: PublicKey,
        engine: Engine,
        *,
        limits: QuicLimits,
        counters: Counter[str],
        holding: Holding,
        streams: dict[int, Stream],
        numbers: count[int],
        now: float,
    ) -> None:
        self.number: Final = number
        self.key: Final = key
        self.engine: Final = engine
        self.state = State.DIALLING if engine.dialled else State.ACCEPTING
        self.opened_at = float("inf")
        self.settled = not engine.dialled
        self.refused = False
        self.error: PineconeError | None = None
        self.streams: Final[dict[int, Stream]] = {}
        self.sending: Final[dict[int, Stream]] = {}
        self._holding: Final = holding
        self._all_streams: Final = streams
        self._numbers: Final = numbers
        self._limits: Final = limits
        self._counters: Final = counters
        self._handshake_until = now + limits.handshake_timeout
        self._doubted_at = float("-inf")
        self._pinged_at = now
        self._probed_at = now
        self._probe_until: float | None = None
        self._held: list[bytes] = []
        self._held_until = now
        # Streams that the owner has given up, finished, or found full.
        self._aborted: Final[set[int]] = set()
        self._finishing: Final[set[int]] = set()
        self._full: Final[set[int]] = set()

    # From above

    def close_stream(self, stream: Stream) -> None:
        """Send the end of a stream behind what was written."""
        stream.finish()
        if stream.ended:
            self._finishing.add(stream.stream_id)

    def abort_stream(self, stream: Stream) -> None:
        """Give a stream up."""
        stream_id = stream.stream_id
        self.engine.reset(stream_id)
        self._aborted.add(stream_id)
        self._forget(stream)

    def note_full(self, stream: Stream) -> None:
        """The owner waits for room."""
        stream.full = True
        self._full.add(stream.stream_id)

    def acknowledge(self, stream: Stream, length: int) -> None:
        """The owner is done with so many bytes."""
        length = min(length, stream.unread)
        stream.unread -= length
        self.engine.consumed(stream.stream_id, length)

    def was_opened(self) -> bool:
        """Tell whether the far end has shown the key, even if all is over by now."""
        return self.opened_at < float("inf")

    def is_confirmed(self) -> bool:
        """Tell whether the far end, too, is known to have it open."""
        return self.engine.heard_at() > float("-inf")

    def is_usable(self) -> bool:
        """Tell whether a stream can be opened on it."""
        return self.state is State.OPEN and self.engine.stream_credit() > 0

    def is_doubtful(self, now: float) -> bool:
        """Tell whether it was silent for so long that the far end may have forgotten it."""
        heard_at = max(self.engine.heard_at(), self.opened_at)
        return now - heard_at > self._limits.doubt_after or heard_at < self._doubted_at

    def doubt(self, now: float, events: list[SessionEvent]) -> None:
        """The far end may be gone: no stream is opened before a sign, and ours without a question are lost."""
        self._doubted_at = now
        for stream in list(self.streams.values()):
            if self.engine.is_ours(stream.stream_id) and not stream.is_pending():
                self.abort_stream(stream)
                events.append(StreamLost(stream.number, StreamTimeoutError("the link to the far end is gone")))

    def hold(self, now: float) -> None:
        """Stand back for a dial of the far end's; only of use while this dials."""
        self.state = State.HELD
        self._held_until = now + self._limits.yield_time

    def hurry(self, now: float) -> None:
        """The far end has another connection with us: this one has not long any more to become one."""
        self._handshake_until = min(self._handshake_until, now + self._limits.leftover_timeout + 3 * self.engine.rtt)

    def wake(self, now: float) -> None:
        """The way may be back: send again what had no answer."""
        if self.state is not State.HELD:
            self.engine.resend(now)

    def ping(self, now: float) -> None:
        """Ask the far end for a sign, unless that was done just now."""
        if now - self._pinged_at > _RECENTLY:
            self._pinged_at = now
            self.engine.ping()

    def probe(self, now: float) -> None:
        """The far end can be heard: it has to give a sign soon, or it has forgotten the connection."""
        if self.state is State.OPEN and self._probe_until is None and now - self.engine.heard_at() > _RECENTLY:
            self._probed_at = now
            self._probe_until = now + self._limits.probe_timeout + 3 * self.engine.rtt
            self._pinged_at = now
            self.engine.ping()

    def shut(self) -> None:
        """Close it with a word to the far end; its streams are the caller's affair."""
        self.engine.end(0, is_application=self.state is State.OPEN)
        self.state = State.CLOSED

    # From below

    def receive(self, packet: bytes, now: float, events: list[SessionEvent]) -> None:
        """Take a packet. Never raises."""
        if self.state is State.HELD:
            if len(self._held) < _MAX_HELD:
                self._held.append(packet)
            return
        try:
            self.engine.receive(packet, now)
        except Exception:
            # The library reads what any far node sends, and one slip of it must not end the node.
            self._counters["packets that the QUIC library failed on"] += 1
            self.engine.end(1, is_application=False)
        self._take_events(now, events)

    def packets(self, room: int, limit: int, now: float, events: list[SessionEvent]) -> list[bytes]:
        """Return what is to be sent now, with up to ``room`` packets of data, about ``limit`` bytes."""
        if self.state is State.HELD:
            return []
        packets = self.engine.packets(room, limit, now)
        if self.engine.take_held_back():
            self._counters["windows held back for want of memory"] += 1
        self._take_events(now, events)
        return packets

    # Time

    def deadline(self) -> float | None:
        """Return when `handle_timer` is to be called, if nothing else happens before."""
        limits = self._limits
        if self.state is State.HELD:
            return self._held_until
        times = [self.engine.timer(), self._probe_until]
        if self.state is State.ACCEPTING:
            times.append(self._handshake_until)
        elif self.state is State.OPEN:
            if self._is_pending():
                times.append(self._ping_at())
            if not self.settled:
                times.append(self.opened_at + limits.unread_timeout)
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, now: float, events: list[SessionEvent]) -> None:
        """Do what is due; harmless when called too early."""
        if self.state is State.HELD:
            if now >= self._held_until:
                self._resume(now, events)
            return
        self.engine.handle_timer(now)
        if self.state is State.ACCEPTING and now >= self._handshake_until:
            self._counters["half-open connections given up"] += 1
            self.engine.end(0, is_application=False)
        elif self.state is State.OPEN:
            self._handle_open_timer(now)
        self._take_events(now, events)

    def _handle_open_timer(self, now: float) -> None:
        if self._probe_until is not None:
            if self.engine.heard_at() >= self._probed_at:
                self._probe_until = None
            elif now >= self._probe_until:
                self._counters["connections that gave no sign"] += 1
                self.error = StreamTimeoutError("the far end has forgotten the connection")
                self.engine.end(0, is_application=True)
        if now >= self._ping_at() and self._is_pending():
            self._pinged_at = now
            self.engine.ping()
        if not self.settled and now >= self.opened_at + self._limits.unread_timeout:
            self._settle()

    def _is_pending(self) -> bool:
        return any(stream.is_pending() for stream in self.streams.values())

    def _ping_at(self) -> float:
        return max(self.engine.heard_at(), self._pinged_at) + self._limits.ping_after

    def _resume(self, now: float, events: list[SessionEvent]) -> None:
        self.state = State.DIALLING
        held, self._held = self._held, []
        for packet in held:
            self.receive(packet, now, events)
        self.engine.resend(now)

    # What the library reports

    def _take_events(self, now: float, events: list[SessionEvent]) -> None:
        while (event := self.engine.take_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self._authenticate(now)
            elif self.state is State.OPEN:
                self._take_event(event, now, events)
        if self.state is State.OPEN:
            self._look_at_streams(events)
        ended = self.engine.ended()
        if ended is not None and self.state is not State.CLOSED:
            self._end(ended)

    def _authenticate(self, now: float) -> None:
        """Compare the key of a far end that has proved to hold its certificate's. Source: §8."""
        certificates = self.engine.certificates()
        code, reason = BAD_CERTIFICATE, ""
        if len(certificates) != 1:
            code, reason = (
                CERTIFICATE_REQUIRED,
                f"the far end has shown {len(certificates)} certificates instead of one",
            )
        else:
            try:
                key = key_from_certificate(certificates[0])
                reason = "" if key == self.key else f"the far end has the key {key.hex()} and not {self.key.hex()}"
            except CertificateError as error:
                reason = error.reason
        if reason:
            self._counters["wrong certificates"] += 1
            self.error = CertificateError(reason)
            self.engine.end(code, is_application=False)
        else:
            self.state = State.OPEN
            self.opened_at = now

    def _take_event(self, event: QuicEvent, now: float, events: list[SessionEvent]) -> None:
        if isinstance(event, StreamDataReceived):
            stream = self._stream_of(event.stream_id, now, events)
            if stream is not None:
                self._take_data(stream, event, events)
        elif isinstance(event, StreamReset):
            self._take_reset(event.stream_id, events)
        elif isinstance(event, StopSendingReceived):
            stream = self._stream_of(event.stream_id, now, events)  # it may be the first that is heard of it
            if stream is not None:
                stream.deaf = True

    def _take_reset(self, stream_id: int, events: list[SessionEvent]) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.engine.reset(stream_id)
            self._forget(stream)
            events.append(StreamLost(stream.number, StreamResetError("the far end reset the stream")))
        elif stream_id not in self._aborted:
            self.engine.forget(stream_id, 0)  # nobody has heard of it, but its length counts as received

    def _stream_of(self, stream_id: int, now: float, events: list[SessionEvent]) -> Stream | None:
        """Return the stream, a new one if the far end has just opened it; None if nobody here wants it."""
        self._settle()
        stream = self.streams.get(stream_id)
        if stream is not None or self.engine.is_ours(stream_id) or stream_id in self._aborted:
            return stream
        stream = Stream(next(self._numbers), self.key, now, self._holding)
        stream.accept(self, stream_id)
        self._all_streams[stream.number] = stream
        events.append(StreamAccepted(stream.number, self.key))
        return stream

    def _take_data(self, stream: Stream, event: StreamDataReceived, events: list[SessionEvent]) -> None:
        if event.data:
            stream.receive(len(event.data))
            events.append(StreamData(stream.number, event.data))
        if event.end_stream:
            stream.ended = True
            events.append(StreamEnded(stream.number))
            if stream.finished:
                self._finishing.add(stream.stream_id)

    def _look_at_streams(self, events: list[SessionEvent]) -> None:
        """See which streams have room again, and which are over."""
        if not self.settled and self.engine.far_end_reads():
            self._settle()
        for stream_id, stream in list(self.sending.items()):
            if not stream.see_to_unsent():
                del self.sending[stream_id]
        for stream_id in list(self._full):
            full = self.streams.get(stream_id)
            if full is None:
                self._full.discard(stream_id)
            elif full.deaf or full.space(self._limits.send_buffer) >= self._limits.send_buffer // 4:
                self._full.discard(stream_id)
                full.full = False
                events.append(StreamWritable(full.number))
        for stream_id in list(self._finishing):
            finishing = self.streams.get(stream_id)
            if finishing is None:
                self._finishing.discard(stream_id)
            elif finishing.deaf or self.engine.is_sent(stream_id):
                self._forget(finishing)
                events.append(StreamClosed(finishing.number))
        if len(self._aborted) > self._limits.streams:
            self._aborted.intersection_update([gone for gone in self._aborted if self.engine.knows(gone)])

    def _settle(self) -> None:
        if not self.settled:
            self.settled = True
            for stream in self.streams.values():
                stream.release()

    def _end(self, ended: Ended) -> None:
        was_open = self.state is State.OPEN
        self.state = State.CLOSED
        if self.error is None:
            self.refused = (
                was_open and not self.settled and ended.by_far_end and ended.is_application and not ended.code
            )
            if ended.by_far_end:
                self.error = StreamResetError(f"the far end closed the connection: {ended.reason or ended.code}")
            else:
                self.error = StreamTimeoutError(f"the connection ended: {ended.reason or ended.code}")

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.stream_id]
        self.sending.pop(stream.stream_id, None)
        self._all_streams.pop(stream.number, None)
        stream.leave()
        self.engine.forget(stream.stream_id, stream.unread)
