"""Bar charts of the cases as SVG: each case a bar with its spread, its baseline below it, its goal as a line."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.cases import Case, Compared, number

WIDTH: Final = 900
LEFT: Final = 330
RIGHT: Final = 120
TOP: Final = 56
BAR: Final = 14
GAP: Final = 12

OWN: Final = "#2f6db3"
OTHER: Final = "#c9ced6"
SPREAD: Final = "#16324f"
GOAL: Final = "#c0392b"


class Chart(NamedTuple):
    """Which cases are shown together.

    Attributes:
        name: Of the file.
        title: Above it.
        rows: Whose cases.
        unit: That they have in common.
    """

    name: str
    title: str
    rows: tuple[int, ...]
    unit: str


CHARTS: Final = (
    Chart("goodput", "Large bodies over the overlay, MB/s: longer is better", (1, 2, 3), "MB/s"),
    Chart("small-requests", "Small requests and new sessions, ms: shorter is better", (6, 7), "ms"),
    Chart("workers", "Small requests of 32 workers, requests/s: longer is better", (8,), "requests/s"),
    Chart("relay", "What one relay passes on, MB/s: longer is better", (9,), "MB/s"),
    Chart("bad-links", "Large bodies over bad links, MB/s: longer is better", (15,), "MB/s"),
    Chart("memory", "Resident memory, MB: shorter is better", (11,), "MB"),
    Chart("convergence", "Seconds until all pairs of a line answer: shorter is better", (16,), "s"),
)


def write_charts(cases: Sequence[Case], folder: Path) -> list[Path]:
    """Write a file for each chart that has cases; return the files."""
    written = []
    for chart in CHARTS:
        shown = [case for case in cases if case.row in chart.rows and case.unit == chart.unit]
        if shown:
            path = folder / f"benchmark-{chart.name}.svg"
            path.write_text(svg(chart, shown), encoding="utf-8")
            written.append(path)
    return written


def svg(chart: Chart, cases: Sequence[Case]) -> str:
    """Return the picture."""
    longest = max(max(case.spread[1], case.baseline_value or 0.0) for case in cases)
    scale = (WIDTH - LEFT - RIGHT) / longest if longest else 0.0
    parts = [_text(16, 26, chart.title, size=16, weight="bold"), _text(16, 44, _legend(cases), colour="#555")]
    y = TOP
    for case in cases:
        parts += _case(case, y, scale)
        y += BAR + GAP + (BAR if case.baseline_value is not None else 0)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(chart.title)}">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _case(case: Case, y: int, scale: float) -> list[str]:
    low, high = case.spread
    middle = y + BAR / 2
    parts = [
        _text(LEFT - 8, y + BAR - 3, f"{case.row}: {case.name}", anchor="end"),
        _bar(y, case.value * scale, OWN),
        f'<path d="M{LEFT + low * scale:.1f} {middle}H{LEFT + high * scale:.1f}" stroke="{SPREAD}" stroke-width="2"/>',
        _text(LEFT + high * scale + 6, y + BAR - 3, number(case.value)),
    ]
    baseline = case.baseline_value
    if baseline is not None:
        parts += [
            _bar(y + BAR, baseline * scale, OTHER),
            _text(LEFT + baseline * scale + 6, y + 2 * BAR - 3, f"{number(baseline)} {case.against}", colour="#555"),
        ]
    limit = _limit(case)
    if limit is not None and limit * scale <= WIDTH - LEFT:
        x = LEFT + limit * scale
        parts.append(f'<path d="M{x:.1f} {y - 3}V{y + BAR + 3}" stroke="{GOAL}" stroke-width="2"/>')
    return parts


def _limit(case: Case) -> float | None:
    """Return the goal on the axis of the values."""
    goal, baseline = case.goal, case.baseline_value
    if goal is None:
        return None
    if goal.compared is Compared.VALUE:
        return goal.limit
    if baseline is None:
        return None
    return goal.limit * baseline if goal.compared is Compared.RATIO else goal.limit + baseline


def _legend(cases: Sequence[Case]) -> str:
    others = " or ".join(sorted({case.against for case in cases if case.baseline_value is not None}))
    beside = f"; grey: {others}" if others else ""
    return f"blue: the overlay, with its lowest and highest repetition{beside}; red line: the goal"


def _bar(y: float, length: float, colour: str) -> str:
    return f'<rect x="{LEFT}" y="{y}" width="{max(length, 0.5):.1f}" height="{BAR - 2}" fill="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    colour: str = "#111",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
