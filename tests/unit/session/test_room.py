"""How much may be written to a stream, and in which pieces."""

import random

import pytest

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.session.utp import UtpSocket

KEY = bytes(32)


def test_what_there_is_room_for_may_be_written_in_pieces() -> None:
    socket = UtpSocket(random=random.Random(1))
    stream = socket.connect(KEY, 0.0)
    room, segment = socket.room(stream), socket.segment(stream)

    socket.write(stream, bytes(room - segment // 2), 0.0)
    assert socket.room(stream) == 0  # less than a packet is left
    socket.write(stream, bytes(segment // 2), 0.0)

    with pytest.raises(LocalProtocolError):
        socket.write(stream, b"x", 0.0)


def test_nothing_is_written_behind_the_end() -> None:
    socket = UtpSocket(random=random.Random(1))
    stream = socket.connect(KEY, 0.0)
    socket.close(stream, 0.0)

    with pytest.raises(LocalProtocolError):
        socket.write(stream, b"x", 0.0)
