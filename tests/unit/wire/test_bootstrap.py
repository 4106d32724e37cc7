"""Payloads of bootstraps and wakeups against the golden vectors (§3)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import Identity
from pinecone_transport.wire import (
    BOOTSTRAP,
    WAKEUP_BROADCAST,
    decode_bootstrap,
    decode_frame,
    encode_varu64,
    sign_bootstrap,
)
from tests.support.vectors import load_vector

BOOTSTRAPS = load_vector("bootstraps")["valid"]
WAKEUPS = load_vector("wakeups")["valid"]


@pytest.mark.parametrize("case", BOOTSTRAPS + WAKEUPS, ids=lambda case: f"{case['frame'][10:12]}-{case['key'][:8]}")
def test_a_payload_has_the_reference_s_bytes_and_they_read_back(case) -> None:
    identity = Identity(bytes.fromhex(case["seed"]))
    root_key, root_sequence = bytes.fromhex(case["root"]["key"]), case["root"]["seq"]
    made = sign_bootstrap(identity, case["seq"], root_key, root_sequence)
    assert made.signed_bytes().hex() == case["signed_bytes"]
    assert made.encode().hex() == case["payload"]
    read = decode_bootstrap(bytes.fromhex(case["payload"]))
    assert read == made
    assert read.verify(identity.key)


@pytest.mark.parametrize("case", BOOTSTRAPS, ids=lambda case: case["key"][:8])
def test_a_bootstrap_frame_names_its_signer_as_destination(case) -> None:
    frame = decode_frame(bytes.fromhex(case["frame"]))
    assert frame.type == BOOTSTRAP
    assert frame.destination_key.hex() == case["key"]
    assert frame.payload.hex() == case["payload"]


@pytest.mark.parametrize("case", WAKEUPS, ids=lambda case: case["key"][:8])
def test_a_wakeup_frame_names_its_signer_as_source(case) -> None:
    frame = decode_frame(bytes.fromhex(case["frame"]))
    assert frame.type == WAKEUP_BROADCAST
    assert frame.source_key.hex() == case["key"]
    assert frame.payload.hex() == case["payload"]


def test_what_follows_the_signature_is_left_alone() -> None:
    payload = bytes.fromhex(BOOTSTRAPS[0]["payload"])
    assert decode_bootstrap(payload + b"tail") == decode_bootstrap(payload)


def test_the_signature_covers_the_shortest_form_of_the_numbers() -> None:
    identity = Identity(b"\x05" * 32)
    made = sign_bootstrap(identity, 200, identity.key, 3)
    longer = b"\x80" + encode_varu64(200) + identity.key + b"\x80\x03" + made.signature
    assert decode_bootstrap(longer) == made
    assert decode_bootstrap(longer).verify(identity.key)


@pytest.mark.parametrize("change", [{"sequence": 2}, {"root_sequence": 9}, {"root_key": b"\x01" * 32}])
def test_a_changed_payload_does_not_verify(change) -> None:
    identity = Identity(b"\x05" * 32)
    made = sign_bootstrap(identity, 1, identity.key, 3)
    assert not made._replace(**change).verify(identity.key)
    assert not made.verify(Identity(b"\x06" * 32).key)


def test_a_payload_below_98_bytes_or_cut_off_in_its_signature_is_refused() -> None:
    identity = Identity(b"\x05" * 32)
    shortest = sign_bootstrap(identity, 1, identity.key, 3).encode()
    assert len(shortest) == 98
    with pytest.raises(AnnouncementError):
        decode_bootstrap(shortest[:-1])
    longer = sign_bootstrap(identity, 1 << 40, identity.key, 3).encode()
    with pytest.raises(AnnouncementError):
        decode_bootstrap(longer[:98])


@pytest.mark.parametrize("name", ["bootstraps", "wakeups"])
def test_the_payloads_of_all_verdicts_read_or_are_refused_as_too_short(name: str) -> None:
    for case in load_vector(name)["verdicts"]:
        payload = bytes.fromhex(case["payload"])
        if len(payload) < 98:
            with pytest.raises(AnnouncementError):
                decode_bootstrap(payload)
        elif case["verdict"] == "accept":
            assert decode_bootstrap(payload).verify(bytes.fromhex(case["key"]))
