"""The demo's table, on a terminal and in a log."""

import io

from rich.console import Console

from demo.table import StepTable


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with StepTable(console) as table:
        table.begin("First")
        table.passed("[so many] bytes")
        table.begin("Second")
        table.failed()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_a_line_per_step() -> None:
    first, second = shown(terminal=False).splitlines()

    assert first.startswith("First")
    assert first.endswith("ms  [so many] bytes")
    assert second.startswith("Second")
    assert second.endswith("ms  failed")


def test_a_terminal_gets_the_whole_table() -> None:
    last = shown(terminal=True).rpartition("Two homeservers, one relay between them")[2]

    assert "First" in last
    assert "[so many] bytes" in last
    assert "failed" in last
