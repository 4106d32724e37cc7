"""A `UtpSocket` on a UDP port of loopback, as µTP is used elsewhere: an address stands for the key."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from pinecone_transport.errors import PineconeError
from pinecone_transport.session import (
    SessionEvent,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamLost,
)
from pinecone_transport.session.utp import UtpLimits, UtpSocket, decode_packet
from pinecone_transport.session.utp.packet import ST_SYN, UtpPacket

LIMITS = UtpLimits(packet=1400, receive_window=1 << 18)
"""Packets that fit an Ethernet frame: what other µTPs have buffers for. A window that fits the port's buffer: a larger
burst loses packets there while the process has no processor, and those no shim has asked for."""
BUFFER = 1 << 19
"""Bytes. The kernel doubles it, and counts more than twice a packet's length."""
PULL = 1 << 16

Address = tuple[str, int]


class Application(Protocol):
    """What a stream carries.

    Attributes:
        outgoing: Bytes to be sent; taken from its front.
        errors: Filled at the stream's end: None for an orderly one.
    """

    outgoing: bytearray
    errors: list[PineconeError | None]

    def receive(self, data: bytes) -> None:
        """Take bytes, and leave in ``outgoing`` what is to be answered."""


class Shim:
    """A way that loses datagrams, and lets some be overtaken by those behind them.

    Attributes:
        carried: Datagrams that came.
        lost: Those that went no further.
        late: Those that were held back.
    """

    def __init__(self, *, loss: float = 0.0, late: float = 0.0, seed: int = 1) -> None:
        self.carried = self.lost = self.late = 0
        self._loss = loss
        self._late = late
        self._random = random.Random(seed)

    def carry(self, datagram: bytes, address: Address, deliver: Callable[[bytes, Address], None]) -> None:
        self.carried += 1
        if self._random.random() < self._loss:
            self.lost += 1
        elif self._random.random() < self._late:
            self.late += 1
            deferLater(reactor, self._random.uniform(0.001, 0.01), deliver, datagram, address)
        else:
            deliver(datagram, address)


class UdpUtp(DatagramProtocol):
    """The socket, its port, and the applications of its streams.

    Args:
        accept: Makes the application of a stream from afar.
        shim: What datagrams of both directions pass through.

    Attributes:
        socket: The machine under test.
        syns: Those that came.
        accepted: Applications of streams from afar.
    """

    def __init__(self, accept: Callable[[], Application], shim: Shim | None = None) -> None:
        self.socket = UtpSocket(random=random.SystemRandom(), limits=LIMITS)
        self.syns: list[UtpPacket] = []
        self.accepted: list[Application] = []
        self._accept = accept
        self._shim = shim or Shim()
        self._streams: dict[int, Application] = {}
        self._timer = None
        self._port = reactor.listenUDP(0, self, interface="127.0.0.1", maxPacketSize=1 << 16)
        self._port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)

    @property
    def port(self) -> int:
        return self._port.getHost().port

    def dial(self, port: int, application: Application) -> None:
        stream = self.socket.connect(_key(("127.0.0.1", port)), time.monotonic())
        self._streams[stream] = application
        self.turn()

    def close(self, application: Application) -> None:
        """End our side of an application's stream."""
        (stream,) = [number for number, other in self._streams.items() if other is application]
        self.socket.close(stream, time.monotonic())
        self.turn()

    async def stop(self) -> None:
        self.socket.abort_all(time.monotonic())
        self.turn()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self._shim.carry(datagram, addr, self._receive)

    def turn(self) -> None:
        """Send what there is to be sent, and arm the timer."""
        now = time.monotonic()
        for stream, application in self._streams.items():
            room = self.socket.room(stream)
            if room and application.outgoing:
                self.socket.write(stream, bytes(application.outgoing[:room]), now)
                del application.outgoing[:room]
        while keys := self.socket.ready_keys():
            for key in keys:
                for packet in self.socket.packets_to_send(key, PULL, now):
                    self._shim.carry(packet, _address(key), self._send)
        self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        due_at = self.socket.next_timer()
        self._timer = None if due_at is None else reactor.callLater(max(due_at - now, 0.0), self._timer_due)

    def _timer_due(self) -> None:
        # What has come while the process had no processor is looked at first: a repeated SYN, the answer to which is
        # there, makes two connections of libtorrent's, and what is sent to one meets the other.
        self._port.doRead()
        self._handle(self.socket.handle_timer(time.monotonic()))
        self.turn()

    def _send(self, packet: bytes, address: Address) -> None:
        if self.transport is not None:  # else stopped while it was held back
            self.transport.write(packet, address)

    def _receive(self, datagram: bytes, address: Address) -> None:
        packet = decode_packet(datagram)
        if packet.type == ST_SYN:
            self.syns.append(packet)
        self._handle(self.socket.receive_packet(_key(address), datagram, time.monotonic()))
        self.turn()

    def _handle(self, events: list[SessionEvent]) -> None:
        now = time.monotonic()
        for event in events:
            if isinstance(event, StreamAccepted):
                self._streams[event.stream] = self._accept()
                self.accepted.append(self._streams[event.stream])
            elif isinstance(event, StreamData):
                self._streams[event.stream].receive(event.data)
                self.socket.acknowledge_received_data(event.stream, len(event.data), now)
            elif isinstance(event, StreamEnded):
                self.socket.close(event.stream, now)
            elif isinstance(event, StreamClosed | StreamLost):
                error = event.error if isinstance(event, StreamLost) else None
                self._streams.pop(event.stream).errors.append(error)
            else:
                assert isinstance(event, StreamConnected) or self.socket.room(event.stream)


def _key(address: Address) -> bytes:
    return socket.inet_aton(address[0]) + address[1].to_bytes(2, "big") + bytes(26)


def _address(key: bytes) -> Address:
    return socket.inet_ntoa(key[:4]), int.from_bytes(key[4:6], "big")
