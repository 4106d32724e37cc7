"""Verify keys of the overlay come from names, and no one is asked about them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json, verify_signed_json
from twisted.internet.defer import ensureDeferred

from pinecone_transport.identity import Identity
from synapse_module.keys import VALID_FOR_EVER, FencedKeyFetcher, NameKeyFetcher

IDENTITY = Identity(b"\x07" * 32)
NAME = IDENTITY.server_name
OF_DENDRITE = "ed25519:dendrite-demo-yggdrasil"


class AskingFetcher:
    """Stands in for a fetcher of Synapse's that asks the network."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_shut_down = False

    async def get_keys(self, server_name: str, key_ids: list[str], minimum_valid_until_ts: int) -> dict[str, Any]:
        self.asked.append(server_name)
        return {"ed25519:a": f"{server_name} {key_ids} {minimum_valid_until_ts}"}

    def shutdown(self) -> None:
        self.is_shut_down = True


def result_of(coroutine: Any) -> Any:
    return ensureDeferred(coroutine).result


def test_the_name_verifies_what_its_key_has_signed() -> None:
    keys = result_of(NameKeyFetcher().get_keys(NAME, [OF_DENDRITE, "ed25519:a_old"], 5))
    assert set(keys) == {OF_DENDRITE, "ed25519:a_old"}
    seed = base64.b64encode(IDENTITY.seed).decode()
    signed = sign_json({"a": 1}, NAME, decode_signing_key_base64("ed25519", "dendrite-demo-yggdrasil", seed))
    verify_signed_json(signed, NAME, keys[OF_DENDRITE].verify_key)
    assert keys[OF_DENDRITE].valid_until_ts == VALID_FOR_EVER


def test_other_algorithms_have_no_key() -> None:
    assert result_of(NameKeyFetcher().get_keys(NAME, ["rsa:1"], 0)) == {}


@pytest.mark.parametrize("name", ["example.org", NAME.upper(), f"{NAME}:8448"])
def test_only_keys_are_keys(name: str) -> None:
    assert result_of(NameKeyFetcher().get_keys(name, ["ed25519:a"], 0)) == {}


@pytest.mark.parametrize("name", [NAME, NAME.upper(), f"{NAME}:8448", f"{NAME.upper()}:8448"])
def test_the_fence_keeps_everything_like_a_key_from_the_network(name: str) -> None:
    asking = AskingFetcher()
    assert result_of(FencedKeyFetcher(asking).get_keys(name, ["ed25519:a"], 0)) == {}
    assert asking.asked == []


def test_the_fence_lets_ordinary_names_through_unchanged() -> None:
    keys = result_of(FencedKeyFetcher(AskingFetcher()).get_keys("example.org", ["ed25519:a"], 7))
    assert keys == {"ed25519:a": "example.org ['ed25519:a'] 7"}


def test_shutting_down_reaches_the_fenced() -> None:
    asking = AskingFetcher()
    for fetcher in (NameKeyFetcher(), FencedKeyFetcher(asking)):
        fetcher.shutdown()
    assert asking.is_shut_down
