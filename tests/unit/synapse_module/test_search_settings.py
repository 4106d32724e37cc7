"""Where the administrator keeps users to himself, no other server finds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synapse.config.homeserver import HomeServerConfig
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.testing import MemoryReactorClock

from synapse_module.homeserver import write_homeserver
from synapse_module.synapse_internals import FoundUser, SynapseInternals

PEER = "cd" * 32


class Parts:
    """Something that has what it is told to have."""

    def __init__(self, **parts: object) -> None:
        self.__dict__.update(parts)


class Directory:
    """A user directory that finds the same whatever is looked for, and notes what that was."""

    def __init__(self, *user_ids: str) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self._user_ids = user_ids

    async def search_users(self, user_id: str, search_term: str, limit: int) -> dict[str, Any]:
        self.asked.append((user_id, search_term, limit))
        users = [{"user_id": user_id, "display_name": None, "avatar_url": None} for user_id in self._user_ids]
        return {"limited": False, "results": users}


def search(directory: Path, settings: dict[str, object]) -> tuple[list[FoundUser], Directory, str]:
    """Have a peer search a homeserver with these settings; return what it found, who was asked, and the name."""
    written = write_homeserver(directory, client_port=8008, settings=settings)
    config = HomeServerConfig.load_config("", ["-c", str(written.config)])
    name = written.server_name
    users = Directory(f"@alice:{name}", f"@daisy:{PEER}", f"@mallory:x{name}", f"@bob:{name}:8448")
    clock = MemoryReactorClock()
    hs = Parts(
        signing_key=config.key.signing_key[0],
        hostname=name,
        config=config,
        version_string="Synapse",
        get_federation_http_client=lambda: Parts(agent=None),
        get_keyring=lambda: Parts(_key_fetchers=[]),
        get_datastores=lambda: Parts(main=None),
        get_clock=lambda: Parts(time=clock.seconds, looping_call=lambda *_: None),
        get_user_directory_handler=lambda: users,
    )
    found: Deferred[list[FoundUser]] = ensureDeferred(
        SynapseInternals(Parts(_hs=hs)).search_own_users(PEER, "a word", 7)
    )
    assert found.called
    return found.result, users, name


def test_own_users_are_found_among_all_that_the_directory_has(tmp_path: Path) -> None:
    found, users, name = search(tmp_path, {})
    assert found == [FoundUser("alice", "", "")]
    assert users.asked == [(f"@:{PEER}", f"{name} a word", 7)]


@pytest.mark.parametrize(
    "settings",
    [
        {"user_directory": {"enabled": False}},
        {"allow_profile_lookup_over_federation": False},
        {"require_auth_for_profile_requests": True, "limit_profile_requests_to_users_who_share_rooms": True},
    ],
    ids=["directory", "federation", "shared rooms"],
)
def test_a_closed_directory_is_not_even_asked(tmp_path: Path, settings: dict[str, object]) -> None:
    found, users, _ = search(tmp_path, settings)
    assert found == []
    assert users.asked == []
