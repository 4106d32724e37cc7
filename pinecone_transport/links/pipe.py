"""Links within one process: for tests, and for several nodes in one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.wire import PeerType

_HIGH_WATER: Final = 64 * 1024


class PipeOwner(LinkOwner, Protocol):
    """A link owner that says which reactor it lives in."""

    @property
    def reactor(self) -> IReactorTime:
        """Where the pipe schedules what it delivers."""


def connect_nodes(a: PipeOwner, b: PipeOwner) -> tuple[PipeLink, PipeLink]:
    """Join two nodes of one reactor by a link; return its ends, the first one ``a``'s.

    The nodes hear of it in the reactor's next turn.
    """
    near = PipeLink(a.reactor, a, outbound=True)
    far = PipeLink(b.reactor, b, outbound=False)
    near.far, far.far = far, near
    a.reactor.callLater(0, a.link_made, near)
    b.reactor.callLater(0, b.link_made, far)
    return near, far


@final
class PipeLink:
    """One end of a pipe, a `Link`. What is written here is delivered there in the reactor's next turn.

    `pause_reading` makes this end read nothing, so that the far end comes to a halt as behind a full socket.
    """

    def __init__(self, reactor: IReactorTime, owner: LinkOwner, *, outbound: bool) -> None:
        self.peer_type = PeerType.PIPE
        self.way = "pipe"
        self.address = "pipe"
        self.outbound = outbound
        self.writable = True
        self.write_limit = _HIGH_WATER
        self.far: PipeLink
        self._reactor = reactor
        self._owner = owner
        self._incoming: list[bytes] = []
        self._incoming_length = 0
        self._delivery_scheduled = False
        self._reading = True
        self._closing = False
        self._connected = True

    def write(self, data: Sequence[bytes]) -> None:
        """Queue bytes for the far end."""
        if not self._connected or self._closing:
            return
        far = self.far
        far._incoming += data
        far._incoming_length += sum(map(len, data))
        if far._incoming_length > _HIGH_WATER:
            self.writable = False
        far._schedule_delivery()

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write nothing: what is lent cannot wait for the far end."""
        return 0

    def close(self) -> None:
        """Deliver what is queued, then close both ends."""
        self._closing = True
        self.far._schedule_delivery()

    def abort(self) -> None:
        """Close both ends; what is queued is lost."""
        self._reactor.callLater(0, self._lose, Failure(ConnectionLost()))
        self.far._reactor.callLater(0, self.far._lose, Failure(ConnectionLost()))

    def pause_reading(self) -> None:
        """Deliver nothing at this end until `resume_reading`."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self._reading = True
        self._schedule_delivery()

    def _schedule_delivery(self) -> None:
        if not self._delivery_scheduled:
            self._delivery_scheduled = True
            self._reactor.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._delivery_scheduled = False
        if not self._connected or not self._reading:
            return
        data = b"".join(self._incoming)
        self._incoming.clear()
        self._incoming_length = 0
        if data:
            self._owner.link_data(self, data)
        self.far._drained()

    def _drained(self) -> None:
        """The far end has read all that this one wrote."""
        if self._closing:
            self._lose(Failure(ConnectionDone()))
            self.far._lose(Failure(ConnectionDone()))
        elif not self.writable and self._connected:
            self.writable = True
            self._owner.link_writable(self)

    def _lose(self, reason: Failure) -> None:
        if self._connected:
            self._connected = False
            self.writable = False
            self._incoming.clear()
            self._owner.link_lost(self, reason)
