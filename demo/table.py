"""The table of steps: it grows in place on a terminal, and is one line per step in a pipe or a log."""

from __future__ import annotations

import time
from typing import final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table


@final
class StepTable:
    """Shows steps as they begin and end; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[tuple[str, str, str]] = []
        self._name = ""
        self._began = 0.0
        self._live = Live(console=console, get_renderable=self._table) if console.is_terminal else None

    def __enter__(self) -> StepTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, name: str) -> None:
        """A step begins."""
        self._name, self._began = name, time.monotonic()
        self._refresh()

    def passed(self, result: str) -> None:
        """It has ended well, with this result."""
        self._end(f"[green]{escape(result)}[/green]")

    def failed(self) -> None:
        """It has failed."""
        self._end("[red]failed[/red]")

    def _end(self, result: str) -> None:
        row = (self._name, result, f"{self._elapsed():,.0f}")
        self._rows.append(row)
        self._name = ""
        self._refresh()
        if self._live is None:
            self._console.print(f"{row[0]:<34} {row[2]:>7} ms  {row[1]}", highlight=False)

    def _elapsed(self) -> float:
        return (time.monotonic() - self._began) * 1000

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _table(self) -> Table:
        table = Table("Step", "Result", title="Two homeservers, one relay between them", title_justify="left")
        table.add_column("ms", justify="right")
        for row in self._rows:
            table.add_row(*row)
        if self._name:
            table.add_row(self._name, "[yellow]…[/yellow]", f"{self._elapsed():,.0f}")
        return table
