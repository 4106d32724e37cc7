"""Rows 1, 2, 3, 6 and 8: what an HTTP program gets out of streams over the overlay, beside plain HTTPS and Go."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final

from benchmarks.bench import Bench
from benchmarks.cases import Case, Goal, at_most, more_at_most, percentile, times_at_least, times_at_most
from benchmarks.path import Cost, Path, go_line, https, own_line

LINKS: Final = (1, 2, 4)
RELAYED: Final = (2, 4)
WORKERS: Final = 32
HTTPS: Final = "plain HTTPS"
GO: Final = "Go with QUIC"

_GOODPUT: Final = {1: 1.0, 2: 0.75, 4: 0.5}
_REQUESTS: Final = {1: 0.85, 4: 0.4}


class _Row(dict[tuple[str, int], Case]):
    """Cases by what they are and the number of links."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row: Final = row

    def case(self, name: str, links: int, unit: str, goal: Goal | None, against: str = "", **options: Any) -> Case:
        """Return the case, which is made at first."""
        if (name, links) not in self:
            title = f"{name}, {links} link{'s' if links > 1 else ''}"
            self[name, links] = Case(self.row, title, unit, goal, against, **options)
        return self[name, links]


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted."""
    rows = {row: _Row(row) for row in (1, 2, 3, 6, 8) if row in wanted}
    if not rows:
        return []
    plain = https(bench)
    own = {links: own_line(bench, links) for links in _links(rows)}
    go = {}
    if bench.has_go and {3, 6} & rows.keys():
        go = {links: go_line(bench, links) for links in _links(rows)}
    relayed = {links: https(bench, links - 1) for links in RELAYED} if 2 in rows and bench.plan.patient else {}
    directions = ("up", "down") if {1, 2, 3} & rows.keys() else ()
    for path in (plain, *own.values(), *go.values(), *relayed.values()):
        path.warm_up(bench, *directions)
    for repetition in range(bench.plan.repetitions):
        bench.say(f"rows {', '.join(map(str, rows))}: {repetition + 1} of {bench.plan.repetitions}")
        for direction in directions:
            _goodput(direction, rows, plain, own, go)
        for links, path in relayed.items():
            rows[2].case("up, plain HTTPS, its bytes passed on", links, "MB/s", None, HTTPS).add(path.move("up").rate)
        if 6 in rows:
            _small(rows[6], bench, plain, own, go)
        if 8 in rows:
            _load(rows[8], bench, plain, own)
    return [case for row in rows.values() for case in row.values()]


def _links(rows: Container[int]) -> Sequence[int]:
    wanted: set[int] = set()
    for row, links in {1: (1,), 2: (2, 4), 3: LINKS, 6: LINKS, 8: (1, 4)}.items():
        if row in rows:
            wanted.update(links)
    return sorted(wanted)


def _goodput(direction: str, rows: dict[int, _Row], plain: Path, own: dict[int, Path], go: dict[int, Path]) -> None:
    baseline = plain.move(direction).rate if {1, 2} & rows.keys() else None
    for links, path in own.items():
        cost = path.move(direction)
        if 1 in rows and links == 1:
            rows[1].case(direction, 1, "MB/s", times_at_least(_GOODPUT[1]), HTTPS).add(cost.rate, baseline)
        if 2 in rows and links > 1:
            rows[2].case(direction, links, "MB/s", times_at_least(_GOODPUT[links]), HTTPS).add(cost.rate, baseline)
            _cpu(rows[2], direction, links, cost)
        if 3 in rows and links in go:
            theirs = go[links].move(direction).rate
            rows[3].case(direction, links, "MB/s", times_at_least(30), GO).add(cost.rate, theirs)


def _cpu(row: _Row, direction: str, links: int, cost: Cost) -> None:
    row.case(f"CPU of a relay, {direction}", links, "s/GB", at_most(1.5)).add(cost.relay)
    row.case(f"CPU of an end, {direction}", links, "s/GB", at_most(3)).add(cost.ends)


def _small(row: _Row, bench: Bench, plain: Path, own: dict[int, Path], go: dict[int, Path]) -> None:
    p99 = percentile(99)
    baseline = _ms(plain.client.small(plain.server, bench.plan.requests))
    for links, path in own.items():
        took = _ms(path.client.small(path.server, bench.plan.requests))
        row.case("small request, p50", links, "ms", more_at_most(0.3 * links), HTTPS).add(took, baseline)
        if links in go:
            theirs = _ms(go[links].client.small(go[links].server, bench.plan.requests))
            row.case("small request, p99", links, "ms", times_at_most(1), GO, statistic=p99).add(took, theirs)


def _load(row: _Row, bench: Bench, plain: Path, own: dict[int, Path]) -> None:
    baseline = _rate(bench, plain)
    for links, goal in _REQUESTS.items():
        case = row.case(f"{WORKERS} workers", links, "requests/s", times_at_least(goal), HTTPS)
        case.add(_rate(bench, own[links]), baseline)


def _rate(bench: Bench, path: Path) -> float:
    result = path.client.load(path.server, WORKERS, bench.plan.load)
    return len(result["seconds"]) / float(result["elapsed"])


def _ms(seconds: list[float]) -> list[float]:
    return [1000 * value for value in seconds]
