"""The stack alone, and two of them face to face; whole networks are the simulator's tests."""

import random

import pytest

from pinecone_transport.errors import (
    FrameError,
    HandshakeError,
    LinkTimeoutError,
    LocalProtocolError,
    StreamResetError,
    UnreachableError,
)
from pinecone_transport.router import RouteLearned, TreeChanged
from pinecone_transport.session import (
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
)
from pinecone_transport.simulator import Network
from pinecone_transport.stack import ROUTE_GRACE, LinkLost, LinkUp, Stack, StackEvent
from pinecone_transport.wire import PeerType, encode_frame, encode_handshake
from tests.support.frames import FrameFactory, identity


def make_stack(number: int = 1) -> Stack:
    return Stack(identity(number), random=random.Random(number), unix_time=1.7e9, now=1000.0)


class Recorder:
    """Two nodes on a network and the events of each."""

    def __init__(self, count: int = 2) -> None:
        self.network = Network()
        self.events: list[list[StackEvent]] = [[] for _ in range(count)]
        self.network.observers.append(lambda node, event: self.events[node].append(event))
        for owner in sorted((identity(number + 1) for number in range(count)), key=lambda one: one.key):
            self.network.add_node(owner)  # so the last one becomes root

    def of(self, node: int, kind: type) -> list[StackEvent]:
        return [event for event in self.events[node] if isinstance(event, kind)]

    def line(self) -> None:
        for node in range(len(self.network) - 1):
            self.network.connect(node, node + 1)
        self.network.run(20.0)


def test_a_new_link_sends_the_handshake_first() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    assert stack.links_to_send() == [link]
    assert stack.has_more_to_send()
    assert stack.data_to_send(link, 1 << 16, 1000.0) == [encode_handshake(identity(1))]
    assert stack.links_to_send() == []
    assert not stack.has_more_to_send()
    assert stack.data_to_send(link, 1 << 16, 1000.0) == []


def test_both_ends_report_the_peer_and_its_port() -> None:
    pair = Recorder()
    pair.network.connect(0, 1)
    pair.network.run(1.0)
    assert [(event.key, event.port) for event in pair.of(0, LinkUp)] == [(pair.network.key(1), 1)]
    assert [(event.key, event.port) for event in pair.of(1, LinkUp)] == [(pair.network.key(0), 1)]
    assert len(pair.of(0, TreeChanged)) == 1


def test_a_link_with_our_own_key_is_refused() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    (event,) = stack.receive_data(link, encode_handshake(identity(1)), 1000.0)
    assert isinstance(event, LinkLost)
    assert isinstance(event.error, HandshakeError)
    assert stack.peering(link) is None


def test_a_link_beyond_the_last_port_is_refused_and_the_others_stay() -> None:
    stack = make_stack()
    for number in range(253):
        link = stack.add_link(PeerType.REMOTE, 1000.0)
        (event,) = stack.receive_data(link, encode_handshake(identity(2 + number)), 1000.0)
        assert isinstance(event, LinkUp)
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    (lost,) = stack.receive_data(link, encode_handshake(identity(999)), 1000.0)
    assert isinstance(lost, LinkLost)
    assert isinstance(lost.error, LocalProtocolError)
    assert len(stack.router.peers) == 253


def test_garbage_ends_the_link_at_fault_only() -> None:
    stack = make_stack()
    good, bad = (stack.add_link(PeerType.REMOTE, 1000.0) for _ in range(2))
    stack.receive_data(good, encode_handshake(identity(2)), 1000.0)
    (_, lost) = stack.receive_data(bad, encode_handshake(identity(3)) + b"GET / HTTP/1.1", 1000.0)
    assert isinstance(lost, LinkLost)
    assert isinstance(lost.error, FrameError)
    assert [peer.key for peer in stack.router.peers] == [identity(2).key]


