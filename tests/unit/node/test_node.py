"""Nodes on a virtual clock, joined by pipes."""

import itertools
import json
import random
from collections.abc import Sequence

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pinecone_transport.errors import LocalProtocolError, StreamResetError, UnreachableError
from pinecone_transport.identity import Identity
from pinecone_transport.links import StreamLink, connect_nodes
from pinecone_transport.node import INode, LinkDown, Node, NodeConfig
from pinecone_transport.router import RouteLearned, TreeChanged, WakeupReceived
from pinecone_transport.stack import LinkUp
from pinecone_transport.wire import KEEPALIVE, Frame, PeerType, encode_frame, encode_handshake
from tests.support.streams import StreamEnd, StreamEnds


class NodeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def node(self, number: int, config: NodeConfig | None = None, *, start: bool = True) -> Node:
        node = Node(
            Identity(bytes([number]) * 32),
            config or NodeConfig(),
            self.clock,
            clock=self.clock.seconds,
            random=random.Random(number),
        )
        if start:
            node.startService()
        return node

    def run_for(self, seconds: float, step: float = 0.01) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(step)

    def turns(self, count: int = 20) -> None:
        for _ in range(count):
            self.clock.advance(0)

    def line(self, length: int) -> list[Node]:
        """A line of nodes whose ends can reach one another."""
        nodes = [self.node(number + 1) for number in range(length)]
        self.pipes = [connect_nodes(near, far) for near, far in itertools.pairwise(nodes)]
        self.run_for(length * 3)
        return nodes


