"""What rows are measured with: how much of everything, and the processes, which end with the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, final

import attrs

from benchmarks.cases import MEGABYTE
from benchmarks.ends import End, Go, Own
from benchmarks.go_peer import GoPeerMissingError, build_go_peer
from benchmarks.processes import Process, python

OLD_QUIC: Final = "0.37"

_E = TypeVar("_E", bound=End)


@attrs.frozen
class Plan:
    """How much is measured.

    Attributes:
        repetitions: Of everything that is quick to repeat.
        seconds: That a large body should take.
        least_body: Bytes, with which its length is found out.
        requests: Small ones in a row.
        load: Seconds with many workers.
        cold: Sessions that are opened in one repetition.
        patient: Whether outages are tried as often as they should be, and lower bounds are measured.
        go: Whether the Go peer is measured beside us.
    """

    repetitions: int
    seconds: float
    least_body: int
    requests: int
    load: float
    cold: int
    patient: bool
    go: bool = True


FULL: Final = Plan(5, seconds=2.0, least_body=MEGABYTE // 4, requests=300, load=2.0, cold=6, patient=True)
QUICK: Final = Plan(3, seconds=0.8, least_body=MEGABYTE // 4, requests=100, load=0.8, cold=5, patient=False)
SMOKE: Final = Plan(1, seconds=0.0, least_body=MEGABYTE // 4, requests=5, load=0.1, cold=1, patient=False, go=False)


@final
class Bench:
    """Starts processes, and ends them all when it is left.

    Args:
        plan: How much is measured.
        folder: Where the programs of ours are that are measured.
        say: Gets lines about what is going on.
    """

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan: Final = plan
        self.say: Final = say
        self.folder: Final = folder
        self._processes: Final = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._processes.close()

    @cached_property
    def go_programs(self) -> dict[str, str]:
        """The Go peer's programs; none where they cannot be built."""
        try:
            return build_go_peer()
        except GoPeerMissingError as missing:
            self.say(f"Without the Go peer: {missing}")
            return {}

    @property
    def has_go(self) -> bool:
        """Whether there is a Go peer to be measured beside us."""
        return self.plan.go and bool(self.go_programs)

    def own(self, **options: Any) -> Own:
        """Start nodes of ours."""
        return self._kept(Own(self.folder, **options))

    def go(self, sessions: str = "none", peers: Sequence[str] = (), version: str = OLD_QUIC, **options: Any) -> Go:
        """Start a Go peer."""
        return self._kept(Go(self.go_programs[version], sessions, peers, **options))

    def python(self, module: str, **part: Any) -> Process:
        """Start another program of the benchmarks."""
        process = python(f"benchmarks.{module}", part, self.folder)
        self._processes.callback(process.stop)
        return process

    def body_for(self, move: Callable[[int], float], longest: int, share: float) -> int:
        """Return the length of a body that takes as long as the plan wants.

        Args:
            move: Moves so many bytes and returns the seconds that took.
            longest: Bytes.
            share: Of the plan's seconds.
        """
        seconds = share * self.plan.seconds
        length = self.plan.least_body
        took = move(length)
        # On a path with a long round trip what windows need to grow would pass for the rate.
        while took < seconds / 3 and length < longest:
            length = min(4 * length, longest)
            took = move(length)
        return max(min(int(length / took * seconds), longest), self.plan.least_body)

    def _kept(self, end: _E) -> _E:
        self._processes.callback(end.process.stop)
        return end
