"""What docstrings name as their source is there, in the documentation of the protocol."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pinecone_transport", "twisted_endpoints", "synapse_module")
PAGES = {int(page.name[:2]): page.read_text(encoding="utf-8") for page in (ROOT / "docs/protocol").glob("[0-9]*.md")}


def sources() -> Iterator[tuple[str, int, str]]:
    """Yield file, section, and what follows it: a heading in quotes, a step, or nothing."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for line in re.findall(r"Source: (.*)", path.read_text(encoding="utf-8")):
                for section, rest in re.findall(r"§(\d+)((?:,? \"[^\"]+\"| steps? \d)?)", line):
                    yield str(path.relative_to(ROOT)), int(section), rest.strip(", ")


def test_every_section_has_its_page_and_its_number() -> None:
    assert sorted(PAGES) == list(range(1, 12))
    assert [page.splitlines()[0].split()[:2] for _, page in sorted(PAGES.items())] == [
        ["#", f"§{number}"] for number in range(1, 12)
    ]


def test_every_source_is_a_place_in_the_protocol() -> None:
    missing = []
    for path, section, place in sources():
        page = PAGES.get(section, "")
        wanted = (
            f"## {place.strip(chr(34))}\n" if place.startswith('"') else f"\n{place.split()[-1]}. " if place else "#"
        )
        if wanted not in page:
            missing.append((path, section, place))

    assert missing == []


def test_sources_are_found_at_all() -> None:
    assert len(list(sources())) > 30
