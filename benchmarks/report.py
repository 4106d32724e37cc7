"""The table of cases: on the terminal, as JSON, and inside a page of the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks.cases import Case, number

BEGIN: Final = "<!-- benchmark: begin -->"
END: Final = "<!-- benchmark: end -->"

HEADINGS: Final = ("row", "case", "value", "lowest–highest", "baseline", "ratio", "goal", "met")


def machine() -> str:
    """Say where this is measured and how busy the machine is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"Python {platform.python_version()}, {processor()}, {os.cpu_count()} cores, load {load}"


def processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def terminal_table(cases: Sequence[Case], title: str) -> Table:
    """Return the table for a terminal."""
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("case", "goal", "met") else "right")
    last = None
    for case in cases:
        if last not in (None, case.row):
            table.add_section()
        last = case.row
        colour = {True: "green", False: "red", None: "dim"}[case.met]
        cells = _cells(case)
        table.add_row(*cells[:-1], f"[{colour}]{cells[-1]}[/{colour}]")
    return table


def write_json(cases: Sequence[Case], path: Path) -> None:
    """Write a list with one object per case."""
    path.write_text(json.dumps([case.as_json() for case in cases], indent=1) + "\n", encoding="utf-8")


def write_markdown(cases: Sequence[Case], about: Sequence[str], path: Path, charts: Sequence[Path] = ()) -> None:
    """Put the table between the two marks of a page that has them, in the place of the one before.

    Args:
        cases: The table.
        about: Lines about the run.
        path: The page.
        charts: Pictures that are shown below the table, in the page's folder or below it.

    Raises:
        ValueError: The page does not have them.
    """
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for the table between {BEGIN} and {END}")
    pictures = "".join(f"\n![A chart of these figures]({_relative(chart, path)})\n" for chart in charts)
    table = markdown(cases, about) + pictures
    path.write_text(before + begin + "\n\n" + table + "\n" + end + after, encoding="utf-8")


def markdown(cases: Sequence[Case], about: Sequence[str]) -> str:
    """Return the table as Markdown, with lines about the run before it."""
    lines = [*about, "", "| " + " | ".join(HEADINGS) + " |", "| " + " | ".join("---" for _ in HEADINGS) + " |"]
    lines += ["| " + " | ".join(_cells(case)) + " |" for case in cases]
    return "\n".join(lines) + "\n"


def _relative(chart: Path, page: Path) -> str:
    return chart.resolve().relative_to(page.resolve().parent).as_posix()


def _cells(case: Case) -> tuple[str, ...]:
    low, high = case.spread
    baseline, ratio = case.baseline_value, case.ratio
    return (
        str(case.row),
        case.name,
        f"{number(case.value)} {case.unit}",
        f"{number(low)}–{number(high)}",
        f"{number(baseline)} ({case.against})" if baseline is not None else "",
        f"{number(ratio)} ×" if ratio is not None else "",
        str(case.goal) if case.goal is not None else "",
        {True: "yes", False: "no", None: ""}[case.met],
    )
