"""A D-Bus of our own with a mock of BlueZ on it, and channels that are pairs of local sockets."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError

from pinecone_transport.links import StreamLink
from pinecone_transport.links.l2cap import L2capTransport

ADAPTERS = ("00:00:00:00:00:0A", "00:00:00:00:00:0B")
"""Of hci0 and hci1."""
SEND_MTU = 500
_PSM = 0x80

_MOCK = "import bluezoo.bluezoo; bluezoo.bluezoo.main()"


def why_no_mock() -> str | None:
    """Return why the mock cannot be had here, None if it can."""
    if shutil.which("dbus-daemon") is None:
        return "there is no dbus-daemon"
    if importlib.util.find_spec("bluezoo") is None:
        return "bluezoo is not installed"
    if importlib.util.find_spec("dbus_fast") is None:
        return "dbus-fast is not installed"
    return None


class MockBluez:
    """Two processes, both ended by `stop`.

    Attributes:
        address: Of the bus.
    """

    def __init__(self, folder: Path) -> None:
        configuration = folder / "bus.conf"
        configuration.write_text(
            "<busconfig><type>session</type>"
            f"<listen>unix:path={folder}/bus</listen>"
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            '<allow own="*"/></policy>'
            "</busconfig>"
        )
        self.address = f"unix:path={folder}/bus"
        self._daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address"], stdout=subprocess.PIPE
        )
        assert self._daemon.stdout is not None
        self._daemon.stdout.readline()  # it is there once it has told its address
        adapters = [word for address in ADAPTERS for word in ("--adapter", address)]
        self._log = (folder / "bluezoo.log").open("w")
        self._mock = subprocess.Popen(
            [sys.executable, "-c", _MOCK, "--scan-interval", "1", *adapters],
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address},
            stdout=self._log,
            stderr=self._log,
        )

    def end_mock(self) -> None:
        """End BlueZ, but not the bus."""
        if self._mock.poll() is None:
            self._mock.send_signal(signal.SIGKILL)
            self._mock.wait()

    def end_bus(self) -> None:
        """End the bus."""
        self._daemon.kill()
        self._daemon.wait()

    def stop(self) -> None:
        """End all."""
        self.end_mock()
        self.end_bus()
        assert self._daemon.stdout is not None
        self._daemon.stdout.close()
        self._log.close()


class LocalAir:
    """Who listens, by address."""

    def __init__(self) -> None:
        self._listening: dict[str, Callable[[str], StreamLink]] = {}

    def channels(self) -> LocalChannels:
        return LocalChannels(self._listening)


class LocalChannels:
    """`Channels` over pairs of local sockets that keep the boundaries of packets, as Bluetooth's do."""

    def __init__(self, listening: dict[str, Callable[[str], StreamLink]]) -> None:
        self._listening = listening
        self._host = ""

    def listen(self, host: str, accept: Callable[[str], StreamLink]) -> int:
        self._host = host
        self._listening[host] = accept
        return _PSM

    def connect(self, host: str, peer: str, address_type: int, psm: int, link: StreamLink) -> Deferred[None]:
        accept = self._listening.get(peer)
        if accept is None or psm != _PSM:
            return fail(ConnectError(string="nobody listens"))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        L2capTransport(theirs, SEND_MTU, host=peer, peer=host, reactor=reactor).connect(accept(host))
        L2capTransport(ours, SEND_MTU, host=host, peer=peer, reactor=reactor).connect(link)
        return succeed(None)

    def close(self) -> None:
        self._listening.pop(self._host, None)
