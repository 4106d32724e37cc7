"""Keys, signatures, server names and certificates (§1, §8)."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from pinecone_transport.errors import CertificateError, LocalProtocolError
from pinecone_transport.identity import (
    Identity,
    is_server_name,
    key_from_any_certificate,
    key_from_certificate,
    key_from_server_name,
    verify,
)
from tests.support.vectors import load_vector

VECTORS = load_vector("utp_packets")
OURS = Identity(b"\x01" * 32)
OTHER = Identity(b"\x02" * 32)


@pytest.mark.parametrize("case", load_vector("handshake")["valid"], ids=lambda case: case["key"][:8])
def test_a_seed_gives_the_reference_s_key_and_server_name(case) -> None:
    identity = Identity(bytes.fromhex(case["seed"]))
    assert identity.key.hex() == identity.server_name == case["key"]
    assert repr(identity) == f"<Identity {case['key']}>"


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(LocalProtocolError):
        Identity(b"\x01" * length)


def test_generated_identities_differ() -> None:
    assert Identity.generate().key != Identity.generate().key


def test_a_signature_verifies_for_its_key_and_message_alone() -> None:
    signature = OURS.sign(b"message")
    assert len(signature) == 64
    assert verify(OURS.key, signature, b"message")
    assert not verify(OURS.key, signature, b"another")
    assert not verify(OTHER.key, signature, b"message")
    assert not verify(OURS.key, signature[:63], b"message")
    assert not verify(OURS.key[:31], signature, b"message")
    assert not verify(b"\xff" * 32, signature, b"message")


def test_a_server_name_is_64_lower_case_hex_digits_and_nothing_else() -> None:
    name = OURS.server_name
    assert is_server_name(name)
    assert key_from_server_name(name) == OURS.key
    for wrong in ("", name[:63], name + "0", name + "\n", name.upper(), name[:63] + "g", name + ":8448", "localhost"):
        assert not is_server_name(wrong)
        with pytest.raises(LocalProtocolError):
            key_from_server_name(wrong)


def test_a_certificate_gives_the_key_and_names_the_server() -> None:
    der = OURS.certificate()
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert key_from_certificate(der) == OURS.key
    assert names.get_values_for_type(x509.DNSName) == [OURS.server_name]
    for name in (certificate.subject, certificate.issuer):
        assert [part.value for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)] == [OURS.server_name]
    assert certificate.not_valid_before_utc < datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert certificate.not_valid_after_utc.year == 9999
    assert OURS.certificate() == der


def test_the_private_key_in_der_is_the_certificate_s() -> None:
    private_key = serialization.load_der_private_key(OURS.private_key_der(), None)
    assert isinstance(private_key, Ed25519PrivateKey)
    assert private_key.public_key().public_bytes_raw() == OURS.key


@pytest.mark.parametrize("case", VECTORS["certificates"], ids=lambda case: case["made_at"] + case["key"][:8])
def test_the_reference_s_certificates_give_their_keys(case) -> None:
    assert key_from_certificate(bytes.fromhex(case["der"])).hex() == case["key"]


@pytest.mark.parametrize("case", VECTORS["foreign_certificates"], ids=lambda case: case["note"])
def test_foreign_certificates_go_by_their_ed25519_key_or_are_refused(case) -> None:
    der = bytes.fromhex(case["der"])
    if "key" in case:
        assert key_from_certificate(der).hex() == case["key"]
    else:
        with pytest.raises(CertificateError, match="not ed25519"):
            key_from_certificate(der)


def test_a_certificate_that_its_own_key_did_not_sign_is_refused() -> None:
    der = bytearray(OURS.certificate())
    der[-1] ^= 1
    with pytest.raises(CertificateError, match="not signed by its own key"):
        key_from_certificate(bytes(der))


def key_or_refusal(key_from: Callable[[bytes], bytes], der: bytes) -> bytes | str:
    try:
        return key_from(der)
    except CertificateError as error:
        return str(error)


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_the_fast_path_gives_what_the_parser_gives_whatever_is_changed(bit: int) -> None:
    for at in range(len(OURS.certificate())):
        der = bytearray(OURS.certificate())
        der[at] ^= bit
        changed = bytes(der)
        assert key_or_refusal(key_from_certificate, changed) == key_or_refusal(key_from_any_certificate, changed)


@pytest.mark.parametrize("seed", [bytes(32), b"\x01" * 32, b"\xff" * 32])
def test_the_fast_path_knows_the_certificate_of_every_key(seed: bytes) -> None:
    identity = Identity(seed)
    assert key_from_certificate(identity.certificate()) == identity.key
    assert key_from_any_certificate(identity.certificate()) == identity.key


def test_a_certificate_in_our_form_with_the_name_of_another_key_goes_by_its_key() -> None:
    private_key = Ed25519PrivateKey.from_private_bytes(OURS.seed)
    renamed = OURS.certificate().replace(OURS.server_name.encode(), OTHER.server_name.encode())
    signed = x509.load_der_x509_certificate(renamed).tbs_certificate_bytes
    der = renamed[:-64] + private_key.sign(signed)
    assert key_from_certificate(der) == key_from_any_certificate(der) == OURS.key


@pytest.mark.parametrize("der", [b"", b"\x30", b"garbage" * 20, OURS.certificate()[:-1], OURS.certificate() + b"\x00"])
def test_bytes_that_are_no_certificate_are_refused(der: bytes) -> None:
    with pytest.raises(CertificateError, match="does not parse"):
        key_from_certificate(der)