def test_frames_behind_the_one_that_ends_the_link_are_ignored() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    stack.receive_data(link, encode_handshake(identity(2)), 1000.0)
    factory = FrameFactory(identity(3))  # an announcement that the peer has not signed
    traffic = FrameFactory(identity(2)).traffic(to=identity(1).key)
    events = stack.receive_data(link, encode_frame(factory.announcement()) + encode_frame(traffic), 1000.0)
    assert [type(event) for event in events] == [LinkLost]
    assert stack.socket.counters["packets received"] == 0


def test_a_link_is_lost_once_however_much_is_wrong_with_what_it_brings() -> None:
    stack = make_stack()
    unsigned = encode_frame(FrameFactory(identity(3)).announcement())
    for number, bad in ((2, unsigned), (1, b"")):  # 1 is our own key
        link = stack.add_link(PeerType.REMOTE, 1000.0)
        events = stack.receive_data(link, encode_handshake(identity(number)) + bad + b"GET / HTTP/1.1", 1000.0)
        assert [type(event) for event in events if not isinstance(event, LinkUp)] == [LinkLost]


def test_bytes_of_an_unknown_link_are_ignored() -> None:
    stack = make_stack()
    assert stack.receive_data(7, b"whatever", 1000.0) == []
    assert stack.remove_link(7, 1000.0) == []
    stack.link_blocked(7, 1000.0)
    stack.link_unblocked(7, 1000.0)


def test_a_silent_link_is_given_up_by_the_timer() -> None:
    pair = Recorder()
    index = pair.network.connect(0, 1)
    pair.network.run(2.0)
    pair.network.silence(index)
    pair.network.run(6.0)
    (lost,) = pair.of(0, LinkLost)
    assert isinstance(lost, LinkLost)
    assert isinstance(lost.error, LinkTimeoutError)
    assert pair.network.stack(0).router.peers == []


def test_a_blocked_link_has_nothing_to_send_and_is_given_up_after_three_seconds() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    stack.link_blocked(link, 1000.0)
    stack.link_blocked(link, 1001.0)
    assert stack.links_to_send() == []
    stack.link_unblocked(link, 1001.0)
    stack.link_unblocked(link, 1001.0)
    assert stack.links_to_send() == [link]
    stack.link_blocked(link, 1001.0)
    due = stack.next_timer()
    assert due is not None
    assert due <= 1004.0
    assert stack.handle_timer(1003.9) == []
    (lost,) = stack.handle_timer(1004.0)
    assert isinstance(lost, LinkLost)
    assert stack.peering(link) is None


def test_traffic_for_another_key_never_reaches_the_sessions() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    stack.receive_data(link, encode_handshake(identity(2)), 1000.0)
    frame = FrameFactory(identity(2)).traffic(to=b"\xff" * 32)
    assert stack.receive_data(link, encode_frame(frame), 1000.0) == []
    assert stack.counters["packets for other keys"] == 1
    assert stack.socket.counters["packets received"] == 0


def test_a_stream_carries_bytes_both_ways_through_a_third_node_and_closes() -> None:
    line = Recorder(3)
    line.line()
    network, a, b = line.network, line.network.stack(0), line.network.stack(2)
    ours = a.connect(b.identity.key, network.now)
    network.turn(0)
    network.run(1.0)
    assert line.of(0, StreamConnected) == [StreamConnected(ours)]
    (accepted,) = line.of(2, StreamAccepted)
    assert isinstance(accepted, StreamAccepted)
    assert accepted.key == a.identity.key
    for stack, node, stream, data in ((a, 0, ours, b"ping" * 5000), (b, 2, accepted.stream, b"pong")):
        assert stack.room(stream) >= len(data)
        assert stack.segment(stream) > 1000
        stack.write(stream, data, network.now)
        stack.close(stream, network.now)
        network.turn(node)
    network.run(2.0)
    received = b"".join(event.data for event in line.of(2, StreamData) if isinstance(event, StreamData))
    assert received == b"ping" * 5000
    b.acknowledge_received_data(accepted.stream, len(received), network.now)
    assert line.of(0, StreamData) == [StreamData(ours, b"pong")]
    assert line.of(0, StreamEnded) == [StreamEnded(ours)]
    network.run(5.0)
    assert line.of(0, StreamClosed) == [StreamClosed(ours)]
    assert line.of(2, StreamClosed) == [StreamClosed(accepted.stream)]


