"""What is multicast on local networks (§9)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import AnnouncementError, LocalProtocolError
from pinecone_transport.wire import LAN_ANNOUNCEMENT_LENGTH, decode_lan_announcement, encode_lan_announcement

KEY = bytes(range(32))


def test_an_announcement_is_the_key_and_the_port_in_34_bytes() -> None:
    assert encode_lan_announcement(KEY, 0x1234) == KEY + b"\x12\x34"
    assert decode_lan_announcement(KEY + b"\x12\x34") == (KEY, 0x1234)
    assert LAN_ANNOUNCEMENT_LENGTH == 34


def test_bytes_behind_the_announcement_are_ignored_as_in_the_reference() -> None:
    assert decode_lan_announcement(KEY + b"\xff\xff" + bytes(478)) == (KEY, 0xFFFF)


@pytest.mark.parametrize("length", [0, 1, 32, 33])
def test_a_short_datagram_is_no_announcement(length: int) -> None:
    with pytest.raises(AnnouncementError, match=r"too short \(§9\)"):
        decode_lan_announcement(bytes(range(1, 35))[:length])


def test_nobody_listens_on_port_0() -> None:
    with pytest.raises(AnnouncementError, match="port 0"):
        decode_lan_announcement(KEY + b"\0\0")


@pytest.mark.parametrize(("key", "port"), [(KEY[1:], 1), (KEY + b"\0", 1), (KEY, 0), (KEY, 65536), (KEY, -1)])
def test_what_would_harm_a_go_node_is_never_made(key: bytes, port: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_lan_announcement(key, port)
