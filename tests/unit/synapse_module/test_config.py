"""Options are checked before anything starts, and each homeserver gets the key that it should have."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from synapse.module_api.errors import ConfigError

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import HostPort
from pinecone_transport.node.keyfile import read_key_file
from pinecone_transport.node.lock import lock_key_file
from synapse_module import PineconeModule
from synapse_module.config import node_key

IDENTITY = Identity(b"\x03" * 32)
SIGNING_KEY_FILE = Path("/nowhere/signing.key")


def test_options_are_those_of_a_node_and_the_modules_own() -> None:
    config = PineconeModule.parse_config({"listen": ["0.0.0.0:65432"], "peers": ["[2001:db8::1]:7"]})
    assert config.listen == (HostPort("0.0.0.0", 65432),)
    assert config.peers == (HostPort("2001:db8::1", 7),)
    assert PineconeModule.parse_config({}).listen == ()
    assert [PineconeModule.parse_config(options).profiles for options in ({}, {"profiles": False})] == [True, False]


def test_websockets_are_taken_unless_that_is_turned_off() -> None:
    paths = ({}, {"websocket_path": "/peer"}, {"websocket_path": None})
    assert [PineconeModule.parse_config(options).websocket_path for options in paths] == [
        "/_synapse/pinecone/ws",
        "/peer",
        None,
    ]


def test_an_unknown_option_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there are key_file, listen, .*, profiles, websocket_path\."):
        PineconeModule.parse_config({"profile": True})


@pytest.mark.parametrize(
    ("options", "path", "sentence"),
    [
        ({"peer": []}, ["peer"], "no such option"),
        ({"peers": "192.0.2.1:1"}, ["peers"], "should be a list"),
        ({"peers": ["192.0.2.1:1", "x"]}, ["peers", "1"], "write host:port"),
        ({"listen": [1]}, ["listen", "0"], "should be an address"),
        ({"hop_limiting": "no"}, ["hop_limiting"], "true or false"),
        ({"profiles": "yes"}, ["profiles"], "true or false"),
        ({"websocket_path": "ws"}, ["websocket_path"], "should be a path, such as /_synapse/pinecone/ws, or null"),
        ({"websocket_path": "/ws/"}, ["websocket_path"], "should be a path"),
        ({"websocket_path": True}, ["websocket_path"], "should be a path"),
        ({"max_links": 0}, ["max_links"], "from 1 to 253"),
    ],
)
def test_a_wrong_option_is_one_sentence_with_its_path(
    options: dict[str, object], path: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as raised:
        PineconeModule.parse_config(options)
    assert list(raised.value.path or ()) == path


def test_a_homeserver_named_by_its_key_has_that_key() -> None:
    key = node_key(IDENTITY.server_name, IDENTITY.seed, SIGNING_KEY_FILE, None)
    assert key.is_homeserver
    assert key.identity.seed == IDENTITY.seed
    assert key.path == SIGNING_KEY_FILE


@pytest.mark.parametrize(
    ("server_name", "key_file", "path", "sentence"),
    [
        ("ab" * 32, None, "server_name", f"not the public key of the signing key, which is {IDENTITY.server_name}"),
        (IDENTITY.server_name.upper(), None, "server_name", "lower-case"),
        (f"{IDENTITY.server_name}:8448", None, "server_name", "without a port"),
        (IDENTITY.server_name, "node.key", "key_file", "should not be there"),
        ("example.org", None, "key_file", "is needed"),
        ("example.org", "/nowhere/node.key", "key_file", "cannot be made"),
    ],
)
def test_a_key_that_does_not_fit_is_one_sentence(
    server_name: str, key_file: str | None, path: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        node_key(server_name, IDENTITY.seed, SIGNING_KEY_FILE, key_file)
    assert raised.value.path == path


def test_a_homeserver_with_a_dns_name_gets_a_key_of_its_own_once(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key, again = (node_key("example.org", IDENTITY.seed, SIGNING_KEY_FILE, str(path)) for _ in range(2))
    assert not key.is_homeserver
    assert key.path == path
    assert key.identity.key == again.identity.key == read_key_file(path).key != IDENTITY.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_text("")
    owner = lock_key_file(path)
    with pytest.raises(ConfigurationError, match="Another process runs a node with the key in"):
        lock_key_file(path)
    os.close(owner)
    os.close(lock_key_file(path))
    with pytest.raises(ConfigurationError, match="cannot be opened: No such file"):
        lock_key_file(tmp_path / "none")
