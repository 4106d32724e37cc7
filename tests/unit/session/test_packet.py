"""The µTP codec, held to the packets of Go nodes."""

import pytest

from pinecone_transport.errors import UtpError
from pinecone_transport.session.utp import (
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
from tests.support.vectors import load_vector, named

VECTORS = load_vector("utp_packets")
TYPES = {"data": ST_DATA, "fin": ST_FIN, "state": ST_STATE, "reset": ST_RESET, "syn": ST_SYN}


def packet_of(fields: dict) -> UtpPacket:
    """Return the packet whose fields a vector gives."""
    return UtpPacket(
        TYPES[fields["type"]],
        fields["conn_id"],
        fields["timestamp"],
        fields["timestamp_diff"],
        fields["window"],
        fields["seq"],
        fields["ack"],
        tuple((extension["type"], bytes.fromhex(extension["hex"])) for extension in fields["extensions"]),
        bytes.fromhex(fields.get("payload", "")),
    )


def same(a: UtpPacket, b: UtpPacket) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in UtpPacket.__slots__)


@pytest.mark.parametrize("case", named(VECTORS["headers"]))
def test_headers_are_read_and_written_as_the_reference_does(case: dict) -> None:
    data = bytes.fromhex(case["hex"])
    if case["result"] != "ok":
        with pytest.raises(UtpError):
            decode_packet(data)
        return
    packet = packet_of(case["fields"])
    assert same(decode_packet(data), packet)
    assert encode_packet(packet) == data
    assert len(data) - len(packet.payload) == case["header_length"]
    assert len(packet.payload) == case["fields"]["payload_length"]
    assert case["fields"]["version"] == data[0] & 0x0F


@pytest.mark.parametrize("case", named(VECTORS["dialogues"]))
def test_every_packet_of_the_dialogues_is_read_and_written(case: dict) -> None:
    for recorded in case["packets"]:
        data = bytes.fromhex(recorded["hex"])
        packet = decode_packet(data)
        assert encode_packet(packet) == data
        fields = recorded["fields"]
        packet.payload = b""
        assert same(packet, packet_of({**fields, "payload": ""}))


@pytest.mark.parametrize("case", VECTORS["sequence_less"], ids=lambda case: f"{case['a']}-{case['b']}")
def test_sequence_numbers_are_compared_around_the_circle(case: dict) -> None:
    assert sequence_less(case["a"], case["b"]) is case["less"]


def test_the_longest_payload_is_the_references() -> None:
    assert VECTORS["max_payload"] == MAX_PAYLOAD


def test_a_selective_acknowledgement_is_found_behind_other_extensions_and_cut_to_256_packets() -> None:
    packet = UtpPacket(ST_STATE, 1, 2, 3, 4, 5, 6, ((9, b"x"), (1, b"\x01" * 40)))
    assert decode_packet(encode_packet(packet)).selective_ack == b"\x01" * 32
    assert decode_packet(encode_packet(UtpPacket(ST_STATE, 1, 2, 3, 4, 5, 6, ((9, b"x"),)))).selective_ack == b""


def test_a_packet_shows_what_it_is_without_its_bytes() -> None:
    assert repr(UtpPacket(ST_DATA, 1, 2, 3, 4, 5, 6, (), b"secret")) == (
        "<UtpPacket type=0 id=1 seq_nr=5 ack_nr=6 payload=6 bytes>"
    )
