"""Nodes that find one another by Bluetooth LE, over bumble's virtual controllers, and talk."""

from __future__ import annotations

import pytest
import pytest_twisted
from bumble.core import UUID, AdvertisingData
from bumble.gatt import Characteristic, Service
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from pinecone_transport.discovery.bluetooth import backend_maker
from pinecone_transport.discovery.bluetooth.bumble_backend import BumbleBackend
from pinecone_transport.discovery.bluetooth.loop_thread import LoopThread
from pinecone_transport.wire import PSM_CHARACTERISTIC_UUID, SERVICE_UUID
from tests.support.processor_time import Waiting
from tests.support.radio_nodes import RadioNode, body, until
from tests.support.virtual_bluetooth import VirtualAir


def node_in(air: VirtualAir, thread: LoopThread, seed: int) -> RadioNode:
    return RadioNode(lambda: BumbleBackend(air.open_device, thread), seed)


@pytest.fixture
def thread():
    thread = LoopThread(reactor, "virtual bluetooth")
    thread.start()
    yield thread
    thread.stop()


@pytest_twisted.inlineCallbacks
def in_air(thread, call, *arguments):
    """Do something to the air, in its own thread."""

    async def do():
        call(*arguments)

    yield thread.run(do())


def both_up(*nodes: RadioNode) -> bool:
    return all(node.links() for node in nodes)


@pytest_twisted.inlineCallbacks
def stop(*nodes: RadioNode):
    yield DeferredList([node.stop() for node in nodes])


@pytest_twisted.inlineCallbacks
def test_two_nodes_find_one_another_and_federate(thread):
    air = VirtualAir()
    a, b = (node_in(air, thread, seed) for seed in (1, 2))
    yield until(lambda: both_up(a, b))
    assert (yield a.get(b, 100_000)) == body(100_000)
    assert (yield b.get(a, 100_000)) == body(100_000)
    assert [(link["way"], link["key"]) for link in a.links()] == [("ble", b.node.identity.server_name)]
    lower, higher = sorted((a, b), key=lambda node: node.node.identity.key)
    assert [link["direction"] for link in lower.links()] == ["out"]
    assert [link["direction"] for link in higher.links()] == ["in"]
    yield stop(a, b)


@pytest_twisted.inlineCallbacks
def test_a_third_node_joins_through_the_second(thread):
    air = VirtualAir()
    air.separate(1, 3)
    a, b, c = [node_in(air, thread, seed) for seed in (1, 2, 3)]
    yield until(lambda: [len(node.links()) for node in (a, b, c)] == [1, 2, 1])
    assert (yield a.get(c, 30_000)) == body(30_000)
    assert (yield c.get(a, 30_000)) == body(30_000)
    yield stop(a, b, c)


@pytest_twisted.inlineCallbacks
def test_nodes_all_within_reach_of_one_another_are_all_linked(thread):
    air = VirtualAir()
    nodes = [node_in(air, thread, seed) for seed in (4, 5, 6)]
    yield until(lambda: all(len(node.links()) == 2 for node in nodes))
    yield stop(*nodes)


@pytest_twisted.inlineCallbacks
def test_a_node_that_goes_away_and_returns_is_linked_again(thread):
    air = VirtualAir()
    a, b = (node_in(air, thread, seed) for seed in (1, 2))
    yield until(lambda: both_up(a, b))
    yield in_air(thread, air.separate, 1, 2)
    yield until(lambda: not a.links() and not b.links())
    yield in_air(thread, air.bring_together, 1, 2)
    yield until(lambda: both_up(a, b))
    assert (yield a.get(b, 1000)) == body(1000)
    yield stop(a, b)


@pytest_twisted.inlineCallbacks
def test_a_node_that_is_switched_off_and_on_is_linked_again(thread):
    air = VirtualAir()
    a, b = (node_in(air, thread, seed) for seed in (1, 2))
    yield until(lambda: both_up(a, b))
    yield b.stop()
    yield until(lambda: not a.links())
    b = node_in(air, thread, 2)
    yield until(lambda: both_up(a, b))
    yield stop(a, b)


@pytest_twisted.inlineCallbacks
def test_a_slow_link_carries_small_requests_while_a_transfer_runs(thread):
    air = VirtualAir(rate=50_000)
    a, b = (node_in(air, thread, seed) for seed in (1, 2))
    yield until(lambda: both_up(a, b))
    (link,) = a.links()
    yield DeferredList([a.get(b, 200), a.get(b, 200)])  # there are connections then, as between servers that talk
    arrived, waits = [], []
    a.get(b, 300_000).addBoth(arrived.append)
    while not arrived:
        waiting = Waiting()
        assert (yield a.get(b, 200)) == body(200)
        waits.append(waiting.waited())
        yield deferLater(reactor, 0.2, lambda: None)
    assert arrived == [body(300_000)]
    assert sorted(waits)[len(waits) // 2] < 1.0, waits
    assert [each["port"] for each in a.links()] == [link["port"]]  # it is the same link still
    yield stop(a, b)


class Stranger:
    """A device that advertises the service, and shows what it likes."""

    def __init__(self, air: VirtualAir, characteristic: bytes | None) -> None:
        self._air = air
        self._characteristic = characteristic

    async def appear(self) -> None:
        device, _ = await self._air.open_device()
        await device.power_on()
        if self._characteristic is not None:
            readable = Characteristic(
                PSM_CHARACTERISTIC_UUID,
                Characteristic.Properties.READ,
                Characteristic.READABLE,
                self._characteristic,
            )
            device.add_service(Service(SERVICE_UUID, [readable]))
        services = (AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(SERVICE_UUID)))
        await device.start_advertising(advertising_data=bytes(AdvertisingData([services])), auto_restart=True)


@pytest_twisted.inlineCallbacks
def test_strangers_and_impostors_do_not_keep_nodes_apart(thread):
    air = VirtualAir()
    higher = bytes([0xFF]) * 18
    shown = [None, b"", bytes(19), bytes(20), b"\x00\x80" + higher, b"\xff\xff" + higher, bytes(range(256)) * 2]
    for characteristic in shown:
        yield thread.run(Stranger(air, characteristic).appear())
    a, b = (node_in(air, thread, seed) for seed in (1, 2))
    yield until(lambda: both_up(a, b))

    def reasons() -> set[str]:
        return {candidate["reason"] for candidate in a.node.status()["candidates"]}

    yield until(lambda: len(reasons()) >= 4)
    assert a.links()[0]["key"] == b.node.identity.server_name
    yield stop(a, b)


@pytest_twisted.inlineCallbacks
def test_a_controller_that_does_not_start_is_given_back(thread):
    closed = []

    class Dead:
        def create_l2cap_server(self, spec, handler):
            raise OSError("no answer from the dongle")

    async def open_device():
        async def close() -> None:
            closed.append(True)

        return Dead(), close

    backend = BumbleBackend(open_device, thread)
    starting = backend.start(seen=print, accept=print, failed=print)
    (succeeded, reason), *_ = yield DeferredList([starting], consumeErrors=True)
    assert not succeeded
    assert reason.getErrorMessage() == "the controller does not start: no answer from the dongle"
    assert closed == [True]
    yield backend.stop()


@pytest_twisted.inlineCallbacks
def test_a_node_says_which_controller_cannot_be_opened(thread):
    backend = backend_maker("no-such-transport:0", reactor)()
    starting = backend.start(seen=print, accept=print, failed=print)
    (succeeded, reason), *_ = yield DeferredList([starting], consumeErrors=True)
    assert not succeeded
    assert "the controller does not start" in reason.getErrorMessage()
    yield backend.stop()
