"""Whatever comes from far nodes into a µTP socket."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.errors import UtpError
from pinecone_transport.session import (
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
    UtpLimits,
)
from pinecone_transport.session import UtpSocket as Socket
from pinecone_transport.session.utp import (
    HEADER_LENGTH,
    ST_DATA,
    ST_FIN,
    ST_RESET,
    ST_STATE,
    ST_SYN,
    UtpPacket,
    decode_packet,
    encode_packet,
)
from tests.support.virtual_link import LEFT_KEY, RIGHT_KEY, VirtualLink

KEYS = [LEFT_KEY, RIGHT_KEY, b"\x03" * 32]
LIMITS = UtpLimits(receive_window=4000, connections=12, half_open=8, half_open_per_key=4, resets=20, resets_per_key=8)

u16 = st.integers(0, 0xFFFF) | st.integers(0, 3) | st.integers(0xFFFD, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
options = st.tuples(st.just(0x70), st.binary(min_size=3, max_size=3).map(lambda content: b"\x01" + content))
fragments = st.tuples(st.just(0x71), st.binary(min_size=2, max_size=2).map(lambda content: b"\0\0\0" + content))
extension = st.tuples(st.integers(1, 255), st.binary(max_size=40)) | options | fragments
extensions = st.lists(extension, max_size=3).map(tuple)
packets = st.builds(
    UtpPacket, st.integers(0, 4), u16, u32, u32, u32, u16, u16, extensions, st.binary(max_size=2000)
).map(encode_packet)
anything = packets | st.binary(max_size=100)


@given(st.binary(max_size=120))
def test_decoding_gives_a_packet_or_a_utp_error(data: bytes) -> None:
    # Invariant: nothing but UtpError is raised, and what was read writes the same bytes.
    try:
        packet = decode_packet(data)
    except UtpError:
        return
    assert encode_packet(packet) == data


@given(st.lists(st.tuples(st.sampled_from(KEYS), anything, st.floats(0, 5)), max_size=60))
def test_a_socket_takes_anything_from_anyone_within_its_bounds(arrivals: list[tuple[bytes, bytes, float]]) -> None:
    # Invariant: nothing is raised, nothing is sent that is no packet, and no table outgrows its limit.
    socket = Socket(random=Random(1), limits=LIMITS)
    dialled = socket.connect(RIGHT_KEY, 0.0)
    socket.write(dialled, bytes(3000), 0.0)
    now = 0.0
    for key, packet, wait in arrivals:
        now += wait
        socket.receive_packet(key, packet, now)
        due = socket.next_timer()
        if due is not None and due <= now:
            socket.handle_timer(now)
        assert socket.connection_count <= LIMITS.connections
        assert len(socket.sessions()) <= len(KEYS)
    sent = [packet for key in socket.ready_keys() for packet in socket.packets_to_send(key, 1 << 20, now)]
    assert len(sent) <= LIMITS.resets + 2 * LIMITS.connections
    for packet in sent:
        decode_packet(packet)
    assert socket.ready_keys() == []


@given(st.lists(anything | st.tuples(u16, anything), max_size=40), st.booleans())
def test_an_open_stream_survives_what_does_not_know_its_numbers(guesses: list[object], reverse: bool) -> None:
    # Invariant: packets with the right key, even with the right connection id, but without plausible numbers, neither
    # end an open stream nor put bytes into it.
    link = VirtualLink(seed=11)
    left, right = link.connect()
    link.recording = True
    link.left.socket.write(left, b"one", link.now)
    link.run(1.0)
    first = decode_packet(link.carried[0][1])
    side = link.left if reverse else link.right
    for guess in guesses:
        if isinstance(guess, tuple):
            _, packet = guess
            if len(packet) < HEADER_LENGTH:
                continue
            # The connection id is right, the acknowledgement is far from what it can be.
            target = (first.connection_id - 1) & 0xFFFF if reverse else first.connection_id
            wrong = (first.ack_nr if side is link.right else first.seq_nr) + 0x4000
            packet = (
                packet[:2]
                + target.to_bytes(2, "big")
                + packet[4:18]
                + (wrong & 0xFFFF).to_bytes(2, "big")
                + packet[20:]
            )
        else:
            packet = guess
            if packet[2:4] in {
                first.connection_id.to_bytes(2, "big"),
                ((first.connection_id - 1) & 0xFFFF).to_bytes(2, "big"),
            }:
                continue
        events = side.socket.receive_packet(side.peer_key, packet, link.now)
        # A SYN may begin another stream.
        assert not [event for event in events if event.stream == (right if side is link.right else left)]
        link.pump()
    link.left.socket.write(left, b"two", link.now)
    link.run(5.0)
    assert link.right.received(right) == b"onetwo"
    link.right.socket.write(right, b"three", link.now)
    link.run(5.0)
    assert link.left.received(left) == b"three"


CALLS = ("write", "write", "pull", "pull", "pull", "pull", "give back", "wake", "wait")


def random_step(random: Random, ending: bool) -> object:
    """Return a call of the owner, or a packet: type, how far off its numbers are, window, extensions, payload."""
    if ending and random.random() < 0.05:
        return random.choice(("close", "close", "abort", "reset"))
    if random.random() < 0.5:
        return random.choice(CALLS)
    off = [random.choice((0, 0, 0, 0, 0, 1, 2, 3, -1, -200, 300)) for _ in range(2)]
    kind = ST_FIN if ending and random.random() < 0.1 else random.choice((ST_DATA, ST_STATE))
    bits = random.randbytes(random.choice((1, 4, 32, 40)))
    fragment = (0x71, bytes((0, 0, random.choice((0, 0, 1)), random.choice((0, 200)), random.choice((0, 0, 1)))))
    chain = random.choice(((), (), ((1, bits),), ((9, b"x"), (1, bits)), ((200, b""),), (fragment,)))
    payload = random.randbytes(random.choice((0, 1, 200, 600))) if kind != ST_STATE else b""
    return (kind, *off, random.choice((0, 500) + (1 << 20,) * 6), chain, payload)


@settings(max_examples=300)
@given(st.booleans(), st.integers(0, 1 << 32))
def test_a_far_end_that_knows_the_numbers_breaks_nothing_but_its_own_stream(dialled: bool, seed: int) -> None:
    # Invariant: whatever a far end makes of its own connection, nothing is raised, the events come in their order,
    # memory is bounded, and another stream with the same key goes on.
    random = Random(seed)
    steps = [random_step(random, number > 20) for number in range(100)]
    link = VirtualLink(limits=UtpLimits(packet=300, receive_window=4000, send_buffer=5000), seed=11)
    left, right = link.connect()
    socket = link.left.socket
    connection_id, ours, theirs, now = 7000, 0, 0, link.now
    if dialled:
        attacked = socket.connect(RIGHT_KEY, now)
        syn = decode_packet(socket.packets_to_send(RIGHT_KEY, 1000, now)[0])
        connection_id, theirs = syn.connection_id, syn.seq_nr + 1
        answer = UtpPacket(ST_STATE, connection_id, 0, 0, 4000, ours, syn.seq_nr)
        events = socket.receive_packet(RIGHT_KEY, encode_packet(answer), now)
    else:
        socket.receive_packet(
            RIGHT_KEY, encode_packet(UtpPacket(ST_SYN, connection_id, 0, 0, 4000, ours - 1 & 0xFFFF, 0)), now
        )
        state = decode_packet(socket.packets_to_send(RIGHT_KEY, 1000, now)[0])
        connection_id, theirs = connection_id + 1, state.seq_nr
        hello = UtpPacket(ST_STATE, connection_id, 0, 0, 4000, ours, theirs - 1 & 0xFFFF)
        events = socket.receive_packet(RIGHT_KEY, encode_packet(hello), now)
        attacked = events[0].stream
    held = 0
    for step in steps:
        if isinstance(step, tuple):
            kind, seq_offset, ack_offset, wnd_size, chain, payload = step
            packet = UtpPacket(
                kind,
                connection_id,
                0,
                0,
                wnd_size,
                ours + seq_offset & 0xFFFF,
                theirs - 1 + ack_offset & 0xFFFF,
                chain,
                payload,
            )
            fresh = socket.receive_packet(RIGHT_KEY, encode_packet(packet), now)
            for event in fresh:
                if isinstance(event, StreamData):
                    ours += 1
                    held += len(event.data)
            events += fresh
        elif step == "write":
            socket.write(attacked, bytes(min(700, socket.room(attacked))), now)
        elif step == "close":
            socket.close(attacked, now)
        elif step == "give back":
            socket.acknowledge_received_data(attacked, held, now)
            held = 0
        elif step == "wake":
            socket.wake(RIGHT_KEY, now)
        elif step == "wait":
            now += 1.1
            events += socket.handle_timer(now)
        elif step == "reset":
            reset = UtpPacket(ST_RESET, connection_id, 0, 0, 0, 0, theirs - 1 & 0xFFFF)
            events += socket.receive_packet(RIGHT_KEY, encode_packet(reset), now)
        elif step == "abort":
            socket.abort(attacked, now)
        else:
            for packet in socket.packets_to_send(RIGHT_KEY, 5000, now):
                sent = decode_packet(packet)
                if sent.type == ST_FIN or (sent.type == ST_DATA and sent.payload):
                    theirs = sent.seq_nr + 1
        assert held <= 2 * 4000
        [session] = socket.sessions()
        assert 0 <= session.packets_in_flight <= session.window + 1 or session.window < 14
    kinds = [type(event) for event in events if event.stream == attacked and not isinstance(event, StreamData)]
    assert kinds.count(StreamEnded) + kinds.count(StreamConnected) + kinds.count(StreamAccepted) <= 2
    assert not {StreamClosed, StreamLost} & set(kinds[:-1])
    assert not [event for event in events if event.stream == left]
    link.clock.advance(now - link.now)
    socket.write(left, b"still here", link.now)
    link.run(60.0)
    assert link.right.received(right) == b"still here"
