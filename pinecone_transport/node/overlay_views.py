"""What ``pinecone peers``, ``tree``, ``routes`` and ``ping`` print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pinecone_transport.node.view_text import duration, milliseconds, short, size

_ROOM_FOR_KEYS: Final = 140
_RIGHT: Final = frozenset({"port", "age", "received", "sent", "round trip", "failed", "sequence"})


def show_peers(report: Mapping[str, Any], console: Console) -> None:
    """Print the links, and whom the node knows of without a link."""
    links = report["links"]
    if links:
        rows = (
            (
                str(link["port"] or ""),
                link["way"],
                link["address"],
                link["direction"],
                _key(link["key"], console) or "shaking hands",
                duration(link["age"]),
                size(link["bytes_received"]),
                size(link["bytes_sent"]),
                milliseconds(link["round_trip"]),
            )
            for link in links
        )
        columns = ("port", "way", "address", "", "key", "age", "received", "sent", "round trip")
        console.print(_table("Links", columns, rows))
    unlinked = [found for found in report["candidates"] if found["state"] != "connected" or found["reason"]]
    if unlinked:
        known = (
            (
                found["source"],
                found["address"],
                _key(found["key"], console),
                found["state"],
                found["reason"],
                str(found["failures"] or ""),
            )
            for found in unlinked
        )
        console.print(_table("Without a link", ("way", "address", "key", "state", "why", "failed"), known))
    if not links and not unlinked:
        console.print("No links, and nobody known to dial.")


def show_tree(report: Mapping[str, Any], console: Console) -> None:
    """Print our place in the tree, and our peers'."""
    parent, root = report["parent"], report["root"]
    console.print(f"key          {report['key']}")
    console.print(f"root         {root['key']}, sequence {root['sequence']}")
    console.print(f"coordinates  {_coordinates(report['coordinates'])}")
    console.print(
        f"parent       {parent['key']} (port {parent['port']})" if parent is not None else "parent       none"
    )
    if report["peers"]:
        rows = (
            (
                str(peer["port"]),
                _key(peer["key"], console),
                "parent" if parent is not None and peer["port"] == parent["port"] else "",
                "not announced yet" if peer["coordinates"] is None else _coordinates(peer["coordinates"]),
                "" if peer["root"] in (None, root["key"]) else short(peer["root"]),
            )
            for peer in report["peers"]
        )
        console.print(_table("Peers", ("port", "key", "", "coordinates", "other root"), rows))


def show_routes(report: Mapping[str, Any], console: Console) -> None:
    """Print the table of routes by key."""
    if not report["routes"]:
        console.print("No routes by key: no bootstraps have passed here.")
        return
    rows = (
        (
            _key(route["key"], console),
            str(route["port"]),
            short(route["peer"]) if route["peer"] is not None else "gone",
            duration(route["age"]) + (", expired" if route["expired"] else ""),
            str(route["sequence"]),
        )
        for route in report["routes"]
    )
    console.print(_table("Routes", ("key", "port", "next hop", "age", "sequence"), rows))


def show_ping(report: Mapping[str, Any], console: Console) -> None:
    """Print how far a ping came, a line for each step."""
    if report["set_up"] is not None:
        console.print(f"session set up in {milliseconds(report['set_up'])}")
    if report["request"] is not None:
        console.print(f"request answered in {milliseconds(report['request'])}")
    console.print(report["outcome"])


def _key(key: str | None, console: Console) -> str:
    """Return a key, or its beginning where a table has no room for all of it; nothing if it is not known."""
    if key is None:
        return ""
    return key if console.width >= _ROOM_FOR_KEYS else short(key)


def _coordinates(coordinates: list[int]) -> str:
    return " ".join(map(str, coordinates)) or "none: the root"


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in _RIGHT else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
