"""What all QUIC connections of one node have in common."""

from __future__ import annotations

import hmac
from ssl import CERT_NONE
from typing import Final, final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pinecone_transport.identity import Identity
from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.utp.memory import Memories

ID_LENGTH: Final = 8
"""Bytes of a connection id of ours."""
VERSION_1: Final = int(QuicProtocolVersion.VERSION_1)


@final
class Settings:
    """What all connections of one node have in common, made once.

    Args:
        identity: The node's key.
        protocol: The application's name (ALPN).
        limits: Bounds.

    Attributes:
        memories: What buffers may hold.
    """

    def __init__(self, identity: Identity, protocol: str, limits: QuicLimits) -> None:
        self.limits: Final = limits
        self.memories: Final = Memories(limits.memory, limits.share)
        self._reset_key: Final = hmac.digest(identity.seed, b"QUIC stateless reset", "sha256")
        self.dialler: Final = self._configuration(identity, protocol, True)
        self.listener: Final = self._configuration(identity, protocol, False)

    def reset_token(self, connection_id: bytes) -> bytes:
        """Return the 16 bytes that end a connection of ours with this id, now and after a restart.

        Source: RFC 9000, section 10.3.2.
        """
        return hmac.digest(self._reset_key, connection_id, "sha256")[:16]

    def _configuration(self, identity: Identity, protocol: str, is_client: bool) -> QuicConfiguration:
        return QuicConfiguration(
            alpn_protocols=[protocol],
            connection_id_length=ID_LENGTH,
            idle_timeout=self.limits.idle_timeout,
            is_client=is_client,
            max_data=self.limits.share,
            max_datagram_size=self.limits.first_packet,
            max_stream_data=self.limits.receive_window,
            certificate=x509.load_der_x509_certificate(identity.certificate()),
            private_key=load_der_private_key(identity.private_key_der(), None),
            # quic-go 0.37.4 gets the hash of AES-256 wrong: it must be neither offered nor taken.
            cipher_suites=[CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
            supported_versions=[VERSION_1],
            verify_mode=CERT_NONE,  # there are no authorities: the key is what counts, and its holder compares it
        )
