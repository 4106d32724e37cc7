"""A server that comes into the overlay calls those that it has had to do with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.task import Clock, deferLater

from pinecone_transport.node.events import LinkDown
from pinecone_transport.router import TreeChanged
from pinecone_transport.stack import LinkUp
from synapse_module.greeting import AT_A_TIME, GONE_AFTER, MAX_GREETED, PAUSES, Greetings

RELAY = b"\x01" * 32
ONE, TWO, THREE = ("ab" * 32, "cd" * 32, "ef" * 32)


class Homeserver:
    """Synapse's end: servers of which some answer, each after a tenth of a second."""

    def __init__(self, known: Sequence[str] = (ONE, TWO)) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds
        self.known = list(known)
        self.answering = set(known)
        self.calls: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        ensureDeferred(task())  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.clock, seconds)

    async def together(self, tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        await DeferredList([ensureDeferred(task()) for task in tasks])  # type: ignore[arg-type]

    async def known_servers(self, limit: int) -> list[str]:
        return self.known[:limit]

    async def call(self, server_name: str) -> bool:
        self.calls.append(server_name)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.sleep(0.1)
        self.under_way -= 1
        return server_name in self.answering


class Home:
    """Greetings, and what came of them."""

    def __init__(self, homeserver: Homeserver) -> None:
        self.homeserver = homeserver
        self.up: list[str] = []
        self.greetings = Greetings(homeserver, self.up.append)

    def link_up(self, link: int) -> None:
        self.greetings.overlay_event(LinkUp(link, RELAY, 1))
        self.advance(0)

    def link_down(self, link: int) -> None:
        self.greetings.overlay_event(LinkDown(link, RELAY, "unplugged"))

    def advance(self, seconds: float) -> None:
        self.homeserver.clock.pump([0.05] * round(seconds / 0.05) or [0])

    @property
    def calls(self) -> list[str]:
        return self.homeserver.calls


@pytest.fixture
def home() -> Home:
    return Home(Homeserver())


def test_the_first_link_has_everybody_called_who_is_named_by_a_key(home: Home) -> None:
    home.homeserver.known.append("example.org")
    home.link_up(1)
    home.advance(1)
    assert home.calls == [ONE, TWO]
    assert sorted(home.up) == [ONE, TWO]


def test_who_does_not_answer_is_called_again_a_few_times(home: Home) -> None:
    home.homeserver.answering = {ONE}
    home.link_up(1)
    home.advance(sum(PAUSES) + 1)
    assert home.calls == [ONE, TWO, TWO, TWO]
    assert home.up == [ONE]
    home.advance(60)
    assert len(home.calls) == 4


def test_further_links_and_other_events_call_nobody(home: Home) -> None:
    home.link_up(1)
    home.advance(1)
    home.link_up(2)
    home.link_down(1)
    home.greetings.overlay_event(TreeChanged())
    home.advance(GONE_AFTER)
    home.link_up(3)
    home.advance(1)
    assert len(home.calls) == 2


@pytest.mark.parametrize(("gone", "rounds"), [(GONE_AFTER / 2, 1), (GONE_AFTER, 2)])
def test_everybody_is_called_again_after_a_long_time_without_links_only(home: Home, gone: float, rounds: int) -> None:
    home.link_up(1)
    home.advance(1)
    home.link_down(1)
    home.advance(gone)
    home.link_up(2)
    home.advance(1)
    assert len(home.calls) == 2 * rounds


def test_nobody_is_called_again_once_the_links_are_gone(home: Home) -> None:
    home.homeserver.answering = set()
    home.link_up(1)
    home.advance(1)
    home.link_down(1)
    home.advance(60)
    assert len(home.calls) <= 4


def test_calls_are_made_a_few_at_a_time_and_to_the_last_ones_only() -> None:
    home = Home(Homeserver([number.to_bytes(32, "big").hex() for number in range(MAX_GREETED + 50)]))
    home.link_up(1)
    home.advance(60)
    assert home.calls == home.homeserver.known[:MAX_GREETED]
    assert home.homeserver.most_under_way == AT_A_TIME


def test_with_nobody_known_nobody_is_called() -> None:
    home = Home(Homeserver([]))
    home.link_up(1)
    home.advance(60)
    assert home.calls == []
