"""An adapter that belongs to BlueZ: GATT and advertising through its daemon, channels through the kernel's sockets.

D-Bus is spoken in an asyncio loop, in a thread of its own; the channels are in the reactor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, final

from dbus_fast import Variant
from twisted.internet.defer import Deferred

from pinecone_transport.discovery.bluetooth.backend import GATT_TIMEOUT, BluetoothError
from pinecone_transport.discovery.bluetooth.bluez_bus import DEVICE, BluezBus
from pinecone_transport.discovery.bluetooth.bluez_objects import (
    ADVERTISEMENT,
    APPLICATION,
    CHARACTERISTIC,
    SERVICE,
    AdvertisementObject,
    CharacteristicObject,
    ServiceObject,
)
from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread
from pinecone_transport.discovery.bluetooth.sightings import Sightings
from pinecone_transport.links import StreamLink
from pinecone_transport.links.l2cap import L2capConnector, L2capPort, L2capReactor
from pinecone_transport.links.l2cap_socket import LE_PUBLIC, LE_RANDOM, le_socket
from pinecone_transport.wire import PSM_CHARACTERISTIC_UUID, SERVICE_UUID

_ADAPTER: Final = "org.bluez.Adapter1"
_GATT_MANAGER: Final = "org.bluez.GattManager1"
_ADVERTISING_MANAGER: Final = "org.bluez.LEAdvertisingManager1"
_GATT_CHARACTERISTIC: Final = "org.bluez.GattCharacteristic1"
MAX_PEERS: Final = 256
"""Devices that are remembered to have the service; BlueZ tells so only once."""
_LOOK_AGAIN: Final = 0.2
"""Seconds between two looks whether BlueZ knows a device's services."""
_SIGNS_OF_LIFE: Final = frozenset({"RSSI", "ManufacturerData", "ServiceData", "AdvertisingFlags", "UUIDs"})
"""Properties that change when a device has advertised."""


class Channels(Protocol):
    """The kernel's side of it."""

    def listen(self, host: str, accept: Callable[[str], StreamLink]) -> int:
        """Listen for channels on the adapter with this address; return the PSM.

        Raises:
            OSError: The kernel does not let us.
        """

    def connect(self, host: str, peer: str, address_type: int, psm: int, link: StreamLink) -> Deferred[None]:
        """Open a channel from this adapter, and connect the link with it."""

    def close(self) -> None:
        """Listen no more."""


@final
class KernelChannels:
    """`Channels` over real sockets."""

    def __init__(self, reactor: L2capReactor) -> None:
        self._reactor = reactor
        self._port: L2capPort | None = None

    def listen(self, host: str, accept: Callable[[str], StreamLink]) -> int:
        """Listen."""
        self._port = L2capPort(le_socket(host), host, accept, self._reactor)
        return self._port.psm

    def connect(self, host: str, peer: str, address_type: int, psm: int, link: StreamLink) -> Deferred[None]:
        """Connect."""
        return L2capConnector(host, link, self._reactor).connect(peer, address_type, psm)

    def close(self) -> None:
        """Close."""
        if self._port is not None:
            self._port.close()


