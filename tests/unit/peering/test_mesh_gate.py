"""The gate of a closed mesh (§11)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import HandshakeError, LocalProtocolError
from pinecone_transport.peering.mesh_gate import GATE_LENGTH, NONCE_LENGTH, MeshGate, mesh_key
from pinecone_transport.wire import encode_handshake
from tests.support.frames import identity

KEY = bytes(31) + b"k"
OTHER_KEY = bytes(31) + b"o"


def nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_LENGTH, "big")


def exchange(dialler: MeshGate, listener: MeshGate) -> None:
    """Carry bytes between two gates until neither has more to say."""
    while True:
        down, up = dialler.data_to_send(), listener.data_to_send()
        if not down and not up:
            return
        assert dialler.receive_data(up) == len(up)
        assert listener.receive_data(down) == len(down)


def test_two_ends_with_the_same_secret_pass() -> None:
    dialler, listener = MeshGate(KEY, nonce(1), outbound=True), MeshGate(KEY, nonce(2), outbound=False)
    exchange(dialler, listener)
    assert dialler.passed
    assert listener.passed


@pytest.mark.parametrize("size", [1, 7, 31, 32, 33, 63])
def test_bytes_may_come_in_pieces_of_any_size(size) -> None:
    dialler, listener = MeshGate(KEY, nonce(1), outbound=True), MeshGate(KEY, nonce(2), outbound=False)
    for _ in range(3):
        for sender, receiver in ((dialler, listener), (listener, dialler)):
            data = sender.data_to_send()
            for start in range(0, len(data), size):
                receiver.receive_data(data[start : start + size])
    assert dialler.passed
    assert listener.passed


def test_what_follows_the_gate_is_left_to_the_peering() -> None:
    dialler, listener = MeshGate(KEY, nonce(1), outbound=True), MeshGate(KEY, nonce(2), outbound=False)
    dialler.receive_data(listener.data_to_send())
    listener.receive_data(dialler.data_to_send())
    last = listener.data_to_send()
    assert dialler.receive_data(last + encode_handshake(identity(2))) == len(last)
    assert dialler.receive_data(b"more") == 0


def test_a_dialler_with_another_secret_learns_nothing_but_a_nonce() -> None:
    dialler, listener = MeshGate(OTHER_KEY, nonce(1), outbound=True), MeshGate(KEY, nonce(2), outbound=False)
    said = listener.data_to_send()
    assert said == nonce(2)
    dialler.receive_data(said)
    with pytest.raises(HandshakeError, match="secret of this mesh"):
        listener.receive_data(dialler.data_to_send())
    assert listener.data_to_send() == b""
    assert not listener.passed


def test_a_listener_with_another_secret_is_refused() -> None:
    dialler, listener = MeshGate(KEY, nonce(1), outbound=True), MeshGate(OTHER_KEY, nonce(2), outbound=False)
    dialler.receive_data(listener.data_to_send())
    with pytest.raises(HandshakeError, match="secret of this mesh"):
        dialler.receive_data(bytes(32))
    assert not dialler.passed


def test_a_recorded_exchange_cannot_be_played_back() -> None:
    dialler, listener = MeshGate(KEY, nonce(1), outbound=True), MeshGate(KEY, nonce(2), outbound=False)
    first = dialler.data_to_send()
    dialler.receive_data(listener.data_to_send())
    recorded = first + dialler.data_to_send()
    again = MeshGate(KEY, nonce(3), outbound=False)
    again.data_to_send()
    with pytest.raises(HandshakeError):
        again.receive_data(recorded)


def test_a_proof_cannot_be_reflected() -> None:
    # Who dials back what a dialler says gets that dialler's proof for his own, made for the other role.
    dialler = MeshGate(KEY, nonce(1), outbound=True)
    mirror = dialler.data_to_send()
    dialler.receive_data(mirror)
    with pytest.raises(HandshakeError):
        dialler.receive_data(dialler.data_to_send())


def test_a_node_of_the_old_kind_is_refused() -> None:
    listener = MeshGate(KEY, nonce(2), outbound=False)
    assert len(encode_handshake(identity(1))) > GATE_LENGTH
    with pytest.raises(HandshakeError):
        listener.receive_data(encode_handshake(identity(1)))


def test_the_key_follows_from_the_secret_alone() -> None:
    assert mesh_key(b"sixteen bytes or more") == mesh_key(b"sixteen bytes or more")
    assert mesh_key(b"sixteen bytes or more") != mesh_key(b"sixteen bytes or less")
    assert len(mesh_key(b"sixteen bytes or more")) == 32


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="at least 16 bytes"):
        mesh_key(b"fifteen bytes..")
