"""Greetings on a serial line: two ends face each other over a wire that a test cuts and joins."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.links import EndpointString
from pinecone_transport.links.endpoint import EndpointLink
from pinecone_transport.links.serial import GREETING_INTERVAL, Greeting, SerialLine, parse_serial
from tests.unit.links.test_stream_link import RecordingOwner


class End:
    """One end of a line."""

    def __init__(self, clock: Clock) -> None:
        self.owner = RecordingOwner()
        self.link = EndpointLink(self.owner, clock, way="serial", address="serial:/dev/x", outbound=True)
        self.transport = StringTransport()
        self.greeting = Greeting(self.link, clock)

    def open(self) -> None:
        self.greeting.makeConnection(self.transport)

    def take(self) -> bytes:
        """Return what this end has said since the last call."""
        said = self.transport.value()
        self.transport.clear()
        return said

    @property
    def received(self) -> bytes:
        return self.owner.data


class GreetingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.near, self.far = End(self.clock), End(self.clock)

    def exchange(self, near: End | None = None, far: End | None = None, *, step: int = 1_000) -> None:
        """Carry what was said both ways, in pieces, until nobody says anything."""
        near, far = near or self.near, far or self.far
        while True:
            there, back = near.take(), far.take()
            if not there and not back:
                return
            for end, data in ((far, there), (near, back)):
                for start in range(0, len(data), step):
                    end.greeting.dataReceived(data[start : start + step])

    def test_both_ends_have_a_link_once_they_have_heard_each_other(self) -> None:
        self.near.open()
        self.far.open()
        self.exchange()
        for end in (self.near, self.far):
            assert self.successResultOf(end.greeting.opened) is end.link
            assert end.owner.names() == ["made"]
        self.near.link.write([b"over ", b"there"])
        self.exchange()
        assert self.far.received == b"over there"

    def test_read_byte_by_byte_it_is_the_same(self) -> None:
        self.near.open()
        self.far.open()
        self.exchange(step=1)
        self.near.link.write([b"\x00pinecone is not a greeting"])
        self.exchange(step=1)
        assert self.far.received == b"\x00pinecone is not a greeting"

    def test_who_comes_later_is_greeted_then(self) -> None:
        self.near.open()
        self.near.take()  # nobody is there
        self.far.open()
        self.exchange()
        self.clock.advance(GREETING_INTERVAL)
        self.exchange()
        assert self.near.owner.names() == self.far.owner.names() == ["made"]
        self.near.link.write([b"first bytes"])
        self.exchange()
        assert self.far.received == b"first bytes"

    def test_what_is_left_of_an_earlier_conversation_is_noise(self) -> None:
        self.near.open()
        self.far.open()
        self.far.greeting.dataReceived(b"frames" * 10_000 + b"\x00pinecone-ser")
        self.exchange()
        assert self.far.owner.names() == ["made"]
        assert self.far.received == b""

    def test_answers_to_somebody_elses_greeting_are_none(self) -> None:
        self.near.open()
        stranger = End(self.clock)
        stranger.open()
        greeting = stranger.take()
        self.near.greeting.dataReceived(greeting.replace(b"serial?", b"serial!"))
        self.near.greeting.dataReceived(greeting)
        assert self.near.owner.calls == []

    def test_an_end_that_starts_anew_ends_the_link_that_was_not_used_yet(self) -> None:
        self.near.open()
        self.far.open()
        self.exchange()
        anew = End(self.clock)
        anew.open()
        self.near.greeting.dataReceived(anew.take())
        assert self.near.transport.disconnecting

    def test_a_line_that_is_lost_ends_the_link_or_the_waiting_for_it(self) -> None:
        self.near.open()
        self.near.greeting.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.near.greeting.opened, ConnectionLost)
        assert self.near.owner.calls == []
        assert self.clock.getDelayedCalls() == []

    def test_who_gives_up_closes_the_line(self) -> None:
        self.near.open()
        self.near.greeting.opened.cancel()
        self.failureResultOf(self.near.greeting.opened)
        assert self.near.transport.disconnecting
        assert self.clock.getDelayedCalls() == []


class StringTests(SynchronousTestCase):
    def test_a_device_and_its_speed_are_read(self) -> None:
        read = {
            "serial:/dev/ttyUSB0": SerialLine("/dev/ttyUSB0", 115_200),
            "serial:/dev/ttyUSB0:baudrate=9600": SerialLine("/dev/ttyUSB0", 9_600),
            r"serial:/dev/pci-0000\:00\:14.0:baudrate=9600": SerialLine("/dev/pci-0000:00:14.0", 9_600),
        }
        for text, line in read.items():
            assert parse_serial(EndpointString(text)) == line

    def test_other_options_are_refused(self) -> None:
        for text in ("serial:/dev/x:9600", "serial:/dev/x:baudrate=0", "serial:/dev/x:baudrate=fast"):
            with pytest.raises(ValueError, match="is not a serial line; write serial:/dev"):
                parse_serial(EndpointString(text))
