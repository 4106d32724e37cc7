"""What `write_homeserver` writes is what Synapse and its operator need."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from pinecone_transport.identity import Identity
from synapse_module.homeserver import HomeserverExistsError, write_homeserver

IDENTITY = Identity(b"\x01" * 32)


def test_a_name_of_digits_alone_stays_a_string(tmp_path: Path) -> None:
    homeserver = write_homeserver(tmp_path, client_port=8008, identity=IDENTITY)
    line = next(line for line in homeserver.config.read_text().splitlines() if line.startswith("server_name"))
    assert line == f'server_name: "{IDENTITY.server_name}"'


def test_only_the_owner_can_read_the_secrets(tmp_path: Path) -> None:
    homeserver = write_homeserver(tmp_path, client_port=8008)
    for path in (homeserver.signing_key, homeserver.config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_peers_and_further_settings_are_in_the_file(tmp_path: Path) -> None:
    homeserver = write_homeserver(
        tmp_path, client_port=8008, peers=["tcp://192.0.2.1:65432"], settings={"password_config": {"enabled": False}}
    )
    config = yaml.safe_load(homeserver.config.read_text())
    assert config["modules"][0]["config"] == {"listen": [], "peers": ["tcp://192.0.2.1:65432"]}
    assert config["password_config"] == {"enabled": False}


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(HomeserverExistsError, match="not empty"):
        write_homeserver(tmp_path, client_port=8008)
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


def test_two_homeservers_get_two_keys_and_two_secrets(tmp_path: Path) -> None:
    one, two = (write_homeserver(tmp_path / name, client_port=8008) for name in "ab")
    assert one.server_name != two.server_name
    assert one.registration_shared_secret != two.registration_shared_secret
