"""The command: measure the rows that are wanted, then show and write what came of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.bench import FULL, QUICK, SMOKE, Bench, Plan
from benchmarks.cases import Case
from benchmarks.charts import write_charts
from benchmarks.processes import HERE, ProcessFailedError
from benchmarks.report import machine, terminal_table, write_json, write_markdown
from benchmarks.rows import bad_links, changes, cold, forwarding, go_nodes, inside, streams, upkeep

Group = Callable[[Bench, Container[int]], list[Case]]

GROUPS: Final[tuple[Group, ...]] = (
    streams.measure,
    go_nodes.measure,
    cold.measure,
    forwarding.measure,
    inside.measure,
    upkeep.measure,
    bad_links.measure,
    changes.measure,
)
ALL_ROWS: Final = range(1, 18)
QUICK_ROWS: Final = range(1, 11)
SMOKE_ROWS: Final = (1, 2, 6, 8, 9, 10, 13)


def main() -> int:
    """Run the benchmark and return the status to exit with."""
    options = read_options()
    console = Console(width=None if sys.stdout.isatty() else 170)
    before = machine()
    console.print(before, highlight=False)
    began = time.monotonic()
    cases, failures = measure_all(options.plan, options.rows, HERE, console.print)
    minutes = (time.monotonic() - began) / 60
    console.print(terminal_table(cases, f"Median of {options.plan.repetitions}; {minutes:.1f} minutes"))
    console.print(machine(), highlight=False)
    if options.json:
        write_json(cases, options.json)
    charts = write_charts(cases, options.charts) if options.charts else []
    if options.markdown:
        about = [
            f"Before: {before}.",
            f"After: {machine()}. {minutes:.0f} minutes, {options.plan.repetitions} repetitions.",
        ]
        write_markdown(cases, about, options.markdown, charts)
    for failure in failures:
        console.print(f"[red]{failure}[/red]")
    return 1 if failures else 0


def measure_all(
    plan: Plan, rows: Container[int], folder: Path, say: Callable[[str], None]
) -> tuple[list[Case], list[str]]:
    """Measure rows with the programs in a folder; return their cases in the order of the rows, and what failed."""
    cases: list[Case] = []
    failures: list[str] = []
    for group in GROUPS:
        began = time.monotonic()
        name = group.__module__.rpartition(".")[2]
        try:
            with Bench(plan, folder, say) as bench:
                measured = group(bench, rows)
        except ProcessFailedError as error:
            failures.append(f"{name}: {error}")
            continue
        if measured:
            say(f"{name}: {time.monotonic() - began:.0f} s")
        cases += measured
    return sorted(cases, key=lambda case: case.row), failures


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed beside plain HTTPS and Go.")
    parser.add_argument("--quick", action="store_true", help="rows 1 to 10, smaller bodies, 3 repetitions")
    parser.add_argument("--smoke", action="store_true", help="one tiny repetition of a few rows")
    parser.add_argument("--rows", type=rows_of, help="such as 1,2,9")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the cases there")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw charts there")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="put the table into this page, between its marks")
    options = parser.parse_args()
    options.plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    if options.rows is None:
        options.rows = SMOKE_ROWS if options.smoke else QUICK_ROWS if options.quick else ALL_ROWS
    return options


def rows_of(text: str) -> list[int]:
    """Return the rows that a command line names."""
    rows = [int(part) for part in text.split(",")]
    if not set(rows) <= set(ALL_ROWS):
        raise argparse.ArgumentTypeError("rows are 1 to 17")
    return rows


if __name__ == "__main__":
    sys.exit(main())
