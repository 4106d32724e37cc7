"""Links over real WebSockets on loopback."""

from __future__ import annotations

import hashlib

import pytest
import pytest_twisted
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, PartialDownloadError, readBody

from pinecone_transport.links import HostPort, Link
from pinecone_transport.links.websocket import (
    LONGEST_RECEIVED,
    LONGEST_SENT,
    LONGEST_UPGRADE,
    NoWebSocketError,
    dial_websocket,
    listen_websocket,
)
from pinecone_transport.links.websocket_url import parse_websocket_url


class Owner:
    """Notes what a link tells, and fires what was waited for."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.received = b""
        self.reasons: list[Failure] = []
        self.expected = 0
        self.made: Deferred[Link] = Deferred()
        self.complete: Deferred[bytes] = Deferred()
        self.lost: Deferred[str] = Deferred()

    def link_made(self, link: Link) -> None:
        self.links.append(link)
        if not self.made.called:
            self.made.callback(link)

    def link_data(self, link: Link, data: bytes) -> None:
        self.received += data
        if self.expected and len(self.received) >= self.expected:
            self.complete.callback(self.received)

    def link_writable(self, link: Link) -> None:
        raise NotImplementedError

    def link_lost(self, link: Link, reason: Failure) -> None:
        self.reasons.append(reason)
        self.lost.callback(reason.getErrorMessage())


class Pumping(Owner):
    """Writes all of some data, as fast as the link takes it."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.rest = data
        self.pauses = 0

    def link_made(self, link: Link) -> None:
        super().link_made(link)
        self.pump(link)

    def link_writable(self, link: Link) -> None:
        self.pauses += 1
        self.pump(link)

    def pump(self, link: Link) -> None:
        while self.rest and link.writable:
            piece, self.rest = self.rest[: link.write_limit], self.rest[link.write_limit :]
            link.write([piece[:10], piece[10:]])


@pytest.fixture
def listening():
    """Start ports that are closed at the end; return what starts one and gives its number."""
    ports = []

    def listen(owner: Owner) -> int:
        ports.append(listen_websocket(reactor, HostPort("127.0.0.1", 0), owner))
        return ports[-1].getHost().port

    yield listen
    for port in ports:
        pytest_twisted.blockon(port.stopListening())


def url(port: int, path: str = "/"):
    return parse_websocket_url(f"ws://127.0.0.1:{port}{path}")


@pytest_twisted.inlineCallbacks
def test_megabytes_arrive_whole_in_both_directions(listening):
    data = hashlib.shake_256(b"link").digest(3_000_000)
    server, client = Pumping(data), Pumping(data[::-1])
    server.expected = client.expected = len(data)
    link = yield dial_websocket(reactor, url(listening(server)), client)
    assert (yield server.complete) == data[::-1]
    assert (yield client.complete) == data
    assert link.way == "ws"
    assert link.outbound
    assert not server.links[0].outbound
    assert server.links[0].address.startswith("127.0.0.1:")
    assert server.pauses + client.pauses > 0  # or else nothing held them back
    link.close()
    yield server.lost
    yield client.lost
    yield link.lost


class Recorder(WebSocketClientProtocol):
    """A WebSocket client of no kind in particular."""

    def onOpen(self) -> None:
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.lengths.append((len(payload), isBinary))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if not self.factory.opened.called:
            self.factory.opened.errback(ConnectionLost(str(reason)))
        self.factory.closed.callback(None)


def recording(port: int, headers: dict[str, str] | None = None) -> WebSocketClientFactory:
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/public", headers=headers, reactor=reactor)
    factory.protocol = Recorder
    factory.opened, factory.closed, factory.lengths = Deferred(), Deferred(), []
    TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
    return factory


@pytest_twisted.inlineCallbacks
def test_messages_are_binary_and_no_longer_than_go_nodes_read(listening):
    server = Pumping(bytes(10 * LONGEST_SENT + 1))
    factory = recording(listening(server))
    client = yield factory.opened
    while sum(length for length, _ in factory.lengths) < 10 * LONGEST_SENT + 1:
        yield settle()
    assert max(length for length, _ in factory.lengths) == LONGEST_SENT
    assert all(binary for _, binary in factory.lengths)
    client.sendClose()
    yield server.lost


def settle() -> Deferred[None]:
    """Let the reactor turn once."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned


@pytest_twisted.inlineCallbacks
def test_a_text_message_ends_the_link(listening):
    server = Owner()
    client = yield recording(listening(server)).opened
    client.sendMessage(b"hello", isBinary=False)
    reason = yield server.lost
    assert "text message" in reason
    assert server.received == b""


@pytest_twisted.inlineCallbacks
def test_a_giant_message_ends_the_link_before_it_is_there(listening):
    server = Owner()
    client = yield recording(listening(server)).opened
    client.beginMessage(isBinary=True)
    client.beginMessageFrame(LONGEST_RECEIVED + 1)
    client.sendMessageFrameData(bytes(1000))
    yield server.lost
    assert server.received == b""


@pytest_twisted.inlineCallbacks
def test_a_giant_message_of_small_pieces_ends_the_link(listening):
    server = Owner()
    client = yield recording(listening(server)).opened
    client.beginMessage(isBinary=True)
    for _ in range(LONGEST_RECEIVED // 60_000 + 1):
        client.sendMessageFrame(bytes(60_000))
    yield server.lost
    assert server.received == b""


@pytest_twisted.inlineCallbacks
def test_the_nearest_proxy_s_word_counts_on_loopback(listening):
    server = Owner()
    client = yield recording(listening(server), {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}).opened
    link = yield server.made
    assert link.address == "198.51.100.7:0"
    client.sendClose()
    yield server.lost


@pytest_twisted.inlineCallbacks
def test_nonsense_of_a_proxy_is_not_believed(listening):
    server = Owner()
    client = yield recording(listening(server), {"X-Forwarded-For": "me"}).opened
    link = yield server.made
    assert link.address.startswith("127.0.0.1:")
    client.sendClose()
    yield server.lost


class Raw(Protocol):
    """Sends bytes that are no WebSocket."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(self.received)


