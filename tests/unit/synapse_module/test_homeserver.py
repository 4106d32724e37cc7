"""What `write_homeserver` writes is what Synapse and its operator need."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from synapse.config.homeserver import HomeServerConfig

from pinecone_transport.identity import Identity
from pinecone_transport.links import HostPort
from synapse_module import PineconeModule
from synapse_module.homeserver import ROOM_VERSIONS, HomeserverExistsError, write_homeserver

IDENTITY = Identity(b"\x01" * 32)


def test_synapse_loads_what_was_written_as_it_is(tmp_path: Path) -> None:
    homeserver = write_homeserver(tmp_path / "a", client_port=8008, listen=["127.0.0.1:0"], identity=IDENTITY)

    config = HomeServerConfig.load_config("", ["-c", str(homeserver.config)])

    assert config.server.server_name == IDENTITY.server_name
    assert bytes(config.key.signing_key[0]) == IDENTITY.seed
    assert config.key.signing_key[0].version == "dendrite-demo-yggdrasil"
    assert config.key.key_servers == []
    assert config.server.public_baseurl == "http://localhost:8008/"
    assert [resource.names for resource in config.server.listeners[0].http_options.resources] == [["client"]]
    assert config.server.allow_public_rooms_over_federation is True
    assert config.roomdirectory.is_publishing_room_allowed("@a:b", "!r:b", []) is True
    assert config.federation.client_timeout_ms == 180_000
    assert config.federation.destination_min_retry_interval_ms == 30_000
    assert config.federation.destination_max_retry_interval_ms == 3_600_000
    assert config.ratelimiting.rc_federation.sleep_limit == 100
    assert config.metrics.report_stats is False
    assert config.server.presence_enabled is False
    ((module, options),) = config.modules.loaded_modules
    assert module is PineconeModule
    assert options.listen == (HostPort("127.0.0.1", 0),)
    assert options.control_socket == str(tmp_path / "a" / "pinecone.sock")


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
        tmp_path, client_port=8008, peers=["192.0.2.1:65432"], settings={"password_config": {"enabled": False}}
    )
    config = yaml.safe_load(homeserver.config.read_text())
    assert config["modules"][0]["config"] == {
        "listen": [],
        "peers": ["192.0.2.1:65432"],
        "sources": {"lan": {"enabled": True}},
        "profiles": True,
        "control_socket": str(tmp_path / "pinecone.sock"),
    }
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


def test_a_path_that_is_too_long_for_a_socket_does_without(tmp_path: Path) -> None:
    homeserver = write_homeserver(tmp_path / ("a" * 100), client_port=8008)
    assert yaml.safe_load(homeserver.config.read_text())["modules"][0]["config"]["control_socket"] is None


def test_new_rooms_are_of_the_version_that_was_asked_for_or_of_synapses_own(tmp_path: Path) -> None:
    versions = (None, *ROOM_VERSIONS)
    written = [
        write_homeserver(tmp_path / str(version), client_port=8008, room_version=version).config for version in versions
    ]
    loaded = [HomeServerConfig.load_config("", ["-c", str(path)]).server.default_room_version for path in written]
    assert [version.identifier for version in loaded[1:]] == ["10", "11", "12"]
    assert "default_room_version" not in yaml.safe_load(written[0].read_text())
