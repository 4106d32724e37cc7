"""Two `TlsConnection` machines face each other, without nodes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinecone_transport.identity import Identity
from twisted_endpoints.tls import TlsConnection, TlsContexts

ALICE, BOB = Identity(b"\1" * 32), Identity(b"\2" * 32)
ALICES, BOBS = TlsContexts(ALICE), TlsContexts(BOB)


def carry(source: TlsConnection, target: TlsConnection, room: int = 1 << 20, step: int = 1 << 20) -> bytes:
    """Bring what the source has to send to the target, in steps; return what the target read."""
    read = []
    while data := source.data_to_send(room, 1_416):
        assert sum(map(len, data)) <= room
        sent = b"".join(data)
        for start in range(0, len(sent), step):
            target.receive_data(sent[start : start + step])
            while target.established and (piece := target.read()):
                read.append(piece)
    return b"".join(read)


def pair(room: int = 1 << 20, step: int = 1 << 20) -> tuple[TlsConnection, TlsConnection]:
    """Return a dialler's and a listener's end, the handshake done."""
    near, far = ALICES.dial(BOB.key), BOBS.accept(ALICE.key)
    near.start()
    far.start()
    for _ in range(3):
        carry(near, far, room, step)
        carry(far, near, room, step)
    assert near.established
    assert far.established
    return near, far


@pytest.mark.parametrize(("room", "step"), [(1 << 20, 1 << 20), (1_416, 1_416), (7, 1), (300, 299)])
def test_the_room_and_how_data_is_cut_make_no_difference(room: int, step: int) -> None:
    near, far = pair(room, step)
    data = hashlib.shake_256(b"cut").digest(50_000)
    near.write(data)
    near.end()
    assert carry(near, far, room, step) == data
    assert (far.ended, far.error, near.is_drained()) == (True, None, True)


def hello(tls: TlsConnection) -> bytes:
    tls.start()
    return b"".join(tls.data_to_send(1 << 20, 1_416))


def test_a_dial_that_was_prepared_is_like_any_other() -> None:
    contexts = TlsContexts(ALICE)
    contexts.prepare()
    near, far = contexts.dial(BOB.key), BOBS.accept(ALICE.key)
    far.receive_data(hello(near))
    carry(far, near)
    carry(near, far)
    assert (near.established, near.error, near.key) == (True, None, BOB.key)
    assert (far.established, far.error, far.key) == (True, None, ALICE.key)


def test_what_was_prepared_is_used_once() -> None:
    contexts = TlsContexts(ALICE)
    contexts.prepare()
    contexts.prepare()
    hellos = [hello(contexts.dial(BOB.key)) for _ in range(3)]
    contexts.prepare()
    hellos.append(hello(contexts.dial(BOB.key)))
    assert len({len(each) for each in hellos}) == 1
    assert len(set(hellos)) == 4


def test_large_pieces_are_whole_segments() -> None:
    near, far = pair()
    near.write(bytes(1_000_000))
    pieces = near.data_to_send(500_000, 1_416)
    assert sum(map(len, pieces)) == 500_000
    assert all(len(piece) % 1_416 == 0 for piece in pieces[:-1])
    assert max(map(len, pieces)) <= 131_072
    for piece in pieces:
        far.receive_data(piece)
    received = 0
    while piece := far.read():
        received += len(piece)
    assert 450_000 < received < 500_000


def test_little_more_is_encrypted_than_there_is_room_for() -> None:
    near, _far = pair()
    near.write(bytes(1_000_000))
    near.data_to_send(100, 1_416)
    assert near.pending == 1_000_000 - 16_384


def test_small_writes_share_records() -> None:
    near, far = pair()
    for _ in range(1_000):
        near.write(b"x" * 10)
    sent = near.data_to_send(1 << 20, 1_416)
    assert sum(map(len, sent)) == 10_000 + 22
    far.receive_data(b"".join(sent))
    assert far.read() == b"x" * 10_000


def test_each_way_ends_on_its_own() -> None:
    near, far = pair()
    near.end()
    carry(near, far)
    assert (far.ended, near.ended) == (True, False)
    far.write(b"still here")
    far.end()
    assert carry(far, near) == b"still here"
    assert near.ended


def test_nothing_happens_after_an_error() -> None:
    near, _far = pair()
    near.receive_data(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert near.read() == b""
    assert near.error is not None
    near.receive_data(b"more")
    near.write(b"unsent")
    assert (near.read(), near.data_to_send(1_000, 1_416)) == (b"", [])


def test_resumption_is_not_offered() -> None:
    near, far = ALICES.dial(BOB.key), BOBS.accept(ALICE.key)
    near.start()
    far.start()
    carry(near, far)
    carry(far, near)
    carry(near, far)
    tickets = far.data_to_send(1 << 20, 1_416)
    # OpenSSL sends two all the same; without a session in them they are short.
    assert sum(map(len, tickets)) < 200


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 60_000))))
def test_writes_and_rooms_of_any_size_give_the_same_bytes(steps: list[tuple[int, int]]) -> None:
    near, far = pair()
    written, read = bytearray(), bytearray()
    for number, (length, room) in enumerate(steps):
        data = bytes([number % 256]) * length
        if data:
            near.write(data)
        written += data
        for piece in near.data_to_send(room, 1_416):
            far.receive_data(piece)
        while piece := far.read():
            read += piece
    near.end()
    read += carry(near, far)
    assert (bytes(read), far.ended, near.pending) == (bytes(written), True, 0)


@given(st.binary(max_size=2_000), st.booleans())
def test_garbage_is_an_error_and_never_an_exception(data: bytes, is_open: bool) -> None:
    if is_open:
        near, _ = pair()
    else:
        near = BOBS.accept(ALICE.key)
        near.start()
    near.receive_data(data)
    if near.established:
        assert near.read() == b""
    assert near.established == is_open
