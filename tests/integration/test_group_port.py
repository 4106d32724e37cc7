"""Real sockets in the IPv4 group of LAN announcements, on the loopback alone, which has none in IPv6."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from pinecone_transport.discovery.group_port import GroupPort, open_group_port
from pinecone_transport.discovery.network_interfaces import Interface

LOOPBACK = Interface(name="lo", index=1)
ANNOUNCEMENT = bytes(range(34))


class Ears:
    """Opens ports on the loopback."""

    def __init__(self) -> None:
        self.ports: list[GroupPort] = []
        self.heard: list[tuple[bytes, str]] = []
        self.next: Deferred[Any] = Deferred()

    def open(self, family: socket.AddressFamily) -> GroupPort:
        self.ports.append(open_group_port(reactor, LOOPBACK, family, self._hear))
        return self.ports[-1]

    def _hear(self, datagram: bytes, host: str) -> None:
        self.heard.append((datagram, host))
        if len(self.heard) == len(self.ports):
            self.next.callback(None)


@pytest_twisted.async_yield_fixture
async def ears() -> AsyncIterator[Ears]:
    made = Ears()
    yield made
    for port in made.ports:
        await port.close()


@pytest_twisted.ensureDeferred
async def test_all_nodes_of_a_machine_hear_what_one_of_them_sends(ears: Ears) -> None:
    first, _ = ears.open(socket.AF_INET), ears.open(socket.AF_INET)
    first.send(ANNOUNCEMENT)
    await ears.next
    assert [datagram for datagram, _ in ears.heard] == [ANNOUNCEMENT] * 2


@pytest_twisted.ensureDeferred
async def test_what_is_sent_to_an_address_of_ours_is_not_heard(ears: Ears) -> None:
    port = ears.open(socket.AF_INET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(ANNOUNCEMENT, ("127.0.0.1", 60606))
    port.send(ANNOUNCEMENT + b"by multicast")
    await ears.next
    assert [datagram for datagram, _ in ears.heard] == [ANNOUNCEMENT + b"by multicast"]


@pytest_twisted.ensureDeferred
async def test_a_port_that_the_system_has_closed_says_so_and_can_be_closed(ears: Ears) -> None:
    port = ears.open(socket.AF_INET)
    opened: Any = port.transport
    opened.stopReading()
    opened.connectionLost()  # as the reactor does when reading fails
    assert port.closed
    await port.close()


@pytest_twisted.ensureDeferred
async def test_a_port_that_was_closed_hears_no_more_and_cannot_be_had_on_an_interface_that_is_not_there(
    ears: Ears,
) -> None:
    closed, port = ears.open(socket.AF_INET), ears.open(socket.AF_INET)
    await closed.close()
    ears.ports.remove(closed)
    assert closed.closed
    port.send(ANNOUNCEMENT)
    await ears.next
    assert len(ears.heard) == 1
    with pytest.raises(OSError, match="No such device"):
        open_group_port(reactor, Interface(name="none", index=1 << 20), socket.AF_INET6, ears._hear)
