"""An asyncio loop in a thread of its own, for libraries that want one; results come back to the reactor's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, TypeVar, cast, final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

_T = TypeVar("_T")


@final
class LoopThread:
    """The thread runs from the first `start` until as many calls of `stop`.

    Args:
        reactor: Provides IReactorFromThreads.
        name: Of the thread.
    """

    def __init__(self, reactor: IReactorTime, name: str) -> None:
        self._reactor = cast(IReactorFromThreads, reactor)
        self._loop: Final = asyncio.new_event_loop()
        self._users = 0
        self._tasks: Final[set[asyncio.Task[object]]] = set()
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, if it does not run yet."""
        self._users += 1
        if self._users == 1:
            self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """Run a coroutine there; the result comes in the reactor's thread. Cancelling the one cancels the other.

        While the thread does not run, nothing is run, and the result fails with `CancelledError`.
        """
        if self._users <= 0:
            coroutine.close()
            return fail(CancelledError())
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)

        def cancel(_: Deferred[_T]) -> None:
            future.cancel()

        result: Deferred[_T] = Deferred(cancel)
        future.add_done_callback(lambda done: self.in_reactor(_settle, result, done))
        return result

    def in_loop(self, call: Callable[..., object], *args: object) -> None:
        """Call something there, from the reactor's thread; nothing once the loop has ended."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(call, *args)

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine, from there; nobody waits for it."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)  # the loop itself holds no task
        task.add_done_callback(self._tasks.discard)

    def in_reactor(self, call: Callable[..., object], *args: object) -> None:
        """Call something in the reactor's thread, from there."""
        self._reactor.callFromThread(call, *args)

    def stop(self) -> None:
        """End the loop, and the thread with it, if nobody else has started it; what was scheduled is done first."""
        self._users -= 1
        if not self._users:
            self.in_loop(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()


def _settle(result: Deferred[Any], future: Future[Any]) -> None:
    if result.called:  # it was cancelled
        return
    try:
        value = future.result()
    except BaseException:
        result.errback(Failure())
    else:
        result.callback(value)