@pytest.mark.parametrize("everything", [True, False])
def test_an_aborted_stream_is_lost_at_the_far_end_at_once(everything: bool) -> None:
    pair = Recorder()
    pair.line()
    network, a, b = pair.network, pair.network.stack(0), pair.network.stack(1)
    stream = a.connect(b.identity.key, network.now)
    network.turn(0)
    network.run(1.0)
    (accepted,) = pair.of(1, StreamAccepted)
    assert isinstance(accepted, StreamAccepted)
    if everything:
        a.abort_all(network.now)
    else:
        a.abort(stream, network.now)
    network.turn(0)
    network.run(0.1)
    (lost,) = pair.of(1, StreamLost)
    assert isinstance(lost, StreamLost)
    assert lost.stream == accepted.stream
    assert isinstance(lost.error, StreamResetError)
    assert pair.of(0, StreamLost) == []


def test_a_node_does_not_dial_itself() -> None:
    stack = make_stack()
    with pytest.raises(LocalProtocolError):
        stack.connect(identity(1).key, 1000.0)


def test_a_dial_without_any_route_fails_when_its_grace_is_over() -> None:
    lonely = Recorder(1)
    network, stack = lonely.network, lonely.network.stack(0)
    stream = stack.connect(identity(9).key, network.now)
    network.turn(0)
    network.run(ROUTE_GRACE - 0.5)
    stack.connect(identity(8).key, network.now)
    network.turn(0)
    network.run(0.4)
    assert lonely.of(0, StreamLost) == []
    network.run(0.2)
    (lost,) = lonely.of(0, StreamLost)
    assert isinstance(lost, StreamLost)
    assert lost.stream == stream
    assert isinstance(lost.error, UnreachableError)
    network.run(ROUTE_GRACE)
    assert len(lonely.of(0, StreamLost)) == 2


def test_a_dial_that_gets_a_route_within_its_grace_succeeds_at_once() -> None:
    pair = Recorder()
    network, stack = pair.network, pair.network.stack(0)
    stream = stack.connect(network.key(1), network.now)
    network.turn(0)
    network.run(1.0)
    network.connect(0, 1, latency=0.001)
    network.run(0.1)
    assert pair.of(0, StreamConnected) == [StreamConnected(stream)]
    network.run(ROUTE_GRACE)
    assert pair.of(0, StreamLost) == []


@pytest.mark.parametrize("phase", range(5))
def test_a_node_that_has_just_come_reaches_whom_its_parent_knows_without_waiting_for_a_bootstrap(phase: int) -> None:
    three = Recorder(3)
    network = three.network
    network.connect(0, 2, latency=0.001)
    network.run(20.0 + phase)
    network.connect(1, 2, latency=0.001)
    network.run(0.01)
    stream = network.stack(1).connect(network.key(0), network.now)
    network.turn(1)
    network.run(0.05)
    assert three.of(1, StreamConnected) == [StreamConnected(stream)]


def test_a_dial_to_a_key_that_nobody_has_fails_when_its_grace_is_over_although_a_link_takes_it() -> None:
    pair = Recorder()
    pair.line()
    network, stack = pair.network, pair.network.stack(0)
    nobody = network.key(1)[:-1] + bytes((network.key(1)[-1] - 1,))
    assert stack.router.route(nobody, network.now) is not None
    started = network.now
    stream = stack.connect(nobody, network.now)
    network.turn(0)
    network.run(ROUTE_GRACE - 0.05)
    assert pair.of(0, StreamLost) == []
    network.run(0.1)
    (lost,) = pair.of(0, StreamLost)
    assert isinstance(lost, StreamLost)
    assert (lost.stream, type(lost.error)) == (stream, UnreachableError)
    assert network.now < started + ROUTE_GRACE + 0.1


