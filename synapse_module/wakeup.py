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

AGAIN_AFTER: Final = 1.0
"""Seconds until the server is notified a second time: a try that was under way at the first has ended by then, and
where Synapse has workers their caches have been told."""

REST: Final = 5.0
"""Seconds from one wakeup of a server to the next at the earliest; none is lost, it comes at the end of them."""

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
        self.counters: Final = {"wakeups_dropped": 0, "servers_woken": 0}
        self._homeserver: Final = homeserver
        self._failing: Final[dict[str, None]] = {}
        # The value tells whether there was a reason to wake the server again since the last time.
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
        logger.debug("%s", event)
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
            self.counters["wakeups_dropped"] += 1
        else:
            self._waking[server_name] = False
            self._homeserver.run_in_background(lambda: self._wake(server_name))

    async def _wake(self, server_name: str) -> None:
        try:
            wanted = True
            while wanted:
                self._waking[server_name] = False
                await self._wake_once(server_name)
                await self._homeserver.sleep(REST - AGAIN_AFTER)
                wanted = self._waking[server_name]
        finally:
            del self._waking[server_name]

    async def _wake_once(self, server_name: str) -> None:
        was_waited_for = await self._is_waited_for(server_name)
        if was_waited_for:
            self.counters["servers_woken"] += 1
            await self._try_now(server_name)
        await self._homeserver.sleep(AGAIN_AFTER)
        if was_waited_for or await self._is_waited_for(server_name):
            await self._try_now(server_name)

    async def _is_waited_for(self, server_name: str) -> bool:
        return server_name in self._failing or await self._homeserver.is_backed_off(server_name)

    async def _try_now(self, server_name: str) -> None:
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
                await self._homeserver.sleep(REST)
        finally:
            self._waking_all = False
