"""Which driver an adapter wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.interfaces import IReactorTime

from pinecone_transport.discovery.bluetooth.backend import BluetoothBackend
from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread

if TYPE_CHECKING:
    from pinecone_transport.links.l2cap import L2capReactor

DEFAULT_ADAPTER: Final = "hci0"


def backend_maker(adapter: str, reactor: IReactorTime) -> Callable[[], BluetoothBackend]:
    """Return what makes the driver of an adapter, anew each time that the radio is switched on.

    Args:
        adapter: A name without a colon is BlueZ's; one with a colon is a transport of bumble's, such as ``usb:0``.
        reactor: Provides IReactorFromThreads; for BlueZ, IReactorFDSet, too.

    Raises:
        ModuleNotFoundError: The library that drives it is not installed.
    """
    if ":" in adapter:
        from pinecone_transport.discovery.bluetooth.bumble_backend import BumbleBackend, transport_device

        return lambda: BumbleBackend(transport_device(adapter), LoopThread(reactor, f"bluetooth {adapter}"))
    from pinecone_transport.discovery.bluetooth.bluez_backend import BluezBackend, KernelChannels

    channels_reactor = cast("L2capReactor", reactor)
    return lambda: BluezBackend(adapter, LoopThread(reactor, f"bluetooth {adapter}"), KernelChannels(channels_reactor))
