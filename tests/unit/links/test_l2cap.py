"""L2CAP channels: real sockets that keep packets apart, without any Bluetooth."""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.links import StreamLink
from pinecone_transport.links.l2cap import PAUSE, L2capConnector, L2capPort, L2capTransport
from pinecone_transport.links.l2cap_socket import LE_RANDOM, decode_address, encode_address
from pinecone_transport.wire import PeerType

MTU = 500


@implementer(IReactorFDSet)
class Watching(Clock):
    """Knows who wants to read and to write, and does nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard


class Recorder(Protocol):
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.reason = None

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)

    def connectionLost(self, reason) -> None:
        self.reason = reason


class Owner:
    """A node, as links see it."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def link_made(self, link: StreamLink) -> None:
        self.events.append("made")

    def link_data(self, link: StreamLink, data: bytes) -> None:
        self.events.append("data")

    def link_writable(self, link: StreamLink) -> None:
        self.events.append("writable")

    def link_lost(self, link: StreamLink, reason) -> None:
        self.events.append("lost")


class Channel:
    """One end as a transport, the other a plain socket."""

    def __init__(self) -> None:
        self.reactor = Watching()
        ours, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.far.setblocking(False)
        self.transport = L2capTransport(ours, MTU, host="A", peer="B", reactor=self.reactor)
        self.protocol = Recorder()
        self.transport.connect(self.protocol)

    def read(self) -> None:
        reason = self.transport.doRead()
        if reason is not None:
            self.transport.connectionLost(Failure(reason))

    def write_all(self) -> list[bytes]:
        """Write while there is something to write; return the packets that come out at the far end."""
        packets = []
        while self.transport in self.reactor.writers:
            assert self.transport.doWrite() is None
            while True:
                try:
                    packets.append(self.far.recv(65536))
                except BlockingIOError:
                    break
        return packets


@pytest.fixture
def channel():
    channel = Channel()
    yield channel
    channel.far.close()
    if not channel.transport.disconnected:
        channel.transport.connectionLost(Failure(ConnectionDone()))


def test_no_packet_is_longer_than_the_far_end_takes(channel):
    data = bytes(range(256)) * 9
    channel.transport.write(data[:100])
    channel.transport.writeSequence([data[100:1000], data[1000:]])
    packets = channel.write_all()
    assert b"".join(packets) == data
    assert max(map(len, packets)) == MTU


def test_packets_become_a_stream_of_bytes(channel):
    channel.far.send(b"a" * 4096)
    channel.far.send(b"b")
    channel.read()
    channel.read()
    channel.read()  # nothing is there
    assert channel.protocol.data == [b"a" * 4096, b"b"]
    assert channel.protocol.reason is None


def test_the_far_end_closes(channel):
    channel.far.close()
    channel.read()
    assert channel.protocol.reason.check(ConnectionDone)
    assert channel.transport.fileno() == -1
    assert not channel.reactor.readers
    channel.transport.abortConnection()
    channel.transport.write(b"nobody hears it")
    assert channel.reactor.getDelayedCalls() == []


def test_writing_to_nobody_ends_it(channel):
    channel.far.close()
    channel.transport.write(b"x")
    assert isinstance(channel.transport.doWrite(), ConnectionLost)


def test_what_waits_is_written_before_it_closes(channel):
    channel.transport.write(b"last words")
    channel.transport.loseConnection()
    assert isinstance(channel.transport.doWrite(), ConnectionDone)
    assert channel.far.recv(100) == b"last words"


def test_abort_closes_at_once_but_not_from_inside(channel):
    channel.transport.write(b"never sent")
    channel.transport.abortConnection()
    assert channel.protocol.reason is None
    assert not channel.reactor.readers | channel.reactor.writers
    channel.reactor.advance(0)
    assert channel.protocol.reason.check(ConnectionAborted)
    assert channel.far.recv(100) == b""


