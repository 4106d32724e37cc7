"""A radio that does what a test tells it: what stands behind `BluetoothBackend`, without any Bluetooth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import StringTransport

from pinecone_transport.links import StreamLink


class FakeRadio:
    """A `BluetoothBackend`.

    Attributes:
        calls: What was asked for: reads, dials and releases, in order, as words.
        characteristic: What is advertised.
        starting: Fires with the PSM when the test says so.
        reading: What the last read waits for.
        dialling: What the last dial waits for.
        link: The link of the last dial.
        stopped: Whether it was.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.characteristic: bytes | None = None
        self.starting: Deferred[int] = Deferred()
        self.reading: Deferred[bytes] = Deferred()
        self.dialling: Deferred[Any] = Deferred()
        self.link: StreamLink
        self.stopped = False
        self.seen: Callable[[str], None]
        self.accept: Callable[[str], StreamLink]
        self.failed: Callable[[str], None]

    def open_link(self) -> None:
        """Let the dial succeed."""
        self.link.makeConnection(StringTransport())
        self.dialling.callback(None)

    # BluetoothBackend

    def start(
        self, *, seen: Callable[[str], None], accept: Callable[[str], StreamLink], failed: Callable[[str], None]
    ) -> Deferred[int]:
        self.seen, self.accept, self.failed = seen, accept, failed
        return self.starting

    def advertise(self, characteristic: bytes) -> Deferred[Any]:
        self.characteristic = characteristic
        return succeed(None)

    def read(self, address: str) -> Deferred[bytes]:
        self.calls.append(("read", address))
        self.reading = Deferred()
        return self.reading

    def dial(self, address: str, psm: int, link: StreamLink) -> Deferred[Any]:
        self.calls.append(("dial", address, str(psm)))
        self.dialling, self.link = Deferred(), link
        return self.dialling

    def release(self, address: str) -> None:
        self.calls.append(("release", address))

    def stop(self) -> Deferred[Any]:
        self.stopped = True
        return succeed(None)
