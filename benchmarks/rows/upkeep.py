"""Rows 11 and 12: what a node costs that has little to do: memory, and CPU to keep routes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Container
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.cases import MEGABYTE, Case, at_most
from benchmarks.processes import resident_of

LINKS: Final = 250
ROUTES: Final = 100_000
STREAMS: Final = 1000
DIALLERS: Final = 5
"""Nodes that open them: a key may have 256."""

MEMORY_REPETITIONS: Final = 3
"""It is nearly the same each time."""

BUSY_LINKS: Final = 16
BUSY_ROUTES: Final = 4000
BOOTSTRAP_INTERVAL: Final = 5.0
WATCHED: Final = 2.0
"""Seconds of one repetition."""
SETTLING: Final = 6.0
"""Seconds until each node has bootstrapped."""

COMMAND: Final = [sys.executable, "-m", "pinecone_transport.node.cli", "node"]


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted."""
    cases: list[Case] = []
    if 11 in wanted:
        cases += _memory(bench)
    if 12 in wanted:
        cases += [_cpu(bench, 0), _cpu(bench, BUSY_ROUTES)]
    return cases


def _memory(bench: Bench) -> list[Case]:
    idle = Case(11, "idle, `pinecone node`", "MB", at_most(65))
    links = Case(11, f"{LINKS} links", "MB", at_most(100))
    routes = Case(11, f"{ROUTES:,} routes", "MB", at_most(220))
    streams = Case(11, f"{STREAMS:,} open streams", "MB", at_most(220))
    for repetition in range(MEMORY_REPETITIONS):
        bench.say(f"row 11: {repetition + 1} of {MEMORY_REPETITIONS}")
        with Bench(bench.plan, bench.folder, bench.say) as once:
            idle.add(_idle_node(bench.folder))
            links.add(_with_links(once))
            routes.add(_with_routes(once))
            streams.add(_with_streams(once))
    return [idle, links, routes, streams]


def _idle_node(folder: Path) -> float:
    """Return the resident size of a node as its users start it."""
    with tempfile.TemporaryDirectory() as temporary:
        paths = ["--key-file", f"{temporary}/key", "--control-socket", f"{temporary}/socket"]
        process = subprocess.Popen(
            [*COMMAND, "--no-lan", "--listen", "127.0.0.1:0", *paths],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            while not process.stdout.readline().startswith("Control socket"):
                pass
            return resident_of(process.pid) / MEGABYTE
        finally:
            process.terminate()
            process.communicate()


def _with_links(bench: Bench) -> float:
    node = bench.python("echo", options={"listen": ["127.0.0.1:0"], "max_links": 253, "max_links_per_address": 253})
    peers = bench.python("raw")
    for _ in range(LINKS // 50):
        peers.ask("open", address=node.ready["listen"], key=node.ready["key"], count=50)
    return node.resident() / MEGABYTE


def _with_routes(bench: Bench) -> float:
    node = bench.python("echo", options={"listen": ["127.0.0.1:0"]})
    node.ask("routes", links=BUSY_LINKS, count=ROUTES)
    return node.resident() / MEGABYTE


def _with_streams(bench: Bench) -> float:
    node = bench.python("echo", options={"listen": ["127.0.0.1:0"]})
    clients = bench.python("echo", nodes=DIALLERS, options={"peers": [node.ready["listen"]]})
    clients.ask("open", key=node.ready["key"], count=STREAMS)
    return node.resident() / MEGABYTE


def _cpu(bench: Bench, routes: int) -> Case:
    """Watch a node whose peers keep so many routes alive."""
    node = bench.python("echo", options={"listen": ["127.0.0.1:0"], "max_links_per_address": 253})
    peers = bench.python("raw")
    peers.ask("open", address=node.ready["listen"], key=node.ready["key"], count=BUSY_LINKS)
    if routes:
        peers.ask("feed", routes=routes, interval=BOOTSTRAP_INTERVAL)
        title, goal = f"{BUSY_LINKS} links, {routes:,} routes", 0.15
    else:
        title, goal = f"{BUSY_LINKS} links, idle", 0.01
    case = Case(12, title, "cores", at_most(goal))
    time.sleep(SETTLING)
    for repetition in range(bench.plan.repetitions):
        bench.say(f"row 12, {title}: {repetition + 1} of {bench.plan.repetitions}")
        began, before = time.perf_counter(), node.ask("cpu")
        time.sleep(WATCHED)
        case.add((node.ask("cpu") - before) / (time.perf_counter() - began))
    return case