@final
class BluezBackend:
    """A `BluetoothBackend` over one of BlueZ's adapters.

    Args:
        adapter: Its name, such as ``hci0``.
        thread: Of D-Bus; started and stopped here.
        channels: The kernel's.
        bus_address: Of the bus; the system's if None.
    """

    def __init__(self, adapter: str, thread: LoopThread, channels: Channels, bus_address: str | None = None) -> None:
        self._path: Final = f"/org/bluez/{adapter}"
        self._adapter = adapter
        self._thread = thread
        self._channels = channels
        self._bus_address = bus_address
        self._seen: Callable[[str], None]
        self._failed: Callable[[str], None]
        self._host = ""
        self._stopped = False
        # Of the other thread alone.
        self._bus: BluezBus | None = None
        self._connected_by_us: Final[set[str]] = set()
        self._peers: Final[dict[str, None]] = {}
        self._sightings: Final = Sightings()

    # BluetoothBackend

    def start(
        self, *, seen: Callable[[str], None], accept: Callable[[str], StreamLink], failed: Callable[[str], None]
    ) -> Deferred[int]:
        """Find the adapter, switch it on, and listen."""
        self._seen, self._failed = seen, failed
        self._thread.start()

        def listen(host: str) -> int:
            self._host = host
            if self._stopped:
                raise BluetoothError("it is switched off again")
            try:
                return self._channels.listen(host, accept)
            except OSError as error:
                raise BluetoothError(f"the kernel opens no Bluetooth channels: {error}") from error

        return self._thread.run(self._open()).addCallback(listen)

    def advertise(self, characteristic: bytes) -> Deferred[Any]:
        """Register service and advertisement, and look for others."""
        return self._thread.run(self._advertise(characteristic))

    def read(self, address: str) -> Deferred[bytes]:
        """Connect and read."""
        return self._thread.run(self._read(address))

    def dial(self, address: str, psm: int, link: StreamLink) -> Deferred[Any]:
        """Open a channel; the kernel uses the connection that `read` has made."""
        finding = self._thread.run(self._address_type(address))
        return finding.addCallback(lambda kind: self._channels.connect(self._host, address, kind, psm, link))

    def release(self, address: str) -> None:
        """Hang up, if we have called."""
        self._thread.run(self._hang_up(address)).addErrback(lambda _: None)

    def stop(self) -> Deferred[Any]:
        """Unregister all."""
        self._stopped = True
        self._channels.close()
        stopping = self._thread.run(self._close())
        return stopping.addBoth(lambda _: self._thread.stop())

    # In the other thread

    async def _open(self) -> str:
        try:
            async with asyncio.timeout(GATT_TIMEOUT):
                bus = await BluezBus.connect(self._bus_address, self._changed, self._gone)
        except Exception as error:
            raise BluetoothError(f"there is no D-Bus: {error or type(error).__name__}") from error
        self._bus = bus
        self._thread.spawn(self._watch(bus))
        async with asyncio.timeout(GATT_TIMEOUT):
            try:
                host = await bus.get(self._path, _ADAPTER, "Address")
            except BluetoothError as error:
                raise BluetoothError(f"BlueZ has no adapter {self._adapter}: {error}") from error
            await bus.set(self._path, _ADAPTER, "Powered", Variant("b", True))
        return str(host)

    async def _advertise(self, characteristic: bytes) -> None:
        bus = self._there()
        bus.bus.export(SERVICE, ServiceObject())
        bus.bus.export(CHARACTERISTIC, CharacteristicObject(characteristic))
        bus.bus.export(ADVERTISEMENT, AdvertisementObject())
        searched = {
            "UUIDs": Variant("as", [SERVICE_UUID]),
            "Transport": Variant("s", "le"),
            "DuplicateData": Variant("b", True),
        }
        async with asyncio.timeout(3 * GATT_TIMEOUT):
            await bus.call(self._path, _GATT_MANAGER, "RegisterApplication", "oa{sv}", APPLICATION, {})
            await bus.call(self._path, _ADVERTISING_MANAGER, "RegisterAdvertisement", "oa{sv}", ADVERTISEMENT, {})
            await bus.call(self._path, _ADAPTER, "SetDiscoveryFilter", "a{sv}", searched)
            await bus.call(self._path, _ADAPTER, "StartDiscovery")
            for path, interfaces in (await bus.objects()).items():
                # Of those that it remembers, only who has been heard lately has a signal strength.
                if "RSSI" in interfaces.get(DEVICE, {}):
                    self._changed(path, DEVICE, interfaces[DEVICE])

    def _changed(self, path: str, interface: str, properties: dict[str, Any]) -> None:
        if interface != DEVICE or not path.startswith(f"{self._path}/"):
            return
        if SERVICE_UUID in properties.get("UUIDs", ()):
            if path not in self._peers and len(self._peers) >= MAX_PEERS:
                del self._peers[next(iter(self._peers))]
            self._peers[path] = None
        is_peer = path in self._peers and _SIGNS_OF_LIFE & properties.keys()
        if is_peer and self._sightings.is_news(path, asyncio.get_running_loop().time()):
            self._thread.in_reactor(self._seen, _address(path))

    async def _watch(self, bus: BluezBus) -> None:
        with suppress(Exception):  # how it ends does not matter
            await bus.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # it has no annotation
        if self._bus is bus:
            self._gone()

    def _gone(self) -> None:
        self._thread.in_reactor(self._failed, "BlueZ is gone")

    async def _read(self, address: str) -> bytes:
        bus, path = self._there(), self._device(address)
        if not await bus.get(path, DEVICE, "Connected"):
            self._connected_by_us.add(path)
            async with asyncio.timeout(GATT_TIMEOUT):
                await bus.call(path, DEVICE, "Connect")
        async with asyncio.timeout(GATT_TIMEOUT):
            while not await bus.get(path, DEVICE, "ServicesResolved"):
                await asyncio.sleep(_LOOK_AGAIN)
            for found, interfaces in (await bus.objects()).items():
                uuid = interfaces.get(_GATT_CHARACTERISTIC, {}).get("UUID")
                if found.startswith(f"{path}/") and uuid == PSM_CHARACTERISTIC_UUID:
                    return bytes(await bus.call(found, _GATT_CHARACTERISTIC, "ReadValue", "a{sv}", {}))
        raise BluetoothError("the device does not show its key")

    async def _address_type(self, address: str) -> int:
        kind = await self._there().get(self._device(address), DEVICE, "AddressType")
        return LE_RANDOM if kind == "random" else LE_PUBLIC

    async def _hang_up(self, address: str) -> None:
        path = self._device(address)
        if path in self._connected_by_us:
            self._connected_by_us.discard(path)
            async with asyncio.timeout(GATT_TIMEOUT):
                await self._there().call(path, DEVICE, "Disconnect")

    async def _close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is None or not bus.bus.connected:
            return
        try:
            async with asyncio.timeout(GATT_TIMEOUT):
                for path in self._connected_by_us:
                    await self._try(bus, path, DEVICE, "Disconnect")
                await self._try(bus, self._path, _ADAPTER, "StopDiscovery")
                await self._try(bus, self._path, _ADVERTISING_MANAGER, "UnregisterAdvertisement", "o", ADVERTISEMENT)
                await self._try(bus, self._path, _GATT_MANAGER, "UnregisterApplication", "o", APPLICATION)
        finally:
            bus.disconnect()

    async def _try(self, bus: BluezBus, path: str, interface: str, member: str, *arguments: Any) -> None:
        with suppress(Exception):  # it may never have been registered, or BlueZ or the bus is gone
            await bus.call(path, interface, member, *arguments)

    def _device(self, address: str) -> str:
        return f"{self._path}/dev_{address.replace(':', '_')}"

    def _there(self) -> BluezBus:
        if self._bus is None:
            raise BluetoothError("BlueZ is not there")
        return self._bus


def _address(path: str) -> str:
    return path.rpartition("/dev_")[2].replace("_", ":")
