import pytest

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.links import HostPort
from pinecone_transport.node.config import NodeConfig, needs_restart, parse_node_config
from pinecone_transport.node.source_config import SourceConfig
from pinecone_transport.session import Kind, Kinds


def test_nothing_given_means_the_defaults() -> None:
    assert parse_node_config({}) == NodeConfig()
    assert NodeConfig().hop_limiting


def test_everything_can_be_given() -> None:
    assert parse_node_config(
        {
            "key_file": "/var/lib/node.key",
            "listen": ["0.0.0.0:65432", "[::1]:0"],
            "peers": ["relay.example.org:65432", "tcp://[2001:db8::1]:1", "192.0.2.1:65535"],
            "control_socket": "/run/node.sock",
            "hop_limiting": False,
            "max_links": 10,
            "max_links_per_address": 2,
            "dead_after": 120,
            "dial_grace": 7.5,
        }
    ) == NodeConfig(
        key_file="/var/lib/node.key",
        listen=(HostPort("0.0.0.0", 65432), HostPort("::1", 0)),
        peers=(HostPort("relay.example.org", 65432), HostPort("2001:db8::1", 1), HostPort("192.0.2.1", 65535)),
        control_socket="/run/node.sock",
        hop_limiting=False,
        max_links=10,
        max_links_per_address=2,
        dead_after=120.0,
        dial_grace=7.5,
    )


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ({}, True),
        ({"sources": {"mdns": {"enabled": False}}}, True),
        ({"sources": {"tcp": {"enabled": True}}}, True),
        ({"sources": {"mdns": {"enabled": True}}}, False),
        ({"peers": ["192.0.2.1:5"]}, False),
        ({"listen": ["[::]:0"]}, False),
    ],
)
def test_a_node_is_alone_that_dials_finds_and_takes_nobody(options: dict[str, object], alone: bool) -> None:
    assert parse_node_config(options).would_be_alone() is alone


@pytest.mark.parametrize("name", ["key_file", "listen", "peers", "control_socket"])
def test_null_is_as_if_it_was_not_there(name: str) -> None:
    assert parse_node_config({name: None}) == NodeConfig()


