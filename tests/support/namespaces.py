"""Local networks of a test: bridges and hosts in network namespaces of its own, so that no datagram leaves them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import TracebackType

import pytest

IP = shutil.which("ip") or "/usr/sbin/ip"

_NAMES = "/run/netns"
_NUMBERS = count(1)
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def require_namespaces() -> None:
    """Skip the test where there may be no namespaces; where CI is true, there is no skipping."""
    reason = _why_not()
    if reason is not None:
        if os.environ.get("CI") == "true":
            raise AssertionError(f"{reason}; in CI that is an error")
        pytest.skip(reason)


def _why_not() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces are made by root alone"
    if shutil.which(IP) is None:
        return "network namespaces are made with the command ip, of the package iproute2"
    name = f"pinecone-{os.getpid()}-try"
    tried = subprocess.run([IP, "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces cannot be made here: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return None


def _ip(*arguments: str) -> None:
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


def _enter(namespace: int) -> None:
    """Take the calling thread to a network namespace, by an open file of it. Python 3.12 has ``os.setns``."""
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _remove_leftovers() -> None:
    """Remove what test runs have left that were killed."""
    for name in os.listdir(_NAMES) if os.path.isdir(_NAMES) else ():
        made_by = re.fullmatch(r"pinecone-(\d+)-.*", name)
        if made_by and not os.path.exists(f"/proc/{made_by[1]}"):
            subprocess.run([IP, "netns", "del", name], capture_output=True, check=False)


class Host:
    """A machine of the test: a namespace. Its interfaces are named after where they were plugged in first.

    Attributes:
        namespace: Its name for ``ip netns``.
    """

    def __init__(self, lans: Lans, namespace: str) -> None:
        self.namespace = namespace
        self._lans = lans
        self._plugs: dict[str, tuple[str, str]] = {}  # interface: its other end, its IPv4 address

    def command(self, *command: str) -> list[str]:
        """Return the command that runs this one here; the process keeps the number that it gets."""
        return [IP, "netns", "exec", self.namespace, *command]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread open its sockets here; they stay here when it has left."""
        with open("/proc/thread-self/ns/net") as home, open(f"{_NAMES}/{self.namespace}") as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def plug_in(self, lan: str, interface: str = "eth0") -> None:
        """Give it an interface on a LAN, with an IPv4 address of that LAN; the system adds the IPv6 one."""
        end = f"p{next(_NUMBERS)}"
        switch = self._lans.switch
        pair = ["type", "veth", "peer", "name", interface, "netns", self.namespace]
        _ip("-n", switch, "link", "add", end, *pair)
        _ip("-n", switch, "link", "set", end, "master", lan, "up")
        address = self._lans.next_address(lan)
        self._plugs[interface] = (end, address)
        _ip("-n", self.namespace, "address", "add", address, "dev", interface)
        _ip("-n", self.namespace, "link", "set", interface, "up")

    def move(self, lan: str, interface: str = "eth0") -> None:
        """Pull an interface's cable, and plug it in on another LAN, where it gets another IPv4 address."""
        end, address = self._plugs[interface]
        _ip("-n", self.namespace, "link", "set", interface, "down")
        _ip("-n", self.namespace, "address", "del", address, "dev", interface)
        _ip("-n", self._lans.switch, "link", "set", end, "master", lan)
        address = self._lans.next_address(lan)
        self._plugs[interface] = (end, address)
        _ip("-n", self.namespace, "address", "add", address, "dev", interface)
        _ip("-n", self.namespace, "link", "set", interface, "up")

    def set_cable(self, plugged: bool, interface: str = "eth0") -> None:
        """Pull the cable at the switch, or put it back: the interface only loses its carrier."""
        _ip("-n", self._lans.switch, "link", "set", self._plugs[interface][0], "up" if plugged else "down")

    def unplug(self, interface: str = "eth0") -> None:
        """Take an interface away altogether."""
        _ip("-n", self.namespace, "link", "del", interface)
        del self._plugs[interface]


class Lans:
    """Hosts and LANs; all are gone at the end of the ``with``. Processes there are the test's own to end before."""

    def __init__(self, *lans: str) -> None:
        self._prefix = f"pinecone-{os.getpid()}-{next(_NUMBERS)}"
        self._names = lans
        self._made: list[str] = []
        self._addresses = {lan: count(1) for lan in lans}
        self.switch = f"{self._prefix}-switch"

    def __enter__(self) -> Lans:
        _remove_leftovers()
        try:
            self._add(self.switch)
            for lan in self._names:
                _ip("-n", self.switch, "link", "add", lan, "type", "bridge")
                _ip("-n", self.switch, "link", "set", lan, "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def host(self, name: str, *lans: str) -> Host:
        """Add a host: its interfaces are ``eth0``, ``eth1`` … on these LANs."""
        namespace = f"{self._prefix}-{name}"
        self._add(namespace)
        host = Host(self, namespace)
        for number, lan in enumerate(lans):
            host.plug_in(lan, f"eth{number}")
        return host

    def next_address(self, lan: str) -> str:
        return f"10.77.{self._names.index(lan)}.{next(self._addresses[lan])}/24"

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._made.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for namespace in reversed(self._made):
            subprocess.run([IP, "netns", "del", namespace], capture_output=True, check=False)
        self._made.clear()
