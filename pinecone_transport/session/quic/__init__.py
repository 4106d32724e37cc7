"""QUIC (RFC 9000) with public keys for addresses: packets and their sender's key go in below, streams come out above.

The TLS in it authenticates the far end's key, so what comes out is for no one else's eyes, and needs no TLS around it.
"""

from pinecone_transport.session.quic.limits import QuicLimits
from pinecone_transport.session.quic.socket import MATRIX, QuicSocket

__all__ = ["MATRIX", "QuicLimits", "QuicSocket"]
