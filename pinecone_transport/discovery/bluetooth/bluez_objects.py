"""What we show to BlueZ on D-Bus: a GATT service with one readable characteristic, and an advertisement of it.

dbus-fast reads the D-Bus signatures from the annotations, so these are evaluated here, not kept as text. The names are
BlueZ's.
"""
# ruff: noqa: D102 -- see above; what each method returns is said by its name

from typing import Annotated, Any, Final, final

from dbus_fast import Variant
from dbus_fast.annotations import DBusBool, DBusBytes, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from pinecone_transport.wire import PSM_CHARACTERISTIC_UUID, SERVICE_UUID

APPLICATION: Final = "/org/matrix/pinecone"
SERVICE: Final = f"{APPLICATION}/service"
CHARACTERISTIC: Final = f"{SERVICE}/psm"
ADVERTISEMENT: Final = f"{APPLICATION}/advertisement"

_Strings = Annotated[list[str], DBusSignature("as")]
_Options = Annotated[dict[str, Variant], DBusSignature("a{sv}")]
_READ: Final = PropertyAccess.READ


@final
class ServiceObject(ServiceInterface):
    """Our GATT service."""

    def __init__(self) -> None:
        super().__init__("org.bluez.GattService1")

    @dbus_property(access=_READ)
    def UUID(self) -> DBusStr:
        return SERVICE_UUID

    @dbus_property(access=_READ)
    def Primary(self) -> DBusBool:
        return True


@final
class CharacteristicObject(ServiceInterface):
    """Its characteristic.

    Args:
        value: 20 bytes.
    """

    def __init__(self, value: bytes) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._value = value

    @dbus_property(access=_READ)
    def UUID(self) -> DBusStr:
        return PSM_CHARACTERISTIC_UUID

    @dbus_property(access=_READ)
    def Service(self) -> DBusObjectPath:
        return SERVICE

    @dbus_property(access=_READ)
    def Flags(self) -> _Strings:
        return ["read"]

    @dbus_method()
    def ReadValue(self, options: _Options) -> DBusBytes:
        offset: Any = options["offset"].value if "offset" in options else 0
        return self._value[offset:]


@final
class AdvertisementObject(ServiceInterface):
    """Our advertisement."""

    def __init__(self) -> None:
        super().__init__("org.bluez.LEAdvertisement1")

    @dbus_property(access=_READ)
    def Type(self) -> DBusStr:
        return "peripheral"

    @dbus_property(access=_READ)
    def ServiceUUIDs(self) -> _Strings:
        return [SERVICE_UUID]

    @dbus_property(access=_READ)
    def Discoverable(self) -> DBusBool:
        return True

    @dbus_method()
    def Release(self) -> None:
        """BlueZ has removed it."""
