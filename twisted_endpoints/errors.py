"""Errors of the endpoints: Twisted's own wherever it has one, and the one place where the core's become Twisted's."""

from __future__ import annotations

from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)

from pinecone_transport.errors import StreamResetError, StreamTimeoutError, UnreachableError


class _OverlayConnectError(ConnectError):
    """Base of our own errors: Twisted's say what their class's docstring says, these only what happened."""

    def __init__(self, reason: str) -> None:
        ConnectError.__init__(self, string=reason)

    def __str__(self) -> str:
        return str(self.args[0])


class WrongPeerKey(_OverlayConnectError):  # noqa: N818  # named as Twisted's own are
    """Somebody answered who has not shown the key that was dialled (§8)."""


class TlsFailed(_OverlayConnectError):  # noqa: N818  # named as Twisted's own are
    """What came is not TLS 1.3 as it should be (§8)."""


class NoSuchNode(_OverlayConnectError):  # noqa: N818  # named as Twisted's own are
    """No node of that name runs in this reactor: see `twisted_endpoints.register_node`."""


class NotAServerName(_OverlayConnectError):  # noqa: N818  # named as Twisted's own are
    """A host that no node of the overlay can have."""

    def __init__(self, host: bytes) -> None:
        super().__init__(
            f"a server on the Pinecone overlay is named by 64 lower-case hex digits, without a port: {host!r} is not"
        )


_WHILE_CONNECTING: dict[type[Exception], type[ConnectError]] = {
    UnreachableError: NoRouteError,
    StreamTimeoutError: TimeoutError,
    StreamResetError: ConnectionRefusedError,
}


def connect_error(error: Exception | None) -> Exception:
    """Return what a dial fails with, for what ended its stream before TLS was done; None: its end."""
    if error is None:
        return ConnectionRefusedError(string="the far end closed the stream during the handshake")
    if isinstance(error, ConnectError):
        return error
    return _WHILE_CONNECTING.get(type(error), ConnectError)(string=str(error))


def connection_error(error: Exception | None) -> Exception:
    """Return what ``connectionLost`` is told, for what ended an open connection; None: an end without TLS's."""
    return ConnectionLost("the stream ended without TLS saying so" if error is None else str(error))