class LinkTests(NodeTestCase):
    def test_it_is_a_node(self) -> None:
        verifyObject(INode, self.node(1))

    def test_observers_hear_of_links_trees_routes_and_wakeups(self) -> None:
        a, b = self.node(1), self.node(2)
        seen: list[object] = []
        a.subscribe(seen.append)
        near, _ = connect_nodes(a, b)
        self.run_for(12)
        assert [event.key for event in seen if isinstance(event, LinkUp)] == [b.identity.key]
        assert [event.key for event in seen if isinstance(event, WakeupReceived)] == [b.identity.key]
        keys = {event.key for event in seen if isinstance(event, RouteLearned)}
        assert keys == {b.identity.key}
        near.abort()
        self.run_for(1)
        (down,) = [event for event in seen if isinstance(event, LinkDown)]
        assert down.key == b.identity.key
        assert down.reason
        assert any(isinstance(event, TreeChanged) for event in [*seen, *self.tree_changes(b)])

    def tree_changes(self, node: Node) -> list[object]:
        """Link the node to a stronger root and return what it tells."""
        seen: list[object] = []
        node.subscribe(seen.append)
        for number in range(3, 10):
            connect_nodes(node, self.node(number))
        self.run_for(2)
        return seen

    def test_an_observer_that_fails_or_has_gone_does_not_disturb_the_others(self) -> None:
        a, b = self.node(1), self.node(2)
        seen: list[object] = []
        gone: list[object] = []

        def fail(event: object) -> None:
            raise RuntimeError("observer")

        a.subscribe(fail)
        a.subscribe(seen.append)
        stop = a.subscribe(gone.append)
        stop()
        stop()
        connect_nodes(a, b)
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            self.turns()
        assert seen
        assert gone == []

    def test_a_link_to_ourselves_is_closed(self) -> None:
        a = self.node(1)
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            connect_nodes(a, a)
            self.turns()
        assert a.status()["links"] == []
        assert "own key" in logged.output[0]

    def test_a_link_that_is_up_and_down_at_once_is_not_told_of(self) -> None:
        a = self.node(1)
        seen: list[object] = []
        a.subscribe(seen.append)
        link = StreamLink(a, peer_type=PeerType.REMOTE, way="tcp", address="192.0.2.1:1", outbound=False)
        link.makeConnection(StringTransport())
        self.turns()
        link.dataReceived(encode_handshake(Identity(b"p" * 32)))
        link.connectionLost(Failure(ConnectionDone()))
        link.dataReceived(b"late")
        link.resumeProducing()
        self.turns()
        assert seen == []
        assert a.status()["links"] == []

    def test_a_peer_that_falls_silent_is_dropped_within_the_protocols_time(self) -> None:
        a, b = self.node(1), self.node(2)
        near, _far = connect_nodes(a, b)
        self.run_for(4)
        seen: list[object] = []
        a.subscribe(seen.append)
        near.pause_reading()
        self.run_for(6)
        (down,) = [event for event in seen if isinstance(event, LinkDown)]
        assert "§2" in down.reason
        assert b.status()["links"] == []

    def test_a_process_that_was_held_up_reads_before_it_takes_its_peers_for_silent(self) -> None:
        a = self.node(1)
        link = StreamLink(a, peer_type=PeerType.REMOTE, way="tcp", address="192.0.2.1:1", outbound=False)
        transport = StringTransport()
        link.makeConnection(transport)
        link.dataReceived(encode_handshake(Identity(bytes([2]) * 32)))
        self.turns()
        keepalive = encode_frame(Frame(KEEPALIVE))
        self.clock.callLater(6, link.dataReceived, keepalive)
        self.clock.advance(6)
        self.run_for(4)
        assert not transport.disconnecting
        self.run_for(2)
        assert transport.disconnecting

    def test_a_link_that_takes_no_bytes_for_three_seconds_is_dropped(self) -> None:
        a, relay, b = self.line(3)
        b.set_acceptor(StreamEnds(b))
        client = StreamEnd(a)
        a.open_stream(b.identity.key, client)
        self.run_for(0.1)
        client.to_send += bytes(1_000_000)  # so that packets and window grow
        a.mark_dirty(client.stream)
        self.run_for(1.0)
        _, far_end = self.pipes[1]
        far_end.pause_reading()
        client.to_send += bytes(10_000_000)
        a.mark_dirty(client.stream)
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            self.run_for(4)
        assert any("nothing could be written" in line for line in logged.output)
        assert len(relay.status()["links"]) == 1

    def test_links_over_the_limits_are_refused_and_counted(self) -> None:
        hub = self.node(1, NodeConfig(max_links=3, max_links_per_address=2))
        with self.assertLogs("pinecone_transport.node", "INFO"):
            for number in range(2, 6):
                connect_nodes(self.node(number), hub)
                self.turns()
        assert len(hub.status()["links"]) == 2
        assert hub.status()["counters"]["node"]["links over the limit of one address"] == 2
        for number in (8, 9, 10):
            connect_nodes(hub, self.node(number))
            self.turns()
        # What we dial ourselves is not to be kept out by those who come in …
        assert len(hub.status()["links"]) == 5
        connect_nodes(self.node(11), hub)
        self.turns()
        # … who are now too many in all.
        assert len(hub.status()["links"]) == 5
        assert hub.status()["counters"]["node"]["links over the limit"] == 1

    def test_a_place_becomes_free_when_a_link_goes(self) -> None:
        hub = self.node(1, NodeConfig(max_links_per_address=1))
        near, _ = connect_nodes(self.node(2), hub)
        self.turns()
        near.abort()
        self.turns()
        connect_nodes(self.node(3), hub)
        self.turns()
        assert [link["key"] for link in hub.status()["links"]] == [Identity(bytes([3]) * 32).server_name]

    def test_timers_run_even_if_the_reactors_clock_was_set_back(self) -> None:
        # The reactor's timers are on wall time; a step back by hours would hold them for hours.
        now = [0.0]
        node = Node(Identity(b"n" * 32), NodeConfig(), self.clock, clock=lambda: now[0])
        node.startService()
        other = self.node(3)
        silent, _ = connect_nodes(node, other)
        silent.far.pause_reading()
        silent.pause_reading()
        self.turns()
        assert len(node.status()["links"]) == 1
        now[0] = 11.0
        connect_nodes(node, self.node(4))
        self.turns()
        assert [link["key"] for link in node.status()["links"]] == [Identity(bytes([4]) * 32).server_name]


