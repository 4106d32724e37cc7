"""Rows 10 and 13: what a router's decisions and a new root's announcements cost, without a network."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from benchmarks.bench import Bench
from benchmarks.cases import Case, at_most

TABLES: Final = tuple((links, routes) for links in (2, 16, 250) for routes in (100, 10_000, 100_000))
SMALL: Final = 0.05
"""Seconds for one size."""
LINKS: Final = 16
DEPTH: Final = 10


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted."""
    cases: list[Case] = []
    if 10 in wanted:
        cases += _decisions(bench)
    if 13 in wanted:
        cases.append(_announcements(bench))
    return cases


def _decisions(bench: Bench) -> list[Case]:
    process = bench.python("inside")
    tables = TABLES if bench.plan.seconds else TABLES[:1]
    cases = []
    for links, routes in tables:
        size = f"{links} links, {routes:,} routes"
        cold = Case(10, f"{size}, another key each time", "µs", at_most(10))
        again = Case(10, f"{size}, the same flow again", "µs", at_most(1))
        for _ in range(bench.plan.repetitions):
            took = process.ask("decisions", links=links, routes=routes, seconds=bench.plan.seconds / 8)
            cold.add(took["cold"])
            again.add(took["again"])
        cases += [cold, again]
    bench.say("row 10: done")
    return cases


def _announcements(bench: Bench) -> Case:
    process = bench.python("inside")
    case = Case(13, f"a new root, {LINKS} links, depth {DEPTH}", "ms CPU", at_most(4))
    for _ in range(max(bench.plan.repetitions, 1)):
        case.add([1000 * process.ask("announcements", links=LINKS, depth=DEPTH) for _ in range(5)])
    return case
