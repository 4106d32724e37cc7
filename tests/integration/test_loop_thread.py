"""An asyncio loop in a thread of its own, beside the reactor."""

from __future__ import annotations

import asyncio
import threading

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread


@pytest.fixture
def thread():
    thread = LoopThread(reactor, "a loop")
    thread.start()
    yield thread
    thread.stop()


async def name_of_thread() -> str:
    return threading.current_thread().name


async def fail() -> None:
    raise ValueError("as it should")


@pytest_twisted.inlineCallbacks
def test_results_come_back_to_the_reactors_thread(thread):
    assert (yield thread.run(name_of_thread())) == "a loop"
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(ValueError, match="as it should"):
        yield thread.run(fail())
    assert threading.current_thread() is threading.main_thread()


@pytest_twisted.inlineCallbacks
def test_cancelling_the_result_cancels_what_runs(thread):
    ended = Deferred()

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            thread.in_reactor(ended.callback, "it has")

    waiting = thread.run(wait())
    yield thread.run(asyncio.sleep(0))
    waiting.cancel()
    with pytest.raises(CancelledError):
        yield waiting
    assert (yield ended) == "it has"


@pytest_twisted.inlineCallbacks
def test_it_ends_with_its_last_user_and_takes_with_it_what_still_runs(thread):
    short = LoopThread(reactor, "a short one")
    short.start()
    short.start()
    ended = Deferred()

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            short.in_reactor(ended.callback, "it has")

    yield short.run(asyncio.sleep(0))
    short.in_loop(lambda: short.spawn(wait()))
    short.stop()
    assert (yield short.run(name_of_thread())) == "a short one"
    short.stop()
    assert (yield ended) == "it has"
    short.in_loop(print)  # says nothing once the loop has ended
    with pytest.raises(CancelledError):
        yield short.run(name_of_thread())


@pytest_twisted.inlineCallbacks
def test_what_is_to_run_before_it_has_begun_fails_at_once():
    early = LoopThread(reactor, "an early one")
    with pytest.raises(CancelledError):
        yield early.run(name_of_thread())
    early.start()
    assert (yield early.run(name_of_thread())) == "an early one"
    early.stop()
