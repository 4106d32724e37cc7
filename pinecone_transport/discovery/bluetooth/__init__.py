"""Peers near by on Bluetooth LE: GATT to tell who is there, an L2CAP channel to carry a link (§9).

A radio's driver stands behind one small interface, `BluetoothBackend`; the rest does not know which it is.
"""

from pinecone_transport.discovery.bluetooth.adapters import DEFAULT_ADAPTER, backend_maker
from pinecone_transport.discovery.bluetooth.backend import BluetoothBackend, BluetoothError
from pinecone_transport.discovery.bluetooth.source import BluetoothSource

__all__ = ["DEFAULT_ADAPTER", "BluetoothBackend", "BluetoothError", "BluetoothSource", "backend_maker"]
