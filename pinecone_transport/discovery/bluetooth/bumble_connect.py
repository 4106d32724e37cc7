"""Connecting to a device with bumble while others may connect to us.

`Device.connect` takes the first connection that comes about for its own, whoever made it, and what it had asked the
controller for then comes later to nobody.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from bumble import hci
from bumble.device import Connection, Device

_CANCEL_TIMEOUT: Final = 1.0
# In units of 0.625 ms, 1.25 ms and 10 ms: scan all the time, talk every 15 to 30 ms, take 4 s of silence for the end.
_SCAN: Final = 96
_INTERVAL_MIN: Final = 12
_INTERVAL_MAX: Final = 24
_SUPERVISION_TIMEOUT: Final = 400


async def connect(device: Device, peer: hci.Address) -> Connection:
    """Return a connection with this peer, whichever side opens it; cancelling gives up.

    Raises:
        Exception: Whatever the controller says.
    """
    there: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def connected(connection: Connection) -> None:
        if connection.peer_address == peer and not there.done():
            there.set_result(connection)

    def failed(error: Exception) -> None:
        if not there.done():
            there.set_exception(error)

    # Bumble wants to know it whenever a connection comes about, however late.
    device.connect_own_address_type = hci.OwnAddressType.RANDOM
    device.on(Device.EVENT_CONNECTION, connected)
    device.on(Device.EVENT_CONNECTION_FAILURE, failed)
    opened_by_us = False
    try:
        await device.send_async_command(_create_connection(device, peer))
        connection = await there
        opened_by_us = connection.role == hci.Role.CENTRAL
        return connection
    finally:
        device.remove_listener(Device.EVENT_CONNECTION, connected)
        device.remove_listener(Device.EVENT_CONNECTION_FAILURE, failed)
        if not opened_by_us:
            await _give_up(device)


async def _give_up(device: Device) -> None:
    """Tell the controller, if it still tries, and wait until it has ended, so that it can be told to try again."""
    ended = asyncio.Event()

    def failed(_: Exception) -> None:
        ended.set()

    device.on(Device.EVENT_CONNECTION_FAILURE, failed)
    try:
        with suppress(Exception):  # it had ended already, or does not answer
            async with asyncio.timeout(_CANCEL_TIMEOUT):
                await device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
                await ended.wait()
    finally:
        device.remove_listener(Device.EVENT_CONNECTION_FAILURE, failed)


def _create_connection(device: Device, peer: hci.Address) -> hci.HCI_AsyncCommand:
    if device.host.supports_command(hci.HCI_LE_EXTENDED_CREATE_CONNECTION_COMMAND):
        # Some phones advertise on the coded PHY alone.
        phys = [phy for phy in (hci.Phy.LE_1M, hci.Phy.LE_CODED) if device.supports_le_phy(phy)]
        each = len(phys)
        return hci.HCI_LE_Extended_Create_Connection_Command(
            initiator_filter_policy=0,
            own_address_type=hci.OwnAddressType.RANDOM,
            peer_address_type=peer.address_type,
            peer_address=peer,
            initiating_phys=hci.phy_list_to_bits(phys),
            scan_intervals=[_SCAN] * each,
            scan_windows=[_SCAN] * each,
            connection_interval_mins=[_INTERVAL_MIN] * each,
            connection_interval_maxs=[_INTERVAL_MAX] * each,
            max_latencies=[0] * each,
            supervision_timeouts=[_SUPERVISION_TIMEOUT] * each,
            min_ce_lengths=[0] * each,
            max_ce_lengths=[0] * each,
        )
    return hci.HCI_LE_Create_Connection_Command(
        le_scan_interval=_SCAN,
        le_scan_window=_SCAN,
        initiator_filter_policy=0,
        peer_address_type=peer.address_type,
        peer_address=peer,
        own_address_type=hci.OwnAddressType.RANDOM,
        connection_interval_min=_INTERVAL_MIN,
        connection_interval_max=_INTERVAL_MAX,
        max_latency=0,
        supervision_timeout=_SUPERVISION_TIMEOUT,
        min_ce_length=0,
        max_ce_length=0,
    )
