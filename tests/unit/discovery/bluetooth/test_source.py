"""Bluetooth LE as a source of links, over a radio that does what the test says."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.discovery import CandidateState
from pinecone_transport.discovery.bluetooth import BluetoothError, BluetoothSource
from pinecone_transport.discovery.bluetooth.devices import FIRST_WAIT, MAX_DEVICES
from pinecone_transport.discovery.bluetooth.source import HOLD, LONGEST_RESTART_DELAY, RESTART_DELAY, STEP_TIMEOUT
from pinecone_transport.repeats import LINES_PER_WINDOW
from pinecone_transport.wire import PeerType, encode_psm_characteristic
from tests.support.fake_radio import FakeRadio

LOW, OURS, HIGH = (bytes([number]) * 32 for number in (1, 2, 3))
ADDRESS = "C0:00:00:00:00:01"
PSM = 0x80


class Owner:
    """A node, as links see it."""

    def __init__(self) -> None:
        self.links = []

    def link_made(self, link) -> None:
        self.links.append(link)

    def link_data(self, link, data) -> None:
        raise AssertionError("no data in these tests")

    def link_writable(self, link) -> None:
        raise AssertionError("no data in these tests")

    def link_lost(self, link, reason) -> None:
        self.links.remove(link)


class BluetoothSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.owner = Owner()
        self.radios: list[FakeRadio] = []
        self.unwanted: str | None = None
        self.no_driver: Exception | None = None
        self.source = BluetoothSource(
            OURS,
            self.owner,
            make_backend=self.make_radio,
            admits=lambda source, key: self.unwanted,
            reactor=self.clock,
            clock=self.clock.seconds,
        )
        self.source.listen()
        self.source.start()

    def make_radio(self) -> FakeRadio:
        if self.no_driver is not None:
            raise self.no_driver
        self.radios.append(FakeRadio())
        return self.radios[-1]

    @property
    def radio(self) -> FakeRadio:
        return self.radios[-1]

    def switch_on(self) -> FakeRadio:
        self.radio.starting.callback(PSM)
        return self.radio

    def ask(self) -> FakeRadio:
        radio = self.switch_on()
        radio.seen(ADDRESS)
        self.clock.advance(FIRST_WAIT)
        assert radio.calls == [("read", ADDRESS)]
        return radio

    def pass_time(self, seconds: float) -> None:
        """Let the device go on advertising meanwhile."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.radio.seen(ADDRESS)

    def reason(self) -> str:
        (candidate,) = self.source.candidates()
        return candidate.reason

    def test_shows_psm_and_key_once_the_radio_is_on(self) -> None:
        assert self.source.addresses() == []
        radio = self.switch_on()
        assert radio.characteristic == encode_psm_characteristic(PSM, OURS)
        assert self.source.addresses() == ["ble:128"]

    def test_dials_whom_it_should(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(0x81, HIGH))
        assert radio.calls[-1] == ("dial", ADDRESS, "129")
        radio.open_link()
        (link,) = self.owner.links
        assert (link.peer_type, link.way, link.address, link.outbound) == (PeerType.BLUETOOTH, "ble", ADDRESS, True)
        self.source.link_up(link, HIGH)
        assert [candidate.key for candidate in self.source.candidates()] == [HIGH]

    def test_closes_a_link_to_another_key_than_was_shown(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
        radio.open_link()
        self.source.link_up(radio.link, LOW)
        assert radio.link.transport.disconnecting

    def test_waits_for_whom_the_other_side_should_dial_and_keeps_the_connection_for_it(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(PSM, LOW))
        assert self.reason() == "the other one dials"
        self.pass_time(HOLD - 1)
        link = radio.accept(ADDRESS)
        link.makeConnection(StringTransport())
        self.source.link_up(link, LOW)
        assert not link.outbound
        self.pass_time(3 * HOLD)
        assert radio.calls == [("read", ADDRESS)]

    def test_hangs_up_when_the_connection_carries_no_link_for_a_while(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(PSM, LOW))
        self.pass_time(HOLD)
        assert radio.calls == [("read", ADDRESS), ("release", ADDRESS)]

    def test_hangs_up_a_while_after_the_link_was_lost(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
        radio.open_link()
        self.pass_time(3 * HOLD)
        assert ("release", ADDRESS) not in radio.calls
        radio.link.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(HOLD)
        assert radio.calls[-1] == ("release", ADDRESS)

    def test_a_radio_that_swallows_a_step_holds_nothing_up(self) -> None:
        radio = self.ask()
        self.pass_time(STEP_TIMEOUT)
        assert self.reason() == "no answer in time"
        self.pass_time(10)
        assert radio.calls.count(("read", ADDRESS)) == 2
        radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
        self.pass_time(STEP_TIMEOUT)
        self.pass_time(20)
        assert radio.calls.count(("read", ADDRESS)) == 3

    def test_a_step_that_fails_is_made_again_and_the_reason_is_shown(self) -> None:
        radio = self.ask()
        radio.reading.errback(BluetoothError("the device does not show its key"))
        assert self.reason() == "the device does not show its key"
        self.pass_time(5)
        assert radio.calls.count(("read", ADDRESS)) == 2
        radio.reading.errback(TimeoutError())
        assert self.reason() == "no answer in time"
        self.pass_time(9)
        radio.reading.errback(KeyError())
        assert self.reason() == "KeyError"

    def test_hangs_up_at_once_on_what_is_no_node(self) -> None:
        radio = self.ask()
        radio.reading.callback(bytes(19))
        self.clock.advance(0)
        assert radio.calls == [("read", ADDRESS), ("release", ADDRESS)]

    def test_whom_the_rules_keep_out_is_not_dialled(self) -> None:
        radio = self.ask()
        self.unwanted = "there are enough links"
        radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
        assert radio.calls == [("read", ADDRESS)]
        (candidate,) = self.source.candidates()
        assert (candidate.state, candidate.reason) == (CandidateState.UNWANTED, "there are enough links")

    def test_dials_at_once_when_the_network_changes(self) -> None:
        radio = self.ask()
        radio.reading.errback(BluetoothError("gone"))
        self.source.network_changed()
        assert radio.calls == [("read", ADDRESS)] * 2

    def test_a_radio_that_does_not_start_is_tried_again(self) -> None:
        with self.assertLogs("pinecone_transport.node", "WARNING") as logged:
            self.radio.starting.errback(BluetoothError("there is no adapter hci0"))
        assert "there is no adapter hci0" in logged.output[0]
        assert self.radios[0].stopped
        self.clock.advance(RESTART_DELAY)
        assert len(self.radios) == 2
        self.switch_on()
        assert self.source.addresses() == ["ble:128"]

    def test_a_radio_that_goes_away_is_tried_again(self) -> None:
        radio = self.ask()
        with self.assertLogs("pinecone_transport.node", "WARNING"):
            radio.failed("BlueZ is gone")
        assert radio.stopped
        assert self.source.addresses() == []
        radio.failed("once more")
        radio.seen("C0:00:00:00:00:02")
        radio.reading.errback(BluetoothError("it is switched off"))
        self.clock.advance(RESTART_DELAY)
        assert len(self.radios) == 2
        self.switch_on()
        self.pass_time(3)
        assert self.radio.calls == [("read", ADDRESS)]

    def test_a_driver_that_cannot_be_made_is_tried_again_less_and_less_often_and_told_of_once(self) -> None:
        radio = self.switch_on()
        self.no_driver = OSError("too many open files")
        with self.assertLogs("pinecone_transport.node", "WARNING") as logged:
            radio.failed("BlueZ is gone")
            delay, waited = RESTART_DELAY, 0.0
            while waited < 3600.0:
                self.clock.advance(delay)
                waited += delay
                delay = min(2 * delay, LONGEST_RESTART_DELAY)
                assert [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()] == [delay]
        assert [line.rpartition(": ")[2] for line in logged.output] == ["BlueZ is gone", "too many open files"]
        self.no_driver = None
        self.clock.advance(delay)
        self.switch_on()
        assert self.source.addresses() == ["ble:128"]
        with self.assertLogs("pinecone_transport.node", "WARNING"):
            self.radio.failed("BlueZ is gone")
        (call,) = self.clock.getDelayedCalls()
        assert call.getTime() - self.clock.seconds() == RESTART_DELAY

    def test_a_node_starts_although_the_driver_cannot_be_made(self) -> None:
        self.source.stop()
        self.no_driver = RuntimeError()
        with self.assertLogs("pinecone_transport.node", "WARNING") as logged:
            self.source.start()
        assert logged.output[0].endswith("RuntimeError")
        self.source.stop()
        assert self.clock.getDelayedCalls() == []

    def test_impostors_have_a_few_lines_in_the_log_and_not_one_for_each_dial(self) -> None:
        radio = self.switch_on()
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            for _ in range(20):
                self.pass_time(1)
                if not radio.reading.called and radio.calls[-1:] == [("read", ADDRESS)]:
                    radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
                    radio.open_link()
                    self.source.link_up(radio.link, LOW)
                    assert radio.link.transport.disconnecting
                    radio.link.connectionLost(Failure(ConnectionDone()))
                self.source.network_changed()  # as if it were new each time
        assert radio.calls.count(("dial", ADDRESS, str(PSM))) > 2 * LINES_PER_WINDOW
        assert len([line for line in logged.output if "shows another key" in line]) == LINES_PER_WINDOW

    def test_nothing_is_under_way_once_it_is_stopped(self) -> None:
        for prepare in (lambda: None, self.switch_on, lambda: self.radio.seen(ADDRESS)):
            prepare()
        self.clock.advance(FIRST_WAIT)
        self.radio.reading.callback(encode_psm_characteristic(PSM, LOW))
        stopped = self.source.stop()
        assert self.successResultOf(stopped) is None
        assert self.radio.stopped
        assert self.clock.getDelayedCalls() == []
        assert self.successResultOf(self.source.stop()) is None

    def test_a_step_that_is_under_way_is_given_up_when_it_is_stopped(self) -> None:
        radio = self.ask()
        self.source.stop()
        assert radio.reading.called
        assert self.clock.getDelayedCalls() == []

    def test_a_radio_that_starts_after_it_was_stopped_is_left_alone(self) -> None:
        self.source.stop()
        self.radio.starting.callback(PSM)
        assert self.radio.characteristic is None
        assert self.source.addresses() == []

    def test_links_of_others_are_no_business_of_it(self) -> None:
        radio = self.ask()
        radio.reading.callback(encode_psm_characteristic(PSM, HIGH))
        radio.link.way = "lan"
        self.source.link_up(radio.link, HIGH)
        self.source.link_down(radio.link, HIGH)
        assert self.source.candidates()[0].key is None

    def test_a_flood_of_devices_is_bounded_and_counted(self) -> None:
        radio = self.switch_on()
        for number in range(MAX_DEVICES + 500):
            radio.seen(f"C0:00:00:00:{number // 256:02X}:{number % 256:02X}")
        assert len(self.source.candidates()) == MAX_DEVICES
        assert self.source.counters == {"devices over the limit": 500}
        assert len(self.clock.getDelayedCalls()) == 1