@pytest.mark.parametrize(
    ("options", "path", "part"),
    [
        ({"peer": []}, "peer", "no such option; there are key_file, listen, peers"),
        ({"key_file": 1}, "key_file", "should be a path"),
        ({"key_file": ""}, "key_file", "should be a path"),
        ({"hop_limiting": "yes"}, "hop_limiting", "should be true or false"),
        ({"max_links": 0}, "max_links", "a number from 1 to 253"),
        ({"max_links": 254}, "max_links", "a number from 1 to 253"),
        ({"max_links": True}, "max_links", "a number from 1 to 253"),
        ({"max_links_per_address": "8"}, "max_links_per_address", "a number from 1 to 253"),
        ({"dead_after": 0}, "dead_after", "a number of seconds from 1 to 3600"),
        ({"dial_grace": True}, "dial_grace", "a number of seconds from 1 to 3600"),
        ({"dial_grace": "2 s"}, "dial_grace", "a number of seconds from 1 to 3600"),
        ({"peers": "relay:1"}, "peers", "should be a list"),
        ({"peers": {"a": 1}}, "peers", "should be a list"),
        ({"peers": ["a:1", 7]}, "peers.1", "should be an address"),
        ({"peers": ["relay"]}, "peers.0", "write host:port"),
        ({"peers": ["2001:db8::1:65432"]}, "peers.0", "[address]:port for IPv6"),
        ({"peers": ["relay:0"]}, "peers.0", "port 0"),
        ({"peers": ["relay:65536"]}, "peers.0", "ports end at 65535"),
        ({"peers": ["gopher://relay:80"]}, "peers.0", "gopher:// are not supported"),
        ({"peers": ["https://relay:80"]}, "peers.0", "https:// are not supported"),
        ({"peers": ["tcp://relay:80/path"]}, "peers.0", "write host:port"),
        ({"peers": ["[relay]:80"]}, "peers.0", "not an IPv6 address"),
        ({"peers": ["rel!ay:80"]}, "peers.0", "neither a host name nor an IP address"),
        ({"listen": ["0.0.0.0:1", "relay:1"]}, "listen.1", "is not an IP address"),
        ({"listen": ["tcp://0.0.0.0:1"]}, "listen.0", "write host:port"),
    ],
)
def test_a_mistake_is_told_with_the_options_path_and_one_sentence(
    options: dict[str, object], path: str, part: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_node_config(options)
    assert raised.value.path == path
    assert part in raised.value.sentence
    assert str(raised.value) == f"{path}: {raised.value.sentence}"
    assert raised.value.sentence.endswith(".")
    assert "\n" not in raised.value.sentence


def test_an_error_that_is_no_options_fault_has_no_path() -> None:
    assert str(ConfigurationError("", "Something.")) == "Something."


def test_kinds_of_sessions() -> None:
    assert parse_node_config({}).kinds() == Kinds()
    key = "01" * 32
    config = parse_node_config({"session": "utp", "session_by_key": {key: "quic", "02" * 32: "auto"}})
    kinds = config.kinds()
    assert [kinds.of(bytes.fromhex(name)) for name in (key, "02" * 32, "03" * 32)] == [Kind.QUIC, None, Kind.UTP]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"session": "tcp"}, "session"),
        ({"session": 1}, "session"),
        ({"session_by_key": ["quic"]}, "session_by_key"),
        ({"session_by_key": {"example.org": "quic"}}, "session_by_key.example.org"),
        ({"session_by_key": {"01" * 32: "tcp"}}, "session_by_key." + "01" * 32),
    ],
)
def test_kinds_of_sessions_that_do_not_exist(options: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_node_config(options)
    assert caught.value.path == path


KEY = "ab" * 32


def test_rules_about_peers_are_read() -> None:
    config = parse_node_config(
        {
            "allow": [KEY],
            "deny": [],
            "mesh_secret_file": "/etc/secret",
            "sources": {
                "lan": {"enabled": True, "interfaces": ["eth0"], "max_links": 0},
                "tcp": {"allow": [], "deny": [KEY], "link_proof": True},
                "ble": {"adapter": "hci1"},
                "ws": None,
            },
        }
    )
    key = bytes.fromhex(KEY)
    assert (config.allow, config.deny, config.mesh_secret_file) == ({key}, frozenset(), "/etc/secret")
    assert config.source("lan") == SourceConfig(enabled=True, interfaces=("eth0",), max_links=0)
    assert config.source("tcp") == SourceConfig(allow=frozenset(), deny=frozenset({key}), link_proof=True)
    assert config.source("ble") == SourceConfig(adapter="hci1")
    assert config.source("ws") == config.source("unheard of") == SourceConfig()


def test_peers_are_looked_for_only_where_that_is_wanted_and_not_switched_off() -> None:
    assert parse_node_config({}).source("lan").enabled is None
    assert parse_node_config({}, discover=True).source("lan").enabled is True
    assert parse_node_config({"sources": {"lan": {"max_links": 3}}}, discover=True).source("lan") == SourceConfig(
        enabled=True, max_links=3
    )
    assert parse_node_config({"sources": {"lan": {"enabled": False}}}, discover=True).source("lan").enabled is False


@pytest.mark.parametrize(
    ("options", "path", "part"),
    [
        ({"allow": KEY}, "allow", "should be a list of keys"),
        ({"deny": [KEY.upper()]}, "deny.0", "a key is 64 lower-case hex digits in quotes"),
        ({"deny": [5]}, "deny.0", "a key is 64 lower-case hex digits in quotes"),
        ({"sources": ["lan"]}, "sources", "one source of links a line"),
        ({"sources": {"lan": True}}, "sources.lan", "one option a line"),
        ({"sources": {"lna": {"enabled": False}}}, "sources.lna", "no such source of links; there are ble,"),
        ({"sources": {"tcp": {"interfaces": ["eth0"]}}}, "sources.tcp.interfaces", "has a meaning for lan, mdns alone"),
        ({"sources": {"lan": {"on": True}}}, "sources.lan.on", "no such option; there are enabled"),
        ({"sources": {"lan": {"enabled": "yes"}}}, "sources.lan.enabled", "true or false"),
        ({"sources": {"lan": {"link_proof": 1}}}, "sources.lan.link_proof", "true or false"),
        ({"sources": {"lan": {"max_links": -1}}}, "sources.lan.max_links", "a number from 0 to 253"),
        ({"sources": {"lan": {"max_links": True}}}, "sources.lan.max_links", "a number from 0 to 253"),
        ({"sources": {"lan": {"interfaces": "eth0"}}}, "sources.lan.interfaces", "a list of interfaces"),
        ({"sources": {"lan": {"interfaces": [0]}}}, "sources.lan.interfaces", "a list of interfaces"),
        ({"sources": {"ble": {"adapter": 0}}}, "sources.ble.adapter", "an adapter, such as hci0, or usb:0"),
        ({"sources": {"ble": {"adapter": "../hci0"}}}, "sources.ble.adapter", "an adapter, such as hci0, or usb:0"),
        ({"sources": {"lan": {"allow": [""]}}}, "sources.lan.allow.0", "a key is 64"),
        ({"mesh_secret_file": 5}, "mesh_secret_file", "should be a path"),
    ],
)
def test_wrong_rules_are_named_with_their_path(options: dict[str, object], path: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part) as raised:
        parse_node_config(options)
    assert raised.value.path == path


def test_options_that_need_a_new_start_are_named() -> None:
    before = parse_node_config({"peers": ["a:1"]})
    after = parse_node_config({"peers": [], "deny": [KEY], "hop_limiting": False, "dead_after": 60})
    assert needs_restart(before, after) == ["hop_limiting", "dead_after"]
