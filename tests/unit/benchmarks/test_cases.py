"""What is made of measured values: medians, percentiles, goals, the table and the charts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.cases import (
    Case,
    Goal,
    at_least,
    at_most,
    more_at_most,
    percentile,
    times_at_least,
    times_at_most,
)
from benchmarks.charts import CHARTS, write_charts
from benchmarks.report import BEGIN, END, write_json, write_markdown
from benchmarks.soak import faults_of, growth


def measured(goal: Goal | None = None, **options: object) -> Case:
    """Return a case of two repetitions."""
    case = Case(1, "up", "MB/s", goal, "plain HTTPS", **options)
    case.add([3.0, 1.0, 2.0], [1.0])
    case.add([5.0, 4.0, 6.0], [3.0])
    return case


def test_values_are_pooled_and_the_spread_is_that_of_the_repetitions() -> None:
    case = measured()
    assert case.value == 3.5
    assert case.spread == (2.0, 5.0)
    assert case.baseline_value == 2.0
    assert case.ratio == 1.75


def test_percentiles_are_of_what_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(percent)(values) for percent in (0, 50, 90, 99, 100)] == [1, 51, 90, 99, 100]
    assert percentile(99)([7.0]) == 7.0
    assert measured(statistic=percentile(100)).value == 6.0


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (at_least(3.5), True),
        (at_least(3.6), False),
        (at_most(3.5), True),
        (at_most(3.4), False),
        (times_at_least(1.75), True),
        (times_at_least(2), False),
        (times_at_most(1.75), True),
        (times_at_most(1), False),
        (more_at_most(1.5), True),
        (more_at_most(1.4), False),
    ],
)
def test_a_goal_is_met_or_not(goal: Goal, met: bool) -> None:
    assert measured(goal).met is met


def test_a_goal_beside_a_baseline_that_is_missing_is_neither_met_nor_missed() -> None:
    case = Case(3, "up", "MB/s", times_at_least(30))
    case.add(1.0)
    assert case.met is None
    assert case.ratio is None
    assert measured().met is None


def test_other_programs_get_an_object_for_each_case(tmp_path: Path) -> None:
    write_json([measured(times_at_least(1))], tmp_path / "cases.json")
    assert json.loads((tmp_path / "cases.json").read_text()) == [
        {
            "row": 1,
            "case": "up",
            "value": 3.5,
            "unit": "MB/s",
            "baseline": 2.0,
            "ratio": 1.75,
            "spread": [2.0, 5.0],
            "goal": "≥ 1 ×",
            "met": True,
        }
    ]


def test_a_page_gets_the_table_in_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        write_markdown([measured(at_least(9))], ["About."], page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\nAbout.\n\n| row | case |")
    assert text.endswith(f"| 1 | up | 3.5 MB/s | 2–5 | 2 (plain HTTPS) | 1.75 × | ≥ 9 | no |\n\n{END}\nafter\n")
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place"):
        write_markdown([], [], page)


def test_a_page_shows_the_charts_that_were_drawn(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BEGIN + END)
    write_markdown([measured()], [], page, write_charts([measured()], tmp_path))
    assert "\n![A chart of these figures](benchmark-goodput.svg)\n" in page.read_text()


def test_charts_show_each_case_with_its_value(tmp_path: Path) -> None:
    cases = [measured(times_at_least(1)), measured(more_at_most(1)), measured(at_most(1)), measured()]
    [path] = write_charts(cases, tmp_path)
    assert path.name == f"benchmark-{CHARTS[0].name}.svg"
    texts = [element.text for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("1: up") == texts.count("3.5") == texts.count("2 plain HTTPS") == len(cases)
    assert write_charts([], tmp_path) == []


def test_growth_is_that_of_the_last_two_thirds() -> None:
    assert growth([1.0] * 4 + [100.0] * 8) == 0.0
    assert growth([100.0] * 6 + [110.0] * 6) == pytest.approx(10.0)


def test_a_soak_is_at_fault_for_what_is_wrong_hung_or_grown() -> None:
    assert faults_of(Counter(answered=9, **{"failed: ConnectionLost": 2}), {"an end": 4.9}, 5.0) == []
    assert faults_of(Counter(answered=9, wrong=1, hung=2), {"an end": 5.1}, 5.0) == [
        "1 requests wrong",
        "2 requests hung",
        "an end grew by 5.1 %",
    ]
    assert faults_of(Counter(answered=1, **{"failed: ConnectionLost": 2}), {}, 5.0) == ["1 requests answered, 2 failed"]
