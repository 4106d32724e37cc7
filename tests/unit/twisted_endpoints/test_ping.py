"""Pings over nodes in memory: answered, answered by something else, not answered, and not even reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from pinecone_transport.errors import LocalProtocolError
from tests.support.loopback import LoopbackNetwork, LoopbackNode
from twisted_endpoints import PineconeServerEndpoint
from twisted_endpoints.ping import answer_pings, ping


class NodeWithCommands:
    """A `LoopbackNode` that also takes commands, as a real node does."""

    def __init__(self, node: LoopbackNode) -> None:
        self.node = node
        self.commands: dict[str, Callable[[Mapping[str, Any]], Deferred[Mapping[str, Any]]]] = {}

    def add_command(self, name: str, command: Callable[[Mapping[str, Any]], Deferred[Mapping[str, Any]]]) -> None:
        self.commands[name] = command

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)


class PingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = LoopbackNetwork(self.clock)
        self.network.latency = 0.01
        self.near, self.far = self.network.node(1), self.network.node(2)

    def _ping(self, seconds: float = 1.0) -> Mapping[str, Any]:
        pinging = ping(self.near, self.far.identity.key, clock=self.clock.seconds)
        for _ in range(int(seconds / 0.01)):
            self.clock.advance(0.01)
        return self.successResultOf(pinging)

    def test_a_node_that_serves_nothing_else_answers(self) -> None:
        answer_pings(NodeWithCommands(self.far))
        report = self._ping()
        assert report["outcome"] == "the node answers"
        assert report["key"] == self.far.identity.server_name
        assert 0 < report["request"] < report["set_up"] < 1

    def test_the_command_takes_a_server_name(self) -> None:
        near = NodeWithCommands(self.near)
        answer_pings(near)
        for wrong in ({}, {"key": 5}, {"key": "ab"}):
            with pytest.raises(LocalProtocolError):
                near.commands["ping"](wrong)
        own = near.commands["ping"]({"key": self.near.identity.server_name})
        self.failureResultOf(own, LocalProtocolError)

    def test_another_homeserver_answers_with_an_error(self) -> None:
        PineconeServerEndpoint(self.far).listen(Site(Resource(), reactor=self.clock))
        report = self._ping()
        assert report["outcome"] == "what answers is no node of this kind: HTTP 404"
        assert report["request"] > 0

    def test_of_an_answer_without_end_nothing_is_taken(self) -> None:
        class Endless(Resource):
            isLeaf = True
            ended = False

            def render_GET(self, request: Request) -> int:
                request.notifyFinish().addErrback(self._end)
                request.write(bytes(1000))
                return NOT_DONE_YET

            def _end(self, reason: Failure) -> None:
                self.ended = True

        endless = Endless()
        PineconeServerEndpoint(self.far).listen(Site(endless, reactor=self.clock))
        report = self._ping()
        assert report["outcome"] == "what answers is no node of this kind: HTTP 200"
        assert endless.ended

    def test_what_takes_streams_and_is_silent_is_there_all_the_same(self) -> None:
        PineconeServerEndpoint(self.far).listen(Factory.forProtocol(Protocol))
        report = self._ping(40)
        assert report["outcome"] == "the node is there, but has not answered the request"
        assert 0 < report["set_up"] < 1
        assert report["request"] is None

    def test_what_is_not_reached_has_no_times(self) -> None:
        self.network.silent.add(self.far.identity.key)
        for forget in (False, True):
            if forget:
                del self.network.nodes[self.far.identity.key]
            report = self._ping(40)
            assert report["outcome"].startswith("not reached: ")
            assert (report["set_up"], report["request"]) == (None, None)
