"""The verify key of a server on the overlay is its name: no one is ever asked for it."""

from __future__ import annotations

from typing import Final, final

from synapse_module.names import NameKind, kind_of_name
from synapse_module.synapse_internals import FetchKeyResult, KeyFetcher, decode_verify_key_bytes

VALID_FOR_EVER: Final = 2**63
"""Milliseconds since 1970; Synapse uses the same for its own key."""


@final
class NameKeyFetcher:
    """Gives the keys of overlay names, any version of them, from the names alone.

    It has to be the first fetcher: a key once stored, or told by a notary, must not win over the name.
    """

    async def get_keys(
        self, server_name: str, key_ids: list[str], minimum_valid_until_ts: int
    ) -> dict[str, FetchKeyResult]:
        """Return the key for each ed25519 key id, if this is an overlay name; nothing otherwise."""
        if kind_of_name(server_name) is not NameKind.OVERLAY:
            return {}
        key = bytes.fromhex(server_name)
        return {
            key_id: FetchKeyResult(verify_key=decode_verify_key_bytes(key_id, key), valid_until_ts=VALID_FOR_EVER)
            for key_id in key_ids
            if key_id.startswith("ed25519:")
        }

    def shutdown(self) -> None:
        """Nothing is kept."""


@final
class FencedKeyFetcher:
    """One of Synapse's own fetchers, which never hears of a name that is a key or looks like one."""

    def __init__(self, fetcher: KeyFetcher) -> None:
        self._fetcher = fetcher

    async def get_keys(
        self, server_name: str, key_ids: list[str], minimum_valid_until_ts: int
    ) -> dict[str, FetchKeyResult]:
        """Ask the fetcher, for ordinary names only."""
        if kind_of_name(server_name) is not NameKind.ORDINARY:
            return {}
        return await self._fetcher.get_keys(server_name, key_ids, minimum_valid_until_ts)

    def shutdown(self) -> None:
        """Shut the fetcher down."""
        self._fetcher.shutdown()
