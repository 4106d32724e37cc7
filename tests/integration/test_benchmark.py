"""The benchmark still runs; how fast anything is, is not judged here."""

import subprocess
import sys
from pathlib import Path


def test_the_benchmark_measures_and_shows_a_table() -> None:
    command = [sys.executable, "-m", "benchmarks", "--smoke"]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120
    )

    assert result.returncode == 0, result.stdout + result.stderr
    for case in ("up, 1 link", "up, 4 links", "32 workers", "one busy pair", "the same flow again", "a new root"):
        assert case in result.stdout
