"""Two revisions beside one another: ``python -m benchmarks.compare REVISION`` measures it and what is here, by turns.

What measures is in both cases what is here; only the packages that are measured come from the revision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import measure_all, rows_of
from benchmarks.bench import QUICK
from benchmarks.cases import Case, number
from benchmarks.processes import HERE, ProcessFailedError
from benchmarks.report import machine

ROWS: Final = (1, 2, 6, 8, 9, 10, 13)
ROUNDS: Final = 5
PACKAGES: Final = ("pinecone_transport", "twisted_endpoints")


def main() -> int:
    """Compare, and return the status to exit with."""
    options = read_options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(machine(), highlight=False)
    try:
        with revision(options.revision) as folder:
            before, after = compare(folder, options.rows, options.rounds, console)
    except (ProcessFailedError, subprocess.CalledProcessError) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    console.print(table_of(options.revision, before, after))
    console.print(machine(), highlight=False)
    return 0


@contextmanager
def revision(name: str) -> Iterator[Path]:
    """Provide a folder with the packages of a revision and the benchmarks of this one."""
    with tempfile.TemporaryDirectory() as temporary:
        tree, folder = Path(temporary) / "tree", Path(temporary) / "measured"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), name], check=True)
        try:
            folder.mkdir()
            for package in PACKAGES:
                (folder / package).symlink_to(tree / package)
            (folder / "benchmarks").symlink_to(HERE / "benchmarks")
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(folder: Path, rows: Sequence[int], rounds: int, console: Console) -> tuple[list[Case], list[Case]]:
    """Measure both by turns, each of them first as often as the other; return the cases of both."""
    plan = attrs.evolve(QUICK, repetitions=1, go=False)
    measured: dict[Path, dict[tuple[int, str], Case]] = {folder: {}, HERE: {}}
    for number_of_round in range(rounds):
        console.print(f"round {number_of_round + 1} of {rounds}", highlight=False)
        order = [folder, HERE] if number_of_round % 2 == 0 else [HERE, folder]
        for each in order:
            cases, failures = measure_all(plan, rows, each, lambda _: None)
            for failure in failures:
                console.print(f"[red]{failure}[/red]")
            for case in cases:
                kept = measured[each].setdefault((case.row, case.name), case)
                if kept is not case:
                    kept.values += case.values
    return list(measured[folder].values()), list(measured[HERE].values())


def table_of(name: str, before: Sequence[Case], after: Sequence[Case]) -> Table:
    """Return the table of both."""
    table = Table(title=f"What is here beside {name}")
    for heading in ("row", "case", name, "lowest–highest", "here", "lowest–highest", "ratio"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    earlier = {(case.row, case.name): case for case in before}
    for case in after:
        old = earlier.get((case.row, case.name))
        if old is not None:
            ratio = number(case.value / old.value) if old.value else ""
            shown = [f"{number(each.value)} {each.unit}" for each in (old, case)]
            table.add_row(str(case.row), case.name, shown[0], _spread(old), shown[1], _spread(case), ratio)
    return table


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Two revisions by turns.")
    parser.add_argument("revision", help="what git knows it by")
    parser.add_argument("--rows", type=rows_of, default=ROWS, help="such as 1,2,9")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured")
    return parser.parse_args()


def _spread(case: Case) -> str:
    return f"{number(case.spread[0])}–{number(case.spread[1])}"


if __name__ == "__main__":
    sys.exit(main())
