"""Protocols and factories that record, for tests of endpoints."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer


class Recorder(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.address: IAddress | None = None
        self.received = bytearray()
        self.lost: list[Failure] = []
        self.on_data: Callable[[Recorder, bytes], None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.on_data is not None:
            self.on_data(self, data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted has a default here
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfCloseableRecorder(Recorder):
    """Keeps what it is told, ends of half connections as well."""

    def __init__(self) -> None:
        super().__init__()
        self.read_ended = 0
        self.write_ended = 0

    def readConnectionLost(self) -> None:
        self.read_ended += 1

    def writeConnectionLost(self) -> None:
        self.write_ended += 1


class Recorders(Factory):
    """Makes recorders and keeps them."""

    noisy = False

    def __init__(self, protocol: type[Recorder] = Recorder) -> None:
        self.protocol = protocol
        self.made: list[Recorder] = []
        self.started = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.started -= 1

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        protocol = self.protocol()
        protocol.factory = self
        protocol.address = addr
        self.made.append(protocol)
        return protocol
