"""What waits for one link: protocol frames in order and first, traffic by turns between flows (§3)."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.wire import PeerType

FLOWS: Final = 254  # §3
FLOWS_BLUETOOTH: Final = 16  # §3
FLOW_LEAST_FRAMES: Final = 16
"""As many frames a flow always keeps, whatever their size: the reference's depth (§3), for which senders reckon."""
FLOW_ROOM: Final = 256 * 1024
FLOW_ROOM_BLUETOOTH: Final = 4 * 1024
"""A twelfth of a second of a Bluetooth link: all that two nodes say to one another waits in the same flow, so a request
beside a transfer waits for what is in it, at both ends."""
FLOW_LIMIT_FACTOR: Final = 1.5
"""A flow drops only above this much of its room: whoever fills the room with packets need not reckon their headers."""
TRAFFIC_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of all flows of a link together; without it 254 full flows would be 95 MiB on each of 253 links."""


@final
class ProtocolQueue:
    """Encoded frames, first in, first out. Its owner minds the bound.

    Attributes:
        size: Bytes that wait.
    """

    __slots__ = ("_frames", "size")

    def __init__(self) -> None:
        self._frames: Final[deque[bytes]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: bytes) -> None:
        """Add an encoded frame at the end."""
        self._frames.append(frame)
        self.size += len(frame)

    def pop(self) -> bytes:
        """Take the first frame; there must be one."""
        frame = self._frames.popleft()
        self.size -= len(frame)
        return frame


_Pair = tuple[PublicKey, PublicKey]
"""Destination and source."""


@final
class _Flow:
    """The frames of a pair of keys, each as pieces to be written one behind the other.

    Attributes:
        pair: Whose frames wait here, or waited last.
        shared: While frames wait, those of other pairs with the same hash may be among them, since no flow was free.
    """

    __slots__ = ("frames", "pair", "shared", "size")

    def __init__(self, pair: _Pair) -> None:
        self.frames: Final[deque[tuple[bytes, ...]]] = deque()
        self.size = 0
        self.begin(pair)

    def begin(self, pair: _Pair) -> None:
        """Take what is empty for this pair."""
        self.pair = pair
        self.shared = False


@final
class FairQueue:
    """Encoded traffic frames: one at a time from each flow in turn; a flow that is full loses its oldest.

    A pair of source and destination key has the flow that its hash says, or the next free one while frames of another
    pair wait there: of sixteen flows, two pairs would have the same one too often. Only when none is free they share.
    Python's hash of bytes has a secret of the process in it, so nobody far away can choose keys for that.

    Attributes:
        size: Bytes that wait.
        dropped: Frames dropped since a flow, or all of them together, had too many bytes.
    """

    __slots__ = (
        "_count",
        "_elsewhere",
        "_flow_count",
        "_flow_limit",
        "_flow_room",
        "_flows",
        "_turns",
        "dropped",
        "size",
    )

    def __init__(self, peer_type: PeerType) -> None:
        bluetooth = peer_type is PeerType.BLUETOOTH
        self._flow_room: Final = FLOW_ROOM_BLUETOOTH if bluetooth else FLOW_ROOM
        self._flow_limit: Final = int(self._flow_room * FLOW_LIMIT_FACTOR)
        self._flow_count: Final = FLOWS_BLUETOOTH if bluetooth else FLOWS
        self._flows: Final[dict[int, _Flow]] = {}  # made when first used: 254 of them are 190 KiB, on every link
        self._elsewhere: Final[dict[_Pair, _Flow]] = {}  # pairs that wait in another flow than their hash says
        self._turns: Final[deque[_Flow]] = deque()  # the flows that have frames, each once
        self._count = 0
        self.size = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def room(self, destination: PublicKey, source: PublicKey) -> int:
        """Return how many more bytes of payload this flow takes; 0 if it is full. Nothing is dropped within it."""
        flow_room = self._flow_room - self._flow(destination, source).size
        return max(0, min(flow_room, TRAFFIC_LIMIT - self.size))

    def is_half_empty(self, destination: PublicKey, source: PublicKey) -> bool:
        """Tell whether at most half of the flow's room is taken."""
        return 2 * self.room(destination, source) >= self._flow_room

    def push(self, destination: PublicKey, source: PublicKey, *frames: tuple[bytes, ...]) -> None:
        """Add encoded frames, each in pieces, to their flow, and drop what is then too much."""
        flow = self._flow(destination, source)
        if not flow.frames and frames:
            self._turns.append(flow)
        size = sum(map(_length, frames))
        flow.frames.extend(frames)
        flow.size += size
        self.size += size
        self._count += len(frames)
        while flow.size > self._flow_limit and len(flow.frames) > FLOW_LEAST_FRAMES:
            self._drop_oldest(flow)
        while self.size > TRAFFIC_LIMIT:
            self._drop_oldest(max(self._turns, key=_flow_size))

    def pop(self) -> tuple[bytes, ...]:
        """Take the first frame of the flow whose turn it is; there must be one."""
        flow = self._turns.popleft()
        frame = self._take(flow)
        if flow.frames:
            self._turns.append(flow)
        return frame

    def _flow(self, destination: PublicKey, source: PublicKey) -> _Flow:
        """Return where frames of the pair wait; if none do, where the next one will."""
        pair = destination, source
        if self._elsewhere:
            flow = self._elsewhere.get(pair)
            if flow is not None:
                if flow.frames and flow.pair == pair:
                    return flow
                del self._elsewhere[pair]
        number = hash(pair) % self._flow_count
        flow = self._flows.get(number)
        if flow is None:
            flow = self._flows[number] = _Flow(pair)
        elif not flow.frames:
            flow.begin(pair)
        elif flow.pair != pair and not flow.shared:
            return self._free_flow(pair, number) or self._share(flow)
        return flow

    def _free_flow(self, pair: _Pair, number: int) -> _Flow | None:
        """Give the pair the next flow behind its own that nothing waits in."""
        for step in range(1, self._flow_count):
            other = (number + step) % self._flow_count
            flow = self._flows.get(other)
            if flow is None:
                flow = self._flows[other] = _Flow(pair)
            elif flow.frames:
                continue
            flow.begin(pair)
            self._forget_places()
            self._elsewhere[pair] = flow
            return flow
        return None

    def _share(self, flow: _Flow) -> _Flow:
        flow.shared = True  # until it is empty, so that each pair's frames stay in order
        return flow

    def _forget_places(self) -> None:
        """Forget where pairs were of which nothing waits there any more, once there are as many as flows."""
        if len(self._elsewhere) >= self._flow_count:
            for pair, flow in list(self._elsewhere.items()):
                if not flow.frames or flow.pair != pair:
                    del self._elsewhere[pair]

    def _take(self, flow: _Flow) -> tuple[bytes, ...]:
        frame = flow.frames.popleft()
        size = _length(frame)
        flow.size -= size
        self.size -= size
        self._count -= 1
        return frame

    def _drop_oldest(self, flow: _Flow) -> None:
        self._take(flow)
        self.dropped += 1
        if not flow.frames:
            # Half of the flows, with one frame of the greatest length each, are too much already.
            self._turns.remove(flow)


def _flow_size(flow: _Flow) -> int:
    return flow.size


def _length(frame: tuple[bytes, ...]) -> int:
    return sum(map(len, frame))