def test_the_grace_of_a_dial_begins_anew_when_a_link_comes_up() -> None:
    pair = Recorder()
    network, stack = pair.network, pair.network.stack(0)
    nobody = network.key(1)[:-1] + bytes((network.key(1)[-1] - 1,))
    stack.connect(nobody, network.now)
    network.turn(0)
    network.run(ROUTE_GRACE - 0.5)
    network.connect(0, 1, latency=0.001)
    network.run(ROUTE_GRACE - 0.5)
    assert pair.of(0, StreamLost) == []
    network.run(1.0)
    assert len(pair.of(0, StreamLost)) == 1


def test_a_dial_to_a_node_that_we_know_is_given_more_than_its_grace() -> None:
    pair = Recorder()
    pair.line()
    network, stack = pair.network, pair.network.stack(0)
    network.links[0].loss = 1.0
    stream = stack.connect(network.key(1), network.now)
    network.turn(0)
    network.run(ROUTE_GRACE + 1.0)
    assert pair.of(0, StreamLost) == []
    network.links[0].loss = 0.0
    network.run(2.5)
    assert pair.of(0, StreamConnected) == [StreamConnected(stream)]


def test_the_grace_of_a_dial_begins_anew_with_news_of_its_key() -> None:
    line = Recorder(4)
    network, stack = line.network, line.network.stack(0)
    network.connect(0, 1)
    network.run(10.0)
    stream = stack.connect(network.key(3), network.now)
    network.turn(0)
    network.run(ROUTE_GRACE - 0.3)
    network.connect(2, 3, latency=0.001)
    network.connect(1, 2, latency=0.001)
    network.run(5.0)
    assert line.of(0, StreamLost) == []
    assert line.of(0, StreamConnected) == [StreamConnected(stream)]


# Where the higher of two keys moves, the way to the lower has to be found anew, by that one's next bootstrap (§5).
@pytest.mark.parametrize(("stays", "moves", "within"), [(1, 0, 0.5), (0, 1, 6.0)])
def test_a_node_that_moved_shows_its_new_coordinates_to_whom_it_has_streams_with(
    stays: int, moves: int, within: float
) -> None:
    line = Recorder(4)
    network = line.network
    for near, far in ((3, 2), (3, stays), (2, moves)):
        network.connect(near, far)
    network.run(20.0)
    a, b = network.stack(stays), network.stack(moves)
    stream = a.connect(b.identity.key, network.now)
    network.turn(stays)
    network.run(3.0)
    assert line.of(stays, StreamConnected) == [StreamConnected(stream)]
    before = b.router.coordinates
    route = a.router.route(b.identity.key, network.now)
    assert route is not None
    assert route.coordinates == before
    network.connect(3, moves)
    network.cut(2)
    network.run(within)
    assert b.router.coordinates not in {before, ()}
    route = a.router.route(b.identity.key, network.now)
    assert route is not None
    assert route.coordinates == b.router.coordinates


def test_a_dial_without_answer_is_repeated_at_once_when_its_far_end_dials_us() -> None:
    pair = Recorder()
    pair.line()
    network, a, b = pair.network, pair.network.stack(0), pair.network.stack(1)
    ours = a.connect(b.identity.key, network.now)
    a.pump(network.now)
    for link in a.links_to_send():
        a.data_to_send(link, 1 << 16, network.now)  # lost
    network.run(0.2)
    theirs = b.connect(a.identity.key, network.now)
    network.turn(1)
    network.run(0.1)
    b.write(theirs, b"hello", network.now)
    network.turn(1)
    network.run(0.1)
    assert len(pair.of(0, StreamAccepted)) == 1
    assert pair.of(0, StreamConnected) == [StreamConnected(ours)]


