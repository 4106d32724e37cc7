"""The fast paths of µTP beside their plain twins: packets taken together, and packets that leave together."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.session import SessionEvent, StreamAccepted, StreamData, StreamLost, UtpLimits, UtpSocket
from pinecone_transport.session.budget import Budget
from pinecone_transport.session.utp import ST_DATA, ST_SYN, UtpPacket, decode_packet, encode_packet
from pinecone_transport.session.utp.congestion import Ledbat
from pinecone_transport.session.utp.memory import Memory
from pinecone_transport.session.utp.rtt import RttEstimator
from pinecone_transport.session.utp.send_buffer import SendBuffer
from tests.support.virtual_link import LEFT_KEY, RIGHT_KEY

LIMITS = UtpLimits(packet=600, receive_window=6000, send_buffer=20_000, largest_packet=600)


class Receiver:
    """A socket that is fed in one of the two ways, and what came of it."""

    def __init__(self, together: bool) -> None:
        self.socket = UtpSocket(random=Random(2), limits=LIMITS)
        self.together = together
        self.data: dict[int, bytearray] = {}
        self.others: list[str] = []
        self.streams: list[int] = []

    def receive(self, packets: list[bytes], now: float) -> None:
        if self.together:
            lent = [memoryview(bytearray(packet)) for packet in packets]
            self.take(self.socket.receive_run(LEFT_KEY, lent, now))
            for view in lent:
                view[:] = bytes(len(view))
        else:
            for packet in packets:
                self.take(self.socket.receive_packet(LEFT_KEY, packet, now))

    def take(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, StreamData):
                self.data.setdefault(event.stream, bytearray()).extend(event.data)
            else:
                self.others.append(repr(event) if not isinstance(event, StreamLost) else f"lost {event.stream}")
                if isinstance(event, StreamAccepted):
                    self.streams.append(event.stream)

    def sent(self, now: float) -> list[bytes]:
        return self.socket.packets_to_send(LEFT_KEY, 1 << 20, now)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 2), st.integers(1, 3000)),
        st.tuples(st.just("answer"), st.integers(0, 2), st.integers(1, 3000)),
        st.tuples(st.just("mangle"), st.integers(0, 3), st.integers(0, 20)),
        st.tuples(st.just("give back"), st.integers(0, 2), st.integers(1, 3000)),
        st.tuples(st.just("close"), st.integers(0, 2), st.integers(1, 20)),
        st.tuples(st.just("garbage"), st.integers(0, 40), st.integers(0, 5)),
    ),
    max_size=30,
)


def mangle(packets: list[bytes], how: int, where: int) -> list[bytes]:
    """Lose, repeat, swap or cut a packet of those that are under way."""
    if not packets:
        return packets
    where %= len(packets)
    one = packets[where]
    if how == 0:
        return packets[:where] + packets[where + 1 :]
    if how == 1:
        return packets[: where + 1] + packets[where:]
    if how == 2:
        return packets[where:] + packets[:where]
    return [*packets[:where], one[: len(one) // 2], *packets[where + 1 :]]


@given(steps)
@settings(max_examples=150)
def test_packets_taken_together_do_what_they_do_one_by_one(script: list[tuple[str, int, int]]) -> None:
    sender = UtpSocket(random=Random(1), limits=LIMITS)
    receivers = (Receiver(True), Receiver(False))
    plain = receivers[1]
    now = 1.0
    streams = [sender.connect(RIGHT_KEY, now) for _ in range(3)]
    lost: set[int] = set()
    faults: tuple[int, int] | None = None
    garbage: list[bytes] = []
    for what, which, amount in [("write", 0, 1), ("write", 1, 1), ("write", 2, 1), *script, ("write", 0, 1)]:
        if what == "write" and streams[which] not in lost:
            data = Random(amount).randbytes(min(amount, sender.room(streams[which])))
            sender.write(streams[which], data, now)
        elif what == "close":
            sender.close(streams[which], now)
            streams[which] = sender.connect(RIGHT_KEY, now)
        elif what == "mangle":
            faults = (which, amount)
        elif what == "garbage":
            garbage = [Random(amount).randbytes(which)] * amount
        elif what == "give back":
            for receiver in receivers:
                for stream in receiver.streams[which : which + 1]:
                    receiver.socket.acknowledge_received_data(stream, amount, now)
        elif what == "answer":
            for receiver in receivers:
                for stream in receiver.streams[which : which + 1]:
                    receiver.socket.write(stream, bytes(min(amount, receiver.socket.room(stream))), now)
        for _ in range(3):
            now += 0.01
            packets = sender.packets_to_send(RIGHT_KEY, 1 << 20, now)
            if faults is not None:
                packets = mangle(packets, *faults)
                faults = None
            packets += garbage
            garbage = []
            for receiver in receivers:
                receiver.receive(packets, now)
            together, one_by_one = (receiver.sent(now) for receiver in receivers)
            assert together == one_by_one
            for packet in one_by_one:
                for event in sender.receive_packet(RIGHT_KEY, packet, now):
                    if isinstance(event, StreamLost):
                        lost.add(event.stream)
    assert receivers[0].data == plain.data
    assert receivers[0].others == plain.others
    assert receivers[0].socket.counters == plain.socket.counters


def one_by_one(buffer: SendBuffer, budget: Budget, limit: int, window: int, segment: int) -> list[tuple[int, bytes]]:
    """Return what `SendBuffer.next_packet` and `SendBuffer.sent` give, as `SendBuffer.send_new` would."""
    packets = []
    while limit > 0 and budget.has_room():
        packet = buffer.next_packet(window, segment)
        if packet is None:
            break
        buffer.sent(packet, 1.0)
        packets.append((packet.seq_nr, packet.payload[packet.start : packet.stop]))
        limit -= packet.stop - packet.start
    return packets


def together(buffer: SendBuffer, budget: Budget, limit: int, window: int, segment: int) -> list[tuple[int, bytes]]:
    """Return the same with what is new taken at once, as far as that goes."""
    packets = [(packet.seq_nr, packet.payload) for packet in buffer.send_new(limit, window, segment, 1.0)]
    return packets + one_by_one(buffer, budget, limit - sum(len(payload) for _, payload in packets), window, segment)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 60_000)),
            st.tuples(st.just("send"), st.integers(1, 100_000)),
            st.tuples(st.just("acknowledge"), st.integers(0, 20)),
            st.tuples(st.just("lose"), st.just(0)),
            st.tuples(st.just("finish"), st.just(0)),
        ),
        max_size=40,
    ),
    st.sampled_from((500, 8000, 20_000, 59_946)),
    st.sampled_from((1, 10_000, 1 << 20)),
    st.integers(1, 30),
)
def test_packets_that_leave_together_are_those_that_leave_one_by_one(
    script: list[tuple[str, int]], segment: int, window: int, packets: int
) -> None:
    sides = []
    for _ in range(2):
        budget = Budget(Ledbat(packets, RttEstimator(1.0)), RttEstimator(1.0), 200_000, 60_000)
        sides.append((SendBuffer(0xFFF0, budget, Memory(1 << 30, 1 << 20)), budget))
    (fast, fast_budget), (plain, plain_budget) = sides
    for what, amount in script:
        if what == "send":
            sent = one_by_one(plain, plain_budget, amount, window, segment)
            assert together(fast, fast_budget, amount, window, segment) == sent
        for buffer, _ in sides:
            if what == "write" and not buffer.finished:
                buffer.write(bytes(amount))
            elif what == "acknowledge":
                buffer.acknowledge(min(amount, len(buffer.outstanding)), b"", 2.0)
            elif what == "lose":
                buffer.lose_all()
            elif what == "finish":
                buffer.finished = True
        assert fast_budget.packets_in_flight == plain_budget.packets_in_flight
        assert fast_budget.bytes_in_flight == plain_budget.bytes_in_flight
        assert (fast.held, fast.waiting, fast.next_seq) == (plain.held, plain.waiting, plain.next_seq)


def test_packets_without_payload_are_taken_and_no_event() -> None:
    receiver = Receiver(True)
    receiver.receive([encode_packet(UtpPacket(ST_SYN, 7, 0, 0, 1000, 1, 0))], 1.0)
    ack_nr = (decode_packet(receiver.sent(1.0)[0]).seq_nr - 1) & 0xFFFF
    for seq_nr in (2, 3):
        receiver.receive([encode_packet(UtpPacket(ST_DATA, 8, 0, 0, 1000, seq_nr, ack_nr))], 1.0)
    assert decode_packet(receiver.sent(1.0)[0]).ack_nr == 3
    assert receiver.data == {}


@given(st.lists(st.lists(st.binary(max_size=1200), max_size=6), max_size=8))
def test_bytes_written_together_leave_as_those_written_one_by_one(writes: list[list[bytes]]) -> None:
    def sent(together: bool) -> list[list[bytes]]:
        sender, receiver = (UtpSocket(random=Random(seed), limits=LIMITS) for seed in (3, 4))
        stream = sender.connect(RIGHT_KEY, 1.0)
        packets = []
        for number, pieces in enumerate(writes):
            now = 1.0 + number / 100
            if sum(map(len, pieces)) > sender.room(stream):
                with pytest.raises(LocalProtocolError):
                    sender.write_pieces(stream, pieces, now)
            elif together:
                sender.write_pieces(stream, pieces, now)
            else:
                for piece in pieces:
                    sender.write(stream, piece, now)
            packets.append(sender.packets_to_send(RIGHT_KEY, 1 << 20, now))
            receiver.receive_run(LEFT_KEY, packets[-1], now)
            sender.receive_run(RIGHT_KEY, receiver.packets_to_send(LEFT_KEY, 1 << 20, now), now)
        return packets

    assert sent(together=True) == sent(together=False)
