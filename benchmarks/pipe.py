"""The least that a relay in Twisted can do: the bytes of the second connection go to the first as they are."""

from __future__ import annotations

from typing import Any, Final, cast, final

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory

from benchmarks.commands import Command, run


@final
class End(Protocol):
    """One connection."""

    def __init__(self, ends: list[End]) -> None:
        self._ends: Final = ends

    def connectionMade(self) -> None:
        """Join the second to the first."""
        self._ends.append(self)
        if len(self._ends) == 2:
            cast(IConsumer, self._ends[0].transport).registerProducer(cast(IPushProducer, self.transport), True)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        first = self._ends[0].transport
        assert first is not None
        first.write(data)


@final
class Ends(ServerFactory):
    """Makes the ends."""

    noisy = False

    def __init__(self) -> None:
        self._ends: Final[list[End]] = []

    def buildProtocol(self, addr: IAddress | None) -> End:
        """Return one end."""
        return End(self._ends)


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Listen."""
    address = reactor.listenTCP(0, Ends(), interface="127.0.0.1").getHost()
    assert isinstance(address, IPv4Address)
    return {"listen": f"127.0.0.1:{address.port}"}, {}


if __name__ == "__main__":
    run(begin)
