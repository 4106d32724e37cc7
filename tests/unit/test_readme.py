"""What the README shows is what is tested."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_example_that_is_run() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)

    assert shown in (ROOT / "docs" / "examples" / "treq_two_nodes.py").read_text(encoding="utf-8")
