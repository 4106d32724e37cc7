"""Flow control: producers of both kinds, consumers that pause, and how much waits in memory meanwhile."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pinecone_transport.errors import StreamTimeoutError
from tests.support.loopback import WINDOW
from tests.support.twisted_protocols import Recorder
from tests.unit.twisted_endpoints.test_endpoints import EndpointTestCase
from twisted_endpoints.producers import HIGH_WATER, HIGH_WATER_FAST, ProducerSlot

CHUNK = 65_536


@implementer(IPushProducer)
class _Push:
    """Writes a chunk per turn of the clock until it is told to pause or has written all."""

    def __init__(self, clock, consumer, chunks: int) -> None:
        self.log: list[str] = []
        self.written = 0
        self._clock = clock
        self._consumer = consumer
        self._chunks = chunks
        self._paused = False

    def start(self) -> None:
        self._consumer.registerProducer(self, True)
        self._clock.callLater(0, self._produce)

    def _produce(self) -> None:
        if self._paused:
            return
        if self._chunks == 0:
            self._consumer.unregisterProducer()
            return
        self._chunks -= 1
        self.written += CHUNK
        self._consumer.write(bytes([self._chunks % 256]) * CHUNK)
        self._clock.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        self.log.append("pause")
        self._paused = True

    def resumeProducing(self) -> None:
        self.log.append("resume")
        self._paused = False
        self._clock.callLater(0, self._produce)

    def stopProducing(self) -> None:
        self.log.append("stop")
        self._paused = True


@implementer(IPullProducer)
class _Pull:
    """Writes a chunk whenever it is asked, and leaves when it has written all."""

    def __init__(self, consumer, chunks: int) -> None:
        self.asked = 0
        self.stopped = 0
        self._consumer = consumer
        self._chunks = chunks

    def resumeProducing(self) -> None:
        self.asked += 1
        self._chunks -= 1
        self._consumer.write(bytes([self._chunks % 256]) * CHUNK)
        if self._chunks == 0:
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped += 1


class ProducerTests(EndpointTestCase):
    def test_the_transport_is_a_consumer_and_a_push_producer(self) -> None:
        client, _ = self.connect()
        verifyObject(IConsumer, client.transport)
        verifyObject(IPushProducer, client.transport)

    def test_a_push_producer_is_paused_while_the_peer_does_not_read(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        producer = _Push(self.clock, client.transport, 100)
        producer.start()
        self.run_turns()
        assert producer.log == ["pause"]
        # What the window took, what waits as plaintext, and the one chunk that was over the mark.
        assert producer.written <= WINDOW + HIGH_WATER + CHUNK
        server.transport.resumeProducing()
        self.run_until(lambda: len(server.received) == 100 * CHUNK)
        assert producer.log == ["pause", "resume"]

    def test_a_push_producer_that_begins_above_the_mark_is_paused_at_once(self) -> None:
        client, _ = self.connect()
        client.transport.write(b"x" * HIGH_WATER)
        producer = _Push(self.clock, client.transport, 1)
        client.transport.registerProducer(producer, True)
        assert producer.log == ["pause"]
        self.run_turns()
        assert producer.log == ["pause", "resume"]

    def test_a_push_producer_may_write_more_at_once_where_all_has_left_when_it_is_asked(self) -> None:
        asked: list[Callable[[], None]] = []
        waiting = HIGH_WATER
        producer = _Push(self.clock, StringTransport(), 0)
        slot = ProducerSlot(asked.append, lambda: waiting)
        slot.register(producer, True)
        assert producer.log == ["pause"]
        for left, mark in ((0, HIGH_WATER_FAST), (1, HIGH_WATER), (0, HIGH_WATER_FAST)):
            waiting = left
            slot.data_left()
            asked.pop()()
            producer.log.clear()
            waiting = mark - 1
            slot.data_added()
            assert producer.log == []
            waiting = mark
            slot.data_added()
            assert producer.log == ["pause"]

    def test_a_pull_producer_is_asked_as_the_stream_takes_data(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        producer = _Pull(client.transport, 100)
        client.transport.registerProducer(producer, False)
        self.run_turns()
        assert 1 < producer.asked * CHUNK <= WINDOW + HIGH_WATER + CHUNK
        server.transport.resumeProducing()
        self.run_until(lambda: len(server.received) == 100 * CHUNK)
        expected = b"".join(bytes([chunk]) * CHUNK for chunk in reversed(range(100)))
        assert hashlib.sha256(server.received).digest() == hashlib.sha256(expected).digest()
        assert producer.asked == 100

    def test_a_close_waits_for_a_push_producer(self) -> None:
        client, server = self.connect()
        _Push(self.clock, client.transport, 20).start()
        self.close_and_count(client, server)

    def test_a_close_waits_for_a_pull_producer(self) -> None:
        client, server = self.connect()
        client.transport.registerProducer(_Pull(client.transport, 20), False)
        self.close_and_count(client, server)

    def test_a_half_close_waits_for_the_producer(self) -> None:
        client, server = self.connect()
        _Push(self.clock, client.transport, 20).start()
        client.transport.loseWriteConnection()
        self.run_until(lambda: server.lost)
        assert len(server.received) == 20 * CHUNK

    def test_a_producer_that_fails_to_stop_is_logged(self) -> None:
        client, _ = self.connect()
        producer = _Pull(client.transport, 1_000)
        producer.stopProducing = lambda: 1 // 0
        client.transport.registerProducer(producer, False)
        client.transport.abortConnection()
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        assert len(client.lost) == 1

    def close_and_count(self, client: Recorder, server: Recorder) -> None:
        client.transport.loseConnection()
        self.run_until(lambda: server.lost)
        assert len(server.received) == 20 * CHUNK
        client.lost[0].trap(ConnectionDone)
        server.lost[0].trap(ConnectionDone)

    def test_a_lost_connection_stops_its_producer(self) -> None:
        client, _ = self.connect()
        producer = _Push(self.clock, client.transport, 1000)
        client.transport.registerProducer(producer, True)
        self.alice.lose_streams(StreamTimeoutError("silence"))
        self.run_turns()
        assert producer.log == ["stop"]
        client.lost[0].trap(ConnectionLost)

    def test_a_peer_that_closes_stops_the_producer(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        producer = _Pull(client.transport, 1000)
        client.transport.registerProducer(producer, False)
        self.run_turns()
        server.transport.loseConnection()
        self.run_turns()
        assert producer.stopped == 1
        client.lost[0].trap(ConnectionDone)

    def test_a_producer_for_a_lost_connection_is_stopped_at_once(self) -> None:
        client, _ = self.connect()
        client.transport.abortConnection()
        self.run_turns()
        producer = _Pull(client.transport, 1)
        client.transport.registerProducer(producer, False)
        assert (producer.stopped, producer.asked) == (1, 0)

    def test_there_is_one_producer_at_a_time(self) -> None:
        client, _ = self.connect()
        client.transport.registerProducer(_Push(self.clock, client.transport, 1), True)
        with pytest.raises(RuntimeError):
            client.transport.registerProducer(_Push(self.clock, client.transport, 1), True)
        client.transport.unregisterProducer()
        client.transport.registerProducer(_Push(self.clock, client.transport, 1), True)

    def test_a_producer_that_fails_is_logged_and_ends_the_connection(self) -> None:
        client, server = self.connect()
        producer = _Pull(client.transport, 1)
        producer.resumeProducing = lambda: 1 // 0
        client.transport.registerProducer(producer, False)
        self.run_turns()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        client.lost[0].trap(ZeroDivisionError)
        server.lost[0].trap(ConnectionLost)
        assert producer.stopped == 1


class PauseTests(EndpointTestCase):
    def test_a_paused_protocol_gets_nothing_until_it_resumes(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        client.transport.write(b"wait")
        self.run_turns()
        assert server.received == b""
        server.transport.resumeProducing()
        assert server.received == b""
        self.run_turns()
        assert server.received == b"wait"

    def test_a_protocol_may_pause_in_the_middle_of_what_has_come(self) -> None:
        client, server = self.connect()

        def pause(protocol, data) -> None:
            protocol.transport.pauseProducing()

        server.on_data = pause
        data = hashlib.shake_256(b"in pieces").digest(1_000_000)
        client.transport.write(data)
        client.transport.loseConnection()
        pieces = []
        for _ in range(100):
            self.run_turns()
            pieces.append(len(server.received))
            server.transport.resumeProducing()
            if server.lost:
                break
        assert bytes(server.received) == data
        assert max(after - before for before, after in itertools.pairwise(pieces)) < 200_000

    def test_a_protocol_that_closes_while_data_comes_gets_no_more(self) -> None:
        client, server = self.connect()

        def close(protocol, data) -> None:
            protocol.transport.loseConnection()

        server.on_data = close
        client.transport.write(b"x" * 1_000_000)
        self.run_until(lambda: server.lost and client.lost)
        assert 0 < len(server.received) < 200_000

    def test_stop_producing_closes(self) -> None:
        client, server = self.connect()
        client.transport.stopProducing()
        self.run_turns()
        server.lost[0].trap(ConnectionDone)

    def test_the_peers_close_is_heard_when_what_came_before_it_was_read(self) -> None:
        client, server = self.connect()
        server.transport.pauseProducing()
        client.transport.write(b"last words")
        client.transport.loseConnection()
        self.run_turns()
        assert server.lost == []
        server.transport.resumeProducing()
        self.run_turns()
        assert server.received == b"last words"
        server.lost[0].trap(ConnectionDone)

    def test_data_is_copied_when_its_owner_may_change_it(self) -> None:
        client, server = self.connect()
        data = bytearray(b"before")
        client.transport.write(data)
        data[:] = b"after!"
        self.run_turns()
        assert server.received == b"before"

    def test_text_is_refused(self) -> None:
        client, _ = self.connect()
        with pytest.raises(TypeError):
            client.transport.write("text")

    def test_options_of_tcp_are_accepted(self) -> None:
        client, _ = self.connect()
        client.transport.setTcpNoDelay(False)
        client.transport.setTcpKeepAlive(False)
        assert client.transport.getTcpNoDelay()
        assert client.transport.getTcpKeepAlive()
