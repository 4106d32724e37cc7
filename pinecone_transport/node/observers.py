"""Who hears of the overlay's events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

from pinecone_transport.node.interfaces import NodeObserver

logger = logging.getLogger("pinecone_transport.node")


@final
class Observers:
    """Tells each observer of each event; one that fails does not keep it from the others."""

    def __init__(self) -> None:
        self._observers: list[NodeObserver] = []

    def add(self, observer: NodeObserver) -> Callable[[], None]:
        """Tell this one, too; call the result to stop."""
        self._observers.append(observer)

        def remove() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return remove

    def tell(self, event: object) -> None:
        """Tell all of them."""
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                logger.exception("An observer of the node failed")
