"""Frames to play with."""

from __future__ import annotations

from pinecone_transport.identity import Identity
from pinecone_transport.wire import (
    BOOTSTRAP,
    NO_WATERMARK,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Announcement,
    Coordinates,
    Frame,
    Watermark,
    sign_bootstrap,
)


def identity(number: int) -> Identity:
    """Return one of 65,536 identities, always the same for a number."""
    return Identity(number.to_bytes(2, "big") * 16)


def key(number: int) -> bytes:
    """Return the 32 bytes that stand for a key where nobody signs; higher numbers are higher keys."""
    return number.to_bytes(4, "big") * 8


class FrameFactory:
    """Makes valid frames of one node, each different from the last by a running number in its payload."""

    def __init__(self, source: Identity | None = None) -> None:
        self.source = source or identity(1)
        self._number = 0

    def _next(self) -> int:
        self._number += 1
        return self._number

    def traffic(
        self,
        *,
        to: bytes = key(7),
        source: bytes | None = None,
        size: int = 100,
        destination: Coordinates = (),
        watermark: Watermark = NO_WATERMARK,
    ) -> Frame:
        """Return traffic with a payload of ``size`` bytes, at least 4."""
        return Frame(
            TRAFFIC,
            self._next().to_bytes(4, "big").ljust(size, b"."),
            hop_limit=10,
            destination=destination,
            source=(1, 2, 3),
            destination_key=to,
            source_key=self.source.key if source is None else source,
            watermark=watermark,
        )

    def announcement(self, port: int = 1) -> Frame:
        """Return a tree announcement of the source as root, as sent on the given port."""
        return Frame(
            TREE_ANNOUNCEMENT, Announcement(self.source.key, self._next()).signed_by(self.source, port).encode()
        )

    def bootstrap(self) -> Frame:
        """Return a bootstrap of the source below itself as root."""
        payload = sign_bootstrap(self.source, self._next(), self.source.key, 1).encode()
        return Frame(BOOTSTRAP, payload, destination_key=self.source.key)

    def wakeup(self) -> Frame:
        """Return a wakeup broadcast of the source below itself as root."""
        payload = sign_bootstrap(self.source, self._next(), self.source.key, 1).encode()
        return Frame(WAKEUP_BROADCAST, payload, hop_limit=5, source_key=self.source.key)

    def one_of_each(self) -> list[Frame]:
        """Return a frame of every type that carries something."""
        return [
            self.announcement(),
            self.bootstrap(),
            self.traffic(),
            self.traffic(destination=(4, 300)),
            self.wakeup(),
        ]
