"""A Bluetooth controller that is ours alone, driven by bumble: a dongle, or a virtual one in tests.

bumble is asyncio's, so it has a thread of its own. What it says comes to the reactor by `LoopThread`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast, final

from bumble import hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, Service
from bumble.l2cap import LeCreditBasedChannel, LeCreditBasedChannelSpec
from bumble.transport import open_transport
from bumble.transport.common import Transport
from twisted.internet.defer import Deferred

from pinecone_transport.discovery.bluetooth.backend import GATT_TIMEOUT, BluetoothError
from pinecone_transport.discovery.bluetooth.bumble_channel import ChannelTransport
from pinecone_transport.discovery.bluetooth.bumble_connect import connect
from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread
from pinecone_transport.discovery.bluetooth.sightings import Sightings
from pinecone_transport.links import StreamLink
from pinecone_transport.wire import PSM_CHARACTERISTIC_UUID, SERVICE_UUID

logger = logging.getLogger("pinecone_transport.discovery")

MTU: Final = 4096
MPS: Final = 247
CREDITS: Final = 32
"""Packets of at most `MPS` bytes that may be under way to us: 8 kB, or a sixth of a second of a slow radio."""

CONNECT_TIMEOUT: Final = 5.0
"""Seconds; a device that advertises a few times a second is there at once, or has gone."""
ADVERTISING_INTERVAL: Final = 200.0
"""Milliseconds."""
ADVERTISE_AGAIN: Final = 5.0
"""Seconds after which a controller that would not advertise is asked again."""
CLOSE_TIMEOUT: Final = 1.0

_SERVICE: Final = UUID(SERVICE_UUID)
_CHARACTERISTIC: Final = UUID(PSM_CHARACTERISTIC_UUID)
_GENERAL_DISCOVERABLE_LE_ONLY: Final = bytes([0x06])

CloseDevice: TypeAlias = Callable[[], Awaitable[None]]
OpenDevice: TypeAlias = Callable[[], Awaitable[tuple[Device, CloseDevice]]]
"""Opens a device that is not powered on yet, and says how to close it; called in bumble's thread."""


def transport_device(spec: str) -> OpenDevice:
    """Return what opens the controller behind one of bumble's transports, such as ``usb:0`` or ``hci-socket:0``."""

    async def open_device() -> tuple[Device, CloseDevice]:
        transport: Transport = await open_transport(spec)
        configuration = DeviceConfiguration(name="Pinecone", address=hci.Address.generate_static_address())
        return Device.from_config_with_hci(configuration, transport.source, transport.sink), transport.close

    return open_device


