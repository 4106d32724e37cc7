"""How long the system says that a round trip on a link takes."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

from pinecone_transport.links.interfaces import Link

# Linux: tcpi_rtt of struct tcp_info, microseconds, behind eight bytes and fifteen numbers.
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
_RTT: Final = struct.Struct("=I")
_RTT_AT: Final = 68


def round_trip(link: Link) -> float | None:
    """Return the round trip that TCP has measured, seconds; None for links of other kinds and on other systems."""
    handle = _socket_of(link)
    if _TCP_INFO is None or handle is None or handle.family == socket.AF_UNIX:
        return None
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _RTT_AT + _RTT.size)
        (microseconds,) = _RTT.unpack_from(info, _RTT_AT)
    except (OSError, struct.error):
        return None  # closed meanwhile, or not Linux
    return float(microseconds) / 1_000_000


def _socket_of(link: Link) -> socket.socket | None:
    transport: Any = getattr(link, "transport", None)
    while transport is not None:
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        if isinstance(handle, socket.socket):
            return handle
        transport = getattr(transport, "transport", None)  # below TLS
    return None
