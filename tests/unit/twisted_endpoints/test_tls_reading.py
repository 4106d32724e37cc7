"""Both ways to read plaintext, with OpenSSL on the other side: they give the same."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from pinecone_transport.identity import Identity
from twisted_endpoints.tls_reading import RECORD, Reader, fast_reader, read_plainly

LONGEST = 6 * RECORD


def made_fast() -> Reader:
    reader = fast_reader(LONGEST)
    assert reader is not None, "pyOpenSSL has changed: all reading is slower than it was"
    return reader


READERS = (read_plainly, made_fast())


def context() -> SSL.Context:
    identity = Identity(b"\1" * 32)
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.use_certificate(x509.load_der_x509_certificate(identity.certificate()))
    private_key = serialization.load_der_private_key(identity.private_key_der(), None)
    assert isinstance(private_key, Ed25519PrivateKey)
    made.use_privatekey(private_key)
    return made


CONTEXT = context()


def carry(source: SSL.Connection, target: SSL.Connection) -> None:
    with suppress(SSL.WantReadError):
        target.bio_write(source.bio_read(1 << 20))


def pair() -> tuple[SSL.Connection, SSL.Connection]:
    near, far = SSL.Connection(CONTEXT, None), SSL.Connection(CONTEXT, None)
    near.set_connect_state()
    far.set_accept_state()
    for _ in range(3):
        for one, other in ((near, far), (far, near)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            carry(one, other)
    return near, far


@given(st.lists(st.integers(1, 60_000), max_size=8), st.integers(1, LONGEST), st.booleans())
def test_both_readers_give_the_same_pieces_and_reasons(lengths: list[int], limit: int, ends: bool) -> None:
    data = hashlib.shake_256(b"read").digest(sum(lengths))
    outcomes = []
    for reader in READERS:
        near, far = pair()
        start = 0
        for length in lengths:
            near.sendall(data[start : start + length])
            start += length
        if ends:
            near.shutdown()
        carry(near, far)
        pieces = []
        error = None
        while error is None:
            piece, error = reader(far, limit)
            pieces.append(piece)
        assert b"".join(pieces) == data
        assert isinstance(error, SSL.ZeroReturnError if ends else SSL.WantReadError)
        outcomes.append(pieces)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("reader", READERS)
def test_what_was_whole_before_a_fault_is_read_and_the_fault_is_told(reader: Reader) -> None:
    near, far = pair()
    near.sendall(b"whole")
    carry(near, far)
    far.bio_write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    data, error = reader(far, LONGEST)
    assert data == b"whole"
    assert type(error) is SSL.Error
    assert "bad record mac" in str(error)


@pytest.mark.parametrize("missing", ["_lib", "_ffi"])
def test_without_what_the_fast_reader_needs_there_is_none(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SSL, missing)
    assert fast_reader(LONGEST) is None
