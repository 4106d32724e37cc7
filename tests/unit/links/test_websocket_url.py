"""How the address of a WebSocket is written."""

from __future__ import annotations

import pytest

from pinecone_transport.links.websocket_url import parse_websocket_listen, parse_websocket_url


@pytest.mark.parametrize(
    ("text", "secure", "host", "port"),
    [
        ("wss://example.org", True, "example.org", 443),
        ("ws://example.org/ws", False, "example.org", 80),
        ("wss://example.org:8448/_synapse/pinecone/ws?a=b", True, "example.org", 8448),
        ("ws://[2001:db8::1]:8080/", False, "2001:db8::1", 8080),
        ("ws://192.0.2.1:1", False, "192.0.2.1", 1),
    ],
)
def test_good_ones_are_read(text, secure, host, port) -> None:
    url = parse_websocket_url(text)
    assert (url.secure, url.host, url.port) == (secure, host, port)
    assert str(url) == text


@pytest.mark.parametrize(
    "text", ["", "example.org", "http://example.org", "ws://", "ws://:80", "ws://a:99999", "ws://a#b", "ws://u:p@a"]
)
def test_others_are_refused_with_a_sentence(text) -> None:
    with pytest.raises(ValueError, match=r"WebSocket|URL"):
        parse_websocket_url(text)


@pytest.mark.parametrize("text", ["ws://127.0.0.1:8090", "ws://[::]:0"])
def test_where_to_listen_is_an_address_and_a_port(text) -> None:
    assert str(parse_websocket_listen(text)) == text
    assert str(parse_websocket_listen(text + "/")) == text


@pytest.mark.parametrize("text", ["wss://127.0.0.1:8090", "ws://example.org:80", "127.0.0.1:8090"])
def test_elsewhere_nobody_listens(text) -> None:
    with pytest.raises(ValueError, match="nowhere to listen"):
        parse_websocket_listen(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("wss://relay..example.org", "'relay..example.org' is neither a host name nor an IP address"),
        (f"wss://{'a' * 64}.example.org", "is neither a host name nor an IP address"),
        ("ws://example.org:0/ws", "has port 0, which nobody can dial"),
    ],
)
def test_what_nobody_can_dial_is_refused_with_a_sentence(text, part) -> None:
    with pytest.raises(ValueError, match=part):
        parse_websocket_url(text)
