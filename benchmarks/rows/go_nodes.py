"""Rows 4 and 5: Go nodes between our ends, and Go nodes for one of the ends."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from benchmarks.bench import Bench
from benchmarks.cases import MEGABYTE, Case, at_most, times_at_least
from benchmarks.ends import End
from benchmarks.path import GO_LONGEST, Path, go_path

RELAYS: Final = (1, 3)
KINDS: Final = {"quic": "QUIC", "utp": "µTP"}
UTP_BODY: Final = 2 * MEGABYTE
"""What a Go end's µTP takes at once is fast; the rate that it keeps up shows in the second megabyte."""
DIRECTIONS: Final = ("up", "down")


def measure(bench: Bench, wanted: Container[int]) -> list[Case]:
    """Measure those of the rows that are wanted, where there is a Go peer."""
    if not bench.has_go:
        return []
    cases: list[Case] = []
    if 4 in wanted:
        cases += _go_relays(bench)
    if 5 in wanted:
        for sessions, kind in KINDS.items():
            cases += _go_end(bench, sessions, kind)
    return cases


def _go_relays(bench: Bench) -> list[Case]:
    cases = []
    for count in RELAYS:
        relays = [bench.go()]
        for _ in range(count - 1):
            relays.append(bench.go(peers=[relays[-1].address]))
        first, last = relays[0].address, relays[-1].address
        processes = tuple(relay.process for relay in relays)
        server, client = bench.own(peers=[first]), bench.own(peers=[last])
        own = Path(client, server, processes)
        theirs = go_path(bench.go("quic", [last]), bench.go("quic", [first]), *processes)
        for path in (own, theirs):
            path.warm_up(bench, *DIRECTIONS)
        title = f"{count} Go relay{'s' if count > 1 else ''}"
        goodput = {
            direction: Case(4, f"{direction}, {title}", "MB/s", times_at_least(15), "Go's ends")
            for direction in DIRECTIONS
        }
        repeated = Case(4, f"sent again, {title}", "%", at_most(1))
        for repetition in range(bench.plan.repetitions):
            bench.say(f"row 4, {title}: {repetition + 1} of {bench.plan.repetitions}")
            sent, again = _sent(client, server)
            for direction, case in goodput.items():
                case.add(own.move(direction).rate, theirs.move(direction).rate)
            sent_after, again_after = _sent(client, server)
            repeated.add(100 * (again_after - again) / max(sent_after - sent, 1))
        cases += [*goodput.values(), repeated]
    return cases


def _sent(*ends: End) -> tuple[int, int]:
    """Return how many packets the ends have sent in either kind of session, and how many of them again over µTP."""
    counters = [end.process.ask("state")["counters"]["session"] for end in ends]
    sent = sum(each.get("packets sent", 0) + each.get("QUIC packets sent", 0) for each in counters)
    return sent, sum(each.get("packets repeated", 0) for each in counters)


def _go_end(bench: Bench, sessions: str, kind: str) -> list[Case]:
    """Measure our end and a Go end directly beside one another, whoever dials."""
    go_server, own_server = bench.go(sessions), bench.own(session=sessions)
    theirs = go_path(bench.go(sessions, [go_server.address]), go_server)
    paths = {
        "we dial": Path(bench.own(session=sessions, peers=[go_server.address]), go_server, longest=GO_LONGEST),
        "Go dials": Path(bench.go(sessions, [own_server.address]), own_server, longest=GO_LONGEST),
    }
    for path in (theirs, *paths.values()):
        path.warm_up(bench, *DIRECTIONS, body=UTP_BODY if sessions == "utp" else None)
    cases = {
        (who, direction): Case(5, f"{kind}, {who}, {direction}", "MB/s", times_at_least(1), "Go to Go")
        for who in paths
        for direction in DIRECTIONS
    }
    for repetition in range(bench.plan.repetitions):
        bench.say(f"row 5, {kind}: {repetition + 1} of {bench.plan.repetitions}")
        for direction in DIRECTIONS:
            baseline = theirs.move(direction).rate
            for who, path in paths.items():
                cases[who, direction].add(path.move(direction).rate, baseline)
    return list(cases.values())
