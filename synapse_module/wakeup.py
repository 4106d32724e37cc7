"""Tries again at once when a server that could not be reached may be back, instead of waiting minutes or hours.

Synapse sleeps between the tries of one request, up to a minute and without a note in its database, and backs off from
a server that failed, with one. Both are ended when the overlay tells us something: a wakeup broadcast, a session that
the server opened, a route to it, a link of our own. Sessions that were being dialled are the node's own business.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, final

from pinecone_transport.router import RouteLearned, WakeupReceived
from pinecone_transport.stack import LinkUp

logger = logging.getLogger(__name__)

PAUSES: Final = (1.0, 2.0, 1.0)
"""Seconds after each try of a server before the next, and after the last before it can be woken anew. A try that was
under way at the first has ended by the second, and where Synapse has workers, they have heard that it is up; by the
third, routes have come about that were not there at once."""

MIN_SPACING: Final = 1.0
"""Seconds between two tries of one server, however much news there is of it."""

ALL_SPACING: Final = 5.0
"""Seconds between two times that all are tried."""

MAX_WAKING: Final = 256
"""Servers that are looked up at a time, besides those known to be failing: anybody can make up keys and broadcast
wakeups for them."""

MAX_FAILING: Final = 10_000
"""Servers remembered as failing; the one that failed longest ago is forgotten first."""


class Homeserver(Protocol):
    """What waking takes of Synapse."""

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run the task on its own; it may not fail."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def is_backed_off(self, server_name: str) -> bool:
        """Tell whether the database says that the server is not to be called yet."""

    async def backed_off_servers(self) -> list[str]:
        """Return the names of the servers of which the database says so."""

    async def forget_failures(self, server_name: str) -> None:
        """Take that back."""

    def server_is_up(self, server_name: str) -> None:
        """Wake what waits for the server."""


@final
class Wakeups:
    """Knows which servers requests fail to, and wakes what waits for them."""

    def __init__(self, homeserver: Homeserver) -> None:
        self.counters: Final = {"wakeups dropped": 0, "tries": 0}
        self._homeserver: Final = homeserver
        self._failing: Final[dict[str, None]] = {}
        # The value tells whether there is news of the server that has not been followed yet.
        self._waking: Final[dict[str, bool]] = {}
        self._waking_all = False
        self._wake_all_again = False

    def request_ended(self, server_name: str, answered: bool) -> None:
        """Note how a request over the overlay went; an error status is an answer."""
        self._failing.pop(server_name, None)
        if not answered:
            if len(self._failing) >= MAX_FAILING:
                del self._failing[next(iter(self._failing))]
            self._failing[server_name] = None

    def overlay_event(self, event: object) -> None:
        """Take an event of the node."""
        match event:
            case WakeupReceived(key=key) | RouteLearned(key=key):
                self.server_may_be_up(key.hex())
            case LinkUp():
                self._all_may_be_up()

    def server_may_be_up(self, server_name: str) -> None:
        """Wake what waits for the server, if anything does."""
        if server_name in self._waking:
            self._waking[server_name] = True
        elif len(self._waking) >= MAX_WAKING and server_name not in self._failing:
            self.counters["wakeups dropped"] += 1
        else:
            self._waking[server_name] = True
            self._homeserver.run_in_background(lambda: self._wake(server_name))

    async def _wake(self, server_name: str) -> None:
        try:
            while self._waking[server_name]:
                await self._try_a_few_times(server_name)
        finally:
            del self._waking[server_name]

    async def _try_a_few_times(self, server_name: str) -> None:
        """Try the server until it no longer is waited for, or there is news of it, which makes a new beginning."""
        self._waking[server_name] = False
        was_waited_for = False
        for pause in PAUSES:
            is_waited_for = await self._is_waited_for(server_name)
            # Once more in any case: workers hear late that the server may be called again.
            if is_waited_for or was_waited_for:
                await self._try_now(server_name)
            was_waited_for = is_waited_for
            for _ in range(round(pause / MIN_SPACING)):
                await self._homeserver.sleep(MIN_SPACING)
                if self._waking[server_name]:
                    return

    async def _is_waited_for(self, server_name: str) -> bool:
        return server_name in self._failing or await self._homeserver.is_backed_off(server_name)

    async def _try_now(self, server_name: str) -> None:
        self.counters["tries"] += 1
        logger.info("%s may be back: trying it now", server_name)
        # In this order: what is woken looks into the database first.
        await self._homeserver.forget_failures(server_name)
        self._homeserver.server_is_up(server_name)

    def _all_may_be_up(self) -> None:
        if self._waking_all:
            self._wake_all_again = True
        else:
            self._waking_all = True
            self._homeserver.run_in_background(self._wake_all)

    async def _wake_all(self) -> None:
        try:
            self._wake_all_again = True
            while self._wake_all_again:
                self._wake_all_again = False
                for name in dict.fromkeys([*self._failing, *await self._homeserver.backed_off_servers()]):
                    self.server_may_be_up(name)
                await self._homeserver.sleep(ALL_SPACING)
        finally:
            self._waking_all = False
