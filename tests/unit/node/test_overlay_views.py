"""What the commands that ask a running node print."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from pinecone_transport.node.overlay_views import show_peers, show_ping, show_routes, show_tree

A, B, C = ("a" * 64, "b" * 64, "c" * 64)

LINK = {
    "key": B,
    "port": 1,
    "way": "tcp",
    "address": "192.0.2.1:5",
    "direction": "out",
    "age": 300.0,
    "bytes_received": 123,
    "bytes_sent": 45_600_000,
    "bytes_queued": 0,
    "round_trip": 0.0123,
}
CANDIDATE = {
    "source": "lan",
    "address": "[fe80::1%eth0]:5",
    "key": C,
    "state": "waiting",
    "reason": "its key is on the deny list of lan",
    "failures": 3,
    "seen": 1.0,
}


def shown(show: Callable[[Mapping[str, Any], Console], None], report: Mapping[str, Any], width: int = 220) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        show(json.loads(json.dumps(report)), console)
    return captured.get()


def test_peers_are_shown_with_their_links_and_the_others_with_the_reason() -> None:
    shaking = {**LINK, "key": None, "port": None, "round_trip": None}
    text = shown(show_peers, {"links": [LINK, shaking], "candidates": [CANDIDATE]})
    for part in (B, "192.0.2.1:5", "5 min", "123 B", "46 MB", "12.3 ms", "shaking hands", "–"):
        assert part in text
    for part in (C, "[fe80::1%eth0]:5", "waiting", "its key is on the deny list of lan"):
        assert part in text


def test_who_is_linked_is_not_among_those_without() -> None:
    connected = {**CANDIDATE, "state": "connected", "reason": ""}
    assert "Without a link" not in shown(show_peers, {"links": [LINK], "candidates": [connected]})
    assert "nobody known" in shown(show_peers, {"links": [], "candidates": []})


def test_the_tree_is_shown_with_the_parent_and_whoever_has_another_root() -> None:
    report = {
        "key": A,
        "coordinates": [1, 2],
        "root": {"key": C, "sequence": 7},
        "parent": {"key": B, "port": 3},
        "descending": None,
        "peers": [
            {"key": B, "port": 3, "way": "remote", "root": C, "coordinates": [1]},
            {"key": A, "port": 4, "way": "remote", "root": None, "coordinates": None},
            {"key": A, "port": 5, "way": "remote", "root": B, "coordinates": []},
        ],
    }
    text = shown(show_tree, report)
    for part in (f"root         {C}, sequence 7", "coordinates  1 2", f"{B} (port 3)", "parent", "not announced yet"):
        assert part in text
    assert "bbbbbbbbbbbbbbbb…" in text
    alone = shown(show_tree, {**report, "parent": None, "coordinates": [], "peers": []})
    assert "none: the root" in alone
    assert "parent       none" in alone


def test_routes_are_shown_with_their_next_hop_and_age() -> None:
    route = {"key": A, "port": 2, "peer": B, "age": 5.0, "sequence": 12, "root": C, "expired": False}
    text = shown(show_routes, {"routes": [route, {**route, "peer": None, "expired": True}]})
    for part in (A, "bbbbbbbbbbbbbbbb…", "5 s", "12", "gone", "5 s, expired"):
        assert part in text
    assert "No routes" in shown(show_routes, {"routes": []})


def test_a_ping_is_shown_as_far_as_it_came() -> None:
    whole = {"key": A, "set_up": 0.1234, "request": 0.05, "outcome": "the node answers"}
    assert shown(show_ping, whole).splitlines() == [
        "session set up in 123.4 ms",
        "request answered in 50.0 ms",
        "the node answers",
    ]
    assert shown(show_ping, {**whole, "request": None, "outcome": "silence"}).splitlines() == [
        "session set up in 123.4 ms",
        "silence",
    ]
    assert shown(show_ping, {**whole, "set_up": None, "request": None, "outcome": "not reached"}) == "not reached\n"


def test_a_narrow_window_shows_the_beginnings_of_keys_and_keeps_each_link_on_its_line() -> None:
    text = shown(show_peers, {"links": [LINK], "candidates": []}, width=100)
    assert B[:16] + "…" in text
    assert B[:17] not in text
    assert len(text.splitlines()) == 6
