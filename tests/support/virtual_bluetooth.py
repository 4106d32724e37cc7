"""Bluetooth controllers that exist in memory alone, on one air, all in one asyncio loop.

Bumble's controllers are made stricter here where radios are: a device that does not listen cannot be connected to, two
devices have one connection between them, and giving up on a connection works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.device import Device, DeviceConfiguration
from bumble.host import Host
from bumble.link import LocalLink

ACL_LENGTH = 251
ACL_PACKETS = 8
"""Data packets that a controller holds."""


class VirtualAir(LocalLink):
    """What the controllers talk through; with a rate, each sends its data at so many bytes a second at most."""

    def __init__(self, rate: float | None = None) -> None:
        super().__init__()
        self.rate = rate
        self._free_at: dict[VirtualController, float] = {}
        self._apart: set[frozenset[int]] = set()
        self._count = 0

    async def open_device(self) -> tuple[Device, Callable[[], Awaitable[None]]]:
        """Return a device with a controller of its own; all must be opened in one loop."""
        self._count += 1
        controller = VirtualController(self, self._count)
        host = Host()
        host.controller = controller
        host.set_packet_sink(controller)
        controller.set_packet_sink(host)
        configuration = DeviceConfiguration(name=controller.name, address=hci.Address(controller.address))
        device = Device(config=configuration, host=host)

        async def close() -> None:
            controller.vanish()
            self.remove_controller(controller)

        return device, close

    def separate(self, one: int, other: int) -> None:
        """Let two controllers, by their numbers from 1, hear one another no longer. In the loop's thread."""
        self._apart.add(frozenset((one, other)))
        for controller in self.controllers:
            controller.drop_lost_connections()

    def bring_together(self, one: int, other: int) -> None:
        """Undo `separate`."""
        self._apart.discard(frozenset((one, other)))

    def in_range(self, one: VirtualController, other: VirtualController) -> bool:
        """Tell whether they hear one another."""
        return frozenset((one.number, other.number)) not in self._apart

    def at(self, address: hci.Address) -> VirtualController | None:
        """Return who has this address."""
        return next((each for each in self.controllers if each.random_address == address), None)

    def transmit(self, sender: VirtualController, length: int, sent: Callable[[], None]) -> None:
        """Call when a radio with our rate has sent that many bytes, one after the other."""
        if self.rate is None:
            sent()
            return
        loop = asyncio.get_running_loop()
        at = max(self._free_at.get(sender, 0.0), loop.time()) + length / self.rate
        self._free_at[sender] = at
        loop.call_at(at, sent)

    def send_advertising_pdu(self, sender_controller, packet) -> None:
        """Let those in range hear it."""
        for each in list(self.controllers):
            if each is sender_controller or not self.in_range(each, sender_controller):
                continue
            if isinstance(packet, ll.ConnectInd):
                each.on_ll_advertising_pdu(packet)  # the two ends agree on what is connected at any moment
            else:
                asyncio.get_running_loop().call_soon(each.on_ll_advertising_pdu, packet)

    def send_ll_control_pdu(self, sender_address, receiver_address, packet) -> None:
        """Carry it, if there is still somebody."""
        receiver, sender = self.at(receiver_address), self.at(sender_address)
        if receiver is not None and sender is not None and self.in_range(receiver, sender):
            asyncio.get_running_loop().call_soon(receiver.on_ll_control_pdu, sender_address, packet)


class VirtualController(Controller):
    """A controller that knows its limits.

    Attributes:
        number: Which of the air's it is, from 1.
        address: Its static random address.
    """

    le_acl_data_packet_length = ACL_LENGTH
    total_num_le_acl_data_packets = ACL_PACKETS

    def __init__(self, air: VirtualAir, number: int) -> None:
        self.air = air
        self.number = number
        self.address = f"C0:00:00:00:00:{number:02X}"
        public = hci.Address(f"00:00:00:00:00:{number:02X}", hci.Address.PUBLIC_DEVICE_ADDRESS)
        super().__init__(f"controller {number}", link=air, public_address=public)
        if number % 2 == 0:  # half of them are of Bluetooth 5
            self.supported_commands = self.supported_commands | {hci.HCI_LE_EXTENDED_CREATE_CONNECTION_COMMAND}

    def vanish(self) -> None:
        """Take the connections down: the battery is out."""
        for peer in list(self.le_connections):
            other = self.air.at(peer)
            self.le_connections.pop(peer)
            if other is not None:
                other.time_out(self.random_address)

    def drop_lost_connections(self) -> None:
        """Time out whoever is not in range any longer."""
        for peer in list(self.le_connections):
            other = self.air.at(peer)
            if other is None or not self.air.in_range(self, other):
                self.time_out(peer)

    def time_out(self, peer: hci.Address) -> None:
        """End a connection whose other end is silent."""
        connection = self.le_connections.get(peer)
        if connection is not None:
            self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    # Where bumble's own is more forgiving than a radio

    def on_hci_le_create_connection_cancel_command(self, _command):
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        asyncio.get_running_loop().call_soon(
            self.send_hci_packet,
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            ),
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def create_le_connection(self, peer_address) -> None:
        other = self.air.at(peer_address)
        listening = other is not None and any(each.enabled for each in other.advertising_sets.values())
        connected = peer_address in self.le_connections or (
            other is not None and self.random_address in other.le_connections
        )
        if listening and not connected and self.air.in_range(self, other):
            super().create_le_connection(peer_address)

    def on_hci_acl_data_packet(self, packet) -> None:
        connection = self.find_connection_by_handle(packet.connection_handle)
        if connection is not None:
            self.air.transmit(self, len(packet.data), partial(self._transmitted, connection, packet))

    def _transmitted(self, connection: Connection, packet) -> None:
        if self.le_connections.get(connection.peer_address) is connection:
            connection.on_hci_acl_data_packet(packet)
