"""The few things that we say to BlueZ on D-Bus, and hear of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, final

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from pinecone_transport.discovery.bluetooth.backend import BluetoothError

BLUEZ: Final = "org.bluez"
DEVICE: Final = "org.bluez.Device1"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
_DBUS: Final = "org.freedesktop.DBus"

Changed = Callable[[str, str, dict[str, Any]], None]
"""Gets an object's path, an interface of it, and properties of that: all of a new object, some of a known one."""


@final
class BluezBus:
    """A connection with the bus that BlueZ is on. All calls are in the asyncio loop's thread.

    Args:
        bus: Connected.
        changed: Called with what is new or has changed.
        gone: Called when BlueZ, or the bus, is gone.
    """

    def __init__(self, bus: MessageBus, changed: Changed, gone: Callable[[], None]) -> None:
        self.bus: Final = bus
        self._changed = changed
        self._gone = gone
        self._owner = ""  # of BlueZ's name: a number of the bus's that it never gives to another

    @classmethod
    async def connect(cls, address: str | None, changed: Changed, gone: Callable[[], None]) -> BluezBus:
        """Return a connection with a bus, the system's if no other is given, that hears what BlueZ says.

        Raises:
            Exception: There is no bus, or it does not let us.
        """
        bus = await MessageBus(bus_address=address, bus_type=BusType.SYSTEM).connect()
        self = cls(bus, changed, gone)
        bus.add_message_handler(self._heard)
        try:
            for rule in (
                f"type='signal',sender='{BLUEZ}',interface='{_PROPERTIES}',member='PropertiesChanged'",
                f"type='signal',sender='{BLUEZ}',interface='{_OBJECT_MANAGER}',member='InterfacesAdded'",
                f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'",
            ):
                await self._ask_bus("AddMatch", rule)
            with suppress(BluetoothError):  # it does not run yet; the bus tells when it does
                self._owner = await self._ask_bus("GetNameOwner", BLUEZ)
        except BaseException:  # cancelled, too: nobody else knows the bus yet
            self.disconnect()
            raise
        return self

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        """Call a method of BlueZ, and return the first value of the answer.

        Raises:
            BluetoothError: BlueZ refuses.
        """
        return await self._ask(
            Message(
                destination=BLUEZ, path=path, interface=interface, member=member, signature=signature, body=list(body)
            )
        )

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Return a property."""
        return (await self.call(path, _PROPERTIES, "Get", "ss", interface, name)).value

    async def set(self, path: str, interface: str, name: str, value: Variant) -> None:
        """Set a property."""
        await self.call(path, _PROPERTIES, "Set", "ssv", interface, name, value)

    async def objects(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return all objects: by path the interfaces, by interface the properties."""
        found = await self.call("/", _OBJECT_MANAGER, "GetManagedObjects")
        return {
            path: {interface: _plain(properties) for interface, properties in interfaces.items()}
            for path, interfaces in found.items()
        }

    def disconnect(self) -> None:
        """Leave the bus."""
        self.bus.remove_message_handler(self._heard)
        self.bus.disconnect()

    async def _ask_bus(self, member: str, argument: str) -> Any:
        return await self._ask(
            Message(
                destination=_DBUS,
                path="/org/freedesktop/DBus",
                interface=_DBUS,
                member=member,
                signature="s",
                body=[argument],
            )
        )

    async def _ask(self, message: Message) -> Any:
        answer = await self.bus.call(message)
        if answer is None:
            raise BluetoothError(f"{message.member}: no answer")
        if answer.message_type is MessageType.ERROR:
            detail = answer.body[0] if answer.body else answer.error_name
            raise BluetoothError(f"{message.member}: {detail}")
        return answer.body[0] if answer.body else None

    def _heard(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.sender == _DBUS:
            if message.member == "NameOwnerChanged" and message.body[0] == BLUEZ:
                _, before, self._owner = message.body
                if before:
                    self._gone()
        elif message.sender == self._owner:  # others may send signals to us alone, whatever we asked the bus for
            self._told(message)

    def _told(self, message: Message) -> None:
        if message.member == "PropertiesChanged":
            interface, properties, _ = message.body
            self._changed(message.path or "", interface, _plain(properties))
        elif message.member == "InterfacesAdded":
            path, interfaces = message.body
            for interface, properties in interfaces.items():
                self._changed(path, interface, _plain(properties))


def _plain(properties: dict[str, Variant]) -> dict[str, Any]:
    return {name: variant.value for name, variant in properties.items()}
