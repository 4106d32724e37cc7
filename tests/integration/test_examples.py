"""The examples of the documentation, run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_treq_fetches_a_page_by_its_servers_key() -> None:
    example = subprocess.run(
        [sys.executable, EXAMPLES / "treq_two_nodes.py"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (example.stdout, example.returncode) == ("Hello over the overlay\n", 0), example.stderr
