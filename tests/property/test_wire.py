"""What is encoded is read back, for every value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.identity import Identity, key_from_server_name, verify
from pinecone_transport.wire import (
    Announcement,
    Watermark,
    common_prefix,
    decode_announcement,
    decode_bootstrap,
    decode_coordinates,
    decode_frame,
    decode_handshake,
    decode_varu64,
    distance,
    encode_coordinates,
    encode_frame,
    encode_handshake,
    encode_varu64,
    frame_length,
    sign_bootstrap,
)
from tests.support.frames import identity
from tests.support.strategies import coordinates, frames, keys, numbers, watermarks


@given(numbers, st.binary(max_size=3))
def test_a_number_reads_back_and_leaves_what_follows(value: int, tail: bytes) -> None:
    data = encode_varu64(value)
    assert 1 <= len(data) <= 10
    assert decode_varu64(data + tail, 0, len(data) + len(tail)) == (value, len(data))


@given(coordinates, st.binary(max_size=3))
def test_coordinates_read_back_and_leave_what_follows(value, tail: bytes) -> None:
    data = encode_coordinates(value)
    assert decode_coordinates(data + tail, 0, len(data) + len(tail)) == (value, len(data))


@given(coordinates, coordinates, coordinates)
def test_distance_is_a_metric(a, b, c) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) is (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert common_prefix(a + b, a + c) == len(a) + common_prefix(b, c)


@given(frames())
def test_a_frame_reads_back(frame) -> None:
    data = encode_frame(frame)
    assert frame_length(data, 0, len(data)) == len(data)
    assert decode_frame(data) == frame


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50), st.binary(max_size=50))
def test_a_handshake_and_a_signature_prove_the_key(seed: bytes, message: bytes, other: bytes) -> None:
    node = Identity(seed)
    assert decode_handshake(encode_handshake(node)) == key_from_server_name(node.server_name) == node.key
    assert verify(node.key, node.sign(message), other) is (message == other)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True), numbers, st.data())
def test_an_announcement_reads_back_after_every_hop(signers: list[int], sequence: int, data) -> None:
    announcement = Announcement(identity(signers[0]).key, sequence)
    for number in signers:
        announcement = announcement.signed_by(identity(number), data.draw(numbers.filter(bool)))
        read = decode_announcement(announcement.encode())
        read.check_sane(identity(number).key)
        assert read.encode() == announcement.encode()
        assert (read.root_key, read.root_sequence) == (identity(signers[0]).key, sequence)
        assert read.signatures == announcement.signatures


@given(st.integers(1, 60), numbers, keys, numbers)
def test_a_bootstrap_reads_back_and_verifies(signer: int, sequence: int, root_key: bytes, root_sequence: int) -> None:
    made = sign_bootstrap(identity(signer), sequence, root_key, root_sequence)
    read = decode_bootstrap(made.encode())
    assert read == made
    assert read.verify(identity(signer).key)


@given(watermarks, watermarks, watermarks)
def test_the_better_of_two_watermarks_is_never_worse_the_other_way_round(a: Watermark, b: Watermark, c) -> None:
    assert not a.is_worse_than(a)
    assert not (a.is_worse_than(b) and b.is_worse_than(a))
    if 0 not in (a.sequence, b.sequence, c.sequence) and a.is_worse_than(b) and b.is_worse_than(c):
        assert a.is_worse_than(c)
