"""What ``pinecone status`` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pinecone_transport.node.view_text import duration, short, size


def show(status: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a node's status, as `Node.status` gives it."""
    console = console or Console(highlight=False)
    console.print(_summary(status))
    if status["links"]:
        console.print(_links(status["links"]))
    if status["sessions"]:
        console.print(_sessions(status["sessions"], status["streams"]))
    counters = _counters(status["counters"])
    if counters.row_count:
        console.print(counters)


def _summary(status: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    parent, root = status["parent"], status["root"]
    rows = {
        "key": status["key"],
        "up for": duration(status["uptime"]),
        "listening on": ", ".join(status["listen"]) or "nothing",
        "coordinates": " ".join(map(str, status["coordinates"])) or "none: this node is the root",
        "root": root["key"],
        "parent": f"{parent['key']} (port {parent['port']})" if parent is not None else "none",
        "peers known of": ", ".join(f"{peer['address']} ({peer['state']})" for peer in status["candidates"]) or "none",
        "links": "" if status["links"] else "none",
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(str(value), overflow="fold"))
    return table


def _links(links: list[Mapping[str, Any]]) -> Table:
    table = Table(title="Links", title_justify="left")
    for column in ("port", "peer", "way", "address", "", "age", "received", "sent"):
        table.add_column(column, justify="right" if column in {"port", "age", "received", "sent"} else "left")
    for link in links:
        table.add_row(
            str(link["port"] or ""),
            short(link["key"]) if link["key"] is not None else "shaking hands",
            link["way"],
            link["address"],
            link["direction"],
            duration(link["age"]),
            size(link["bytes_received"]),
            size(link["bytes_sent"]),
        )
    return table


def _sessions(sessions: list[Mapping[str, Any]], streams: list[Mapping[str, Any]]) -> Table:
    by_key: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for stream in streams:
        by_key[stream["key"]].append(stream)
    table = Table(title="Sessions", title_justify="left")
    for column in ("node", "streams", "round trip", "received", "sent"):
        table.add_column(column, justify="left" if column == "node" else "right")
    for session in sessions:
        key = session["key"]
        table.add_row(
            Text(key, overflow="fold"),
            str(len(by_key[key])),
            f"{1000 * session['rtt']:.1f} ms",
            size(sum(stream["bytes_received"] for stream in by_key[key])),
            size(sum(stream["bytes_sent"] for stream in by_key[key])),
        )
    return table


def _counters(counters: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(title="Counters", title_justify="left")
    table.add_column("of")
    table.add_column("what")
    table.add_column("count", justify="right")
    for machine, counts in counters.items():
        for name, count in sorted(counts.items()):
            table.add_row(machine, name, str(count))
    return table
