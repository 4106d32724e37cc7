"""A key that holds many connections takes no more of a link than a key with one."""

from __future__ import annotations

import random

import pytest

from pinecone_transport.identity import PublicKey
from pinecone_transport.session import StreamAccepted, StreamData
from pinecone_transport.stack import Stack
from pinecone_transport.wire import PeerType
from tests.support.frames import identity

TICK = 0.005
RATE = 2_000_000
"""Bytes in a second that the one link of the server takes."""


class Served:
    """A server behind a slow link to a relay, and clients on fast links to it; the server sends all it can.

    Attributes:
        bytes: What came to each client since it was last cleared.
    """

    def __init__(self, clients: int) -> None:
        self.now = 1000.0
        owners = sorted((identity(number + 1) for number in range(clients + 2)), key=lambda one: one.key)
        self.stacks = [
            Stack(owner, random=random.Random(number), unix_time=1.7e9, now=self.now)
            for number, owner in enumerate(owners)
        ]
        self.server, self.relay, *self.clients = self.stacks
        self.pipes: dict[tuple[Stack, int], tuple[Stack, int]] = {}
        self.slow = self.link(self.server, self.relay)
        for client in self.clients:
            self.link(client, self.relay)
        self.bytes: dict[PublicKey, int] = {client.identity.key: 0 for client in self.clients}
        self.accepted: list[int] = []
        self.credit = 0.0
        self.run(15.0)

    def link(self, a: Stack, b: Stack) -> int:
        near = a.add_link(PeerType.REMOTE, self.now)
        far = b.add_link(PeerType.REMOTE, self.now)
        self.pipes[a, near], self.pipes[b, far] = (b, far), (a, near)
        return near

    def dial(self, client: int, count: int) -> None:
        """Open streams, not so many at once that they are too many half-open ones of a key."""
        stack = self.clients[client]
        for number in range(1, count + 1):
            if number % 50 == 0:
                self.run(0.1)
            stack.write(stack.connect(self.server.identity.key, self.now), b"all of it", self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TICK
            self.turn()

    def turn(self) -> None:
        for stream in self.accepted:
            self.server.write(stream, bytes(self.server.room(stream)), self.now)
        for stack in self.stacks:
            due = stack.next_timer()
            if due is not None and due <= self.now:
                stack.handle_timer(self.now)
            stack.pump(self.now)
        self.credit = min(self.credit + RATE * TICK, RATE * TICK)
        for (stack, link), (far, far_link) in self.pipes.items():
            slow = stack is self.server
            if slow and self.credit <= 0:
                continue
            data = b"".join(stack.data_to_send(link, int(self.credit) if slow else 1 << 20, self.now))
            if slow:
                self.credit -= len(data)
            self.handle(far, far.receive_data(far_link, data, self.now))

    def handle(self, stack: Stack, events: list[object]) -> None:
        for event in events:
            if isinstance(event, StreamAccepted):
                self.accepted.append(event.stream)
            elif isinstance(event, StreamData):
                stack.acknowledge_received_data(event.stream, len(event.data), self.now)
                if stack is not self.server:
                    self.bytes[stack.identity.key] += len(event.data)


@pytest.mark.parametrize("many", [1, 200])
def test_a_key_with_one_connection_is_served_as_much_as_a_key_with_many(many: int) -> None:
    served = Served(2)
    served.dial(0, many)
    served.dial(1, 1)
    served.run(4.0)
    assert len(served.accepted) == many + 1
    served.bytes = dict.fromkeys(served.bytes, 0)
    served.run(6.0)
    of_many, of_one = served.bytes.values()
    assert of_many + of_one > 0.8 * 6.0 * RATE
    assert of_one > 0.8 * of_many
