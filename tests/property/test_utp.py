"""Two µTP sockets and a link that does its worst: bytes arrive in order, once and complete, or the stream is lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pinecone_transport.session import StreamClosed, StreamLost, UtpLimits
from pinecone_transport.session.utp import TRANSITIONS, Input, State
from tests.support.virtual_link import RIGHT_KEY, Faults, Side, VirtualLink, without_extensions

LIMITS = UtpLimits(
    packet=600, receive_window=8000, send_buffer=10_000, connections_per_key=8, dead_after=20.0, connect_timeout=10.0
)
TERMINAL = (StreamClosed, StreamLost)


def pattern(start: int, length: int) -> bytes:
    """Return bytes of a stream that tell where they belong."""
    return b"".join(
        (position * 2654435761 & 0xFFFFFFFF).to_bytes(4, "big") for position in range(start, start + length)
    )


class Conversations(RuleBasedStateMachine):
    """Streams are opened, written, closed and aborted at both ends while the link misbehaves as it is told."""

    @initialize(seed=st.integers(0, 1 << 16), packet=st.sampled_from((120, 600, 8192)))
    def start(self, seed: int, packet: int) -> None:
        limits = replace(LIMITS, packet=packet, largest_packet=packet)
        self.link = VirtualLink(limits=limits, faults=Faults(delay=0.01), seed=seed)
        self.written: dict[tuple[bool, int], bytearray] = {}
        self.closed: set[tuple[bool, int]] = set()
        self.aborted: set[tuple[bool, int]] = set()
        # The acceptor's streams in the order of their dials cannot be known: each begins with its dialler's number.
        self.dialled: list[int] = []

    def side(self, left: bool) -> Side:
        return self.link.left if left else self.link.right

    def open_streams(self, left: bool) -> list[int]:
        side = self.side(left)
        streams = self.dialled if left else side.accepted
        return [s for s in streams if s not in side.closed and s not in side.lost and (left, s) not in self.aborted]

    @rule(
        loss=st.sampled_from((0.0, 0.02, 0.3)),
        reordering=st.sampled_from((0.0, 0.3)),
        cut=st.sampled_from((False, False, True)),
        duplication=st.sampled_from((0.0, 0.2)),
        largest=st.sampled_from((2200, 1 << 16)),
    )
    def change_link(self, loss: float, reordering: float, cut: bool, duplication: float, largest: int) -> None:
        self.link.faults = Faults(0.01, loss, duplication, reordering, 0.0, cut, largest)
        if not cut:
            self.link.left.socket.wake_all(self.link.now)
            self.link.right.socket.wake_all(self.link.now)

    @rule()
    def dial(self) -> None:
        if len(self.dialled) < 6:
            stream = self.link.left.socket.connect(RIGHT_KEY, self.link.now)
            self.dialled.append(stream)
            self.write(True, stream, stream.to_bytes(4, "big"))

    @rule(left=st.booleans(), which=st.integers(0, 5), length=st.integers(1, 3000))
    def write_some(self, left: bool, which: int, length: int) -> None:
        for stream in self.open_streams(left)[which : which + 1]:
            room = self.side(left).socket.room(stream)
            self.write(left, stream, pattern(which, length)[:room])

    @rule(left=st.booleans(), which=st.integers(0, 5))
    def close(self, left: bool, which: int) -> None:
        for stream in self.open_streams(left)[which : which + 1]:
            self.side(left).socket.close(stream, self.link.now)
            self.closed.add((left, stream))

    @rule(left=st.booleans(), which=st.integers(0, 5))
    def abort(self, left: bool, which: int) -> None:
        for stream in self.open_streams(left)[which : which + 1]:
            self.side(left).socket.abort(stream, self.link.now)
            self.aborted.add((left, stream))

    @rule(left=st.booleans())
    def slow_reader(self, left: bool) -> None:
        side = self.side(left)
        side.acknowledging = not side.acknowledging
        if side.acknowledging:
            for stream in self.open_streams(left):
                side.socket.acknowledge_received_data(stream, len(side.received(stream)), self.link.now)

    @rule(seconds=st.sampled_from((0.001, 0.02, 0.5, 5.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.link.run(seconds)

    def write(self, left: bool, stream: int, data: bytes) -> None:
        if data and (left, stream) not in self.closed:
            self.side(left).socket.write(stream, data, self.link.now)
            self.written.setdefault((left, stream), bytearray()).extend(data)

    def peer_of(self, left: bool, stream: int) -> int | None:
        """Return the number that the other end has for the stream; None while nothing tells."""
        if not left:
            beginning = self.link.right.received(stream)[:4]
            return int.from_bytes(beginning, "big") if len(beginning) == 4 else None
        return next((s for s in self.link.right.accepted if self.peer_of(False, s) == stream), None)

    def check_prefix(self, left: bool, stream: int) -> None:
        received = self.side(left).received(stream)
        peer = self.peer_of(left, stream)
        if peer is not None:
            sent = bytes(self.written.get((not left, peer), b""))
            assert sent.startswith(received), "not what was written, in order, once"
            if stream in self.side(left).ended:
                assert received == sent, "the end came before all that was written"

    @invariant()
    def what_was_received_is_what_was_written(self) -> None:
        if hasattr(self, "link"):
            for left in (True, False):
                for stream in list(self.side(left).data):
                    self.check_prefix(left, stream)

    @invariant()
    def bounds_hold_and_ends_come_once(self) -> None:
        if hasattr(self, "link"):
            for left in (True, False):
                side = self.side(left)
                assert side.socket.connection_count <= LIMITS.connections_per_key
                for session in side.socket.sessions():
                    assert 0 <= session.packets_in_flight <= 256
                ends = [event.stream for event in side.events if isinstance(event, TERMINAL)]
                assert len(ends) == len(set(ends))

    def teardown(self) -> None:
        if not hasattr(self, "link"):
            return
        self.link.faults = Faults()
        for left in (True, False):
            side = self.side(left)
            side.acknowledging = True
            for stream in self.open_streams(left):
                side.socket.acknowledge_received_data(stream, len(side.received(stream)), self.link.now)
        # Streams that only the dialler closed wait for the acceptor, so both close now.
        for _ in range(8):
            for left in (True, False):
                for stream in self.open_streams(left):
                    self.side(left).socket.close(stream, self.link.now)
            self.link.run(10.0)
        for left in (True, False):
            side = self.side(left)
            assert self.open_streams(left) == []
            assert side.socket.connection_count == 0
            assert side.socket.ready_keys() == []
            for stream in side.closed:
                if stream in side.ended:
                    self.check_prefix(left, stream)


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=200, stateful_step_count=50)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 1 << 16),
    faults=st.builds(
        Faults,
        delay=st.sampled_from((0.0005, 0.02, 0.3)),
        loss=st.sampled_from((0.0, 0.02, 0.15)),
        duplication=st.sampled_from((0.0, 0.2)),
        reordering=st.sampled_from((0.0, 0.5)),
    ),
    packet=st.sampled_from((120, 1416, 8192, 60_000)),
    window=st.sampled_from((2000, 1 << 20)),
    lengths=st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)),
    old=st.booleans(),
)
def test_while_some_packets_arrive_everything_does(  # noqa: PLR0917  # hypothesis gives them by name
    seed: int, faults: Faults, packet: int, window: int, lengths: tuple[int, int], old: bool
) -> None:
    limits = UtpLimits(packet=min(packet, 8192), largest_packet=packet, receive_window=window)
    link = VirtualLink(limits=limits, faults=faults, seed=seed)
    if old:
        link.alter = without_extensions
    left, right = link.connect()
    sides = ((link.left, left, lengths[0]), (link.right, right, lengths[1]))
    for side, stream, length in sides:
        side.socket.write(stream, pattern(length, 16_000)[:length], link.now)
        side.socket.close(stream, link.now)
    link.run_until(lambda: all(stream in side.closed for side, stream, _ in sides), seconds=900)
    assert link.left.received(left) == pattern(lengths[1], 16_000)[: lengths[1]]
    assert link.right.received(right) == pattern(lengths[0], 16_000)[: lengths[0]]
    assert link.left.socket.connection_count == link.right.socket.connection_count == 0


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 16), corruption=st.sampled_from((0.02, 0.3)), packet=st.sampled_from((60, 120, 1416)))
def test_packets_that_were_altered_harm_at_most_their_own_stream(seed: int, corruption: float, packet: int) -> None:
    link = VirtualLink(limits=UtpLimits(packet=packet, largest_packet=packet), faults=Faults(delay=0.01), seed=seed)
    left, right = link.connect()
    link.faults.corruption = corruption
    link.left.socket.write(left, bytes(20_000), link.now)
    link.right.socket.write(right, bytes(20_000), link.now)
    link.run(20.0)
    # µTP has no checksum, that is TLS's part; but there are never more bytes than were written.
    assert len(link.left.received(left)) <= 20_000
    assert len(link.right.received(right)) <= 20_000
    link.faults.corruption = 0.0
    link.run(1.0)
    left, right = link.connect()
    link.left.socket.write(left, b"sound", link.now)
    link.run(10.0)
    assert link.right.received(right) == b"sound"


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 16),
    grown=st.integers(20_000, 300_000),
    largest=st.sampled_from((2200, 5000, 20_000)),
    loss=st.sampled_from((0.0, 0.02)),
    length=st.integers(1, 400_000),
)
def test_what_was_sent_large_arrives_although_the_path_takes_only_small_packets_from_then_on(
    seed: int, grown: int, largest: int, loss: float, length: int
) -> None:
    link = VirtualLink(faults=Faults(delay=0.001), seed=seed)
    left, right = link.connect()
    link.left.socket.write(left, pattern(0, grown // 4), link.now)
    link.run(1.0)
    link.left.socket.write(left, pattern(grown // 4, length // 4 + 1), link.now)
    link.run(0.0005)
    link.faults.largest = largest
    link.faults.loss = loss
    link.left.socket.close(left, link.now)
    link.run_until(lambda: right in link.right.ended, seconds=200)
    assert link.right.received(right) == pattern(0, grown // 4 + length // 4 + 1)


def test_every_state_but_the_last_can_end_and_none_is_left_behind() -> None:
    assert {state for state, what in TRANSITIONS if what is Input.END} == set(State) - {State.CLOSED}
    reached = set(TRANSITIONS.values()) | {State.SYN_SENT, State.SYN_RECEIVED}
    assert reached == set(State)
    assert all(state is not State.CLOSED for state, _ in TRANSITIONS)
