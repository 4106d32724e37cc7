"""What others can and cannot do, where no other test says it: `docs/security.md` names these."""

from __future__ import annotations

import random

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.session import StreamAccepted, StreamLost
from pinecone_transport.session.utp import ST_SYN, UtpPacket, encode_packet
from pinecone_transport.simulator import Network
from pinecone_transport.stack import LinkUp, Stack
from pinecone_transport.wire import TRAFFIC, Frame, PeerType, encode_frame, encode_handshake
from tests.support.frames import identity
from tests.support.hostile_relay import HostileRelay
from tests.support.twisted_protocols import Recorders
from twisted_endpoints import PineconeClientEndpoint, PineconeServerEndpoint
from twisted_endpoints.testing import MemoryNetwork


def make_stack() -> Stack:
    return Stack(identity(1), random=random.Random(1), unix_time=1.7e9, now=1000.0)


def test_a_recorded_handshake_opens_a_link_under_its_key_and_that_is_all_it_does() -> None:
    stack = make_stack()
    recorded = encode_handshake(identity(2))
    links = [stack.add_link(PeerType.REMOTE, 1000.0) for _ in range(2)]
    for port, link in enumerate(links, 1):
        assert stack.receive_data(link, recorded, 1000.0) == [LinkUp(link, identity(2).key, port)]
    assert stack.socket.connection_count == 0


def test_a_made_up_source_key_gets_a_half_open_connection_and_no_stream() -> None:
    stack = make_stack()
    link = stack.add_link(PeerType.REMOTE, 1000.0)
    stack.receive_data(link, encode_handshake(identity(2)), 1000.0)
    syn = encode_packet(UtpPacket(ST_SYN, 7, 0, 0, 1 << 20, 9, 0))
    frame = Frame(TRAFFIC, syn, hop_limit=9, destination_key=identity(1).key, source_key=identity(3).key)
    events = stack.receive_data(link, encode_frame(frame), 1000.0)
    assert not [event for event in events if isinstance(event, StreamAccepted)]
    assert stack.socket.connection_count == 1
    for now in range(1001, 1020):
        assert stack.next_timer() is not None
        assert not [event for event in stack.handle_timer(float(now)) if isinstance(event, StreamLost)]
    assert stack.socket.connection_count == 0


def test_a_relay_sees_keys_and_lengths_and_nothing_of_what_is_said() -> None:
    network = MemoryNetwork()
    alice, bob = network.node(), network.node()
    node = network.node()
    relay = HostileRelay(network, node)
    relay.join(alice)
    relay.join(bob)
    network.settle()
    servers = Recorders()
    network.result_of(PineconeServerEndpoint(bob).listen(servers))
    secret = b"what nobody else is to know " * 100
    client = network.result_of(PineconeClientEndpoint(alice, bob.identity.key).connect(Recorders()))
    client.transport.write(secret)
    network.advance_until(lambda: servers.made and servers.made[0].received == secret)
    keys = {alice.identity.key, bob.identity.key}
    # Nodes that have just begun dial their peers, too, and the relay is one.
    others = [passing for passing in relay.seen if node.identity.key not in {passing.source, passing.destination}]
    assert {passing.source for passing in others} == keys
    assert {passing.destination for passing in others} == keys
    assert sum(len(passing.packet) for passing in others) > len(secret)
    assert not any(secret[:28] in passing.packet for passing in relay.seen)


def test_whoever_holds_a_key_is_that_node_to_all_others() -> None:
    network = MemoryNetwork()
    alice = network.node()
    bob = network.node(alice)
    network.settle()
    servers = Recorders()
    network.result_of(PineconeServerEndpoint(bob).listen(servers))
    network.result_of(alice.stopService())
    thieves = MemoryNetwork(network.clock)
    thief = thieves.node()
    thieves.link(thief, bob)
    assert thief.identity.key == alice.identity.key
    network.advance(10.0)
    network.result_of(PineconeClientEndpoint(thief, bob.identity.key).connect(Recorders()))
    network.advance_until(lambda: servers.made)
    assert servers.made[0].transport.getPeer().key == alice.identity.key


@pytest.mark.parametrize("interval", [0.1, 1.0])
def test_coordinates_that_somebody_forges_delay_a_stream_and_do_not_end_it(interval: float) -> None:
    network = Network(5)
    owners = sorted((Identity(bytes((number,)) * 32) for number in range(1, 5)), key=lambda one: one.key)
    a, b, mallory, relay = (network.add_node(owner) for owner in owners)
    for node in (a, b, mallory):
        network.connect(relay, node, latency=0.01)
    network.run(20.0)
    received: dict[int, int] = {a: 0, b: 0}
    accepted: list[int] = []
    lost: list[object] = []

    def observe(node: int, event: object) -> None:
        match type(event).__name__:
            case "StreamAccepted":
                accepted.append(event.stream)
            case "StreamData":
                received[node] += len(event.data)
                network.stack(node).acknowledge_received_data(event.stream, len(event.data), network.now)
            case "StreamLost":
                lost.append(event.error)

    network.observers.append(observe)
    stream = network.stack(a).connect(network.key(b), network.now)
    network.turn(a)
    network.run(1.0)
    network.stack(a).write(stream, b"?", network.now)
    network.turn(a)
    network.run(1.0)
    forged = [
        Frame(
            TRAFFIC,
            bytes(20),
            hop_limit=20,
            destination=network.stack(victim).router.coordinates,
            source=network.stack(mallory).router.coordinates,
            destination_key=network.key(victim),
            source_key=network.key(other),
        )
        for victim, other in ((a, b), (b, a))
    ]
    for step in range(100):
        # Again and again Mallory says that both are where Mallory is; what they then send to each other goes there.
        for frame in forged:
            network.stack(mallory).peering(1).send_frame(frame, network.now)
        network.turn(mallory)
        if step < 50:
            network.stack(b).write(accepted[0], bytes(1000), network.now)
            network.turn(b)
        network.run(interval)
    assert network.stack(mallory).counters["packets for other keys"] > 0
    assert lost == []
    assert received[a] == 50_000
