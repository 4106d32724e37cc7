"""A TLS peer that keeps none of our rules, at the end of an overlay stream, and certificates of all kinds."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.node.interfaces import INode

PrivateKey = Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Shown = tuple[x509.Certificate, PrivateKey]


def self_signed(key: PrivateKey, signer: PrivateKey | None = None) -> Shown:
    """Return a certificate for the key, signed with it, or with ``signer`` although it names itself as the issuer."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "raw")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC))
    )
    signer = key if signer is None else signer
    algorithm = None if isinstance(signer, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm), key


def of_identity(identity: Identity) -> Shown:
    """Return the certificate that a node of ours shows."""
    key = serialization.load_der_private_key(identity.private_key_der(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return x509.load_der_x509_certificate(identity.certificate()), key


def rsa_certificate() -> Shown:
    return self_signed(rsa.generate_private_key(65_537, 2_048))


def ecdsa_certificate() -> Shown:
    return self_signed(ec.generate_private_key(ec.SECP256R1()))


def raw_context(
    shown: Shown | None, *, extra: Sequence[x509.Certificate] = (), version: int = SSL.TLS1_3_VERSION
) -> SSL.Context:
    """Return a context that shows these certificates, takes any, and speaks one version of TLS."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if shown is not None:
        context.use_certificate(shown[0])
        context.use_privatekey(shown[1])
    for certificate in extra:
        context.add_extra_chain_cert(certificate)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


class RawTlsPeer:
    """A `StreamReceiver` that shakes hands as its context says, or says nothing of its own accord without one.

    Attributes:
        established: Whether the handshake is done as far as this end can tell.
        shown: Whether the other end has shown a certificate.
        received: Plaintext.
        lost: What ``stream_lost`` was told.
    """

    def __init__(self, node: INode, context: SSL.Context | None) -> None:
        self.established = False
        self.received = bytearray()
        self.lost: list[Exception | None] = []
        self.stream: int | None = None
        self._node = node
        self._tls = SSL.Connection(context or SSL.Context(SSL.TLS_METHOD), None)
        self._mute = context is None
        self._outgoing: list[bytes] = []

    def dial(self, key: PublicKey) -> None:
        self._tls.set_connect_state()
        self._node.open_stream(key, self)

    def accept(self, _key: PublicKey) -> RawTlsPeer:
        """An `Acceptor`."""
        self._tls.set_accept_state()
        return self

    @property
    def shown(self) -> bool:
        return self._tls.get_peer_certificate() is not None

    def send_raw(self, data: bytes) -> None:
        """Send bytes beside TLS."""
        self._outgoing.append(data)
        self._node.mark_dirty(self.stream)

    def write(self, data: bytes) -> None:
        self._tls.sendall(data)
        self._pull()

    def stream_connected(self, stream: int) -> None:
        self.stream = stream
        self._proceed()

    def stream_data(self, data: bytes) -> None:
        self._tls.bio_write(data)
        self._proceed()
        self._node.acknowledge_received_data(self.stream, len(data))

    def stream_ended(self) -> None:
        pass

    def stream_lost(self, error: Exception | None) -> None:
        self.lost.append(error)

    def flush(self, room: int, segment: int) -> list[bytes]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _proceed(self) -> None:
        if self._mute:
            return
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while True:
                self.received += self._tls.recv(65_536)
        except SSL.Error:
            # Wanting more data is one of these; what else goes wrong shows in ``established`` and ``received``.
            pass
        self._pull()

    def _pull(self) -> None:
        while True:
            try:
                self.send_raw(self._tls.bio_read(65_536))
            except SSL.WantReadError:
                return
