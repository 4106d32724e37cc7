"""The benchmark still runs; how fast anything is, is not judged here."""

import subprocess
import sys
from pathlib import Path


def test_the_benchmark_measures_every_path_and_shows_a_table() -> None:
    command = [sys.executable, "-m", "benchmarks", "--smoke"]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "HTTPS over TCP" in result.stdout
    assert "overlay, 2 links" in result.stdout
