"""Values to bytes and back; no state. Decoders raise a `RemoteProtocolError`, encoders a `LocalProtocolError`."""

from pinecone_transport.wire.announcement import Announcement, HopSignature, decode_announcement
from pinecone_transport.wire.bluetooth import (
    KEY_PREFIX_LENGTH,
    PSM_CHARACTERISTIC_UUID,
    SERVICE_UUID,
    decode_psm_characteristic,
    encode_psm_characteristic,
)
from pinecone_transport.wire.bootstrap import Bootstrap, decode_bootstrap, sign_bootstrap
from pinecone_transport.wire.coordinates import (
    Coordinates,
    common_prefix,
    decode_coordinates,
    distance,
    encode_coordinates,
)
from pinecone_transport.wire.frame import (
    BOOTSTRAP,
    HEADER_LENGTH,
    KEEPALIVE,
    MAX_FRAME_LENGTH,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    WAKEUP_BROADCAST,
    Frame,
    decode_frame,
    encode_frame,
    frame_length,
)
from pinecone_transport.wire.handshake import HANDSHAKE_LENGTH, decode_handshake, encode_handshake
from pinecone_transport.wire.lan_announcement import (
    LAN_ANNOUNCEMENT_LENGTH,
    LanAnnouncement,
    decode_lan_announcement,
    encode_lan_announcement,
)
from pinecone_transport.wire.link_proof import (
    ANSWER,
    CHALLENGE,
    LINK_PROOF,
    decode_link_proof,
    encode_link_proof,
    link_proof_message,
)
from pinecone_transport.wire.peer_type import PeerType
from pinecone_transport.wire.varu64 import MAX_VARU64, decode_varu64, encode_varu64
from pinecone_transport.wire.watermark import FULL_MASK, NO_WATERMARK, Watermark

__all__ = [
    "ANSWER",
    "BOOTSTRAP",
    "CHALLENGE",
    "FULL_MASK",
    "HANDSHAKE_LENGTH",
    "HEADER_LENGTH",
    "KEEPALIVE",
    "KEY_PREFIX_LENGTH",
    "LAN_ANNOUNCEMENT_LENGTH",
    "LINK_PROOF",
    "MAX_FRAME_LENGTH",
    "MAX_VARU64",
    "NO_WATERMARK",
    "PSM_CHARACTERISTIC_UUID",
    "SERVICE_UUID",
    "TRAFFIC",
    "TREE_ANNOUNCEMENT",
    "WAKEUP_BROADCAST",
    "Announcement",
    "Bootstrap",
    "Coordinates",
    "Frame",
    "HopSignature",
    "LanAnnouncement",
    "PeerType",
    "Watermark",
    "common_prefix",
    "decode_announcement",
    "decode_bootstrap",
    "decode_coordinates",
    "decode_frame",
    "decode_handshake",
    "decode_lan_announcement",
    "decode_link_proof",
    "decode_psm_characteristic",
    "decode_varu64",
    "distance",
    "encode_coordinates",
    "encode_frame",
    "encode_handshake",
    "encode_lan_announcement",
    "encode_link_proof",
    "encode_psm_characteristic",
    "encode_varu64",
    "frame_length",
    "link_proof_message",
    "sign_bootstrap",
]
