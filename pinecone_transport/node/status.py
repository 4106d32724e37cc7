"""The state of a node for people, of JSON's types only: for the control socket and for whoever shows it.

Keys are 64 hex digits, times are ages in seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pinecone_transport.discovery import Candidate
from pinecone_transport.links.round_trip import round_trip
from pinecone_transport.node.link_table import LinkRecord
from pinecone_transport.node.streams import StreamRecord
from pinecone_transport.session import SessionInfo
from pinecone_transport.stack import Stack


def overlay_status(stack: Stack) -> dict[str, Any]:
    """Return our place in the overlay: ``key``, ``coordinates``, ``root``, ``parent``, ``descending``."""
    router = stack.router
    parents = [peer.key.hex() for peer in router.peers if peer.port == router.parent]
    return {
        "key": stack.identity.server_name,
        "coordinates": list(router.coordinates),
        "root": {"key": router.root.key.hex(), "sequence": router.root.sequence},
        "parent": {"key": parents[0], "port": router.parent} if parents else None,
        "descending": router.descending.hex() if router.descending is not None else None,
    }


def link_status(record: LinkRecord, stack: Stack, now: float) -> dict[str, Any]:
    """Return one link: ``key`` and ``port`` are None until the handshake is done."""
    link = record.link
    peering = stack.peering(record.number)
    return {
        "key": record.key.hex() if record.key is not None else None,
        "port": record.port,
        "way": link.way,
        "address": link.address,
        "direction": "out" if link.outbound else "in",
        "age": now - record.made_at,
        "bytes_received": peering.bytes_in if peering is not None else 0,
        "bytes_sent": peering.bytes_out if peering is not None else 0,
        "bytes_queued": peering.queued_bytes if peering is not None else 0,
    }


def candidate_status(candidate: Candidate, now: float) -> dict[str, Any]:
    """Return somebody whom a source of links knows of; ``reason`` says why there is no link."""
    return {
        "source": candidate.source,
        "address": candidate.address,
        "key": candidate.key.hex() if candidate.key is not None else None,
        "state": candidate.state.value,
        "reason": candidate.reason,
        "failures": candidate.failures,
        "seen": now - candidate.seen_at if candidate.seen_at is not None else None,
    }


def peers_report(
    records: Sequence[LinkRecord], candidates: Sequence[Candidate], stack: Stack, now: float
) -> dict[str, Any]:
    """Return all links with their round trips, seconds, and all that the sources of links know of."""
    rtts = {info.key: info.rtt for info in stack.socket.sessions()}
    links = []
    for record in records:
        measured = round_trip(record.link)
        links.append(
            {
                **link_status(record, stack, now),
                "round_trip": measured if measured is not None else rtts.get(record.key) if record.key else None,
            }
        )
    return {"links": links, "candidates": [candidate_status(found, now) for found in candidates]}


def tree_report(stack: Stack) -> dict[str, Any]:
    """Return our place in the tree, and that of each peer: ``None`` of one that has announced none yet."""
    router = stack.router
    return {
        **overlay_status(stack),
        "peers": [
            {
                "key": peer.key.hex(),
                "port": peer.port,
                "way": peer.type.name.lower(),
                "root": peer.announcement.root_key.hex() if peer.announcement is not None else None,
                "coordinates": list(peer.announcement.sender_coordinates) if peer.announcement is not None else None,
            }
            for peer in router.peers
        ],
    }


def routes_report(stack: Stack, now: float) -> dict[str, Any]:
    """Return the table of routes by key: by which port and peer, how old, with what sequence; lowest key first."""
    state = stack.router.state
    peers = {peer.port: peer.key.hex() for peer in stack.router.peers}
    return {
        "routes": [
            {
                "key": entry.key.hex(),
                "port": entry.source,
                "peer": peers.get(entry.source),
                "age": now - entry.received_at,
                "sequence": entry.sequence,
                "root": entry.root_key.hex(),
                "expired": entry.expired(now),
            }
            for entry in state.table
        ]
    }


def stream_status(record: StreamRecord, now: float) -> dict[str, Any]:
    """Return one stream of a session."""
    return {
        "key": record.key.hex(),
        "direction": "out" if record.outbound else "in",
        "age": now - record.opened_at,
        "bytes_received": record.bytes_received,
        "bytes_sent": record.bytes_sent,
    }


def session_status(info: SessionInfo) -> dict[str, Any]:
    """Return the session with one far node: its streams that still have something to do, and its path."""
    return {
        "key": info.key.hex(),
        "connections": info.connections,
        "rtt": info.rtt,
        "window": info.window,
        "packets_in_flight": info.packets_in_flight,
    }


def stack_counters(stack: Stack) -> dict[str, dict[str, int]]:
    """Return what was counted, by machine: mostly what was dropped, by reason."""
    return {
        "stack": dict(stack.counters),
        "router": dict(stack.router.counters),
        "session": dict(stack.socket.counters),
    }
