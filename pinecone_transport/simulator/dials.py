"""Who can reach whom: streams that nodes of a network dial to one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from pinecone_transport.errors import PineconeError
from pinecone_transport.session import StreamConnected, StreamLost
from pinecone_transport.simulator.network import CHECK_INTERVAL, Network
from pinecone_transport.stack import StackEvent

PATIENCE: Final = 5.0
"""Seconds for which an answer is waited for: routes may just be changing, and a lost packet is then sent again."""


@dataclass(slots=True)
class Dial:
    """A stream that one node dials to another, and what became of it; times on the network's clock.

    Attributes:
        source: The node that dialled.
        destination: The node that was dialled.
        stream: The number at the source.
        started_at: When.
        connected_at: When the source had the answer, or None.
        error: Why it failed, or None.
    """

    source: int
    destination: int
    stream: int
    started_at: float
    connected_at: float | None = None
    error: PineconeError | None = None


@final
class Dials:
    """The dials of a network that have neither failed nor been hung up."""

    def __init__(self, network: Network) -> None:
        self._network: Final = network
        self._by_stream: Final[dict[tuple[int, int], Dial]] = {}
        network.observers.append(self._observe)

    def dial(self, source: int, destination: int, *, by_key: bool = True) -> Dial:
        """Have one node open a stream to another: by key, or by the coordinates that it has seen if there are any.

        The answer goes by the coordinates of the source, unless that is the root, which has none.
        """
        network = self._network
        stack, key = network.stack(source), network.key(destination)
        if by_key:
            stack.router.forget_coordinates(key)
        dial = Dial(source, destination, stack.connect(key, network.now), network.now)
        self._by_stream[source, dial.stream] = dial
        network.turn(source)
        return dial

    def hang_up(self, dials: Iterable[Dial]) -> None:
        """Reset the streams of dials, and forget these."""
        for dial in dials:
            if self._by_stream.pop((dial.source, dial.stream), None) is not None:
                self._network.stack(dial.source).abort(dial.stream, self._network.now)
                self._network.turn(dial.source)

    def unanswered(
        self, pairs: Iterable[tuple[int, int]], *, by_key: bool = True, timeout: float = PATIENCE
    ) -> list[Dial]:
        """Dial from the first to the second node of each pair, wait, hang up; return the dials without an answer.

        Time passes until all are answered, or for ``timeout`` seconds.
        """
        network = self._network
        dials = [self.dial(source, destination, by_key=by_key) for source, destination in pairs]
        until = network.now + timeout
        while network.now < until and any(dial.connected_at is None for dial in dials):
            network.run(CHECK_INTERVAL)
        self.hang_up(dials)
        return [dial for dial in dials if dial.connected_at is None]

    def _observe(self, node: int, event: StackEvent) -> None:
        if not isinstance(event, StreamConnected | StreamLost):
            return
        dial = self._by_stream.get((node, event.stream))
        if dial is None:
            return  # somebody else's stream
        if isinstance(event, StreamConnected):
            dial.connected_at = self._network.now
        else:
            dial.error = event.error
            del self._by_stream[node, event.stream]
