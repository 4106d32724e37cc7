"""How many round trips it takes from a dial to the first byte of an answer, with TLS as it is (§11)."""

from __future__ import annotations

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.session import StreamAccepted
from tests.support.virtual_link import RIGHT_KEY, Faults, Side, VirtualLink, without_extensions
from twisted_endpoints.tls import TlsConnection, TlsContexts

DELAY = 0.05
ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)


class Talk:
    """TLS at both ends of a stream: a request of one end, an answer of the other."""

    def __init__(self, link: VirtualLink) -> None:
        self.link = link
        self.answer = b""
        self.client = TlsContexts(ALICE).dial(BOB.key)
        self.server = TlsContexts(BOB).accept(ALICE.key)
        link.left.take = self.client_receives
        link.right.take = self.server_receives
        self.client.write(b"question")
        self.client.start()
        self.stream = link.left.socket.connect(RIGHT_KEY, link.now)
        self.flush(link.left, self.client, self.stream)

    def flush(self, side: Side, tls: TlsConnection, stream: int) -> None:
        socket = side.socket
        for data in tls.data_to_send(socket.room(stream), socket.segment(stream)):
            socket.write(stream, data, self.link.now)

    def client_receives(self, stream: int, data: bytes) -> None:
        self.client.receive_data(data)
        if self.client.established:
            self.answer += self.client.read()
        self.flush(self.link.left, self.client, stream)

    def server_receives(self, stream: int, data: bytes) -> None:
        if self.link.right.events == [StreamAccepted(stream, self.link.left.key)]:
            self.server.start()
            self.link.right.events.append(StreamAccepted(0, b""))
        self.server.receive_data(data)
        if self.server.established and self.server.read() == b"question":
            self.server.write(b"answer")
        self.flush(self.link.right, self.server, stream)


@pytest.mark.parametrize(("old", "round_trips"), [(False, 2), (True, 3)])
def test_the_first_byte_of_an_answer_is_there_after_two_round_trips_and_three_with_others(
    old: bool, round_trips: int
) -> None:
    link = VirtualLink(faults=Faults(delay=DELAY))
    if old:
        link.alter = without_extensions
    started = link.now
    talk = Talk(link)
    link.run_until(lambda: bool(talk.answer))
    assert talk.answer == b"answer"
    assert link.now - started == pytest.approx(round_trips * 2 * DELAY)
    assert link.left.socket.counters["packets repeated"] == 0
