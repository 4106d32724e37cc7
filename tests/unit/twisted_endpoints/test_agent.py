"""HTTP over the endpoints: `PineconeAgent` and treq in front of a site, over nodes in memory."""

from __future__ import annotations

import hashlib
from io import BytesIO

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionClosed, NoRouteError
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface.verify import verifyObject

from tests.support.loopback import LoopbackNetwork
from twisted_endpoints import BoundedConnectionPool, NotAServerName, PineconeAgent, PineconeServerEndpoint, server_url

LARGE = hashlib.shake_256(b"large").digest(2_000_000)


class _Site(Site):
    """Counts connections; requests for /held wait until they are let go."""

    def __init__(self, clock: Clock) -> None:
        self.held: list[Request] = []
        self.uris: list[bytes] = []
        self.connections = 0
        super().__init__(_Root(self.held, self.uris), reactor=clock, timeout=20)

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        self.connections += 1
        return super().buildProtocol(addr)

    def let_go(self) -> None:
        held, self.held[:] = self.held[:], []
        for request in held:
            request.finish()


class _Root(Resource):
    isLeaf = True

    def __init__(self, held: list[Request], uris: list[bytes]) -> None:
        super().__init__()
        self._held = held
        self._uris = uris

    def render_GET(self, request: Request) -> bytes | int:
        self._uris.append(request.uri)
        if request.path == b"/held":
            self._held.append(request)
            return NOT_DONE_YET
        if request.path == b"/url":
            return request.prePathURL()
        if request.path == b"/large":
            return LARGE
        return b"%s asks %s" % (request.getClientAddress().host.encode(), request.getHeader("host").encode())

    def render_PUT(self, request: Request) -> bytes:
        return hashlib.sha256(request.content.read()).hexdigest().encode()


class AgentTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        network = LoopbackNetwork(self.clock)
        self.network = network
        self.alice, self.bob = network.node(1), network.node(2)
        self.site = _Site(self.clock)
        self.port = self.successResultOf(PineconeServerEndpoint(self.bob).listen(self.site))
        self.agent = PineconeAgent(self.alice)
        self.base = b"http://" + self.bob.identity.server_name.encode()

    def settle(self, seconds: float = 0.0) -> None:
        self.clock.pump([0.0] * 20 + [seconds] + [0.0] * 20)

    def nothing_is_left(self) -> bool:
        """Tell whether all streams and timers are gone, once the site (which has a timer) has stopped."""
        self.port.stopListening()
        return not (self.alice.ends or self.bob.ends or self.clock.getDelayedCalls())

    def get(self, path: bytes) -> bytes:
        fetching = self.agent.request(b"GET", self.base + path).addCallback(readBody)
        self.settle()
        return self.successResultOf(fetching)


class AgentTests(AgentTestCase):
    def test_it_is_an_agent(self) -> None:
        verifyObject(IAgent, self.agent)

    def test_the_server_sees_who_asks_and_under_which_name(self) -> None:
        names = self.alice.identity.server_name, self.bob.identity.server_name
        assert self.get(b"/") == "{} asks {}".format(*names).encode()

    def test_any_scheme_will_do(self) -> None:
        self.base = self.base.replace(b"http", b"matrix-federation")
        assert self.get(b"/").endswith(self.bob.identity.server_name.encode())

    def test_a_host_header_of_the_callers_stays(self) -> None:
        fetching = self.agent.request(b"GET", self.base + b"/", Headers({b"Host": [b"chosen"]})).addCallback(readBody)
        self.settle()
        assert self.successResultOf(fetching).endswith(b" asks chosen")

    def test_one_connection_serves_many_requests(self) -> None:
        for _ in range(5):
            self.get(b"/")
        assert self.site.connections == 1

    def test_large_bodies_come_whole(self) -> None:
        assert hashlib.sha256(self.get(b"/large")).digest() == hashlib.sha256(LARGE).digest()

    def test_a_site_can_make_urls_of_itself(self) -> None:
        # Twisted Web puts our own address's port into them, unless it is the scheme's.
        assert self.get(b"/url").startswith(self.base + b"/")

    def test_other_hosts_fail_at_once_with_one_sentence(self) -> None:
        name = self.bob.identity.server_name
        for host in (name[:-2] + "AA", name + ":8448", name[:-1], "matrix.example", "user@" + name, ""):
            asking = self.agent.request(b"GET", f"http://{host}/".encode())
            failure = self.failureResultOf(asking, NotAServerName)
            assert "64 lower-case hex digits, without a port" in str(failure.value)
        assert self.nothing_is_left()

    def test_a_server_that_nobody_has_a_route_to(self) -> None:
        asking = self.agent.request(b"GET", b"http://" + b"0" * 64 + b"/")
        self.settle()
        self.failureResultOf(asking, NoRouteError)

    def test_cancelling_a_request_ends_its_dial(self) -> None:
        self.network.silent.add(self.bob.identity.key)
        asking = self.agent.request(b"GET", self.base + b"/")
        asking.cancel()
        self.failureResultOf(asking, ConnectingCancelledError)
        self.settle()
        assert self.nothing_is_left()

    def test_cancelling_a_request_that_waits_for_its_answer_ends_its_connection(self) -> None:
        asking = self.agent.request(b"GET", self.base + b"/held")
        self.settle()
        asking.cancel()
        self.settle()
        assert asking.called
        self.failureResultOf(asking)
        assert self.alice.ends == {}

    def test_large_bodies_go_whole(self) -> None:
        # Its own cooperator would run on the global reactor.
        cooperator = Cooperator(scheduler=lambda call: self.clock.callLater(0, call))
        body = FileBodyProducer(BytesIO(LARGE), cooperator)
        putting = self.agent.request(b"PUT", self.base + b"/", None, body).addCallback(readBody)
        self.settle()
        assert self.successResultOf(putting) == hashlib.sha256(LARGE).hexdigest().encode()

    def test_treq_takes_the_urls_that_are_made_for_it(self) -> None:
        url = server_url(self.bob.identity.server_name, "/?q=a b")
        getting = HTTPClient(self.agent).get(url, params={"r": "ü"}).addCallback(treq.text_content)
        self.settle()
        assert self.successResultOf(getting).startswith(self.alice.identity.server_name)
        assert self.site.uris[0] == b"/?q=a%20b&r=%C3%BC"


