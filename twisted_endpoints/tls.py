"""TLS 1.3 around an overlay stream, the peer's key pinned. No node, no reactor: bytes in, bytes out (§8).

Plaintext is taken by ``write`` and encrypted only when ``data_to_send`` asks for ciphertext, in large pieces: what
TLS costs is calls into OpenSSL, not the cipher.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final, final
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate

from pinecone_transport.errors import CertificateError
from pinecone_transport.identity import Identity, PublicKey, key_from_certificate
from twisted_endpoints.errors import TlsFailed, WrongPeerKey
from twisted_endpoints.tls_reading import RECORD, fast_reader, read_plainly

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

    from pinecone_transport.node.interfaces import INode

_RECORD_OVERHEAD: Final = 22
"""Header, content type and tag of a record (RFC 8446 §5.2)."""
_SEAL_SIZE: Final = 16 * RECORD
"""Plaintext that goes into one call of OpenSSL."""
_PULL_SIZE: Final = 65_536
"""Ciphertext asked of OpenSSL in one call, but for whole segments. Larger buffers may be mapped anew each time."""
_READ_SIZE: Final = 6 * RECORD
"""Plaintext given to a protocol at once."""
_JOIN_BELOW: Final = 4096
"""Plaintext pieces shorter than this are joined with what follows: a record of their own costs more."""
_CIPHERS: Final = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""OpenSSL's, the cheapest first, as Go has it: processors that help with SHA-256 do not help with SHA-384, of which a
handshake does a lot."""
_PARTIAL_WRITE: Final = 1
"""OpenSSL's SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets: each call would encrypt one record alone."""

_read: Final = fast_reader(_READ_SIZE) or read_plainly


@final
class TlsContexts:
    """What all TLS connections of one node have in common, made once: certificate, key and settings.

    Args:
        identity: The node's key.
    """

    def __init__(self, identity: Identity) -> None:
        certificate = x509.load_der_x509_certificate(identity.certificate())
        private_key = serialization.load_der_private_key(identity.private_key_der(), None)
        assert isinstance(private_key, Ed25519PrivateKey)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_tls13_ciphersuites(_CIPHERS)
        context.use_certificate(certificate)
        context.use_privatekey(private_key)
        # OpenSSL proves that the peer has the certificate's key; whose key it is we look at when the handshake is done.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_certificate)
        # Resumption saves no round trip in TLS 1.3, and a ticket would hold the peer's whole certificate.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.clear_mode(_PARTIAL_WRITE)
        self._context: Final = context
        self._begun: SSL.Connection | None = None

    def dial(self, key: PublicKey) -> TlsConnection:
        """Return the dialler's end of a connection with the node that has this key."""
        begun, self._begun = self._begun, None
        return TlsConnection(begun or self._dialler(), key, is_dialler=True)

    def accept(self, key: PublicKey) -> TlsConnection:
        """Return the listener's end of a connection that came from this key, as the session says."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return TlsConnection(connection, key, is_dialler=False)

    def prepare(self) -> None:
        """Begin the handshake of the next dial, whoever will be dialled. To be called when nobody waits for anything.

        The first message is the same for all but for its keys, and drawing those is most of the work until it is there.
        """
        if self._begun is None:
            self._begun = self._dialler()
            with suppress(SSL.WantReadError):
                self._begun.do_handshake()

    def _dialler(self) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return connection


_contexts: WeakKeyDictionary[INode, TlsContexts] = WeakKeyDictionary()


def contexts_of(node: INode) -> TlsContexts:
    """Return the node's contexts, the same ones every time."""
    contexts = _contexts.get(node)
    if contexts is None:
        contexts = _contexts[node] = TlsContexts(node.identity)
    return contexts


def _accept_certificate(_connection: SSL.Connection, _certificate: X509, _error: int, _depth: int, _ok: int) -> bool:
    return True


