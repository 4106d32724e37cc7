"""Row 9: how much traffic one relay passes on, between peers that do nothing else."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any, Final, NamedTuple, final

from benchmarks.bench import Bench
from benchmarks.cases import MEGABYTE, Case, at_least
from benchmarks.processes import Process

SMALL: Final = 1416
PAYLOADS: Final = {SMALL: 200_000.0, 8192: 500.0, 60_000: 700.0}
"""Payload in bytes, and the goal: frames/s for the small one, else MB/s of payload."""
FLOWS: Final = {"one busy pair": 1, "four pairs, interleaved": 4}
LEAST_SECONDS: Final = 0.3
SETTLING: Final = 0.2
"""Seconds from the first frame to where counting begins."""
GO: Final = "a Go relay"


class Rate(NamedTuple):
    """What came through a relay.

    Attributes:
        megabytes: Of payload, per second.
        cpu: Seconds of the relay's per GB.
    """

    megabytes: float
    cpu: float


@final
class Relay:
    """A relay, a process that sends to it, and one that counts what comes out."""

    def __init__(self, bench: Bench, relay: Process, address: str, key: str) -> None:
        self._relay: Final = relay
        self._sinks: Final = bench.python("raw")
        self._sender: Final = bench.python("raw")
        self._flows: Final[list[dict[str, Any]]] = self._sinks.ask(
            "open", address=address, key=key, count=4 if key else 1
        )
        self._sender.ask("open", address=address, key=key)

    def rate(self, flows: int, payload: int, seconds: float) -> Rate:
        """Send frames of some flows by turns; return what comes out."""
        blast = self._sender.begin(
            "blast", flows=self._flows[:flows], payload=payload, seconds=SETTLING + seconds + SETTLING
        )
        time.sleep(SETTLING)
        before, cpu_before = self._sinks.ask("count"), self._relay.cpu()
        time.sleep(seconds)
        after, cpu_after = self._sinks.ask("count"), self._relay.cpu()
        self._sender.answer(blast)
        length = after["bytes"] - before["bytes"]
        share = payload / (payload + _overhead(self._flows[0]))
        payload_bytes = max(length, 1) * share
        cpu = (cpu_after - cpu_before) / (payload_bytes / (1000 * MEGABYTE))
        return Rate(payload_bytes / (after["at"] - before["at"]) / MEGABYTE, cpu)


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure the row, if it is wanted."""
    if 9 not in wanted:
        return []
    node = bench.own(max_links_per_address=253)
    own = Relay(bench, node.process, node.address, node.process.ready["key"])
    pipe_process = bench.python("pipe")
    pipe = Relay(bench, pipe_process, pipe_process.ready["listen"], "")
    go = None
    if bench.has_go:
        peer = bench.go()
        go = Relay(bench, peer.process, peer.address, peer.process.ready["key"])
    seconds = max(0.6 * bench.plan.seconds, LEAST_SECONDS)
    cases: dict[str, Case] = {}
    least = Case(9, "a Twisted program that passes bytes on unread", "MB/s")
    for repetition in range(bench.plan.repetitions):
        bench.say(f"row 9: {repetition + 1} of {bench.plan.repetitions}")
        least.add(pipe.rate(1, 60_000, seconds).megabytes)
        for payload, goal in PAYLOADS.items():
            for title, flows in FLOWS.items():
                rate = own.rate(flows, payload, seconds)
                scale = MEGABYTE / payload if payload == SMALL else 1.0
                theirs = scale * go.rate(flows, payload, min(seconds, 1.0)).megabytes if go is not None else None
                name = f"payload {payload:,}, {title}"
                if name not in cases:
                    unit = "frames/s" if payload == SMALL else "MB/s"
                    cases[name] = Case(9, name, unit, at_least(goal if flows == 1 else goal / 2), GO)
                    cases[name + ", CPU"] = Case(9, name + ", CPU", "s/GB")
                cases[name].add(scale * rate.megabytes, theirs)
                cases[name + ", CPU"].add(rate.cpu)
    return [*cases.values(), least]


def _overhead(flow: dict[str, Any]) -> int:
    """Return the bytes of a frame beside its payload, as `pinecone_transport.wire` makes it of short coordinates."""
    if not flow["key"]:
        return 0
    coordinates = [*flow["coordinates"]]
    return 12 + 2 * (2 + len(coordinates)) + 64