@pytest_twisted.inlineCallbacks
def test_an_upgrade_without_end_is_cut_off(listening):
    server = Owner()
    raw = yield connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listening(server)), Raw())
    raw.transport.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (LONGEST_UPGRADE // 5))
    assert (yield raw.lost) == b""
    assert server.links == []


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 40 + b"\r\n\r\n", b"pine\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"]
)
@pytest_twisted.inlineCallbacks
def test_garbage_is_answered_and_closed(listening, garbage):
    server = Owner()
    raw = yield connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listening(server)), Raw())
    raw.transport.write(garbage)
    assert (yield raw.lost).startswith(b"HTTP/1.1 4")
    assert server.links == []


@pytest_twisted.inlineCallbacks
def test_a_browser_is_told_what_is_wanted(listening):
    response = yield Agent(reactor).request(b"GET", b"http://127.0.0.1:%d/" % listening(Owner()))
    assert response.code == 426
    with pytest.raises(PartialDownloadError):  # no length, no end: the connection is closed
        yield readBody(response)


@pytest_twisted.inlineCallbacks
def test_a_dial_that_nobody_answers_fails(listening):
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    number = port.getHost().port
    yield port.stopListening()
    with pytest.raises(ConnectError):
        yield dial_websocket(reactor, url(number), Owner())


@pytest_twisted.inlineCallbacks
def test_a_dial_to_a_name_that_there_cannot_be_fails():
    with pytest.raises(ValueError, match="A-label"):
        yield dial_websocket(reactor, parse_websocket_url("wss://xn--/"), Owner())


class Saying(Protocol):
    """Says one thing and hangs up."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.factory.saying)
        self.transport.loseConnection()


@pytest.mark.parametrize(
    ("scheme", "said", "sentence"),
    [
        ("ws", b"HTTP/1.1 404 Not Found\r\n\r\n", "no WebSocket there: the web server answers 404 Not Found."),
        ("ws", b"HTTP/1.1 502\r\n\r\n", "no WebSocket there: the web server answers 502."),
        ("ws", b"hello\r\n\r\n", 'no WebSocket there: Bad HTTP response status line "hello".'),
        ("ws", b"", "no WebSocket there: it hung up."),
        ("wss", b"hello\r\n\r\n", "no WebSocket there: TLS failed: wrong version number."),
        ("wss", b"", "no WebSocket there: it hung up."),
    ],
)
@pytest_twisted.inlineCallbacks
def test_a_dial_to_something_else_fails_with_one_sentence_about_it(scheme, said, sentence):
    factory = Factory.forProtocol(Saying)
    factory.saying = said
    port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    with pytest.raises(NoWebSocketError) as raised:
        yield dial_websocket(reactor, parse_websocket_url(f"{scheme}://127.0.0.1:{port.getHost().port}/"), Owner())
    assert str(raised.value) == sentence
    yield port.stopListening()


@pytest_twisted.inlineCallbacks
def test_a_dial_can_be_given_up_while_it_waits_for_the_upgrade():
    class Silent(Protocol):
        def connectionMade(self) -> None:
            connected.callback(self)

        def connectionLost(self, reason: Failure) -> None:
            gone.callback(None)

    connected: Deferred[Silent] = Deferred()
    gone: Deferred[None] = Deferred()
    port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Silent))
    owner = Owner()
    dial = dial_websocket(reactor, url(port.getHost().port), owner)
    yield connected
    yield settle()
    dial.cancel()
    with pytest.raises(CancelledError):
        yield dial
    yield gone
    assert owner.links == []
    yield port.stopListening()


@pytest_twisted.inlineCallbacks
def test_a_closed_link_takes_and_brings_nothing_more(listening):
    server, client = Owner(), Owner()
    link = yield dial_websocket(reactor, url(listening(server)), client)
    link.abort()
    link.write([b"late"])
    yield server.lost
    yield client.lost
    link.abort()
    link.close()
    link.write([b"later"])
    assert not link.writable
    assert server.received == b""
    assert len(client.reasons) == 1


class Answering(Owner):
    """Writes an answer in the reactor's next turn, as a node does."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: Deferred[None] = Deferred()

    def link_data(self, link: Link, data: bytes) -> None:
        super().link_data(link, data)
        deferLater(reactor, 0, link.write, [b"late"]).chainDeferred(self.answered)


@pytest_twisted.inlineCallbacks
def test_what_is_written_behind_a_far_end_s_goodbye_is_dropped(listening):
    server = Answering()
    far_end = yield recording(listening(server)).opened
    far_end.sendMessage(b"last words", isBinary=True)
    far_end.sendClose()
    yield server.answered
    yield server.lost
    assert server.received == b"last words"


@pytest_twisted.inlineCallbacks
def test_a_port_takes_so_many_connections_and_no_more(listening, monkeypatch):
    monkeypatch.setattr("pinecone_transport.links.websocket.MAX_CONNECTIONS", 1)
    server = Owner()
    port = listening(server)
    first = recording(port)
    client = yield first.opened
    with pytest.raises(ConnectionLost):
        yield recording(port).opened
    client.sendClose()
    yield server.lost