class PoolTests(AgentTestCase):
    def ask(self, count: int) -> list[Deferred[bytes]]:
        asking = [self.agent.request(b"GET", self.base + b"/held").addCallback(readBody) for _ in range(count)]
        self.settle()
        return asking

    def test_eighty_requests_make_eight_connections(self) -> None:
        asking = self.ask(80)
        assert (self.site.connections, len(self.site.held)) == (8, 8)
        for _ in range(10):
            self.site.let_go()
            self.settle()
        assert [self.successResultOf(answer) for answer in asking] == [b""] * 80
        assert self.site.connections == 8

    def test_requests_are_served_in_order(self) -> None:
        asking = self.ask(12)
        self.site.let_go()
        self.settle()
        for answer in asking[:8]:
            self.successResultOf(answer)
        for answer in asking[8:]:
            self.assertNoResult(answer)
        self.site.let_go()
        self.settle()
        for answer in asking[8:]:
            self.successResultOf(answer)

    def test_a_pool_of_its_own_reactor_hands_connections_on_in_a_later_turn(self) -> None:
        self.agent = PineconeAgent(self.alice, BoundedConnectionPool(self.clock, max_connections=1))
        asking = self.ask(2)
        self.site.let_go()
        self.settle()
        self.successResultOf(asking[0])
        assert (self.site.connections, len(self.site.held)) == (1, 1)
        self.site.let_go()
        self.settle()
        self.successResultOf(asking[1])

    def test_a_lost_connection_makes_room_for_a_request_that_waits(self) -> None:
        asking = self.ask(9)
        self.site.held.pop(0).loseConnection()
        self.settle()
        assert self.site.connections == 9
        self.site.let_go()
        self.settle()
        assert self.successResultOf(asking[8]) == b""
        self.failureResultOf(asking[0])

    def test_a_connection_that_closes_with_its_answer_is_not_handed_on(self) -> None:
        asking = self.ask(9)
        request = self.site.held.pop(0)
        channel = request.channel
        request.finish()
        channel.loseConnection()
        self.settle()
        assert self.successResultOf(asking[0]) == b""
        assert self.site.connections == 9
        self.site.let_go()
        self.settle()
        assert self.successResultOf(asking[8]) == b""

    def test_a_request_that_waits_can_be_cancelled(self) -> None:
        asking = self.ask(10)
        asking[8].cancel()
        self.failureResultOf(asking[8], CancelledError)
        self.site.let_go()
        self.settle()
        self.site.let_go()
        self.settle()
        assert self.successResultOf(asking[9]) == b""

    def test_a_request_whose_turn_has_come_can_be_cancelled_while_it_dials(self) -> None:
        asking = self.ask(9)
        self.network.silent.add(self.bob.identity.key)
        asking[0].cancel()
        self.settle()
        asking[8].cancel()
        self.settle()
        self.failureResultOf(asking[8], ConnectingCancelledError)
        self.failureResultOf(asking[0])

    def test_idle_connections_close_after_25_seconds(self) -> None:
        self.site.timeOut = None
        self.get(b"/")
        self.settle(24.9)
        assert len(self.alice.ends) == 1
        self.settle(0.2)
        assert self.nothing_is_left()

    def test_a_connection_that_the_peer_closed_is_not_used_again(self) -> None:
        self.get(b"/")
        self.settle(20.1)
        assert (self.alice.ends, self.bob.ends) == ({}, {})
        assert self.get(b"/")
        assert self.site.connections == 2

    def test_requests_fail_when_the_peer_goes_away_under_them(self) -> None:
        asking = self.ask(1)
        self.site.held.pop().loseConnection()
        self.settle()
        failure = self.failureResultOf(asking[0])
        assert failure.value.reasons[0].check(ConnectionClosed)

    def test_dials_that_began_too_early_are_dropped_and_waiting_requests_dial_anew(self) -> None:
        self.network.silent.add(self.bob.identity.key)
        asking = self.ask(10)
        self.network.silent.clear()
        self.agent.pool.drop_dials(self.bob.identity.server_name.encode())
        self.settle()
        for dropped in asking[:8]:
            self.failureResultOf(dropped, ConnectingCancelledError)
        self.site.let_go()
        self.settle()
        assert [self.successResultOf(answer) for answer in asking[8:]] == [b"", b""]

    def test_closing_the_pool_closes_its_connections(self) -> None:
        self.get(b"/")
        closing = self.agent.pool.closeCachedConnections()
        self.settle()
        self.successResultOf(closing)
        assert self.nothing_is_left()
