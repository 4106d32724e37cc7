"""aioquic's own connections as far ends of ours: with other certificates, names and suites than ours have."""

from __future__ import annotations

from ssl import CERT_NONE

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionIdIssued, HandshakeCompleted, QuicEvent, StreamDataReceived
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pinecone_transport.identity import Identity
from tests.support.virtual_link import Side


class GoLikeSocket:
    """A far end that refuses so many connections right after their handshake, as a Go node does that has another one.

    It has the face of a socket, as far as a `VirtualLink` needs it, and keeps what streams bring.

    Attributes:
        data: What came, by the connection's place in the order of their beginnings, and QUIC's id of the stream.
        longest: Bytes of the longest packet that it was sent.
    """

    def __init__(self, identity: Identity, *, refusals: int = 0, takes: int | None = 1452, **options: object) -> None:
        self._configuration = QuicConfiguration(
            is_client=False,
            alpn_protocols=["matrix"],
            verify_mode=CERT_NONE,
            certificate=x509.load_der_x509_certificate(identity.certificate()),
            private_key=load_der_private_key(identity.private_key_der(), None),
            **options,
        )
        self._refusals = refusals
        self._takes = takes
        self._by_id: dict[bytes, _Taking] = {}
        self._connections: list[_Taking] = []
        self._refused: set[int] = set()
        self._peer = b""
        self.longest = 0
        self.data: dict[tuple[int, int], bytearray] = {}

    def receive_packet(self, key: bytes, packet: bytes, now: float) -> list[object]:
        self._peer = key
        self.longest = max(self.longest, len(packet))
        length = self._configuration.connection_id_length
        id_ = packet[6 : 6 + packet[5]] if packet[0] & 0x80 else packet[1 : 1 + length]
        if id_ not in self._by_id:
            taking = _Taking(
                configuration=self._configuration, original_destination_connection_id=id_, takes=self._takes
            )
            self._by_id[id_] = taking
            self._connections.append(taking)
        self._by_id[id_].receive_datagram(packet, "", now)
        self._take_events()
        return []

    def dial(self, key: bytes, now: float) -> None:
        """Dial as well, whatever else comes."""
        configuration = QuicConfiguration(
            alpn_protocols=["matrix"],
            verify_mode=CERT_NONE,
            certificate=self._configuration.certificate,
            private_key=self._configuration.private_key,
        )
        taking = _Taking(configuration=configuration, takes=self._takes)
        taking.connect("", now)
        self._peer = key
        self._refused.add(len(self._connections))
        self._connections.append(taking)
        self._by_id[taking.host_cid] = taking

    def ready_keys(self) -> list[bytes]:
        return [self._peer] if self._peer else []

    def packets_to_send(self, key: bytes, limit: int, now: float) -> list[bytes]:
        packets = [packet for one in self._connections for packet, _ in one.datagrams_to_send(now)]
        self._take_events()
        return packets

    def next_timer(self) -> float | None:
        return min((at for one in self._connections if (at := one.get_timer()) is not None), default=None)

    def handle_timer(self, now: float) -> list[object]:
        for one in self._connections:
            if (at := one.get_timer()) is not None and at <= now:
                one.handle_timer(now)
        self._take_events()
        return []

    def _take_events(self) -> None:
        refused = self._refused
        for number, one in enumerate(self._connections):
            self._by_id[one.host_cid] = one
            while (event := one.next_event()) is not None:
                if isinstance(event, ConnectionIdIssued):
                    self._by_id[event.connection_id] = one
                elif isinstance(event, HandshakeCompleted) and self._refusals and number not in refused:
                    self._refusals -= 1
                    one.close(0, None, "connection replaced")
                    refused.add(number)
                elif isinstance(event, StreamDataReceived) and number not in refused:
                    self.data.setdefault((number, event.stream_id), bytearray()).extend(event.data)


class _Taking(QuicConnection):
    """One connection of a far end that says how long packets it takes, or None for nothing."""

    def __init__(self, *, takes: int | None, **options: object) -> None:
        super().__init__(**options)
        self._takes = takes

    def _serialize_transport_parameters(self) -> bytes:
        said = b"" if self._takes is None else b"\x03\x04" + (0x80000000 | self._takes).to_bytes(4)
        return super()._serialize_transport_parameters() + said


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
