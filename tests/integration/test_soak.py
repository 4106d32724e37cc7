"""A minute of mixed load while links come and go; the long run is ``make soak``."""

import subprocess
import sys
from pathlib import Path

MOST_GROWTH = 15
"""Percent: within a minute buffers have not all grown to what they will be."""


def test_every_request_is_answered_or_fails_while_links_come_and_go() -> None:
    # The Go node's program may have to be built first.
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "1", "--growth", str(MOST_GROWTH)]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=600
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "answered" in result.stdout
