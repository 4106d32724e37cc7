"""A link that can be cut and made bad: passes a peering's bytes on, frame by frame."""

from __future__ import annotations

from random import Random

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.support.strict_frames import HEADER_LENGTH, TRAFFIC, fault_in_frame

HANDSHAKE_LENGTH = 104


class FrameRelay:
    """Listens on loopback and passes peerings on to an address.

    Args:
        target: The address, ``host:port``.
        loss: Share of traffic frames that it drops.
        reordering: Share of traffic frames that it holds back.
        delay: Seconds that those are held back.
        seed: Of the choice which.

    Attributes:
        address: That it listens on.
        dropped: Frames that it dropped.
        delayed: Frames that it held back.
        faults: What was wrong with frames, in either direction, by the strict reading; each of them ended its link.
    """

    def __init__(
        self, target: str, *, loss: float = 0.0, reordering: float = 0.0, delay: float = 0.02, seed: int = 0
    ) -> None:
        self.loss = loss
        self.reordering = reordering
        self.delay = delay
        self.random = Random(seed)
        self.dropped = 0
        self.delayed = 0
        self.faults: list[str] = []
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.connected = True
        self.ends: set[_End] = set()
        self._port = reactor.listenTCP(0, _Accepted(self), interface="127.0.0.1")
        self.address = f"127.0.0.1:{self._port.getHost().port}"

    def cut(self) -> None:
        """End the link; until `mend`, new ones are ended at once."""
        self.connected = False
        for end in list(self.ends):
            end.transport.abortConnection()

    def mend(self) -> None:
        self.connected = True

    async def stop(self) -> None:
        self.cut()
        await maybeDeferred(self._port.stopListening)


class _End(Protocol):
    """One end of a link; what comes by it leaves by ``far``."""

    def __init__(self, relay: FrameRelay, far: _End | None = None) -> None:
        self.relay = relay
        self.far = far
        self.buffer = bytearray()
        self.waiting: list[bytes] = []
        self.shaken = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.relay.ends.add(self)
        if not self.relay.connected:
            self.transport.abortConnection()
        elif self.far is None:
            reactor.connectTCP(*self.relay.target, _Dialled(self))
        else:
            self.far.far = self
            self.transport.writeSequence(self.far.waiting)

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        if not self.shaken and len(self.buffer) >= HANDSHAKE_LENGTH:
            self.shaken = True
            self.send(self.take(HANDSHAKE_LENGTH))
        while self.shaken and len(self.buffer) >= HEADER_LENGTH:
            # Where there is no length to be trusted, the header is enough to be judged by.
            length = int.from_bytes(self.buffer[8:10], "big") if self.buffer.startswith(b"pine") else 0
            length = max(HEADER_LENGTH, length)
            if len(self.buffer) < length:
                return
            frame = self.take(length)
            fault = fault_in_frame(frame)
            if fault is not None:
                self.relay.faults.append(f"{fault}: {frame.hex()}")
                self.transport.abortConnection()
                return
            self.pass_on(frame)

    def take(self, length: int) -> bytes:
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def pass_on(self, frame: bytes) -> None:
        relay = self.relay
        chance = relay.random.random() if frame[5] == TRAFFIC else 1.0
        if chance < relay.loss:
            relay.dropped += 1
        elif chance < relay.loss + relay.reordering:
            relay.delayed += 1
            reactor.callLater(relay.delay, self.send, frame)
        else:
            self.send(frame)

    def send(self, data: bytes) -> None:
        if self.far is None:
            self.waiting.append(data)
        elif self.far in self.relay.ends:
            self.far.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.relay.ends.discard(self)
        if self.far is not None:
            self.far.transport.abortConnection()


class _Accepted(Factory):
    def __init__(self, relay: FrameRelay) -> None:
        self.relay = relay

    def buildProtocol(self, addr: object) -> _End:
        return _End(self.relay)


class _Dialled(ClientFactory):
    noisy = False

    def __init__(self, near: _End) -> None:
        self.near = near

    def buildProtocol(self, addr: object) -> _End:
        return _End(self.near.relay, self.near)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.near.transport.abortConnection()
