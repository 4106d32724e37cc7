"""Mixed load over four links for a long time, while links go and come: ``python -m benchmarks.soak``.

Two nodes ask one another without end, through three relays of which the middle one is a Go node where there is a Go
toolchain. Every 20 s a link is cut for a few seconds. At the end every request must have been answered or have failed,
no answer may have been wrong, and our processes must not have grown in the last two thirds of the time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from benchmarks.bench import FULL, Bench
from benchmarks.cases import MEGABYTE
from benchmarks.processes import HERE, Process, ProcessFailedError
from benchmarks.report import machine

MINUTES: Final = 30.0
WORKERS: Final = 4
CUT_EVERY: Final = 20.0
CUT_FOR: Final = 3.0
SAMPLED_EVERY: Final = 2.0
MOST_GROWTH: Final = 5.0
"""Percent."""
FINISHING: Final = 150.0
"""Seconds for what is under way at the end: longer than a request may hang."""


def main() -> int:
    """Run the soak and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Load while links come and go.")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--growth", type=float, default=MOST_GROWTH, help="percent that memory may grow")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(machine(), highlight=False)
    try:
        with Bench(FULL, HERE, console.print) as bench:
            counts, grown = soak(bench, 60 * options.minutes)
    except ProcessFailedError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    for name, count in sorted(counts.items()):
        console.print(f"{count:>8} {name}", highlight=False)
    for name, percent in grown.items():
        console.print(f"{percent:>7.1f} % growth of {name}", highlight=False)
    faults = faults_of(counts, grown, options.growth)
    console.print("\n".join(faults) or "No fault.")
    return 1 if faults else 0


def soak(bench: Bench, seconds: float) -> tuple[Counter[str], dict[str, float]]:
    """Run it; return what became of the requests, and by how many percent each process of ours grew."""
    throttle = bench.python("throttle")
    near = bench.python("soak_node", options=_options(None))
    processes = {"the first end": near}
    address = near.ready["listen"]
    for name in ("the first relay", "the Go relay", "the last relay", "the last end"):
        address = throttle.ask("open", target=address)["address"]
        if name == "the Go relay" and bench.has_go:
            address = bench.go(peers=[address]).address
        else:
            processes[name] = bench.python("soak_node", options=_options(address))
            address = processes[name].ready["listen"]
    far = processes["the last end"]
    near.ask("start", server=far.ready["server"], workers=WORKERS, seed=1)
    far.ask("start", server=near.ready["server"], workers=WORKERS, seed=1000)
    sizes = _disturb(bench, throttle, processes, seconds)
    finishing = [(end, end.begin("finish")) for end in (near, far)]
    counts: Counter[str] = Counter()
    for end, number in finishing:
        counts.update(end.answer(number, FINISHING))
    return counts, {name: growth(values) for name, values in sizes.items()}


def growth(sizes: Sequence[float]) -> float:
    """Return by how many percent a size grew in the last two thirds: from their first to their last quarter."""
    rest = sizes[len(sizes) // 3 :]
    quarter = max(len(rest) // 4, 1)
    before, after = statistics.median(rest[:quarter]), statistics.median(rest[-quarter:])
    return 100 * (after - before) / before


def faults_of(counts: Counter[str], grown: dict[str, float], most: float) -> list[str]:
    """Return what is not as it must be, in words."""
    faults = [f"{counts[name]} requests {name}" for name in ("wrong", "hung") if counts[name]]
    failed = sum(count for name, count in counts.items() if name.startswith("failed"))
    if counts["answered"] <= failed:
        faults.append(f"{counts['answered']} requests answered, {failed} failed")
    return faults + [f"{name} grew by {percent:.1f} %" for name, percent in grown.items() if percent > most]


def _options(peer: str | None) -> dict[str, list[str]]:
    return {"listen": ["127.0.0.1:0"], "peers": [peer] if peer else []}


def _disturb(bench: Bench, throttle: Process, processes: dict[str, Process], seconds: float) -> dict[str, list[float]]:
    """Cut links and restore them until the time is over; return the sizes of the processes, MB."""
    draw = random.Random(1)
    sizes: dict[str, list[float]] = {name: [] for name in processes}
    until = time.monotonic() + seconds
    cut_at = time.monotonic() + CUT_EVERY / 2
    cut: int | None = None
    while (now := time.monotonic()) < until:
        if cut is not None and now >= cut_at + CUT_FOR:
            throttle.ask("mend", link=cut)
            cut, cut_at = None, cut_at + CUT_EVERY
            bench.say(
                f"{until - now:.0f} s left; " + ", ".join(f"{name} {each[-1]:.0f} MB" for name, each in sizes.items())
            )
        elif cut is None and now >= cut_at:
            cut = draw.randrange(4)
            throttle.ask("cut", link=cut)
        for name, process in processes.items():
            sizes[name].append(process.resident() / MEGABYTE)
        time.sleep(SAMPLED_EVERY)
    if cut is not None:
        throttle.ask("mend", link=cut)
    return sizes


if __name__ == "__main__":
    sys.exit(main())
