"""Keeps log lines that repeat from filling the log."""

from __future__ import annotations

import logging
from typing import Final, final

WINDOW: Final = 60.0
LINES_PER_WINDOW: Final = 5

_SUBJECTS: Final = 256


@final
class RepeatFilter:
    """Lets through a few lines a minute about each subject, then says how many were left out.

    Memory is bounded: of more than 256 subjects the oldest are forgotten, which only means more lines.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        # Subject to [start of its minute, lines in it].
        self._seen: dict[str, list[float]] = {}

    def info(self, subject: str, now: float, message: str, *arguments: object) -> None:
        """Log at INFO, unless the subject has had its lines for this minute."""
        entry = self._seen.get(subject)
        if entry is None or now - entry[0] >= WINDOW:
            if entry is not None and entry[1] > LINES_PER_WINDOW:
                left_out = int(entry[1]) - LINES_PER_WINDOW
                self._logger.info("%d lines about %s were left out", left_out, subject)
            self._seen.pop(subject, None)
            if len(self._seen) >= _SUBJECTS:
                del self._seen[next(iter(self._seen))]
            entry = self._seen[subject] = [now, 0]
        entry[1] += 1
        if entry[1] <= LINES_PER_WINDOW:
            self._logger.info(message, *arguments)
        else:
            self._logger.debug(message, *arguments)