def test_a_link_is_told_to_wait_while_the_radio_is_behind():
    channel = Channel()
    owner = Owner()
    link = StreamLink(owner, peer_type=PeerType.BLUETOOTH, way="ble", address="B", outbound=True)
    link.makeConnection(channel.transport)
    link.write([bytes(4096)])
    assert link.writable
    link.write([b"x"])
    assert not link.writable
    channel.write_all()
    assert link.writable
    assert owner.events == ["made", "writable"]
    channel.transport.connectionLost(Failure(ConnectionDone()))
    channel.far.close()


def test_addresses_are_shown():
    channel = Channel()
    assert (channel.transport.getHost().address, channel.transport.getPeer().address) == ("A", "B")
    channel.transport.connectionLost(Failure(ConnectionDone()))
    channel.transport.connectionLost(Failure(ConnectionDone()))  # a second time changes nothing
    channel.far.close()


def test_a_channel_from_an_adapter_that_is_not_there_is_an_error_and_leaves_nothing_open():
    reactor, protocol, failures = Watching(), Recorder(), []
    connector = L2capConnector("00:00:00:00:00:FE", protocol, reactor)
    connector.connect("C0:11:22:33:44:55", LE_RANDOM, 0x80).addErrback(failures.append)
    (failure,) = failures
    assert failure.check(ConnectError)
    assert failure.value.osError is not None
    assert connector.fileno() == -1
    assert not reactor.writers | reactor.readers
    connector.connectionLost(Failure(ConnectionLost()))  # the reactor may be late


class Door:
    """A port, on a local socket in place of one of Bluetooth's."""

    def __init__(self) -> None:
        self.reactor = Watching()
        self.let_in: list[str] = []
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bound.setblocking(False)
        bound.bind(f"\0{id(self)}-{os.getpid()}")
        self.address = bound.getsockname()
        self.port = L2capPort(bound, "A", self._accept, self.reactor)

    def _accept(self, peer: str) -> Recorder:
        self.let_in.append(peer)
        return Recorder()

    def knock(self) -> socket.socket:
        visitor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        visitor.setblocking(False)
        visitor.connect(self.address)
        return visitor


@contextmanager
def no_file_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more; what it closes it may open again."""
    highest = os.open(os.devnull, os.O_RDONLY)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken = [highest]
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for number in taken:
            os.close(number)


def test_without_room_for_another_socket_a_port_hangs_up_and_then_waits(caplog) -> None:
    door = Door()
    first, second = door.knock(), door.knock()
    with no_file_descriptor_left():
        door.port.doRead()
        assert door.reactor.readers == set()
        assert first.recv(1) == b""
        with pytest.raises(BlockingIOError):
            second.recv(1)
        door.reactor.advance(PAUSE)
        assert door.reactor.readers == {door.port}
        door.port.doRead()
        assert second.recv(1) == b""
    assert door.let_in == []
    assert [record.getMessage() for record in caplog.records] == [
        "A Bluetooth channel is not taken: Too many open files"
    ] * 2
    door.port.close()
    assert door.reactor.getDelayedCalls() == []
    first.close()
    second.close()


def test_a_channel_that_is_gone_as_it_is_taken_leaves_nothing_open_and_the_port_as_it_was() -> None:
    door = Door()
    visitor = door.knock()
    door.port.doRead()  # it is none of Bluetooth's, so how much it takes at once cannot be asked for
    assert visitor.recv(1) == b""
    door.port.doRead()  # nobody is there
    assert door.reactor.readers == {door.port}
    door.port.close()
    assert door.port.fileno() == -1
    door.port.connectionLost(Failure(ConnectionLost()))  # the reactor may be late
    visitor.close()


def test_addresses_are_what_the_kernel_takes_them_for():
    # struct sockaddr_l2: family 31, PSM, the address from its last byte on, channel 0, address type
    raw = encode_address("C0:11:22:33:44:55", LE_RANDOM, 0x80)
    assert raw == (31).to_bytes(2, sys.byteorder) + bytes.fromhex("8000 554433221 1c0 0000 02 00".replace(" ", ""))
    assert decode_address(raw) == ("C0:11:22:33:44:55", 0x80)
