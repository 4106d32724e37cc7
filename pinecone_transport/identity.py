"""The node key: overlay address, server name and TLS identity at once (§1, §8).

A private key is an `Identity`. A public key is 32 plain bytes, compared as Python compares bytes, which is the
protocol's order. Its server name is its 64 lower-case hex digits.
"""

from __future__ import annotations

import datetime
import re
from functools import cache
from typing import Final, NamedTuple, TypeAlias, final

import nacl.bindings
import nacl.exceptions
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from pinecone_transport.errors import CertificateError, LocalProtocolError

PublicKey: TypeAlias = bytes
"""An ed25519 public key, 32 bytes; ``a < b`` is the protocol's order (§1)."""

KEY_LENGTH: Final = 32
SEED_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64

_SERVER_NAME: Final = re.compile(r"[0-9a-f]{64}")
# X.509 has no date before 1950 for the encoder that we use, and RFC 5280 §4.1.2.5 gives 99991231235959Z for "no
# well-defined end". Nobody on the overlay looks at the dates, and a node without a battery clock must work.
_NOT_BEFORE: Final = datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


@final
class Identity:
    """An ed25519 private key and what follows from it.

    Args:
        seed: 32 bytes, the private key as RFC 8032 has it.

    Raises:
        LocalProtocolError: The seed is not 32 bytes long.
    """

    __slots__ = ("_secret", "key", "seed", "server_name")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise LocalProtocolError(f"an ed25519 seed has {SEED_LENGTH} bytes, this one {len(seed)}")
        self.seed: Final = seed
        key, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.key: Final[PublicKey] = key
        self.server_name: Final = key.hex()

    @classmethod
    def generate(cls) -> Identity:
        """Make a new one from the system's randomness."""
        return cls(nacl.bindings.randombytes(SEED_LENGTH))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte ed25519 signature over the message."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_LENGTH]

    def certificate(self) -> bytes:
        """Return the self-signed certificate of this key, DER; the same bytes every time. Source: §8."""
        private_key = Ed25519PrivateKey.from_private_bytes(self.seed)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.server_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private_key.public_key())
            .serial_number(1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(self.server_name)]), critical=False)
        )
        return builder.sign(private_key, None).public_bytes(serialization.Encoding.DER)

    def private_key_der(self) -> bytes:
        """Return the private key as unencrypted PKCS #8, DER, for TLS libraries."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return f"<Identity {self.server_name}>"


def verify(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether the 64-byte signature over the message was made with the key.

    Signatures that are not in canonical form are refused, as the reference refuses them.
    """
    if len(signature) != SIGNATURE_LENGTH or len(key) != KEY_LENGTH:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def is_server_name(name: str) -> bool:
    """Tell whether the name is a key's: 64 lower-case hex digits and nothing else."""
    return _SERVER_NAME.fullmatch(name) is not None


def key_from_server_name(name: str) -> PublicKey:
    """Return the key that the server name is.

    Raises:
        LocalProtocolError: It is not 64 lower-case hex digits.
    """
    if not is_server_name(name):
        raise LocalProtocolError(f"a server name on the overlay is 64 lower-case hex digits, not {name!r}")
    return bytes.fromhex(name)


def key_from_certificate(der: bytes) -> PublicKey:
    """Return the key of a peer's certificate, 32 bytes.

    Only the key and the self-signature count: names and dates are not looked at, as in the reference.

    Raises:
        CertificateError: It does not parse, its key is not ed25519, or it is not signed by that key.
    """
    return _key_from_own_form(der) or key_from_any_certificate(der)


def key_from_any_certificate(der: bytes) -> PublicKey:
    """`key_from_certificate` without its fast path."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        public_key = certificate.public_key()
    except Exception as error:
        # The library raises many types for malformed input (ValueError, UnsupportedAlgorithm, its own parser's).
        raise CertificateError("the certificate does not parse") from error
    if not isinstance(public_key, Ed25519PublicKey):
        raise CertificateError("the certificate's key is not ed25519")
    try:
        public_key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except InvalidSignature as error:
        raise CertificateError("the certificate is not signed by its own key") from error
    return public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class _Form(NamedTuple):
    """What `Identity.certificate` writes, for one identity."""

    key: bytes
    name: bytes
    unsigned: bytes  # all before the signature
    key_at: int
    signed: slice  # what the signature is over
    length: int


@cache
def _own_form() -> _Form:
    pattern = Identity(bytes(SEED_LENGTH))
    der = pattern.certificate()
    unsigned = der[:-SIGNATURE_LENGTH]
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    start = unsigned.index(signed)
    return _Form(
        pattern.key,
        pattern.server_name.encode("ascii"),
        unsigned,
        unsigned.index(pattern.key),
        slice(start, start + len(signed)),
        len(der),
    )


def _key_from_own_form(der: bytes) -> PublicKey | None:
    """Return the key of a certificate that is byte for byte as `Identity.certificate` writes it; None for any other.

    This is the fast path of `key_from_certificate`: nothing is parsed, and libsodium looks at the signature. It takes a
    third of the time, which each end of each new connection spends.
    """
    form = _own_form()
    if len(der) != form.length:
        return None
    key = der[form.key_at : form.key_at + KEY_LENGTH]
    unsigned = form.unsigned.replace(form.name, key.hex().encode("ascii")).replace(form.key, key)
    if not der.startswith(unsigned) or not verify(key, der[-SIGNATURE_LENGTH:], der[form.signed]):
        return None
    return key
