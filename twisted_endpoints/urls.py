"""URLs whose host is a key, for clients that parse them.

A server name has 64 characters and a label of a DNS name at most 63, so parsers that mind (treq's, by way of IDNA)
refuse it as text. `PineconeAgent` itself takes any text.
"""

from __future__ import annotations

from typing import final

from hyperlink import URL, DecodedURL

from pinecone_transport.identity import PublicKey
from twisted_endpoints.client import key_of


@final
class _KeyURL(URL):
    """A URL that leaves its host alone when it is made ASCII: it is ASCII."""

    def to_uri(self) -> URL:
        return URL.to_uri(self.replace(host="key")).replace(host=self.host)


def server_url(server: PublicKey | str, path: str = "/") -> URL:
    """Return a URL for treq.

    Args:
        server: The server's key (32 bytes) or its name (64 lower-case hex digits).
        path: What follows the host, query included, as in ``/_matrix/key/v2/server?x=y``.

    Raises:
        LocalProtocolError: The server is neither.
    """
    relative = DecodedURL.from_text(path).encoded_url
    return _KeyURL("http", key_of(server).hex(), relative.path, relative.query)
