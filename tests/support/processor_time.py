"""How long processes waited: what is left of a time when the machine's speed and its other work are taken off."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path


def processor_seconds(pids: Iterable[int]) -> float:
    """Return the seconds that all threads of these processes have run, or stood in line for a processor.

    0 for a process that is gone, and where the kernel keeps no such account.
    """
    nanoseconds = 0
    for pid in pids:
        for account in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                running, in_line, _ = account.read_text().split()
            except OSError:
                continue  # the thread has just ended
            nanoseconds += int(running) + int(in_line)
    return nanoseconds / 1e9


class Waiting:
    """The time that passes, without that in which one of some processes, or this one, had something to do.

    Time-outs, pauses and polls of others count; a slow machine, or one with other work to do, does not. Where several
    processes have something to do at once, that is taken off for each, so it is never too long.
    """

    def __init__(self, *pids: int | None) -> None:
        self._pids = (*(pid for pid in pids if pid is not None), os.getpid())
        self._began_at = time.monotonic()
        self._busy_before = processor_seconds(self._pids)

    def passed(self) -> float:
        """Return the seconds that have passed, by the clock on the wall."""
        return time.monotonic() - self._began_at

    def waited(self) -> float:
        """Return the seconds of them in which the processes waited."""
        return max(0.0, self.passed() - (processor_seconds(self._pids) - self._busy_before))
