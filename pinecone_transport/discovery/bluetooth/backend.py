"""What a Bluetooth stack does for us: the one small interface before BlueZ and before a dongle of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pinecone_transport.links import StreamLink

GATT_TIMEOUT = 10.0
"""Seconds for each of: connecting to a device, reading its characteristic, opening the channel (§9)."""


class BluetoothError(Exception):
    """The radio, or what drives it, did not do as it was told; the message is a sentence for people."""


class BluetoothBackend(Protocol):
    """A radio. All calls, and all calls back, are in the reactor's thread."""

    def start(
        self, *, seen: Callable[[str], None], accept: Callable[[str], StreamLink], failed: Callable[[str], None]
    ) -> Deferred[int]:
        """Switch on, and listen for channels; the result is the PSM.

        Args:
            seen: Called with the address of a device that advertises the service, again and again.
            accept: Called with the address of who has opened a channel to us; returns what is connected with it.
            failed: Called with a sentence when the radio is gone for good.

        The result fails with `BluetoothError`.
        """

    def advertise(self, characteristic: bytes) -> Deferred[Any]:
        """Advertise the service, let others read its characteristic (20 bytes), and look for them."""

    def read(self, address: str) -> Deferred[bytes]:
        """Connect to a device and read its characteristic. Fails with whatever went wrong."""

    def dial(self, address: str, psm: int, link: StreamLink) -> Deferred[Any]:
        """Open a channel to a device that was read, and connect the link with it. Fails with whatever went wrong."""

    def release(self, address: str) -> None:
        """Hang up on a device that was read and is not dialled."""

    def stop(self) -> Deferred[Any]:
        """Advertise and listen no more, hang up on everybody, give the radio back."""
