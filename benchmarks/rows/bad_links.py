"""Rows 14 and 15: small requests beside a large body, and links that are slow, far, and lose or shuffle frames."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final, NamedTuple

from benchmarks.bench import Bench
from benchmarks.cases import MEGABYTE, Case, Goal, at_least, at_most, percentile, times_at_least, times_at_most
from benchmarks.ends import TRANSFER_PATIENCE
from benchmarks.path import Path, go_line, own_line

BULK: Final = 15.0
"""Seconds for which the body of row 14 lasts."""
BULKS: Final = 2
"""Such bodies: the small requests beside each are hundreds."""
IDLE: Final = 2.0
SPACING: Final = 0.02
"""Seconds between two small requests."""


class Shape(NamedTuple):
    """A link of row 14.

    Attributes:
        title: For people.
        rules: The throttle's.
        goal: For the small requests beside the body.
        unit: Of that.
    """

    title: str
    rules: dict[str, float]
    goal: Goal


SHAPES: Final = (
    Shape("loopback", {}, times_at_most(5)),
    Shape("1 MB/s, 50 ms", {"rate": 1e6, "delay": 0.05}, at_most(500)),
    Shape("50 kB/s, 100 ms", {"rate": 5e4, "delay": 0.1}, at_most(1500)),
)
BAD: Final[dict[str, dict[str, float]]] = {
    "1 % lost": {"loss": 0.01},
    "5 % lost": {"loss": 0.05},
    "1 % held back by 10 ms": {"reordering": 0.01},
    "50 ms": {"delay": 0.05},
    "20 MB/s": {"rate": 20e6},
    "1 % lost and held back, 50 ms, 20 MB/s": {"loss": 0.01, "reordering": 0.01, "delay": 0.05, "rate": 20e6},
}


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted."""
    cases: list[Case] = []
    if 14 in wanted:
        cases += _beside_bulk(bench)
    if 15 in wanted:
        for title, rules in BAD.items():
            cases += _bad_link(bench, title, rules)
    return cases


def throttled(bench: Bench, rules: dict[str, Any]) -> Callable[[str], str] | None:
    """Return what puts such a link before an address; None where there is nothing to do to it."""
    if not rules:
        return None
    throttle = bench.python("throttle")

    def between(target: str) -> str:
        address: str = throttle.ask("open", target=target, **rules)["address"]
        return address

    return between


def _beside_bulk(bench: Bench) -> list[Case]:
    p90 = percentile(90)
    cases = []
    paths: list[tuple[Shape, Path, int, Case, Case | None]] = []
    for shape in SHAPES:
        path = own_line(bench, 1, throttled(bench, shape.rules))
        path.client.reach(path.server)
        rate = shape.rules.get("rate")
        length = int(rate * BULK) if rate else _loopback_body(path)
        small = Case(14, f"small requests beside a body, p90, {shape.title}", "ms", shape.goal, "idle", statistic=p90)
        goodput = None
        if rate:
            goodput = Case(14, f"the body, {shape.title}", "MB/s", at_least(0.85 * rate / MEGABYTE))
            cases.append(goodput)
        cases.append(small)
        paths.append((shape, path, length, small, goodput))
    for repetition in range(BULKS):
        bench.say(f"row 14: {repetition + 1} of {BULKS}")
        _one_round(paths[:1])
        _one_round(paths[1:])  # they leave the machine idle, so side by side
    return cases


def _loopback_body(path: Path) -> int:
    length = 50 * MEGABYTE
    path.client.move("up", path.server, length)
    return int(length / path.client.move("up", path.server, length).seconds * BULK)


def _one_round(paths: list[tuple[Shape, Path, int, Case, Case | None]]) -> None:
    idle = [_begin_asking(path, IDLE) for _, path, _, _, _ in paths]
    baselines = [path.client.process.answer(number) for (_, path, _, _, _), number in zip(paths, idle, strict=True)]
    begun = [
        (path.client.process.begin("upload", server=path.server, length=length), _begin_asking(path, BULK))
        for _, path, length, _, _ in paths
    ]
    for (_, path, length, small, goodput), baseline, (bulk, asking) in zip(paths, baselines, begun, strict=True):
        took = path.client.process.answer(asking, TRANSFER_PATIENCE)
        small.add([1000 * each for each in took], [1000 * each for each in baseline])
        seconds = path.client.process.answer(bulk, TRANSFER_PATIENCE)["seconds"]
        if goodput is not None:
            goodput.add(length / seconds / MEGABYTE)


def _begin_asking(path: Path, seconds: float) -> int:
    return path.client.process.begin("asking", server=path.server, seconds=seconds, spacing=SPACING)


def _bad_link(bench: Bench, title: str, rules: dict[str, float]) -> list[Case]:
    own = own_line(bench, 1, throttled(bench, rules))
    go = go_line(bench, 1, between=throttled(bench, rules)) if bench.has_go else None
    for path in (own, go):
        if path is not None:
            path.warm_up(bench, "up")
    goodput = Case(15, f"up, {title}", "MB/s", times_at_least(1), "Go with QUIC")
    stall = Case(15, f"longest pause, {title}", "s", at_most(2), statistic=max)
    for repetition in range(bench.plan.repetitions):
        bench.say(f"row 15, {title}: {repetition + 1} of {bench.plan.repetitions}")
        cost = own.move("up")
        goodput.add(cost.rate, go.move("up").rate if go is not None else None)
        stall.add(cost.pause)
    return [goodput, stall]
