"""Nodes that find one another through BlueZ, as far as a mock of it on D-Bus goes; the channels are local sockets."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread
from tests.support.bluez import ADAPTERS, LocalAir, MockBluez, why_no_mock
from tests.support.radio_nodes import RadioNode, body, until

_MISSING = why_no_mock()
if _MISSING is None:
    from dbus_fast import Message, Variant
    from dbus_fast.aio import MessageBus

    from pinecone_transport.discovery.bluetooth.bluez_backend import BluezBackend
    from pinecone_transport.discovery.bluetooth.bluez_bus import BLUEZ, BluezBus

pytestmark = pytest.mark.skipif(_MISSING is not None, reason=f"no mock of BlueZ: {_MISSING}")


def backend(bluez: MockBluez, air: LocalAir, adapter: str):
    return BluezBackend(adapter, LoopThread(reactor, f"d-bus of {adapter}"), air.channels(), bluez.address)


@pytest.fixture
def bluez(tmp_path):
    bluez = MockBluez(tmp_path)
    yield bluez
    bluez.stop()


@pytest_twisted.inlineCallbacks
def started(bluez: MockBluez, air: LocalAir, adapter: str):
    """Return a backend, the addresses that it has seen, and why it has failed; the mock may need a moment."""
    for _ in range(100):
        seen, failures = [], []
        made = backend(bluez, air, adapter)
        starting = made.start(seen=seen.append, accept=lambda _: None, failed=failures.append)
        (succeeded, _), *_ = yield DeferredList([starting], consumeErrors=True)
        if succeeded:
            return made, seen, failures
        yield made.stop()
        yield deferLater(reactor, 0.1, lambda: None)
    raise AssertionError("the mock does not come")


@pytest_twisted.inlineCallbacks
def test_advertises_finds_connects_and_reads(bluez):
    air = LocalAir()
    one, seen, _ = yield started(bluez, air, "hci0")
    other, _, _ = yield started(bluez, air, "hci1")
    yield one.advertise(bytes(range(20)))
    yield other.advertise(bytes(range(20, 40)))
    yield until(lambda: seen)
    assert set(seen) == {ADAPTERS[1]}
    assert (yield one.read(ADAPTERS[1])) == bytes(range(20, 40))
    assert (yield other.read(ADAPTERS[0])) == bytes(range(20))
    one.release(ADAPTERS[1])
    yield DeferredList([one.stop(), other.stop()])


@pytest_twisted.inlineCallbacks
def test_what_others_on_the_bus_say_is_not_taken_for_bluez_s(bluez):
    first, _, _ = yield started(bluez, LocalAir(), "hci0")  # by then the mock is there
    thread = LoopThread(reactor, "d-bus")
    thread.start()
    told, gone = [], []

    async def lie_and_let_bluez_speak() -> None:
        ours = await BluezBus.connect(
            bluez.address, lambda *change: told.append(change), lambda: thread.in_reactor(gone.append, True)
        )
        stranger = await MessageBus(bus_address=bluez.address).connect()
        for path, interface, member, signature, said in (
            ("/lie", "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", ["lie", {}, []]),
            ("/", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", "oa{sa{sv}}", ["/lie", {"lie": {}}]),
            ("/lie", "org.freedesktop.DBus", "NameOwnerChanged", "sss", [BLUEZ, ":1.0", ""]),
        ):
            lie = Message.new_signal(path, interface, member, signature, said)
            lie.destination = ours.bus.unique_name
            await stranger.send(lie)
        await stranger.request_name("org.example.after.the.lies")  # the bus has passed them on by then
        await ours.set("/org/bluez/hci1", "org.bluez.Adapter1", "Alias", Variant("s", "truth"))
        while not told:
            await asyncio.sleep(0.01)
        stranger.disconnect()
        ours.disconnect()

    yield thread.run(lie_and_let_bluez_speak())
    assert {path for path, _, _ in told} == {"/org/bluez/hci1"}
    assert gone == []
    thread.stop()
    yield first.stop()


@pytest.mark.parametrize("end", [MockBluez.end_mock, MockBluez.end_bus])
@pytest_twisted.inlineCallbacks
def test_says_so_when_bluez_or_the_bus_goes(bluez, end):
    one, _, failures = yield started(bluez, LocalAir(), "hci0")
    yield one.advertise(bytes(20))
    end(bluez)
    yield until(lambda: failures)
    assert failures == ["BlueZ is gone"]
    yield one.stop()


@pytest_twisted.inlineCallbacks
def test_says_so_when_there_is_no_such_adapter_or_no_bus(bluez, tmp_path):
    first, _, _ = yield started(bluez, LocalAir(), "hci0")
    missing = backend(bluez, LocalAir(), "hci7")
    (succeeded, reason), *_ = yield DeferredList(
        [missing.start(seen=print, accept=print, failed=print)], consumeErrors=True
    )
    assert not succeeded
    assert "BlueZ has no adapter hci7" in reason.getErrorMessage()
    yield DeferredList([first.stop(), missing.stop()])
    bluez.stop()
    nobody = backend(bluez, LocalAir(), "hci0")
    (succeeded, reason), *_ = yield DeferredList(
        [nobody.start(seen=print, accept=print, failed=print)], consumeErrors=True
    )
    assert not succeeded
    assert "there is no D-Bus" in reason.getErrorMessage()
    yield nobody.stop()


@pytest_twisted.inlineCallbacks
def test_two_nodes_federate(bluez):
    air = LocalAir()
    first, _, _ = yield started(bluez, air, "hci0")  # by then the mock is there
    yield first.stop()
    a, b = (RadioNode(partial(backend, bluez, air, adapter), seed) for seed, adapter in ((1, "hci0"), (2, "hci1")))
    yield until(lambda: a.links() and b.links())
    assert (yield a.get(b, 100_000)) == body(100_000)
    assert [link["address"] for link in a.links()] == [ADAPTERS[1]]
    yield DeferredList([a.stop(), b.stop()])


@pytest_twisted.inlineCallbacks
def test_what_is_stopped_as_it_starts_does_not_listen(bluez):
    first, _, _ = yield started(bluez, LocalAir(), "hci0")
    listening = []

    class Channels(NoChannels):
        def listen(self, host: str, accept) -> int:
            listening.append(host)
            return 128

        def close(self) -> None:
            listening.clear()

    made = BluezBackend("hci1", LoopThread(reactor, "d-bus"), Channels(), bluez.address)
    starting = made.start(seen=print, accept=print, failed=print)
    (succeeded, _), *_ = yield DeferredList([starting, made.stop(), first.stop()], consumeErrors=True)
    assert not succeeded
    assert listening == []


class NoChannels:
    """A kernel without Bluetooth."""

    def listen(self, host: str, accept) -> int:
        raise OSError(97, "Address family not supported by protocol")

    def close(self) -> None:
        """There is nothing to close."""


@pytest_twisted.inlineCallbacks
def test_says_so_when_the_kernel_has_no_channels(bluez):
    first, _, _ = yield started(bluez, LocalAir(), "hci0")
    made = BluezBackend("hci1", LoopThread(reactor, "d-bus"), NoChannels(), bluez.address)
    starting = made.start(seen=print, accept=print, failed=print)
    (succeeded, reason), *_ = yield DeferredList([starting], consumeErrors=True)
    assert not succeeded
    assert "the kernel opens no Bluetooth channels: [Errno 97]" in reason.getErrorMessage()
    yield DeferredList([first.stop(), made.stop()])
