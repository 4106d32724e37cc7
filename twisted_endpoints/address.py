"""The address of an end of an overlay stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from pinecone_transport.identity import PublicKey


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class PineconeAddress:
    """A node of the overlay. Of a peer, the key is the one that TLS has authenticated.

    Args:
        key: The node's public key, 32 bytes.
    """

    key: PublicKey

    type: ClassVar[str] = "PINECONE"
    port: ClassVar[int] = 80
    """The overlay has no ports; Twisted Web and its users put this one into URLs, where it does not show."""

    @property
    def server_name(self) -> str:
        """The key as 64 lower-case hex digits."""
        return self.key.hex()

    @property
    def host(self) -> str:
        """The server name, where Twisted's Internet addresses have the IP address: access logs show it."""
        return self.key.hex()

    def __str__(self) -> str:
        return f"pinecone:{self.key.hex()}"
