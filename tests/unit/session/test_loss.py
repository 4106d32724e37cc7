"""What is lost is found out by what arrives, and by time; a timeout, after which all goes again, is the last resort."""

from __future__ import annotations

import pytest

from pinecone_transport.session.utp import ST_DATA, ST_STATE, ST_SYN, UtpPacket, decode_packet, encode_packet
from pinecone_transport.session.utp.rtt import RttEstimator
from tests.support.virtual_link import LEFT_KEY, Faults, Side, VirtualLink, without_extensions

DELAY = 0.02


class Losing:
    """A link that loses sendings of data packets from the left: of the packet with this index, its first so many."""

    def __init__(self, lost: dict[int, int], *, old: bool = False) -> None:
        self.link = link = VirtualLink(faults=Faults(delay=DELAY))
        if old:
            link.alter = without_extensions
        self.left, self.right = link.connect()
        # A few round trips, one after the other, so that their time is known.
        for _ in range(30):
            link.left.socket.write(self.left, b"x", link.now)
            link.run(0.6 if old else 0.1)
        self.lost = lost
        self.numbers: list[int] = []
        self.sendings: dict[int, int] = {}
        self.started = link.now
        link.filter = self.filter

    def filter(self, side: Side, packet: bytes) -> bool:
        decoded = decode_packet(packet)
        if side is self.link.right or decoded.type != ST_DATA or not decoded.payload:
            return True
        if decoded.seq_nr not in self.numbers:
            self.numbers.append(decoded.seq_nr)
        index = self.numbers.index(decoded.seq_nr)
        self.sendings[index] = self.sendings.get(index, 0) + 1
        return self.sendings[index] > self.lost.get(index, 0)

    def send(self, packets: int) -> float:
        """Send so many packets; return the seconds until all have arrived."""
        socket = self.link.left.socket
        length = packets * socket.segment(self.left)
        socket.write(self.left, bytes(length), self.link.now)
        self.link.run_until(lambda: len(self.link.right.received(self.right)) == 30 + length)
        return self.link.now - self.started

    @property
    def timeouts(self) -> int:
        return self.link.left.socket.counters["timeouts"]


@pytest.mark.parametrize("packets", [1, 2, 3, 10])
@pytest.mark.parametrize("missing", [1, 2, 10])
def test_a_lost_tail_costs_no_timeout(packets: int, missing: int) -> None:
    losing = Losing(dict.fromkeys(range(max(0, packets - missing), packets), 1))
    assert losing.send(packets) < 0.25
    assert losing.timeouts == 0
    assert losing.link.left.socket.counters["tails repeated"] == 1
    assert losing.sendings[packets - 1] == 2


def test_a_packet_that_one_other_has_overtaken_is_lost_after_a_good_round_trip() -> None:
    losing = Losing({1: 1})
    assert losing.send(3) < 4 * DELAY + 2 * DELAY
    assert losing.timeouts == 0
    assert losing.sendings == {0: 1, 1: 2, 2: 1}
    assert losing.link.left.socket.counters["losses"] == 1


def test_a_lost_repeat_costs_no_timeout_though_nothing_follows_it() -> None:
    losing = Losing({1: 2})
    assert losing.send(3) < 0.3
    assert losing.timeouts == 0


def test_packets_that_overtake_each_other_a_little_are_not_repeated() -> None:
    losing = Losing({})
    losing.link.faults.reordering = 0.02
    losing.link.faults.delay = DELAY / 2
    assert losing.send(14) < 0.25
    assert losing.link.left.socket.counters["packets repeated"] == 0


def test_a_tail_is_repeated_once_and_then_the_timeout_comes() -> None:
    losing = Losing({0: 2})
    assert 0.5 < losing.send(1) < 1.0
    assert losing.timeouts == 1
    assert losing.link.left.socket.counters["tails repeated"] == 1


def test_a_far_end_that_may_hold_acknowledgements_back_is_given_a_second() -> None:
    losing = Losing({0: 1}, old=True)
    assert losing.send(1) >= 1.0
    assert losing.timeouts == 1
    assert losing.link.left.socket.counters["tails repeated"] == 0


def test_an_acknowledgement_in_two_steps_leaves_no_tail_behind() -> None:
    link = VirtualLink()
    socket = link.right.socket
    options = (0x70, bytes.fromhex("0102ea60"))

    def send(kind: int, seq_nr: int, ack_nr: int, *extensions: tuple[int, bytes], connection_id: int = 9) -> None:
        packet = UtpPacket(kind, connection_id, 0, 0, 1 << 20, seq_nr, ack_nr & 0xFFFF, extensions)
        socket.receive_packet(LEFT_KEY, encode_packet(packet), link.now)

    send(ST_SYN, 1, 0, options, connection_id=8)
    [state] = [decode_packet(packet) for packet in socket.packets_to_send(LEFT_KEY, 1 << 20, link.now)]
    first = state.seq_nr
    send(ST_STATE, 2, first - 1)
    socket.write(1, bytes(2 * socket.segment(1)), link.now)
    assert len(socket.packets_to_send(LEFT_KEY, 1 << 20, link.now)) == 2
    link.clock.advance(0.02)
    send(ST_STATE, 2, first - 1, (1, b"\x01\0\0\0"))
    send(ST_STATE, 2, first)
    send(ST_STATE, 2, first + 1)
    for _ in range(20):
        link.clock.advance(0.1)
        assert socket.handle_timer(link.now) == []
        assert socket.packets_to_send(LEFT_KEY, 1 << 20, link.now) == []


def test_a_far_end_that_acknowledges_at_once_is_given_less_time() -> None:
    rtt = RttEstimator(1.0)
    rtt.lower_floor(0.5)
    rtt.add_sample(0.01)
    assert rtt.timeout == 0.5
    assert rtt.tail == 0.1
    assert rtt.overtaken == pytest.approx(0.01 + 0.02 + 0.0025)
