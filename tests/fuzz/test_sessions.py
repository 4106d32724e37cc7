"""Whatever packets come, from whomever: nothing raises, nothing grows beyond its bounds, other streams go on."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.session import Kind, Kinds, QuicLimits, Sessions
from pinecone_transport.session.quic import QuicSocket
from tests.support.quic_link import HIGH, LOW
from tests.unit.session.test_sessions import SessionsLink

KEYS = [LOW.key, b"\x05" * 32, b"\x06" * 32]


def first_packets() -> list[bytes]:
    packets = []
    for kinds in (Kinds(), None):
        sessions = Sessions(LOW, random=Random(4), kinds=kinds)
        sessions.connect(HIGH.key, 1.0)
        packets += sessions.packets_to_send(HIGH.key, 1 << 20, 1.0)
    quic = QuicSocket(LOW, random=Random(4))
    quic.connect(HIGH.key, 1.0)
    return packets + quic.packets_to_send(HIGH.key, 1 << 20, 1.0)


FIRST = first_packets()

garbage = st.binary(max_size=80)
any_first_byte = st.builds(lambda first, rest: bytes((first,)) + rest, st.integers(0, 255), st.binary(max_size=1500))
changed = st.builds(
    lambda packet, at, value: packet[: at % len(packet)] + bytes((value,)) + packet[at % len(packet) + 1 :],
    st.sampled_from(FIRST),
    st.integers(0, 1500),
    st.integers(0, 255),
)
cut = st.builds(lambda packet, length: packet[:length], st.sampled_from(FIRST), st.integers(0, 1500))
packets = st.one_of(garbage, any_first_byte, changed, cut, st.sampled_from(FIRST))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(KEYS), packets), max_size=30))
def test_streams_go_on_beside_any_packets(stream_of_packets: list[tuple[bytes, bytes]]) -> None:
    link = SessionsLink(right_socket=QuicSocket(HIGH, random=Random(2)))
    near, _ = link.dial()
    link.left.socket.write(near, b"before", link.now)
    link.run(0.1)
    before = len(link.left.socket.sessions())
    for key, packet in stream_of_packets:
        link.left.socket.receive_packet(HIGH.key if key == LOW.key else key, packet, link.now)
        link.run(0.001)
    link.left.socket.write(near, b" and after", link.now)
    link.run(1)
    assert bytes(link.right.data[link.right.accepted[0]]) == b"before and after"
    link.run(60)
    for key in KEYS[1:]:
        link.left.socket.packets_to_send(key, 1 << 20, link.now)
    assert len(link.left.socket.sessions()) <= before


LIMITS = QuicLimits(half_open=12, half_open_per_key=4, strays=20, strays_per_key=5, handshake_timeout=2.0)
STRANGERS = [bytes((number,)) * 32 for number in range(0x60, 0x68)]


def initial(number: int, *, version: bytes = b"\x00\x00\x00\x01", length: int | None = None) -> bytes:
    """Return the packet that begins a connection, one of a few; of another version, or cut short, if asked to."""
    packet = INITIALS[number % len(INITIALS)]
    return (packet[:1] + version + packet[5:])[:length]


def fresh_initial(seed: int) -> bytes:
    socket = QuicSocket(LOW, random=Random(seed))
    socket.connect(HIGH.key, 1.0)
    return socket.packets_to_send(HIGH.key, 1 << 20, 1.0)[0]


INITIALS = [fresh_initial(seed) for seed in range(30)]

floods = st.lists(
    st.tuples(
        st.sampled_from(STRANGERS),
        st.one_of(
            st.builds(initial, st.integers(0, 29)),
            st.builds(initial, st.integers(0, 29), length=st.integers(0, 1199)),
            st.builds(initial, st.integers(0, 29), version=st.binary(min_size=4, max_size=4)),
            st.sampled_from(STRANGERS).map(lambda key: b"\x41" + key * 40),
            garbage,
        ),
    ),
    min_size=10,
    max_size=40,
)


class Bystanders:
    """A node of both kinds, and its peer with a stream of each: what they say to one another is not disturbed."""

    def __init__(self) -> None:
        right = Sessions(HIGH, random=Random(2), kinds=Kinds(Kind.QUIC), quic_limits=LIMITS)
        self.link = SessionsLink(left_kinds=Kinds(Kind.UTP), right_socket=right)
        self.utp, _ = self.link.dial()
        self.link.left.socket.write(self.utp, b"\x00", self.link.now)
        self.quic = right.connect(LOW.key, self.link.now)
        self.link.run(0.5)
        right.write(self.quic, b"\x01", self.link.now)
        self.link.run(1)

    def speak(self) -> None:
        """Say something on each stream; it arrives within a second."""
        link = self.link
        before = [len(data) for side in (link.left, link.right) for data in side.data.values()]
        link.left.socket.write(self.utp, b"\x02", link.now)
        link.right.socket.write(self.quic, b"\x03", link.now)
        link.run(1)
        after = [len(data) for side in (link.left, link.right) for data in side.data.values()]
        assert after == [length + 1 for length in before]
        assert link.left.lost == link.right.lost == {}


@settings(max_examples=10)
@given(floods)
def test_floods_from_strangers_stay_within_bounds_and_streams_of_both_kinds_go_on(
    flood: list[tuple[bytes, bytes]],
) -> None:
    # What strangers begin is bounded for each and in all, answers too, and is gone when they have had their time.
    both = Bystanders()
    link = both.link
    socket = link.right.socket
    known = socket.connection_count
    for key, packet in flood:
        assert socket.receive_packet(key, packet, link.now) == []
        per_key = {info.key: info.connections for info in socket.sessions() if info.key != LOW.key}
        assert max(per_key.values(), default=0) <= LIMITS.half_open_per_key
        assert socket.connection_count <= known + LIMITS.half_open
    both.speak()
    answers = [packet for key in STRANGERS for packet in socket.packets_to_send(key, 1 << 20, link.now)]
    assert len(answers) <= 16 * len(STRANGERS) + 4 * LIMITS.half_open
    link.run(8)
    assert socket.connection_count == known
    both.speak()


@settings(max_examples=10)
@given(st.lists(st.tuples(st.booleans(), packets), max_size=30))
def test_packets_of_both_kinds_in_the_name_of_a_key_end_none_of_its_streams(
    disturbance: list[tuple[bool, bytes]],
) -> None:
    # Who does not see the numbers of a key's connections disturbs none of its streams by speaking in its name.
    both = Bystanders()
    link = both.link
    for to_left, packet in disturbance:
        side = link.left if to_left else link.right
        side.handle(side.socket.receive_packet(side.peer_key, packet, link.now), link.now)
        link.run(0.001)
    link.run(3)
    both.speak()


@settings(max_examples=10)
@given(st.sampled_from(STRANGERS), st.integers(0, 29), st.integers(1, 8))
def test_a_handshake_in_a_key_that_is_not_the_certificates_gets_no_stream(key: bytes, seed: int, per_turn: int) -> None:
    # The far end proves its key; that its packets come from another one ends the connection without an event.
    socket = Sessions(HIGH, random=Random(2), kinds=Kinds())
    impostor = QuicSocket(LOW, random=Random(seed))
    stream = impostor.connect(HIGH.key, 1.0)
    impostor.write(stream, b"let me in", 1.0)
    events = []
    for turn in range(20):
        now = 1.0 + turn / 100
        for packet in impostor.packets_to_send(HIGH.key, 1 << 20, now)[:per_turn]:
            events += socket.receive_packet(key, packet, now)
        for packet in socket.packets_to_send(key, 1 << 20, now):
            impostor.receive_packet(HIGH.key, packet, now)
    assert events == []
    assert socket.counters["QUIC wrong certificates"] == 1
    assert socket.connection_count == 0
