"""What was measured: cases, each with its goal, and how they are summed up."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

import attrs

MEGABYTE: Final = 1_000_000

Statistic: TypeAlias = Callable[[Sequence[float]], float]


def percentile(percent: float) -> Statistic:
    """Return the function that gives this percentile of some values."""

    def of(values: Sequence[float]) -> float:
        ordered = sorted(values)
        return ordered[min(round(percent / 100 * (len(ordered) - 1)), len(ordered) - 1)]

    return of


class Compared(Enum):
    """What a goal is about."""

    VALUE = "the value"
    RATIO = "times the baseline"
    DIFFERENCE = "more than the baseline"


@attrs.frozen
class Goal:
    """What a case must reach.

    Attributes:
        limit: The number.
        compared: What is held to it.
        at_least: Whether it is a least value; else it is a greatest one.
    """

    limit: float
    compared: Compared = Compared.VALUE
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        match self.compared:
            case Compared.VALUE:
                return f"{sign} {number(self.limit)}"
            case Compared.RATIO:
                return f"{sign} {number(self.limit)} ×"
            case Compared.DIFFERENCE:
                return f"{sign} + {number(self.limit)}"

    def met(self, value: float, baseline: float | None) -> bool | None:
        """Tell whether it is reached; None where there is nothing to compare with."""
        if self.compared is not Compared.VALUE:
            if baseline is None or not baseline:
                return None
            value = value / baseline if self.compared is Compared.RATIO else value - baseline
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Goal:
    """The value has to reach this."""
    return Goal(limit, at_least=True)


def at_most(limit: float) -> Goal:
    """The value must not be above this."""
    return Goal(limit)


def times_at_least(limit: float) -> Goal:
    """The value has to reach so many times the baseline."""
    return Goal(limit, Compared.RATIO, at_least=True)


def times_at_most(limit: float) -> Goal:
    """The value must not be above so many times the baseline."""
    return Goal(limit, Compared.RATIO)


def more_at_most(limit: float) -> Goal:
    """The value must not be above the baseline by more than this."""
    return Goal(limit, Compared.DIFFERENCE)


@attrs.define
class Case:
    """One line of the table.

    Attributes:
        row: Of the table of goals.
        name: What was done.
        unit: Of the values and of the baseline.
        goal: None for what is only to be known.
        against: What the baseline is.
        statistic: Makes one number of many.
        values: By repetition.
        baseline: Likewise; empty where there is none.
    """

    row: int
    name: str
    unit: str
    goal: Goal | None = None
    against: str = ""
    statistic: Statistic = statistics.median
    values: list[list[float]] = attrs.Factory(list)
    baseline: list[list[float]] = attrs.Factory(list)

    def add(self, values: float | Iterable[float], baseline: float | Iterable[float] | None = None) -> None:
        """Note what one repetition gave."""
        self.values.append(_list(values))
        if baseline is not None:
            self.baseline.append(_list(baseline))

    @property
    def value(self) -> float:
        """Over all repetitions, pooled."""
        return self.statistic(_pooled(self.values))

    @property
    def baseline_value(self) -> float | None:
        """The same of the baseline."""
        pooled = _pooled(self.baseline)
        return self.statistic(pooled) if pooled else None

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest repetition."""
        each = [self.statistic(values) for values in self.values if values]
        return min(each), max(each)

    @property
    def ratio(self) -> float | None:
        """Value to baseline."""
        baseline = self.baseline_value
        return self.value / baseline if baseline else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal, or without what it is compared with."""
        return self.goal.met(self.value, self.baseline_value) if self.goal is not None else None

    def as_json(self) -> dict[str, Any]:
        """Return the object that is written for other programs."""
        return {
            "row": self.row,
            "case": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(self.baseline_value),
            "ratio": _rounded(self.ratio),
            "spread": [_rounded(end) for end in self.spread],
            "goal": str(self.goal) if self.goal is not None else None,
            "met": self.met,
        }


def number(value: float) -> str:
    """Return a number as people read it: three digits that count."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _list(values: float | Iterable[float]) -> list[float]:
    return list(values) if isinstance(values, Iterable) else [values]


def _pooled(values: list[list[float]]) -> list[float]:
    return [value for repetition in values for value in repetition]


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.5g}") if value is not None else None