class StreamTests(NodeTestCase):
    def test_bytes_go_both_ways_through_a_relay(self) -> None:
        a, _, b = self.line(3)
        accepted = StreamEnds(b, echo=True)
        b.set_acceptor(accepted)
        data = random.Random(0).randbytes(2_000_000)
        client = StreamEnd(a, data)
        a.open_stream(b.identity.key, client)
        assert client.calls == []
        self.run_for(5)
        assert accepted.keys == [a.identity.key]
        assert bytes(accepted.made[0].received) == data
        assert bytes(client.received) == data

    def test_a_stream_ends_when_both_ends_have_closed(self) -> None:
        a, b = self.line(2)
        accepted = StreamEnds(b)
        b.set_acceptor(accepted)
        client = StreamEnd(a, b"all of it", close_after_sending=True)
        a.open_stream(b.identity.key, client)
        self.run_for(2)
        assert bytes(accepted.made[0].received) == b"all of it"
        assert accepted.made[0].calls == ["connected", "data", "ended", "lost"]
        assert client.calls == ["connected", "ended", "lost"]
        assert client.errors + accepted.made[0].errors == [None, None]
        assert a.status()["streams"] == []

    def test_a_receiver_that_acknowledges_nothing_stops_the_sender(self) -> None:
        a, relay, b = self.line(3)
        accepted = StreamEnds(b, acknowledge=False)
        b.set_acceptor(accepted)
        client = StreamEnd(a, bytes(20_000_000))
        a.open_stream(b.identity.key, client)
        self.run_for(5)
        taken = client.sent
        # 4 MiB each way: what one end keeps until it is acknowledged, and the other until it is taken.
        assert taken < 10_000_000
        assert len(accepted.made[0].received) < 5_000_000
        self.run_for(20)
        assert client.sent == taken
        assert sum(link["bytes_queued"] for link in relay.status()["links"]) == 0
        accepted.made[0].acknowledge = True
        accepted.made[0].give_back()
        self.run_for(20)
        assert len(accepted.made[0].received) == 20000000

    def test_without_an_acceptor_streams_are_refused(self) -> None:
        a, b = self.line(2)
        client = StreamEnd(a)
        a.open_stream(b.identity.key, client)
        self.run_for(1)
        assert isinstance(client.errors[0], StreamResetError)
        assert b.status()["streams"] == []

    def test_an_acceptor_can_refuse_and_may_fail(self) -> None:
        a, b = self.line(2)

        def fail(key: bytes) -> None:
            raise RuntimeError("acceptor")

        for acceptor in (lambda key: None, fail):
            b.set_acceptor(acceptor)
            client = StreamEnd(a)
            a.open_stream(b.identity.key, client)
            self.run_for(1)
            assert isinstance(client.errors[0], StreamResetError)
            b.set_acceptor(None)

    def test_there_is_one_acceptor(self) -> None:
        a = self.node(1)
        a.set_acceptor(lambda key: None)
        with pytest.raises(LocalProtocolError):
            a.set_acceptor(lambda key: None)
        a.set_acceptor(None)
        a.set_acceptor(lambda key: None)

    def test_a_key_that_nobody_has_is_unreachable_after_a_while(self) -> None:
        a, _ = self.line(2)
        client = StreamEnd(a)
        a.open_stream(Identity(b"x" * 32).key, client)
        self.run_for(20)
        assert client.calls == ["lost"]

    def test_a_node_without_links_says_so_soon(self) -> None:
        a = self.node(1)
        client = StreamEnd(a)
        a.open_stream(Identity(b"x" * 32).key, client)
        self.run_for(5)
        assert isinstance(client.errors[0], UnreachableError)

    def test_our_own_key_is_not_dialled_nor_anything_by_a_node_that_does_not_run(self) -> None:
        a, stopped = self.node(1), self.node(2, start=False)
        with pytest.raises(LocalProtocolError):
            a.open_stream(a.identity.key, StreamEnd(a))
        with pytest.raises(LocalProtocolError):
            stopped.open_stream(a.identity.key, StreamEnd(stopped))

    def test_after_an_abort_the_receiver_hears_nothing_and_the_far_end_hears_at_once(self) -> None:
        a, b = self.line(2)
        accepted = StreamEnds(b, to_send=bytes(1000))
        b.set_acceptor(accepted)
        client = StreamEnd(a)
        stream = a.open_stream(b.identity.key, client)
        self.run_for(0.1)
        calls = list(client.calls)
        a.abort_stream(stream)
        a.abort_stream(stream)
        a.mark_dirty(stream)
        a.close_stream(stream)
        a.acknowledge_received_data(stream, 5)
        self.run_for(0.5)
        assert client.calls == calls
        assert isinstance(accepted.made[0].errors[0], StreamResetError)

    def test_a_receiver_that_fails_loses_its_stream_and_no_other(self) -> None:
        a, b = self.line(2)

        class Failing(StreamEnd):
            def stream_data(self, data: bytes) -> None:
                raise RuntimeError("receiver")

            def stream_lost(self, error: Exception | None) -> None:
                super().stream_lost(error)
                raise RuntimeError("receiver, again")

        failing, good = Failing(b), StreamEnd(b)
        ends = [failing, good]
        b.set_acceptor(lambda key: ends.pop(0))
        clients = [StreamEnd(a, b"first"), StreamEnd(a, b"second")]
        for client in clients:
            a.open_stream(b.identity.key, client)
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            self.run_for(1)
        assert isinstance(clients[0].errors[0], StreamResetError)
        assert len(failing.errors) == 1
        assert bytes(good.received) == b"second"
        assert clients[1].errors == []

    def test_a_receiver_whose_flush_fails_loses_its_stream(self) -> None:
        a, b = self.line(2)

        class Failing(StreamEnd):
            def flush(self, room: int, segment: int) -> list[bytes]:
                raise RuntimeError("flush")

        b.set_acceptor(StreamEnds(b))
        client = Failing(a)
        a.open_stream(b.identity.key, client)
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            self.run_for(1)
        assert len(client.errors) == 1

    def test_receivers_are_never_called_from_inside_their_own_calls(self) -> None:
        a, b = self.line(2)
        inside: list[str] = []

        class Watching(StreamEnd):
            """Makes every call that it may, and notes each that comes back while one is under way."""

            def _note(self, call: str) -> None:
                super()._note(call)
                assert inside == []
                inside.append(call)
                a.mark_dirty(self.stream)
                a.acknowledge_received_data(self.stream, 0)
                other = a.open_stream(b.identity.key, StreamEnd(a))
                a.abort_stream(other)
                if call == "ended":
                    a.close_stream(self.stream)
                inside.pop()

        b.set_acceptor(StreamEnds(b, to_send=bytes(100_000), close_after_sending=True))
        client = Watching(a, bytes(1000))
        a.open_stream(b.identity.key, client)
        self.run_for(2)
        assert client.calls == ["connected", "data", "ended", "lost"]

    def ask_at_once(self, count: int) -> list[str]:
        """Have so many streams bring a request each in one read; return what the server's ends were called for."""
        a, b = self.line(2)
        log: list[str] = []

        class Logging(StreamEnd):
            def stream_data(self, data: bytes) -> None:
                log.append("data")
                super().stream_data(data)

            def flush(self, room: int, segment: int) -> Sequence[bytes]:
                log.append("flush")
                return super().flush(room, segment)

        b.set_acceptor(lambda _: Logging(b, echo=True))
        clients = [StreamEnd(a) for _ in range(count)]
        for client in clients:
            a.open_stream(b.identity.key, client)
        self.run_for(1)
        clients[0].to_send += bytes(4_000_000)  # makes the window large
        a.mark_dirty(clients[0].stream)
        self.run_for(5)
        assert len(clients[0].received) == 4_000_000
        clients[0].received.clear()
        log.clear()
        packets_before = b.status()["counters"]["session"]["packets sent"]
        for client in clients:
            client.to_send += b"request"
            a.mark_dirty(client.stream)
        self.turns()
        self.packets_sent = b.status()["counters"]["session"]["packets sent"] - packets_before
        assert [bytes(client.received) for client in clients] == [b"request"] * count
        return log

    def test_the_first_answers_leave_before_the_last_ones_are_made(self) -> None:
        assert self.ask_at_once(6) == ["data"] * 4 + ["flush"] * 4 + ["data"] * 2 + ["flush"] * 2

    def test_every_answer_carries_the_acknowledgement_of_its_request(self) -> None:
        self.ask_at_once(6)
        assert self.packets_sent == 6

    def test_a_flood_of_events_is_handed_out_within_the_turn_in_larger_parts(self) -> None:
        parts = [len(list(same)) for call, same in itertools.groupby(self.ask_at_once(100)) if call == "data"]
        assert parts == [7] * 4 + [6] * 12
        assert self.packets_sent == 100

    def test_nothing_is_flushed_before_all_have_heard_what_has_become_of_their_streams(self) -> None:
        a, b = self.line(2)
        log: list[str] = []

        class Logging(StreamEnd):
            def stream_connected(self, stream: int) -> None:
                log.append("connected")
                super().stream_connected(stream)

            def flush(self, room: int, segment: int) -> Sequence[bytes]:
                log.append("flush")
                return super().flush(room, segment)

        clients = [Logging(a) for _ in range(10)]
        for client in clients:
            a.open_stream(b.identity.key, client)
            client.to_send += b"request"
        b.set_acceptor(lambda _: StreamEnd(b, echo=True))
        self.run_for(1)
        assert log[:10] == ["connected"] * 10

    def test_what_is_to_be_called_soon_is_called_in_the_same_turn_behind_the_events(self) -> None:
        a, b = self.line(2)
        log: list[str] = []

        class Calling(StreamEnd):
            def stream_data(self, data: bytes) -> None:
                b.call_soon(lambda: log.append("called"))
                log.append("data")
                b.mark_dirty(self.stream)

            def flush(self, room: int, segment: int) -> Sequence[bytes]:
                log.append("flush")
                return ()

        b.set_acceptor(lambda _: Calling(b))
        a.open_stream(b.identity.key, StreamEnd(a, b"request"))
        self.run_for(1)
        assert log[-3:] == ["data", "called", "flush"]

    def test_what_is_to_be_called_soon_outside_a_turn_is_called_in_the_next_and_may_fail(self) -> None:
        a = self.node(1)
        called: list[int] = []

        def fail() -> None:
            raise RuntimeError("called")

        a.call_soon(fail)
        a.call_soon(lambda: called.append(1))
        assert called == []
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            self.turns()
        assert called == [1]