@final
class BumbleBackend:
    """A `BluetoothBackend` over one controller.

    Args:
        open_device: Opens it.
        thread: Bumble's; started and stopped here.
    """

    def __init__(self, open_device: OpenDevice, thread: LoopThread) -> None:
        self._open_device = open_device
        self._thread = thread
        self._seen: Callable[[str], None]
        self._accept: Callable[[str], StreamLink]
        self._failed: Callable[[str], None]
        self._close_device: CloseDevice
        # Of bumble's thread alone.
        self._device: Device | None = None
        self._stopped = False
        self._quiet: Final = asyncio.Event()
        self._sightings: Final = Sightings()

    # BluetoothBackend

    def start(
        self, *, seen: Callable[[str], None], accept: Callable[[str], StreamLink], failed: Callable[[str], None]
    ) -> Deferred[int]:
        """Open the controller and listen."""
        self._seen, self._accept, self._failed = seen, accept, failed
        self._thread.start()
        return self._thread.run(self._open())

    def advertise(self, characteristic: bytes) -> Deferred[Any]:
        """Advertise, serve the characteristic, and scan."""
        return self._thread.run(self._advertise(characteristic))

    def read(self, address: str) -> Deferred[bytes]:
        """Connect and read."""
        return self._thread.run(self._read(hci.Address(address)))

    def dial(self, address: str, psm: int, link: StreamLink) -> Deferred[Any]:
        """Open a channel, over the connection that `read` has made if it is still there."""
        opening = self._thread.run(self._dial(hci.Address(address), psm))
        return opening.addCallback(lambda transport: transport.connect(link))

    def release(self, address: str) -> None:
        """Hang up; who has called us does so himself."""
        self._thread.run(self._hang_up(hci.Address(address))).addErrback(lambda _: None)

    def stop(self) -> Deferred[Any]:
        """Power off. What goes wrong with that goes wrong on a controller that is no longer used."""
        stopping = self._thread.run(self._close())
        return stopping.addBoth(lambda _: self._thread.stop())

    # In bumble's thread

    async def _open(self) -> int:
        close: CloseDevice | None = None
        try:
            async with asyncio.timeout(GATT_TIMEOUT):
                device, close = await self._open_device()
                server = device.create_l2cap_server(_channel_spec(None), self._channel_opened)
                await device.power_on()
        except Exception as error:
            if close is not None:
                with suppress(Exception):  # what went wrong is what counts
                    await close()
            raise BluetoothError(f"the controller does not start: {error or type(error).__name__}") from error
        self._close_device = close
        if self._stopped:
            await close()
            raise BluetoothError("it is switched off again")
        self._device = device
        device.on(Device.EVENT_ADVERTISEMENT, self._advertisement)
        device.on(Device.EVENT_CONNECTION, self._connected)
        device.host.on("flush", lambda: self._thread.in_reactor(self._failed, "the controller is gone"))
        return int(server.psm)

    async def _advertise(self, characteristic: bytes) -> None:
        device = self._there()
        readable = Characteristic(
            PSM_CHARACTERISTIC_UUID, Characteristic.Properties.READ, Characteristic.READABLE, characteristic
        )
        device.add_service(Service(SERVICE_UUID, [readable]))
        self._quiet.set()
        self._thread.spawn(self._keep_advertising(device))
        await device.start_scanning(filter_duplicates=False)

    async def _keep_advertising(self, device: Device) -> None:
        """Advertise anew whenever a connection has ended it: a third device may want to connect as well."""
        data = AdvertisingData(
            [
                (AdvertisingData.FLAGS, _GENERAL_DISCOVERABLE_LE_ONLY),
                (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(_SERVICE)),
            ]
        )
        while True:
            await self._quiet.wait()
            self._quiet.clear()
            if device is not self._device:
                return
            try:
                async with asyncio.timeout(GATT_TIMEOUT):
                    await device.start_advertising(
                        advertising_data=bytes(data),
                        advertising_interval_min=ADVERTISING_INTERVAL,
                        advertising_interval_max=ADVERTISING_INTERVAL,
                    )
            except Exception as error:  # such as a controller with no room for another connection
                logger.debug("Bluetooth does not advertise: %r", error)
                await asyncio.sleep(ADVERTISE_AGAIN)
                self._quiet.set()

    def _connected(self, connection: Connection) -> None:
        if connection.role == hci.Role.PERIPHERAL:
            self._quiet.set()
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self._quiet.set())

    def _advertisement(self, advertisement: Advertisement) -> None:
        services = [
            service
            for kind in (
                AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
            )
            for service in cast("list[UUID]", advertisement.data.get(kind) or [])
        ]
        address = str(advertisement.address)
        is_peer = advertisement.is_connectable and _SERVICE in services
        if is_peer and self._sightings.is_news(address, asyncio.get_running_loop().time()):
            self._thread.in_reactor(self._seen, address)

    async def _connection(self, peer: hci.Address) -> Connection:
        # Two devices have one connection between them. If the other one was first, it serves us as well.
        device = self._there()
        there = device.find_connection_by_bd_addr(peer)
        if there is None:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                there = await connect(device, peer)
        return there

    async def _read(self, peer: hci.Address) -> bytes:
        connection = await self._connection(peer)
        async with asyncio.timeout(GATT_TIMEOUT):
            # Read by its handle: asked for by its UUID, at most 19 of the 20 bytes come.
            for service in await Peer(connection).discover_service(_SERVICE):
                for characteristic in await service.discover_characteristics([_CHARACTERISTIC]):
                    return bytes(await characteristic.read_value())
        raise BluetoothError("the device does not show its key")

    async def _dial(self, peer: hci.Address, psm: int) -> ChannelTransport:
        connection = await self._connection(peer)
        async with asyncio.timeout(GATT_TIMEOUT):
            channel = await connection.create_l2cap_channel(spec=_channel_spec(psm))
        return ChannelTransport(channel, self._thread)

    def _channel_opened(self, channel: LeCreditBasedChannel) -> None:
        transport = ChannelTransport(channel, self._thread)
        self._thread.in_reactor(self._accepted, transport, str(channel.connection.peer_address))

    def _accepted(self, transport: ChannelTransport, address: str) -> None:
        transport.connect(self._accept(address))

    async def _hang_up(self, peer: hci.Address) -> None:
        connection = self._there().find_connection_by_bd_addr(peer)
        if connection is not None and connection.role == hci.Role.CENTRAL:
            async with asyncio.timeout(GATT_TIMEOUT):
                await connection.disconnect()

    async def _close(self) -> None:
        self._stopped = True
        device, self._device = self._device, None
        self._quiet.set()
        if device is None:
            return
        with suppress(TimeoutError):  # for who has hung up meanwhile, the controller has no answer
            async with asyncio.timeout(CLOSE_TIMEOUT):
                hanging_up = (connection.disconnect() for connection in list(device.connections.values()))
                await asyncio.gather(*hanging_up, return_exceptions=True)
        try:
            async with asyncio.timeout(GATT_TIMEOUT):
                await device.power_off()
        finally:
            await self._close_device()

    def _there(self) -> Device:
        if self._device is None:
            raise BluetoothError("the controller is not there")
        return self._device


def _channel_spec(psm: int | None) -> LeCreditBasedChannelSpec:
    return LeCreditBasedChannelSpec(psm=psm, mtu=MTU, mps=MPS, max_credits=CREDITS)