@final
class TlsConnection:
    """One end of a TLS connection.

    Call ``start`` once; after it and after each ``receive_data``, look at ``established`` and ``error``, and pull
    ``data_to_send``. Once ``established``, pull ``read`` until it is empty.

    Attributes:
        key: The key that the peer must show, 32 bytes. Authenticated once ``established``.
        established: Whether the handshake is done and the peer's key is ``key``.
        ended: Whether the peer has said that it sends no more.
        error: Why there is no connection any more; nothing else works then.
        pending: Bytes of plaintext that wait to be encrypted.
    """

    ends_with_stream: ClassVar = False  # TLS says itself when it ends

    __slots__ = (
        "_ending",
        "_has_ciphertext",
        "_is_dialler",
        "_may_have_plaintext",
        "_plaintext",
        "_sealed",
        "_ssl",
        "ended",
        "error",
        "established",
        "key",
        "pending",
    )

    def __init__(self, connection: SSL.Connection, key: PublicKey, *, is_dialler: bool) -> None:
        self.key: Final = key
        self.established = False
        self.ended = False
        self.error: Exception | None = None
        self.pending = 0
        self._is_dialler: Final = is_dialler
        self._plaintext: deque[bytes | memoryview] = deque()
        self._ending = False  # end() was called and the close_notify is not encrypted yet
        self._sealed = 0  # ciphertext of application data that OpenSSL holds, bytes
        self._has_ciphertext = False  # OpenSSL may hold ciphertext of any kind
        self._may_have_plaintext = False  # … and what ``read`` returns; asking in vain costs an exception
        self._ssl: Final = connection

    def start(self) -> None:
        """Begin the handshake."""
        self._shake_hands()

    def receive_data(self, data: bytes) -> None:
        """Take ciphertext of the peer. Whatever it is, nothing is raised: see ``error``."""
        if self.error is not None or not data:
            return
        self._ssl.bio_write(data)
        self._may_have_plaintext = True
        if not self.established:
            self._shake_hands()

    def read(self) -> bytes:
        """Return received plaintext, about 96 KiB at most; empty if there is none (now, or any more)."""
        if not self._may_have_plaintext or self.ended or self.error is not None:
            return b""
        data, error = _read(self._ssl, _READ_SIZE)
        if isinstance(error, SSL.WantReadError):
            self._may_have_plaintext = False
        elif isinstance(error, SSL.ZeroReturnError):
            self.ended = True
        elif error is not None:
            self.error = TlsFailed(f"TLS broke: {_describe(error)}")
        return data

    def write(self, data: bytes) -> None:
        """Take plaintext; ``data_to_send`` encrypts it."""
        self._plaintext.append(data)
        self.pending += len(data)

    def end(self) -> None:
        """Say to the peer, behind all that was written, that nothing follows. Reading goes on."""
        self._ending = True

    def is_drained(self) -> bool:
        """Tell whether all that was written, and the end if there was one, has left through ``data_to_send``."""
        return not (self.pending or self._ending or self._has_ciphertext)

    def data_to_send(self, room: int, segment: int) -> list[bytes]:
        """Return ciphertext, at most ``room`` bytes, in pieces of a segment as long as there is so much.

        Where segments are short, a piece is several of them.
        """
        self._seal(room)
        piece_size = max(segment, _PULL_SIZE - _PULL_SIZE % segment)
        pieces = []
        while room > 0 and self._has_ciphertext:
            piece = self._pull(min(room, piece_size))
            room -= len(piece)
            if piece:
                pieces.append(piece)
        return pieces

    def _shake_hands(self) -> None:
        self._has_ciphertext = True
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self.error = TlsFailed(f"the TLS handshake failed: {_describe(error)}")
            return
        self.error = self._key_error()
        self.established = self.error is None

    def _key_error(self) -> WrongPeerKey | None:
        """Return what is wrong with the certificate of a peer that has proved to hold its key. Source: §8."""
        certificate = self._ssl.get_peer_certificate()
        assert certificate is not None  # OpenSSL sees to it: VERIFY_FAIL_IF_NO_PEER_CERT
        # OpenSSL's chain holds the peer's own certificate on the dialler's side only.
        count = len(self._ssl.get_peer_cert_chain() or ()) + (not self._is_dialler)
        if count != 1:
            return WrongPeerKey(f"the peer has shown {count} certificates, and it should be one")
        try:
            key = key_from_certificate(dump_certificate(FILETYPE_ASN1, certificate))
        except CertificateError as error:
            return WrongPeerKey(str(error))
        if key != self.key:
            return WrongPeerKey(f"the peer has the key {key.hex()} and not {self.key.hex()}")
        return None

    def _seal(self, room: int) -> None:
        """Encrypt until there are ``room`` bytes of ciphertext, in whole records as long as there is plaintext."""
        if not self.established or self.error is not None:
            return
        while self.pending and self._sealed < room:
            wanted = room - self._sealed
            self._seal_piece(self._take(min(_SEAL_SIZE, max(RECORD, wanted - wanted % RECORD))))
        if self._ending and not self.pending:
            self._ssl.shutdown()
            self._has_ciphertext = True
            self._ending = False

    def _seal_piece(self, plaintext: bytes | memoryview) -> None:
        self._ssl.sendall(plaintext)
        self._sealed += len(plaintext) + _RECORD_OVERHEAD * -(-len(plaintext) // RECORD)
        self._has_ciphertext = True

    def _take(self, limit: int) -> bytes | memoryview:
        """Remove and return up to ``limit`` bytes of plaintext: a large piece as it is, small ones joined."""
        first = self._plaintext.popleft()
        size = len(first)
        if size > limit:
            view = memoryview(first)
            self._plaintext.appendleft(view[limit:])
            self.pending -= limit
            return view[:limit]
        pieces = [first]
        while self._plaintext and (size < _JOIN_BELOW or len(self._plaintext[0]) < _JOIN_BELOW):
            if size + len(self._plaintext[0]) > limit:
                break
            pieces.append(self._plaintext.popleft())
            size += len(pieces[-1])
        self.pending -= size
        return first if len(pieces) == 1 else b"".join(pieces)

    def _pull(self, limit: int) -> bytes:
        try:
            piece = self._ssl.bio_read(limit)
        except SSL.WantReadError:
            piece = b""
        if len(piece) < limit:
            self._has_ciphertext = False
        self._sealed = max(0, self._sealed - len(piece)) if self._has_ciphertext else 0
        return piece


def _describe(error: SSL.Error) -> str:
    """Return OpenSSL's reasons in words: its errors are lists of (library, function, reason)."""
    reasons = error.args[0]
    return "; ".join(str(reason[-1]) for reason in reasons) if isinstance(reasons, list) else str(error.args[-1])
