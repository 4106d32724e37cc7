"""What waits for a server is woken when the overlay hears of it, soon enough and not too often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock, deferLater

from pinecone_transport.router import RouteLearned, TreeChanged, WakeupReceived
from pinecone_transport.stack import LinkUp
from synapse_module import wakeup
from synapse_module.wakeup import ALL_SPACING, MAX_WAKING, MIN_SPACING, PAUSES, Wakeups

KEY = b"\xab" * 32
NAME = KEY.hex()
OTHER = "cd" * 32


class Homeserver:
    """Synapse's end: a database of failures, and a list of who was said to be up, and when."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.backed_off: dict[str, None] = {}
        self.up: list[tuple[str, float]] = []

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        ensureDeferred(task())  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.clock, seconds)

    async def is_backed_off(self, server_name: str) -> bool:
        return server_name in self.backed_off

    async def backed_off_servers(self) -> list[str]:
        return list(self.backed_off)

    async def forget_failures(self, server_name: str) -> None:
        self.backed_off.pop(server_name, None)

    def server_is_up(self, server_name: str) -> None:
        assert server_name not in self.backed_off, "what is woken now would look and go back to sleep"
        self.up.append((server_name, self.clock.seconds()))


@pytest.fixture
def homeserver() -> Homeserver:
    return Homeserver()


@pytest.fixture
def wakeups(homeserver: Homeserver) -> Wakeups:
    return Wakeups(homeserver)


TRIES = (0.0, PAUSES[0], PAUSES[0] + PAUSES[1])


STEP = 0.125  # adds up exactly


def pass_time(homeserver: Homeserver, seconds: float) -> None:
    homeserver.clock.pump([STEP] * round(seconds / STEP))


def times(homeserver: Homeserver, name: str = NAME) -> list[float]:
    return [at for server, at in homeserver.up if server == name]


@pytest.mark.parametrize("event", [WakeupReceived(KEY), RouteLearned(KEY), LinkUp(1, KEY, 1)])
def test_a_failing_server_is_tried_at_once_and_a_few_times_more(
    homeserver: Homeserver, wakeups: Wakeups, event: object
) -> None:
    wakeups.request_ended(NAME, answered=False)
    wakeups.overlay_event(event)
    assert times(homeserver) == [0.0]
    pass_time(homeserver, 100)
    assert tuple(times(homeserver)) == TRIES
    assert wakeups.counters["tries"] == 3


def test_a_server_that_only_the_database_knows_as_failing_is_tried_and_once_more(
    homeserver: Homeserver, wakeups: Wakeups
) -> None:
    homeserver.backed_off[NAME] = None
    wakeups.server_may_be_up(NAME)
    pass_time(homeserver, 100)
    assert tuple(times(homeserver)) == TRIES[:2]


def test_a_server_that_answers_is_left_alone_after_one_more_try(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    wakeups.server_may_be_up(NAME)
    wakeups.request_ended(NAME, answered=True)
    pass_time(homeserver, 100)
    assert tuple(times(homeserver)) == TRIES[:2]


def test_a_server_whose_call_under_way_fails_after_the_news_is_tried(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.server_may_be_up(NAME)
    wakeups.request_ended(NAME, answered=False)
    pass_time(homeserver, 100)
    assert tuple(times(homeserver)) == TRIES[1:]


def test_a_server_that_is_backed_off_again_after_the_first_try_is_tried_again(
    homeserver: Homeserver, wakeups: Wakeups
) -> None:
    homeserver.backed_off[NAME] = None
    wakeups.server_may_be_up(NAME)
    homeserver.backed_off[NAME] = None
    pass_time(homeserver, 100)
    assert tuple(times(homeserver)) == TRIES


def test_a_server_that_answers_or_was_never_called_is_left_alone(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    wakeups.request_ended(NAME, answered=True)
    wakeups.server_may_be_up(NAME)
    wakeups.server_may_be_up(OTHER)
    pass_time(homeserver, 100)
    assert homeserver.up == []


def test_news_make_a_new_beginning_within_a_second_however_many_there_are(
    homeserver: Homeserver, wakeups: Wakeups
) -> None:
    wakeups.request_ended(NAME, answered=False)
    wakeups.server_may_be_up(NAME)
    pass_time(homeserver, 2.5)
    for _ in range(10):
        wakeups.server_may_be_up(NAME)
    pass_time(homeserver, 100)
    assert times(homeserver) == [0.0, 1.0, 3.0, 4.0, 6.0]


def test_a_server_is_tried_once_a_second_at_most(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    for _ in range(int(10 / STEP)):
        wakeups.server_may_be_up(NAME)
        pass_time(homeserver, STEP)
    assert len(homeserver.up) <= 10 / MIN_SPACING + 1


def test_a_link_that_comes_up_has_all_tried(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    homeserver.backed_off[OTHER] = None
    wakeups.overlay_event(LinkUp(1, b"\x01" * 32, 1))
    wakeups.overlay_event(LinkUp(2, b"\x02" * 32, 2))
    assert sorted(homeserver.up) == [(NAME, 0.0), (OTHER, 0.0)]


def test_links_that_flap_do_not_have_all_tried_each_time(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    for _ in range(int(2 * ALL_SPACING / STEP)):
        wakeups.overlay_event(LinkUp(1, b"\x01" * 32, 1))
        pass_time(homeserver, STEP)
    pass_time(homeserver, 100)
    assert len(homeserver.up) == 3 * len(PAUSES), "at the beginning, after the spacing, and once for what came since"


def test_other_events_wake_nobody(homeserver: Homeserver, wakeups: Wakeups) -> None:
    wakeups.request_ended(NAME, answered=False)
    wakeups.overlay_event(TreeChanged())
    assert homeserver.up == []


def test_made_up_keys_neither_grow_memory_nor_keep_a_failing_server_waiting(
    homeserver: Homeserver, wakeups: Wakeups
) -> None:
    for number in range(MAX_WAKING + 10):
        wakeups.overlay_event(WakeupReceived(number.to_bytes(32, "big")))
    assert wakeups.counters["wakeups dropped"] == 10
    wakeups.request_ended(NAME, answered=False)
    wakeups.overlay_event(WakeupReceived(KEY))
    assert homeserver.up == [(NAME, 0.0)]
    pass_time(homeserver, sum(PAUSES))
    homeserver.backed_off[OTHER] = None
    wakeups.server_may_be_up(OTHER)
    assert homeserver.up[-1] == (OTHER, homeserver.clock.seconds()), "there is room again"


def test_of_too_many_failing_servers_the_oldest_is_forgotten(
    homeserver: Homeserver, wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "MAX_FAILING", 2)
    for name in ("a", "b", "a", "c"):
        wakeups.request_ended(name, answered=False)
    for name in ("a", "b", "c"):
        wakeups.server_may_be_up(name)
    assert [name for name, _ in homeserver.up] == ["a", "c"]