def test_a_dial_whose_key_has_a_route_when_the_grace_ends_is_not_failed() -> None:
    line = Recorder(3)
    network, stack = line.network, line.network.stack(0)
    stream = stack.connect(network.key(2), network.now)
    network.turn(0)
    network.run(ROUTE_GRACE - 0.08)
    network.connect(0, 1, latency=0.001)  # has the dial sent again, though this leads nowhere: the key is above
    network.run(0.03)
    network.connect(1, 2, latency=0.005)  # leads there, and it is too soon to send again
    network.run(2.0)
    assert line.of(0, StreamLost) == []
    assert line.of(0, StreamConnected) == [StreamConnected(stream)]


def test_a_full_queue_gives_a_pair_of_keys_no_room_until_it_drains() -> None:
    pair = Recorder()
    pair.line()
    network, stack = pair.network, pair.network.stack(0)
    (up,) = pair.of(0, LinkUp)
    assert isinstance(up, LinkUp)
    stack.link_blocked(up.link, network.now)
    # Resets for many unknown packets of one key fill its flow: the sessions keep what does not fit.
    crowd = FrameFactory(identity(77))
    stack.data_to_send(up.link, 1 << 20, network.now)
    for _ in range(6):
        frame = crowd.traffic(to=network.key(1), source=network.key(0), size=60_000)
        peering = stack.peering(up.link)
        assert peering is not None
        peering.send_frame(frame, network.now)
    stream = stack.connect(network.key(1), network.now)
    stack.pump(network.now)
    assert stack.socket.ready_keys() == [network.key(1)]
    stack.link_unblocked(up.link, network.now)
    network.turn(0)
    network.turn(0)
    network.run(1.0)
    assert pair.of(0, StreamConnected) == [StreamConnected(stream)]


def test_a_packet_without_answer_makes_the_peers_coordinates_doubted() -> None:
    pair = Recorder()
    pair.line()
    network, a, b = pair.network, pair.network.stack(0), pair.network.stack(1)
    # Only the higher key is root and has no coordinates to learn: let it dial, so that it learns the other's.
    stream = b.connect(a.identity.key, network.now)
    network.turn(1)
    network.run(1.0)
    route = b.router.route(a.identity.key, network.now)
    assert route is not None
    assert route.coordinates != ()
    network.links[0].loss = 1.0
    b.write(stream, b"lost", network.now)
    network.turn(1)
    network.run(4.0)
    route = b.router.route(a.identity.key, network.now)
    assert route is not None
    assert route.coordinates == ()


def test_frames_for_a_link_that_is_gone_by_the_end_of_the_turn_are_lost() -> None:
    stack = make_stack()
    first, second = (stack.add_link(PeerType.REMOTE, 1000.0) for _ in range(2))
    stack.receive_data(first, encode_handshake(identity(2)), 1000.0)
    stack.receive_data(second, encode_handshake(identity(3)), 1000.0)
    stack.remove_link(second, 1000.0)
    stack.pump(1000.0)
    assert stack.links_to_send() == [first]


def test_a_link_that_is_lost_takes_its_routes_and_is_reported_as_a_change_of_the_tree() -> None:
    pair = Recorder()
    pair.line()
    assert pair.of(1, RouteLearned) or pair.of(0, RouteLearned)
    changes = len(pair.of(0, TreeChanged))
    pair.network.cut(0)
    assert len(pair.of(0, TreeChanged)) == changes + 1
    assert pair.network.stack(0).router.route(pair.network.key(1), pair.network.now) is None


def test_a_pair_of_keys_sends_no_more_than_the_next_hops_queue_takes() -> None:
    pair = Recorder()
    pair.line()
    network, a = pair.network, pair.network.stack(0)
    stream = a.connect(network.key(1), network.now)
    network.turn(0)
    network.run(1.0)
    (up,) = pair.of(0, LinkUp)
    assert isinstance(up, LinkUp)
    peering = a.peering(up.link)
    assert peering is not None
    a.link_blocked(up.link, network.now)
    for _ in range(200):
        a.write(stream, bytes(min(a.room(stream), 60_000)), network.now)
        a.pump(network.now)
    assert a.room(stream) == 0
    assert peering.counters["dropped_out_queue_full"] == 0
    assert peering.queued_bytes < 1 << 20
