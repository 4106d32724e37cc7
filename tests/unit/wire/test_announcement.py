"""Tree announcements against the golden vectors (§3)."""

from __future__ import annotations

import pytest

from pinecone_transport.errors import AnnouncementError
from pinecone_transport.identity import Identity
from pinecone_transport.wire import Announcement, decode_announcement
from tests.support.vectors import load_vector, named

VECTORS = load_vector("announcements")
PAYLOADS = {case["name"]: bytes.fromhex(case["payload"]) for case in VECTORS["verdicts"]}


@pytest.mark.parametrize("chain", named(VECTORS["chains"]))
def test_signing_hop_by_hop_gives_the_reference_s_bytes(chain) -> None:
    identities = [Identity(bytes.fromhex(seed)) for seed in chain["seeds"]]
    announcement = Announcement(identities[0].key, chain["root_seq"])
    for identity, port, step in zip(identities, chain["ports"], chain["steps"], strict=True):
        announcement = announcement.signed_by(identity, port)
        assert announcement.encode().hex() == step["payload"]


@pytest.mark.parametrize("chain", named(VECTORS["chains"]))
def test_each_receiver_reads_keys_and_coordinates(chain) -> None:
    for step in chain["steps"]:
        payload = bytes.fromhex(step["payload"])
        announcement = decode_announcement(payload)
        announcement.check_sane(bytes.fromhex(step["from"]))
        assert [signer.hex() for signer in announcement.signers] == chain["keys"][: step["hops"]]
        assert announcement.root_key.hex() == chain["keys"][0]
        assert announcement.root_sequence == chain["root_seq"]
        assert list(announcement.coordinates) == step["receiver_coords"]
        assert list(announcement.sender_coordinates) == step["sender_coords"]
        assert announcement.encode() == payload


@pytest.mark.parametrize("case", named(VECTORS["verdicts"]))
def test_signatures_come_first_and_then_sanity_as_in_the_reference(case) -> None:
    payload, peer = bytes.fromhex(case["payload"]), bytes.fromhex(case["from"])
    if case["verdict"] in ("too short", "bad signature"):
        with pytest.raises(AnnouncementError, match=case["verdict"]):
            decode_announcement(payload)
        return
    announcement = decode_announcement(payload)
    if case["verdict"] == "ok":
        announcement.check_sane(peer)
        assert len(announcement.signatures) == case["hops_read"]
    else:
        reason = {"no signatures": "without signatures", "zero hop": "hop of zero"}.get(
            case["verdict"], case["verdict"]
        )
        with pytest.raises(AnnouncementError, match=reason):
            announcement.check_sane(peer)


@pytest.mark.parametrize("case", VECTORS["contains"], ids=lambda case: case["key"][:8])
def test_the_signers_contain_the_keys_that_the_reference_finds(case) -> None:
    announcement = decode_announcement(PAYLOADS[case["payload_of"]])
    assert (bytes.fromhex(case["key"]) in announcement.signers) is case["contains_key"]
