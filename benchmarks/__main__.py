"""The command: measure in turns, then show the table."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks.paths import Path, ProcessFailedError

MEGABYTE: Final = 1_000_000


@attrs.frozen
class Plan:
    """How much is measured."""

    links: tuple[int, ...]
    runs: int
    body: int
    """Bytes."""
    requests: int


FULL: Final = Plan(links=(0, 1, 2, 4), runs=7, body=50 * MEGABYTE, requests=500)
QUICK: Final = Plan(links=(0, 1, 2, 4), runs=5, body=20 * MEGABYTE, requests=200)
SMOKE: Final = Plan(links=(0, 2), runs=1, body=MEGABYTE, requests=5)


@attrs.define
class Results:
    """What was measured on one path; one entry per run."""

    upload: list[float] = attrs.Factory(list)
    """MB/s."""
    download: list[float] = attrs.Factory(list)
    """MB/s."""
    cpu: list[float] = attrs.Factory(list)
    """Seconds of CPU per GB uploaded, all processes together."""
    p50: list[float] = attrs.Factory(list)
    """ms."""
    p99: list[float] = attrs.Factory(list)
    """ms."""


def main() -> int:
    """Run the benchmark and return the status to exit with."""
    plan = read_plan()
    console = Console(soft_wrap=True)
    console.print(machine(), highlight=False)
    try:
        with ExitStack() as stack:
            paths = []
            for links in plan.links:
                paths.append(path := Path(links))
                stack.callback(path.stop)
            measured = measure(plan, paths, console.print)
    except ProcessFailedError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    console.print(table_of(plan, measured))
    console.print(machine(), highlight=False)
    return 0


def read_plan() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed beside plain HTTPS over TCP.")
    parser.add_argument("--quick", action="store_true", help="smaller bodies and fewer runs")
    parser.add_argument("--smoke", action="store_true", help="one tiny run, to see that all of it works")
    parser.add_argument("--runs", type=int, help="how often each figure is measured; the table has the median")
    options = parser.parse_args()
    plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    return attrs.evolve(plan, runs=options.runs) if options.runs else plan


def measure(plan: Plan, paths: list[Path], say: Callable[[str], None]) -> dict[str, Results]:
    """Measure all paths in turns, so that what else the machine does meets each of them."""
    results = {path.name: Results() for path in paths}
    for path in paths:  # connections open, windows grown
        path.transfer("upload", plan.body // 10)
        path.transfer("download", plan.body // 10)
    for run in range(plan.runs):
        say(f"run {run + 1} of {plan.runs} …")
        for path in paths:
            into = results[path.name]
            seconds, cpu = path.transfer("upload", plan.body)
            into.upload.append(plan.body / seconds / MEGABYTE)
            into.cpu.append(cpu / (plan.body / (1000 * MEGABYTE)))
            seconds, _ = path.transfer("download", plan.body)
            into.download.append(plan.body / seconds / MEGABYTE)
            times = sorted(path.small_requests(plan.requests))
            into.p50.append(1000 * statistics.median(times))
            into.p99.append(1000 * times[int(0.99 * (len(times) - 1))])
    return results


def table_of(plan: Plan, measured: dict[str, Results]) -> Table:
    """Return the table: medians over the runs, with the lowest and the highest."""
    title = (
        f"Bodies of {plan.body // MEGABYTE} MB, {plan.requests} small requests; median of {plan.runs}, lowest–highest"
    )
    table = Table(title=title, show_lines=True)
    table.add_column("path")
    for heading in ("up\nMB/s", "down\nMB/s", "CPU, up\ns per GB", "small, p50\nms", "small, p99\nms"):
        table.add_column(heading, justify="right")
    for name, results in measured.items():
        table.add_row(
            name,
            spread(results.upload, 0),
            spread(results.download, 0),
            spread(results.cpu, 1),
            spread(results.p50, 2),
            spread(results.p99, 2),
        )
    return table


def spread(values: list[float], digits: int) -> str:
    """Return the median, and below it the lowest and highest value."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle}\n[dim]{low}–{high}[/dim]"


def machine() -> str:
    """Say where this was measured and how busy the machine is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load}"


if __name__ == "__main__":
    sys.exit(main())
