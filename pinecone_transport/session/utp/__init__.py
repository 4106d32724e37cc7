"""µTP (BEP 29) with public keys for addresses: packets and their sender's key go in below, streams come out above."""

from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.packet import (
    HEADER_LENGTH,
    MAX_PAYLOAD,
    ST_DATA,
    ST_FIN,
    ST_RESET,
    ST_STATE,
    ST_SYN,
    UtpPacket,
    decode_packet,
    encode_packet,
    sequence_less,
)
from pinecone_transport.session.utp.socket import UtpSocket
from pinecone_transport.session.utp.states import TRANSITIONS, Input, State

__all__ = [
    "HEADER_LENGTH",
    "MAX_PAYLOAD",
    "ST_DATA",
    "ST_FIN",
    "ST_RESET",
    "ST_STATE",
    "ST_SYN",
    "TRANSITIONS",
    "Input",
    "State",
    "UtpLimits",
    "UtpPacket",
    "UtpSocket",
    "decode_packet",
    "encode_packet",
    "sequence_less",
]
