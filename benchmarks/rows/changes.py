"""Rows 16 and 17: how long an overlay takes until all nodes reach one another, and to go round a link that is gone."""

from __future__ import annotations

import random
import time
from collections.abc import Container
from typing import Final, NamedTuple, final

from benchmarks.bench import Bench
from benchmarks.cases import Case, at_most, times_at_most
from benchmarks.ends import Go
from benchmarks.processes import ProcessFailedError

LINES: Final = (10, 30)
NODES_OF_A_PROCESS: Final = 10
PATIENCE: Final = 90.0
GO_PATIENCE: Final = 40.0
"""A line of Go nodes that is not complete by then counts as if it were."""

DIAMONDS: Final = 5
BEFORE: Final = 0.3
"""Seconds from when a stream is watched to when its link goes."""
SETTLED: Final = 6.0
"""Seconds after which a diamond whose links are up is what it was."""


class Loss(NamedTuple):
    """A way to lose a link.

    Attributes:
        title: For people.
        command: The throttle's.
        rounds: How often in each diamond, in a full run.
        watched: Seconds for which the stream is watched.
        median: The goal for the pause, seconds.
        worst: The same for the longest.
    """

    title: str
    command: str
    rounds: int
    watched: float
    median: float
    worst: float


LOSSES: Final = (
    Loss("closed", "cut", 3, 4.0, median=0.3, worst=1.5),
    Loss("silently swallowing", "swallow", 2, 11.0, median=6.0, worst=8.0),
)


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted."""
    cases: list[Case] = []
    if 16 in wanted:
        cases += _lines(bench)
    if 17 in wanted:
        cases += _diamonds(bench)
    return cases


def _lines(bench: Bench) -> list[Case]:
    cases = {
        count: Case(16, f"a line of {count} nodes, all pairs answered", "s", times_at_most(1), "Go") for count in LINES
    }
    for repetition in range(bench.plan.repetitions):
        bench.say(f"row 16: {repetition + 1} of {bench.plan.repetitions}")
        theirs: dict[int, float] = {}
        if bench.has_go:
            with Bench(bench.plan, bench.folder, bench.say) as once:
                theirs = _go_lines(once)
        for count, case in cases.items():
            with Bench(bench.plan, bench.folder, bench.say) as once:
                case.add(_own_line(once, count), theirs.get(count))
    return list(cases.values())


def _own_line(bench: Bench, count: int) -> float:
    processes = [bench.python("echo", nodes=0, options={}) for _ in range(-(-count // NODES_OF_A_PROCESS))]
    homes = [processes[number // NODES_OF_A_PROCESS] for number in range(count)]
    nodes = [home.ask("node", listen=["127.0.0.1:0"], session="utp", hop_limiting=False) for home in homes]
    keys = [node["key"] for node in nodes]
    began = time.monotonic()
    for number in _in_any_order(count):
        homes[number].ask("connect", node=nodes[number]["node"], address=nodes[number - 1]["listen"])
    asked = [process.begin("reach", keys=keys, timeout=PATIENCE) for process in processes]
    for process, number in zip(processes, asked, strict=True):
        process.answer(number)
    return time.monotonic() - began


def _go_lines(bench: Bench) -> dict[int, float]:
    """Start the lines side by side, since they do little; return the seconds of each."""
    lines = {count: [bench.go("probes", hop_limiting=False) for _ in range(count)] for count in LINES}
    asked: dict[int, list[tuple[Go, int]]] = {}
    before: dict[int, float] = {}
    for count, nodes in lines.items():
        began = time.monotonic()
        for number in _in_any_order(count):
            nodes[number].process.ask("connect", address=nodes[number - 1].address)
        keys = {node.process.ready["key"] for node in nodes}
        before[count] = time.monotonic() - began
        asked[count] = [(node, node.probe(keys - {node.process.ready["key"]}, GO_PATIENCE)) for node in nodes]
    return {count: before[count] + max(_go_seconds(*each) for each in probes) for count, probes in asked.items()}


def _go_seconds(node: Go, number: int) -> float:
    try:
        return float(node.process.answer(number)["seconds"])
    except ProcessFailedError:  # it takes longer than our patience
        return GO_PATIENCE


def _in_any_order(count: int) -> list[int]:
    """Return in which order the nodes after the first dial those before them: a line seldom grows from one end."""
    return random.sample(range(1, count), count - 1)


@final
class Diamond:
    """Two nodes with two relays between them, by links that can be cut, and a stream that tells how it fares."""

    def __init__(self, bench: Bench) -> None:
        self._throttle: Final = bench.python("throttle")
        self._nodes: Final = bench.python("echo", nodes=0, options={})
        relays = [self._nodes.ask("node", listen=["127.0.0.1:0"]) for _ in range(2)]
        links = [self._throttle.ask("open", target=relay["listen"]) for _ in range(2) for relay in relays]
        addresses = [link["address"] for link in links]
        self._near: Final = self._nodes.ask("node", peers=addresses[:2])
        self._far: Final = self._nodes.ask("node", peers=addresses[2:])
        self._cut = 0
        self._stream = -1

    def open(self) -> None:
        """Open the stream, once the nodes reach one another."""
        keys = [self._near["key"], self._far["key"]]
        self._nodes.ask("reach", keys=keys, timeout=PATIENCE)
        self._stream = self._nodes.ask("ticks", node=self._near["node"], key=self._far["key"])

    def busiest(self, seconds: float) -> None:
        """Find out which link carries most of the stream."""
        before = self._throttle.ask("passed")
        time.sleep(seconds)
        after = self._throttle.ask("passed")
        carried = [later - earlier for later, earlier in zip(after, before, strict=True)]
        self._cut = carried.index(max(carried))

    def watch(self, seconds: float) -> int:
        """Begin to watch the stream; return what `pause` wants."""
        return self._nodes.begin("pause", stream=self._stream, seconds=seconds)

    def lose(self, how: str) -> None:
        """Lose the busiest link: ``cut`` or ``swallow``."""
        self._throttle.ask(how, link=self._cut)

    def mend(self) -> None:
        """Let the link come back."""
        self._throttle.ask("mend", link=self._cut)

    def pause(self, watched: int) -> tuple[float, bool]:
        """Return the longest pause of the stream, and whether nothing of it was lost."""
        result = self._nodes.answer(watched)
        return result["pause"], result["fault"] is None

    def wait_for_links(self) -> None:
        """Wait until all four links are there again."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ends = [self._nodes.ask("state", node=end["node"])["links"] for end in (self._near, self._far)]
            if all(len(links) == 2 and all(link["key"] for link in links) for links in ends):
                return
            time.sleep(0.2)
        raise TimeoutError("a link of a diamond did not come back")


