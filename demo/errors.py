"""What can go wrong, in one sentence for people."""

from __future__ import annotations

from pathlib import Path


class DemoError(Exception):
    """The demo cannot go on; its text is one sentence."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log
