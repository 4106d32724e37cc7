"""The producer that feeds a transport: when it is asked for more, and when it is told to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast, final

from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer

HIGH_WATER: Final = 262_144
"""Plaintext that waits above which a push producer is told to pause, bytes."""
HIGH_WATER_FAST: Final = 524_288
"""The same where nothing waited when the producer was last asked. A turn of the reactor costs as much as encrypting and
sending a hundred kilobytes, so a fast stream gets several of them in each; in a slow one they would only wait here."""
LOW_WATER: Final = 131_072
"""Plaintext that waits below which a producer is asked for more, bytes: not 0, so that the stream never runs dry."""


@final
class ProducerSlot:
    """A transport's place for one registered producer.

    A producer may do anything when asked for more, so it is never asked from inside a call of the node's, but later.

    Args:
        call_later: Calls its argument in a later turn of the reactor.
        waiting: Tells how many bytes wait to be sent.
    """

    __slots__ = ("_asking", "_call_later", "_high_water", "_paused", "_producer", "_streaming", "_waiting")

    def __init__(self, call_later: Callable[[Callable[[], None]], None], waiting: Callable[[], int]) -> None:
        self._call_later: Final = call_later
        self._waiting: Final = waiting
        self._high_water = HIGH_WATER
        self._producer: IProducer | None = None
        self._streaming = False
        self._paused = False
        self._asking = False

    def __bool__(self) -> bool:
        return self._producer is not None

    def register(self, producer: IProducer, streaming: bool) -> None:
        """Take a producer: a push producer if ``streaming``, else a pull producer, which is asked for data soon.

        Raises:
            RuntimeError: There is one already.
        """
        if self._producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self._producer} was never unregistered."
            )
        self._producer = producer
        self._streaming = streaming
        self._paused = not streaming
        if streaming:
            self.data_added()
        else:
            self.data_left()

    def unregister(self) -> None:
        """Forget the producer, if there is one."""
        self._producer = None

    def stop(self) -> None:
        """Tell the producer that nobody listens any more, and forget it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    def data_added(self) -> None:
        """Data was written: a push producer may have to pause."""
        if self._streaming and not self._paused and self._producer is not None and self._waiting() >= self._high_water:
            self._paused = True
            cast(IPushProducer, self._producer).pauseProducing()

    def data_left(self) -> None:
        """Data was sent: the producer may have to be asked for more."""
        if self._paused and not self._asking and self._producer is not None and self._waiting() <= LOW_WATER:
            self._asking = True
            self._call_later(self._ask)

    def _ask(self) -> None:
        self._asking = False
        if self._producer is not None and self._paused and (waiting := self._waiting()) <= LOW_WATER:
            self._high_water = HIGH_WATER if waiting else HIGH_WATER_FAST
            self._paused = not self._streaming
            cast(IPullProducer, self._producer).resumeProducing()
