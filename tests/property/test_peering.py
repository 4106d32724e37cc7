"""A peering as a state machine, whatever happens to it and in whatever order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pinecone_transport.peering import HandshakeCompleted, LinkFailed, Peering, PeeringState
from pinecone_transport.wire import TRAFFIC, Frame, PeerType
from tests.support.clock import VirtualClock
from tests.support.frames import FrameFactory, identity, key
from tests.support.peerings import written


class TwoPeerings(RuleBasedStateMachine):
    """Two peerings, the bytes on their way between them, and what was sent and received."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.ends = [Peering(identity(number), PeerType.REMOTE, self.clock.now) for number in (1, 2)]
        self.on_the_way = [b"", b""]  # from that end
        self.sent: list[list[Frame]] = [[], []]
        self.received: list[list[Frame]] = [[], []]
        self.failed = [False, False]
        self.frames = FrameFactory()

    def _take(self, end: int, events: list) -> None:
        for event in events:
            assert not self.failed[end], "an event after the last one"
            if isinstance(event, LinkFailed):
                self.failed[end] = True
            elif isinstance(event, HandshakeCompleted):
                assert not self.received[end]
                assert event.key == identity(2 - end).key
            else:
                self.received[end].append(event)

    @rule(end=st.integers(0, 1), limit=st.sampled_from((1, 500, 100_000)))
    def write(self, end: int, limit: int) -> None:
        self.on_the_way[end] += written(self.ends[end], self.clock.now, limit)

    @rule(end=st.integers(0, 1), length=st.integers(1, 3000))
    def deliver(self, end: int, length: int) -> None:
        data, self.on_the_way[1 - end] = self.on_the_way[1 - end][:length], self.on_the_way[1 - end][length:]
        self._take(end, self.ends[end].receive_data(data, self.clock.now))

    @rule(end=st.integers(0, 1), size=st.integers(4, 2000), number=st.integers(0, 3), traffic=st.booleans())
    def send(self, end: int, size: int, number: int, traffic: bool) -> None:
        if self.ends[end].state is PeeringState.HANDSHAKE:
            return
        frame = self.frames.traffic(to=key(number), size=size) if traffic else self.frames.bootstrap()
        self.ends[end].send_frame(frame, self.clock.now)
        self.sent[end].append(frame)

    @rule(end=st.integers(0, 1), blocked=st.booleans())
    def block(self, end: int, blocked: bool) -> None:
        if blocked:
            self.ends[end].link_blocked(self.clock.now)
        else:
            self.ends[end].link_unblocked(self.clock.now)

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for end, peering in enumerate(self.ends):
            due_at = peering.next_timer()
            while due_at is not None and due_at <= self.clock.now:
                self._take(end, peering.handle_timer(self.clock.now))
                later = peering.next_timer()
                assert later is None or later > due_at
                due_at = later

    @invariant()
    def frames_arrive_unchanged_and_in_the_order_of_their_kind_and_flow(self) -> None:
        for end in (0, 1):
            sent = self.sent[1 - end]
            assert all(frame in sent for frame in self.received[end])
            for flow in range(4):
                for kind_is_traffic in (True, False):
                    chosen = [
                        sent.index(frame)
                        for frame in self.received[end]
                        if (frame.type == TRAFFIC) is kind_is_traffic
                        and (not kind_is_traffic or frame.destination_key == key(flow))
                    ]
                    assert chosen == sorted(set(chosen))

    @invariant()
    def a_failed_peering_is_silent(self) -> None:
        for end, peering in enumerate(self.ends):
            assert self.failed[end] is (peering.state is PeeringState.FAILED)
            assert not (self.failed[end] and (peering.has_data_to_send() or peering.next_timer() is not None))


TestTwoPeerings = TwoPeerings.TestCase
TestTwoPeerings.settings = settings(max_examples=60, stateful_step_count=40)
