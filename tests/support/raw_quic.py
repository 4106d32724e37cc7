"""aioquic's own connections as far ends of ours: with other certificates, names and suites than ours have."""

from __future__ import annotations

from ssl import CERT_NONE

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pinecone_transport.identity import Identity
from tests.support.virtual_link import Side


class RawDialler:
    """Dials a side of a link, and is pumped by ``exchange``."""

    def __init__(self, side: Side, identity: Identity | None, **options: object) -> None:
        configuration = QuicConfiguration(alpn_protocols=["matrix"], verify_mode=CERT_NONE, **options)
        if identity is not None:
            configuration.certificate = x509.load_der_x509_certificate(identity.certificate())
            configuration.private_key = load_der_private_key(identity.private_key_der(), None)
        self.side = side
        self.quic = QuicConnection(configuration=configuration)
        self.events: list[QuicEvent] = []
        self.received: list[bytes] = []

    def dial(self, now: float) -> None:
        self.quic.connect("", now)
        self.exchange(now)

    def exchange(self, now: float, rounds: int = 8) -> None:
        """Carry packets both ways a few times, 5 ms apart: the library paces what it sends."""
        for _ in range(rounds):
            now += 0.005
            for packet, _ in self.quic.datagrams_to_send(now):
                self.side.handle(self.side.socket.receive_packet(self.side.peer_key, packet, now), now)
            for key in self.side.socket.ready_keys():
                for packet in self.side.socket.packets_to_send(key, 1 << 20, now):
                    self.received.append(packet)
                    self.quic.receive_datagram(packet, "", now)
            while (event := self.quic.next_event()) is not None:
                self.events.append(event)
