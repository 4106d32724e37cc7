"""Plaintext out of a TLS connection: a fast path around pyOpenSSL, and its plain twin.

pyOpenSSL's ``recv`` gives one record, 16 KiB, in fresh bytes, which it fills from a buffer that it has made for that.
The fast path has OpenSSL decrypt many records one behind the other into one buffer that all connections share, and
copies once. It uses members of pyOpenSSL that are private, so it is only taken where these are what they were when
this was written; `read_plainly` does the same by the public ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL

RECORD: Final = 16_384
"""Plaintext of the largest TLS record (RFC 8446 §5.1)."""

Reader = Callable[[SSL.Connection, int], tuple[bytes, SSL.Error | None]]
"""Returns plaintext, with that of the record that reaches the limit the last, and why that is less: pyOpenSSL's error.
``WantReadError`` is for nothing more now, ``ZeroReturnError`` for the end."""

_SIGNATURES: Final = {"SSL_read": "int(*)(SSL *, void *, int)", "SSL_get_error": "int(*)(SSL *, int)"}
_NOTHING_NOW: Final = SSL.WantReadError()


def read_plainly(connection: SSL.Connection, limit: int) -> tuple[bytes, SSL.Error | None]:
    """Read by the public members: see `Reader`."""
    pieces: list[bytes] = []
    size = 0
    error: SSL.Error | None = None
    while size < limit and error is None:
        try:
            pieces.append(connection.recv(RECORD))
        except SSL.Error as raised:
            error = raised
        else:
            size += len(pieces[-1])
    return b"".join(pieces), error


def fast_reader(longest: int) -> Reader | None:
    """Return what does the same by private members, for limits up to ``longest``; None where they have changed.

    All that it returns read into one buffer, so they belong to one thread.
    """
    lib: Any = getattr(SSL, "_lib", None)
    ffi: Any = getattr(SSL, "_ffi", None)
    try:
        if any(ffi.typeof(getattr(lib, name)).cname != signature for name, signature in _SIGNATURES.items()):
            return None
        read = _read_into(lib, ffi, longest)
        trial = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        trial.set_connect_state()
        _, error = read(trial, 1)
    except (AttributeError, TypeError):
        return None
    return read if isinstance(error, SSL.WantReadError) else None


def _read_into(lib: Any, ffi: Any, longest: int) -> Reader:
    """Return a reader with a buffer of its own. ``lib`` and ``ffi`` are pyOpenSSL's, which have no types."""
    ssl_read, get_error, want_read = lib.SSL_read, lib.SSL_get_error, lib.SSL_ERROR_WANT_READ
    buffer = ffi.new("char[]", longest + RECORD)
    view = memoryview(ffi.buffer(buffer))

    def read(connection: SSL.Connection, limit: int) -> tuple[bytes, SSL.Error | None]:
        ssl = connection._ssl
        size = 0
        while size < limit:
            count = ssl_read(ssl, buffer + size, RECORD)
            if count <= 0:
                # That there is no more is found out each time that something comes, and to raise it takes long.
                nothing_now = get_error(ssl, count) == want_read
                return bytes(view[:size]), _NOTHING_NOW if nothing_now else _raised(connection, count)
            size += count
        return bytes(view[:size]), None

    return read


def _raised(connection: SSL.Connection, result: int) -> SSL.Error | None:
    """Return what pyOpenSSL makes of a result that is no success."""
    error: SSL.Error | None = None
    try:
        connection._raise_ssl_error(connection._ssl, result)
    except SSL.Error as raised:
        error = raised
    return error