class LifeTests(NodeTestCase):
    def test_stopping_ends_streams_and_links_at_once_and_leaves_nothing_behind(self) -> None:
        a, _, b = self.line(3)
        accepted = StreamEnds(b)
        b.set_acceptor(accepted)
        client = StreamEnd(a, b"x")
        a.open_stream(b.identity.key, client)
        self.run_for(0.2)
        stopped = a.stopService()
        assert len(client.errors) == 1
        self.turns()
        self.successResultOf(stopped)
        assert isinstance(accepted.made[0].errors[0], StreamResetError)
        assert len(b.status()["links"]) == 1
        assert not a.running

    def test_all_timers_end_with_the_last_node(self) -> None:
        a, b = self.line(2)
        first, second = a.stopService(), b.stopService()
        self.turns()
        self.successResultOf(first)
        self.successResultOf(second)
        assert self.clock.getDelayedCalls() == []

    def test_a_link_that_does_not_close_is_aborted(self) -> None:
        a, b = self.node(1), self.node(2)
        _near, far = connect_nodes(a, b)
        self.turns()
        far.pause_reading()
        stopped = a.stopService()
        self.run_for(1.9)
        self.assertNoResult(stopped)
        self.run_for(0.2)
        self.successResultOf(stopped)

    def test_stopping_twice_is_no_harm_nor_from_inside_a_turn(self) -> None:
        a, b = self.node(1), self.node(2)
        results: list[object] = []
        a.subscribe(lambda event: isinstance(event, LinkUp) and results.append(a.stopService()))
        connect_nodes(a, b)
        self.turns()
        self.successResultOf(results[0])
        self.successResultOf(a.stopService())
        assert b.status()["links"] == []

    def test_a_link_that_comes_when_it_is_stopped_is_refused(self) -> None:
        a, b = self.node(1), self.node(2, start=False)
        connect_nodes(a, b)
        self.turns()
        assert a.status()["links"] == []

    def test_it_can_be_started_again(self) -> None:
        a, b = self.line(2)
        stopped = a.stopService()
        self.turns()
        self.successResultOf(stopped)
        a.startService()
        connect_nodes(a, b)
        b.set_acceptor(StreamEnds(b, echo=True))
        self.run_for(6)
        client = StreamEnd(a, b"again")
        a.open_stream(b.identity.key, client)
        self.run_for(2)
        assert bytes(client.received) == b"again"

    def test_status_is_plain_data_and_tells_the_place_links_and_sessions(self) -> None:
        a, b = self.line(2)
        b.set_acceptor(StreamEnds(b, echo=True))
        a.open_stream(b.identity.key, StreamEnd(a, b"hello"))
        self.run_for(1)
        status = {node.identity.server_name: json.loads(json.dumps(node.status())) for node in (a, b)}
        root = max(status)
        (child,) = set(status) - {root}
        assert status[root]["coordinates"] == []
        assert status[root]["parent"] is None
        assert status[root]["descending"] == child
        assert status[child]["coordinates"] == [1]
        assert status[child]["parent"] == {"key": root, "port": 1}
        assert status[child]["root"]["key"] == root
        mine = status[a.identity.server_name]
        (link,) = mine["links"]
        assert (link["key"], link["way"], link["direction"], link["port"]) == (b.identity.server_name, "pipe", "out", 1)
        assert link["bytes_sent"] > 104
        (session,) = mine["sessions"]
        assert (session["key"], session["connections"]) == (b.identity.server_name, 1)
        assert session["window"] > 0
        (stream,) = mine["streams"]
        assert (stream["key"], stream["bytes_sent"], stream["bytes_received"], stream["direction"]) == (
            b.identity.server_name,
            5,
            5,
            "out",
        )
        assert (mine["listen"], mine["candidates"]) == ([], [])
        assert mine["uptime"] > 6
