"""What a node tells its local network by multicast: its key, and the TCP port that it takes peerings on (§9)."""

from __future__ import annotations

from typing import Final, NamedTuple

from pinecone_transport.errors import AnnouncementError, LocalProtocolError
from pinecone_transport.identity import KEY_LENGTH, PublicKey

LAN_ANNOUNCEMENT_LENGTH: Final = KEY_LENGTH + 2
"""34. A shorter datagram ends a Go node's discovery on the interface it comes by, so none may ever be sent."""


class LanAnnouncement(NamedTuple):
    """One datagram's content: what somebody says, proved by nothing.

    Attributes:
        key: The node's, 32 bytes.
        port: 1 to 65535.
    """

    key: PublicKey
    port: int


def encode_lan_announcement(key: PublicKey, port: int) -> bytes:
    """Return the datagram, 34 bytes.

    Raises:
        LocalProtocolError: The key does not have 32 bytes, or there is no such port.

    Source: §9.
    """
    if len(key) != KEY_LENGTH or not 1 <= port <= 0xFFFF:
        raise LocalProtocolError("a LAN announcement has a key of 32 bytes and a port from 1 to 65535")
    return key + port.to_bytes(2, "big")


def decode_lan_announcement(datagram: bytes) -> LanAnnouncement:
    """Return what the first 34 bytes say; as in the reference, what follows them is ignored.

    Raises:
        AnnouncementError: It is shorter, or names port 0, on which nobody can listen.

    Source: §9.
    """
    if len(datagram) < LAN_ANNOUNCEMENT_LENGTH:
        raise AnnouncementError("LAN announcement too short", "§9")
    port = int.from_bytes(datagram[KEY_LENGTH:LAN_ANNOUNCEMENT_LENGTH], "big")
    if not port:
        raise AnnouncementError("LAN announcement with port 0", "§9")
    return LanAnnouncement(bytes(datagram[:KEY_LENGTH]), port)
