"""What the documentation shows and names is what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_example_that_is_run() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)

    assert shown in (ROOT / "docs" / "examples" / "treq_two_nodes.py").read_text(encoding="utf-8")


def test_the_conformance_table_names_modules_tests_and_vectors_that_exist() -> None:
    table = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8").split("## Deviations")[0]
    named = re.findall(r"`([a-z_]+/[^`]+)`", table)
    vectors = re.findall(r"`([a-z_0-9]+\.json)`", table)

    assert [path for path in named if not (ROOT / path).exists()] == []
    assert {path.name for path in (ROOT / "tests" / "vectors").glob("*.json")} == set(vectors)


def test_the_architecture_names_files_that_exist() -> None:
    folders = ("", "pinecone_transport", "pinecone_transport/node", "twisted_endpoints", "synapse_module")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\*\*`([a-z_/]+(?:\.py)?)`\*\*", page))

    assert len(named) > 10
    assert [path for path in named if not any((ROOT / folder / path).exists() for folder in folders)] == []


def test_every_claim_about_security_has_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \| (`tests/.*) \|$", page, re.MULTILINE)
    named = [tuple(test.split("::")) for _, tests in rows for test in re.findall(r"`(tests/[^`]+)`", tests)]

    assert len(rows) > 30
    missing = [
        (path, name)
        for path, name in named
        if not re.search(rf"def {name}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []
