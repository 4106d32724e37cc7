"""One of bumble's L2CAP channels as a transport of Twisted's, across the two threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, final

import attrs
from bumble.l2cap import LeCreditBasedChannel
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread
from pinecone_transport.links.stream import LinkTransport

HIGH_WATER: Final = 4096
"""Bytes that wait for the radio when the producer is paused."""
LEAST_MTU: Final = 23
"""Bytes that the far end must take at once, by the Bluetooth specification."""
CLOSE_TIMEOUT: Final = 3.0
"""Seconds that it has to agree to the end of the channel."""
MAX_UNDELIVERED: Final = 4 * 1024 * 1024
"""Bytes that may wait for the reactor; bumble always lets the far end send on."""


@implementer(IAddress)
@attrs.frozen
class BluetoothAddress:
    """A device's address, such as ``C0:11:22:33:44:55``."""

    address: str


@final
@implementer(LinkTransport)
class ChannelTransport:
    """A transport whose methods are called in the reactor's thread, over a channel that lives in bumble's.

    Args:
        channel: Open.
        thread: Bumble's.
    """

    disconnecting = False

    def __init__(self, channel: LeCreditBasedChannel, thread: LoopThread) -> None:
        self._channel = channel
        self._thread = thread
        self._protocol: Protocol | None = None
        self._reason: BaseException = ConnectionLost()
        self._unsent = 0
        self._producer: Any = None
        self._paused = False
        self._undelivered: deque[bytes] = deque()
        self._reading = True
        self._closed = False
        self._delivered = 0
        # Of bumble's thread alone.
        self._received = 0
        self._unreported = 0
        self._drain: asyncio.Task[None] | None = None
        channel.sink = self._receive
        channel.on(LeCreditBasedChannel.EVENT_CLOSE, self._closed_by_channel)
        if min(channel.peer_mtu, channel.peer_mps) < LEAST_MTU:
            self._disconnect()

    def connect(self, protocol: Protocol) -> None:
        """Begin: what has come meanwhile follows at once."""
        self._protocol = protocol
        protocol.makeConnection(self)
        self._deliver_all()
        if self._closed:
            protocol.connectionLost(Failure(self._reason))

    # ITransport

    def write(self, data: bytes) -> None:
        """Hand bytes to the channel."""
        if not data or self._closed or self.disconnecting:
            return
        self._unsent += len(data)
        self._thread.in_loop(self._send, data)
        if self._unsent > HIGH_WATER and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Hand bytes to the channel."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Send what waits, then close."""
        self._reason = ConnectionDone()
        self.disconnecting = True
        if not self._unsent:
            self._thread.in_loop(self._disconnect)

    def abortConnection(self) -> None:
        """Close at once."""
        self._reason = ConnectionAborted()
        self.disconnecting = True
        self._thread.in_loop(self._disconnect)

    def getPeer(self) -> IAddress:
        """Return the far end's address."""
        return BluetoothAddress(str(self._channel.connection.peer_address))

    def getHost(self) -> IAddress:
        """Return our own address."""
        return BluetoothAddress(str(self._channel.connection.self_address))

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause and resume a push producer as the radio can take more."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Forget it."""
        self._producer = None

    # IPushProducer

    def pauseProducing(self) -> None:
        """Deliver nothing for a while. The far end can send on, until `MAX_UNDELIVERED` bytes wait."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Deliver what has come meanwhile, but not before the caller has returned."""
        self._reading = True
        self._thread.in_reactor(self._deliver_all)

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    # In the reactor's thread, called from bumble's

    def _deliver(self, data: bytes) -> None:
        if not self._closed:
            self._undelivered.append(data)
            self._deliver_all()

    def _deliver_all(self) -> None:
        while self._undelivered and self._reading and self._protocol is not None:
            data = self._undelivered.popleft()
            self._delivered += len(data)
            self._protocol.dataReceived(data)

    def _sent(self, length: int) -> None:
        self._unsent -= length
        if self._unsent:
            return
        if self.disconnecting:
            self._thread.in_loop(self._disconnect)
        elif self._paused and self._producer is not None and not self._closed:
            self._paused = False
            self._producer.resumeProducing()

    def _lose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._protocol is not None:
            self._undelivered.clear()
            self._protocol.connectionLost(Failure(self._reason))

    # In bumble's thread

    def _receive(self, data: bytes) -> None:
        self._received += len(data)
        if self._received - self._delivered > MAX_UNDELIVERED:  # the other number only grows meanwhile
            self._disconnect()
            return
        self._thread.in_reactor(self._deliver, data)

    def _send(self, data: bytes) -> None:
        if self._channel.state != LeCreditBasedChannel.State.CONNECTED:
            self._thread.in_reactor(self._lose)
            return
        self._channel.write(data)
        self._unreported += len(data)
        if self._drain is None:
            self._drain = asyncio.create_task(self._report_drained())

    async def _report_drained(self) -> None:
        """Say what has left, once all has: the far end's credits are no measure, some give as many as there are."""
        connection = self._channel.connection
        packets = connection.device.host.get_data_packet_queue(connection.handle)
        while self._unreported:
            sent = self._unreported
            await self._channel.drain()
            if packets is not None:
                with suppress(ValueError):  # nothing of this connection was ever in it
                    await packets.drain(connection.handle)
            self._unreported -= sent
            self._thread.in_reactor(self._sent, sent)
        self._drain = None

    def _closed_by_channel(self) -> None:
        if self._drain is not None:
            self._drain.cancel()  # what is not sent by now never will be
        self._thread.in_reactor(self._lose)

    def _disconnect(self) -> None:
        self._thread.spawn(self._close_channel())

    async def _close_channel(self) -> None:
        """Close politely, but close in any case."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._channel.disconnect()
        self._closed_by_channel()