def _diamonds(bench: Bench) -> list[Case]:
    diamonds = [Diamond(bench) for _ in range(DIAMONDS)]
    for diamond in diamonds:
        diamond.open()
    return [case for loss in LOSSES for case in _lose(bench, diamonds, loss)]


def _lose(bench: Bench, diamonds: list[Diamond], loss: Loss) -> list[Case]:
    median = Case(17, f"a link {loss.title}, pause", "s", at_most(loss.median))
    worst = Case(17, f"a link {loss.title}, longest pause", "s", at_most(loss.worst), statistic=max)
    lost = Case(17, f"a link {loss.title}, streams with a loss", "", at_most(0), statistic=sum)
    for number in range(loss.rounds if bench.plan.patient else 1):
        bench.say(f"row 17, a link {loss.title}: {number + 1}")
        time.sleep(SETTLED)
        for diamond in diamonds:
            diamond.busiest(BEFORE)
        watches = [diamond.watch(BEFORE + loss.watched) for diamond in diamonds]
        time.sleep(BEFORE)
        for diamond in diamonds:
            diamond.lose(loss.command)
        results = [diamond.pause(watch) for diamond, watch in zip(diamonds, watches, strict=True)]
        for diamond in diamonds:
            diamond.mend()
        for diamond in diamonds:
            diamond.wait_for_links()
        pauses = [pause for pause, _ in results]
        median.add(pauses)
        worst.add(pauses)
        lost.add([not whole for _, whole in results])
    return [median, worst, lost]
