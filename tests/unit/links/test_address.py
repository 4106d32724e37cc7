from unittest.mock import patch

import pytest

from pinecone_transport.links import HostPort, host_and_port, parse_listen, parse_peer


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("relay.example.org:65432", "relay.example.org", 65432),
        ("tcp://relay.example.org:65432", "relay.example.org", 65432),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("tcp://[::1]:5", "::1", 5),
        ("localhost:5", "localhost", 5),
        ("xn--bcher-kva.example.:5", "xn--bcher-kva.example.", 5),
    ],
)
def test_peers_are_read(text: str, host: str, port: int) -> None:
    assert parse_peer(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:b", "a:1:2", "a:123456", "[::1]", "[]:1", "-a:1", "a b:1", "[a]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_peer(text)


def test_addresses_are_written_as_they_are_read() -> None:
    for text in ("relay:1", "192.0.2.1:2", "[2001:db8::1]:3"):
        assert str(parse_peer(text)) == text
    assert host_and_port("::1", 5) == "[::1]:5"


def test_one_listens_on_addresses_of_this_machine_not_on_names() -> None:
    assert parse_listen("[::]:0") == HostPort("::", 0)
    assert parse_listen("0.0.0.0:5").is_ip
    with pytest.raises(ValueError, match="is not an IP address; listen on one"):
        parse_listen("localhost:5")


class TorPlugin:
    """What txtorcon tells Twisted of itself."""

    prefix = "tor"


def test_what_a_plug_in_of_twisted_knows_is_an_address_while_it_is_installed() -> None:
    text = "tor:" + "a" * 56 + ".onion:65432"
    look_up = "pinecone_transport.links.address.getPlugins"
    with patch(look_up, return_value=[]), pytest.raises(ValueError, match="nothing installed here knows"):
        parse_peer(text)
    with patch(look_up, return_value=[TorPlugin()]):
        address = parse_peer(text)
    assert (address.way, str(address)) == ("tor", text)
