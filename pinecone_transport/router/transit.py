"""Traffic as it lies in the buffer that a link has read into: one decision per flow, and no object per frame.

This is the fast path, and the only one. Its plain twin is `Router.receive_frame`, which takes one `Frame` at a time;
tests hold both to the same outcome. What is no whole and well-formed frame of traffic is left to the twin.

The frames of a flow say the same of their way: their headers differ in hop limit and lengths only. So that part of the
header is looked up, and what was decided about it holds while the state's epoch stays. Neighbouring frames whose
headers are the very same are found by one comparison each. Frames that pass through have their hop limit patched where
they lie; those that are neighbours there, too, and leave by one port, are one piece to be written.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.router.constants import LOCAL, MAX_FLOW_HEADER, MAX_FLOWS
from pinecone_transport.router.state import RouterState
from pinecone_transport.router.traffic import HOP_LIMIT_REACHED, Decision, decide_traffic
from pinecone_transport.wire import (
    MAX_FRAME_LENGTH,
    TRAFFIC_FIXED_LENGTH,
    Coordinates,
    Frame,
    decode_traffic_way,
    encode_traffic_way,
    frame_length,
    traffic_keys,
    traffic_payload_at,
)

_HOP_LIMIT_AT: Final = 7
_LENGTH_AT: Final = 8
_BYTES: Final = tuple(bytes((value,)) for value in range(256))


@final
class Run:
    """Frames that leave by one port, as pieces of the buffer. Valid until the buffer is read into again.

    Attributes:
        port: That they leave by.
        pieces: To be written one behind the other.
        frames: How many frames they are.
        size: How many bytes.
    """

    __slots__ = ("_end", "_start", "frames", "pieces", "port", "size")

    def __init__(self, port: int) -> None:
        self.port: Final = port
        self.pieces: list[memoryview | bytes] = []
        self.frames = 0
        self.size = 0
        self._start = 0
        self._end = -1

    def add(self, view: memoryview, starts: range) -> None:
        """Add neighbouring frames of one length, each where it starts."""
        start, end = starts.start, starts.stop
        if start == self._end:
            self.pieces[-1] = view[self._start : end]
        else:
            self.pieces.append(view[start:end])
            self._start = start
        self._end = end
        self.frames += len(starts)
        self.size += end - start

    def add_rewritten(self, header: bytes, payload: memoryview) -> None:
        """Add one frame that has another header than in the buffer."""
        self.pieces += (header, payload)
        self._end = -1
        self.frames += 1
        self.size += len(header) + len(payload)

    def after(self, taken: int) -> tuple[bytes, list[tuple[PublicKey, PublicKey, bytes]]]:
        """Return copies of what follows the first ``taken`` bytes.

        Returns:
            The rest of the frame that is cut there, and the frames behind it, each after destination and source key.
        """
        data = b"".join(self.pieces)
        position = 0
        while position < taken:
            position += frame_length(data, position, len(data)) or 0
        cut = data[taken:position]
        left = []
        while position < len(data):
            end = position + (frame_length(data, position, len(data)) or 0)
            left.append((*traffic_keys(data, position), data[position:end]))
            position = end
        return cut, left


@final
class Delivery:
    """Packets of one flow that end here. The packets are valid until the buffer is read into again.

    Attributes:
        source: Who sent them, 32 bytes.
        destination: For whom; need not be our key.
        coordinates: Of the source.
        packets: Payloads, in order.
    """

    __slots__ = ("coordinates", "destination", "packets", "source")

    def __init__(
        self, source: PublicKey, destination: PublicKey, coordinates: Coordinates, packets: list[memoryview]
    ) -> None:
        self.source: Final = source
        self.destination: Final = destination
        self.coordinates: Final = coordinates
        self.packets: Final = packets


@final
class Passage:
    """What became of the traffic in a link's buffer.

    Attributes:
        port: That it came by; its owner sets it.
        position: Where what has not been looked at begins, or where the twin has to look.
        frames: How many were taken.
        runs: What leaves, by port.
        deliveries: What ends here, in order.
    """

    __slots__ = ("deliveries", "frames", "port", "position", "runs")

    def __init__(self) -> None:
        self.port = LOCAL
        self.position = 0
        self.frames = 0
        self.runs: Final[dict[int, Run]] = {}
        self.deliveries: list[Delivery] = []


@final
class Flow:
    """What is decided about the frames that say the same of their way.

    Attributes:
        port: That they leave by; `LOCAL` where they end here, None where they are dropped.
        reason: Why they are dropped.
        limited: Whether they cost a hop.
        expires_at: When to decide anew, seconds.
        source: Who sent them, 32 bytes.
        destination: For whom, 32 bytes.
        coordinates: Of the source.
        changes: Whether they say something else from here on.
        way: What they say from here on.
        growth: By how many bytes it is longer.
    """

    __slots__ = (
        "changes",
        "coordinates",
        "destination",
        "expires_at",
        "growth",
        "limited",
        "port",
        "reason",
        "source",
        "way",
    )

    def __init__(self, way: bytes, frame: Frame, decision: Decision) -> None:
        self.port: Final = decision.port
        self.reason: Final = decision.reason
        self.limited: Final = decision.limited
        self.expires_at: Final = decision.expires_at
        self.source: Final = frame.source_key
        self.destination: Final = frame.destination_key
        self.coordinates: Final = frame.source
        self.way: Final = encode_traffic_way(
            decision.destination, frame.source, frame.destination_key, frame.source_key, decision.watermark
        )
        self.changes: Final = self.way != way
        self.growth: Final = len(self.way) - len(way)


@final
class Transit:
    """Takes traffic out of the links' buffers."""

    __slots__ = ("_count", "_counters", "_epoch", "_flows", "_hop_limiting", "_state")

    def __init__(self, state: RouterState, counters: Counter[str], *, hop_limiting: bool) -> None:
        self._state: Final = state
        self._counters: Final = counters
        self._hop_limiting: Final = hop_limiting
        self._flows: dict[int, dict[bytes, Flow]] = {}  # by port and way
        self._count = 0
        self._epoch = -1

    def receive(self, passage: Passage, buffer: bytearray, end: int, now: float) -> None:
        """Take the frames of traffic that the passage has come to, until there is something else.

        Args:
            passage: Stands where a frame begins. Afterwards it stands where one begins that is no traffic, is not
                whole, or is such that the twin has to look at it.
            buffer: Is changed.
            end: Behind the last byte that was read.
            now: Seconds.
        """
        view = memoryview(buffer)
        flows = self._flows_of(passage.port)
        position = passage.position
        while (payload_at := traffic_payload_at(buffer, position, end)) and payload_at - position <= MAX_FLOW_HEADER:
            way = bytes(view[position + TRAFFIC_FIXED_LENGTH : payload_at])
            flow = flows.get(way)
            if flow is None or now >= flow.expires_at:
                flow = self.decide(passage.port, way, now)
            header = bytes(view[position:payload_at])
            length = header[_LENGTH_AT] << 8 | header[_LENGTH_AT + 1]
            stop = position + length
            last = end - length
            while stop <= last and buffer.startswith(header, stop):
                stop += length
            starts = range(position, stop, length)
            position = stop
            passage.frames += len(starts)
            if flow.limited and self._hop_limiting:
                hop_limit = header[_HOP_LIMIT_AT]
                if hop_limit <= 1:
                    self._counters[HOP_LIMIT_REACHED] += len(starts)
                    continue
                buffer[starts.start + _HOP_LIMIT_AT : stop : length] = _BYTES[hop_limit - 1] * len(starts)
            if flow.port is None:
                self._counters[flow.reason] += len(starts)
            elif flow.port == LOCAL:
                packets = [view[at + len(header) : at + length] for at in starts]
                passage.deliveries.append(Delivery(flow.source, flow.destination, flow.coordinates, packets))
            else:
                run = passage.runs.get(flow.port)
                if run is None:
                    run = passage.runs[flow.port] = Run(flow.port)
                if flow.changes:
                    self._send_on(run, view, starts, flow)
                else:
                    run.add(view, starts)
        passage.position = position

    def _send_on(self, run: Run, view: memoryview, starts: range, flow: Flow) -> None:
        """Add frames that say something else of their way from here on."""
        payload_at = TRAFFIC_FIXED_LENGTH + len(flow.way) - flow.growth
        if flow.growth == 0:
            for at in starts:
                view[at + TRAFFIC_FIXED_LENGTH : at + payload_at] = flow.way
            run.add(view, starts)
            return
        length = starts.step + flow.growth
        if length > MAX_FRAME_LENGTH:
            self._counters["frame too long"] += len(starts)
            return
        for at in starts:
            fixed = bytearray(view[at : at + TRAFFIC_FIXED_LENGTH])
            fixed[_LENGTH_AT : _LENGTH_AT + 2] = length.to_bytes(2, "big")
            run.add_rewritten(bytes(fixed) + flow.way, view[at + payload_at : at + starts.step])

    def _flows_of(self, port: int) -> dict[bytes, Flow]:
        """Return what was decided about frames that came by the port, as far as it still holds."""
        epoch = self._state.epoch
        if epoch != self._epoch or self._count > MAX_FLOWS:
            self._epoch = epoch
            self._count = 0
            self._flows = {}
        return self._flows.setdefault(port, {})

    def decide(self, port: int, way: bytes, now: float) -> Flow:
        """Return what becomes of traffic that says this of its way (`encode_traffic_way`) and came by the port."""
        flows = self._flows_of(port)
        flow = flows.get(way)
        if flow is None or now >= flow.expires_at:
            frame = decode_traffic_way(way)
            flow = flows[way] = Flow(way, frame, decide_traffic(self._state, port, frame, now))
            self._count += 1
        return flow
