"""Row 7: sessions with nodes that were never asked before, and the first request on each."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Final

from benchmarks.bench import Bench
from benchmarks.cases import Case, at_most, times_at_most
from benchmarks.ends import End

LINKS: Final = (1, 2, 4)
SETTLING: Final = 10.0
"""Seconds after which the overlay knows all its nodes: asking them would be a request."""
ROUND_TRIP: Final = 0.1
"""Seconds, of the link on which round trips are counted."""


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure the row, if it is wanted."""
    if 7 not in wanted:
        return []
    count = bench.plan.cold * bench.plan.repetitions
    own = {links: _own(bench, links, count) for links in LINKS}
    go = {links: _go(bench, links, count) for links in LINKS} if bench.has_go else {}
    https_client, https_servers = _https(bench, count)
    far_client, far_servers = _far(bench, count)
    bench.say("row 7: waiting until all nodes are known")
    time.sleep(SETTLING)
    cases = []
    for links, (client, servers) in own.items():
        title = f"session and first request, {links} link{'s' if links > 1 else ''}"
        case = Case(7, title, "ms", times_at_most(1), "Go with QUIC")
        for asked in _parts(servers, bench.plan.cold):
            theirs = None
            if links in go:
                go_client, go_servers = go[links]
                theirs = _ms(go_client.cold(go_servers[: len(asked)]))
                del go_servers[: len(asked)]
            case.add(_ms(client.cold(asked)), theirs)
        cases.append(case)
    https = Case(7, "connection and first request, plain HTTPS", "ms")
    for asked in _parts(https_servers, bench.plan.cold):
        https.add(_ms(https_client.cold(asked)))
    cases.append(https)
    far = Case(7, f"session and first request, 1 link of {1000 * ROUND_TRIP:.0f} ms", "round trips", at_most(2.2))
    for asked in _parts(far_servers, bench.plan.cold):
        far.add([seconds / ROUND_TRIP for seconds in far_client.cold(asked)])
    bench.say("row 7: done")
    return [*cases, far]


def _own(bench: Bench, links: int, count: int) -> tuple[End, list[str]]:
    nodes = [bench.own(max_links=253, max_links_per_address=253)]
    for _ in range(links - 1):
        nodes.append(bench.own(max_links=253, max_links_per_address=253, peers=[nodes[-1].address]))
    servers = bench.own(nodes=count + 1, listen=False, peers=[nodes[-1].address])
    return _warm(nodes[0], servers.servers)


def _go(bench: Bench, links: int, count: int) -> tuple[End, list[str]]:
    nodes = [bench.go("quic")]
    for _ in range(links - 1):
        nodes.append(bench.go(peers=[nodes[-1].address]))
    servers = [bench.go("quic", [nodes[-1].address]) for _ in range(count + 1)]
    return _warm(nodes[0], [server.servers[0] for server in servers])


def _https(bench: Bench, count: int) -> tuple[End, list[str]]:
    """What it takes without an overlay: a connection each time, and only the server has a certificate."""
    server = bench.own(transport="https", listen=False)
    return _warm(bench.own(transport="https", listen=False), server.servers * (count + 1))


def _far(bench: Bench, count: int) -> tuple[End, list[str]]:
    client = bench.own(max_links=253, max_links_per_address=253)
    throttle = bench.python("throttle")
    address = throttle.ask("open", target=client.address, delay=ROUND_TRIP / 2)["address"]
    servers = bench.own(nodes=count + 1, listen=False, peers=[address])
    return _warm(client, servers.servers)


def _warm(client: End, servers: list[str]) -> tuple[End, list[str]]:
    """Ask one server, so that what the programs load when they are first used is there; return the others."""
    client.reach(servers[0])
    return client, servers[1:]


def _parts(servers: list[str], size: int) -> list[list[str]]:
    return [servers[start : start + size] for start in range(0, len(servers), size)]


def _ms(seconds: list[float]) -> list[float]:
    return [1000 * value for value in seconds]
