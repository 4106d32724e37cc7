"""A lot of data over a relay that loses, duplicates and reorders, on the virtual clock."""

from zlib import crc32

from tests.support.virtual_link import Faults, Side, VirtualLink

TOTAL = 100_000_000
BLOCK = 1 << 17


class Talker:
    """Writes ``TOTAL`` bytes to a stream and hashes what it sends and gets, so that nothing has to be kept."""

    def __init__(self, side: Side, stream: int, seed: int) -> None:
        self.side = side
        self.stream = stream
        self.block = bytes((seed + position * position) & 0xFF for position in range(BLOCK))
        self.sent = self.sent_hash = self.received = self.received_hash = 0
        side.take = self.take

    def take(self, stream: int, data: bytes) -> None:
        assert stream == self.stream
        self.received += len(data)
        self.received_hash = crc32(data, self.received_hash)

    def write(self, now: float) -> None:
        room = self.side.socket.room(self.stream)
        if room >= BLOCK and self.sent < TOTAL:
            # The blocks differ, so that one that comes twice or not at all shows.
            data = (self.sent.to_bytes(8, "big") + self.block)[: min(BLOCK, TOTAL - self.sent)]
            self.side.socket.write(self.stream, data, now)
            self.sent += len(data)
            self.sent_hash = crc32(data, self.sent_hash)
            if self.sent == TOTAL:
                self.side.socket.close(self.stream, now)


def test_100_mb_each_way_arrive_intact_over_a_relay_that_loses_duplicates_and_reorders() -> None:
    link = VirtualLink(faults=Faults(delay=0.005, loss=0.02, duplication=0.01, reordering=0.05), seed=7)
    left, right = link.connect()
    talkers = (Talker(link.left, left, 3), Talker(link.right, right, 4))

    def done() -> bool:
        for talker in talkers:
            talker.write(link.now)
        link.pump()
        return left in link.left.closed and right in link.right.closed

    link.run_until(done, seconds=600)
    assert not link.left.lost
    assert not link.right.lost
    assert [talker.received for talker in talkers] == [TOTAL, TOTAL]
    assert [talker.received_hash for talker in talkers] == [talker.sent_hash for talker in reversed(talkers)]
