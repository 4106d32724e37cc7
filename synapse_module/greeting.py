"""Tells the servers that we have to do with that we are back, when our way into the overlay is.

What they have for us waits until they hear that we are up. A wakeup broadcast says so, but not always in time: it is
passed on only by nodes that have the same root as we had when we made it, once in 30 s at most, and over five links.
So each of the servers is called once: the session that this opens says it as well, and is ready when they answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, final

from pinecone_transport.node.events import LinkDown
from pinecone_transport.stack import LinkUp
from synapse_module.names import NameKind, kind_of_name

GONE_AFTER: Final = 10.0
"""Seconds without any link after which others may have given us up. Sessions live through less."""

MAX_GREETED: Final = 200
"""Servers that are called, those first that were sent something last, then others in rooms with us."""

AT_A_TIME: Final = 8
"""Calls under way."""

PAUSES: Final = (0.0, 3.0, 10.0)
"""Seconds before each round of calls: the first may be too early, since routes take a while to come about."""


class Homeserver(Protocol):
    """What greeting takes of Synapse and of the reactor."""

    def seconds(self) -> float:
        """Return the time."""

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run the task on its own; it may not fail."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def known_servers(self, limit: int) -> list[str]:
        """Return names of servers that were sent something, the last one first, then of those in rooms with us."""

    async def together(self, tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run the tasks at the same time; return when all are done."""

    async def call(self, server_name: str) -> bool:
        """Make some small request to the server; tell whether it has answered."""


@final
class Greetings:
    """Watches the links, and calls everybody when the first comes up.

    Args:
        homeserver: Synapse.
        is_up: Told the name of each server that has answered.
    """

    def __init__(self, homeserver: Homeserver, is_up: Callable[[str], None]) -> None:
        self._homeserver: Final = homeserver
        self._is_up: Final = is_up
        self._links: Final[set[int]] = set()
        self._alone_since: float | None = None
        self._have_greeted = False

    def overlay_event(self, event: object) -> None:
        """Take an event of the node."""
        match event:
            case LinkUp(link=link):
                if not self._links and self._may_be_given_up():
                    self._have_greeted = True
                    self._homeserver.run_in_background(self._greet_all)
                self._links.add(link)
            case LinkDown(link=link):
                self._links.discard(link)
                if not self._links:
                    self._alone_since = self._homeserver.seconds()

    def _may_be_given_up(self) -> bool:
        if not self._have_greeted or self._alone_since is None:
            return True
        return self._homeserver.seconds() - self._alone_since >= GONE_AFTER

    async def _greet_all(self) -> None:
        names = await self._homeserver.known_servers(MAX_GREETED)
        missed = [name for name in names if kind_of_name(name) is NameKind.OVERLAY]
        for pause in PAUSES:
            await self._homeserver.sleep(pause)
            missed = await self._greet(missed)
            if not missed or not self._links:
                return

    async def _greet(self, names: list[str]) -> list[str]:
        """Call the servers; return those that have not answered."""
        to_call, missed = deque(names), list[str]()

        async def call_one_after_another() -> None:
            while to_call:
                name = to_call.popleft()
                if await self._homeserver.call(name):
                    self._is_up(name)
                else:
                    missed.append(name)

        await self._homeserver.together([call_one_after_another] * min(AT_A_TIME, len(names)))
        return missed
