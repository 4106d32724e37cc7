"""Addresses that are given, as a source of links, with listeners that a test opens and fails."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.discovery import Dial, Listener, StaticSource
from pinecone_transport.errors import ConfigurationError


class Port:
    """A listening port that a test can look at."""

    def __init__(self, host: object) -> None:
        self.host = host
        self.open = True
        self.closing: Deferred[None] | None = None

    def getHost(self) -> object:
        return self.host

    def stopListening(self) -> Deferred[None] | None:
        self.open = False
        return self.closing


class StaticSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.failed: list[tuple[str, str]] = []
        self.taken: set[str] = set()
        self.ports: dict[str, Port] = {}

    def source(self, *listeners: Listener, dials: tuple[Dial, ...] = ()) -> StaticSource:
        return StaticSource(
            "tcp",
            dials,
            listeners,
            failed=lambda address, reason: self.failed.append((address, reason.getErrorMessage())),
            reactor=self.clock,
            clock=self.clock.seconds,
        )

    def listener(self, address: str, covered_by: str = "", option: str = "listen.0") -> Listener:
        def open_port() -> Deferred[IListeningPort]:
            if address in self.taken:
                return fail(CannotListenError("", 5, OSError(98, "Address already in use")))
            host, _, port = address.partition("://")[2].rpartition(":") if "://" in address else address.rpartition(":")
            self.ports[address] = Port(IPv4Address("TCP", host, int(port)))
            return succeed(self.ports[address])

        return Listener(option, address, open_port, covered_by)

    def test_what_is_listened_on_is_named(self) -> None:
        source = self.source(self.listener("192.0.2.1:5"), self.listener("192.0.2.1:6"))
        assert source.addresses() == []
        source.listen()
        assert source.addresses() == ["192.0.2.1:5", "192.0.2.1:6"]
        source.stop()
        assert source.addresses() == []
        assert not any(port.open for port in self.ports.values())

    def test_what_is_stopped_while_addresses_change_opens_none(self) -> None:
        source = self.source(self.listener("192.0.2.1:5"))
        source.listen()
        self.ports["192.0.2.1:5"].closing = closing = Deferred()
        changing = source.set_listeners([self.listener("192.0.2.1:6")])
        source.stop()
        closing.callback(None)
        self.successResultOf(changing)
        assert set(self.ports) == {"192.0.2.1:5"}
        assert source.addresses() == []

    def test_a_dial_that_raises_has_failed(self) -> None:
        def dial() -> Deferred[object]:
            raise ValueError("a plug-in's fault")

        source = self.source(dials=(Dial("tor:5", dial),))
        source.start()
        assert self.failed == [("tor:5", "a plug-in's fault")]
        (candidate,) = source.candidates()
        assert (candidate.state.value, candidate.reason) == ("waiting", "a plug-in's fault")
        source.stop()

    def test_what_is_listened_on_is_written_as_it_is_dialled(self) -> None:
        source = self.source(self.listener("ws://192.0.2.1:5"))
        source.listen()
        assert source.addresses() == ["ws://192.0.2.1:5"]

    def test_an_address_that_another_covers_may_be_taken(self) -> None:
        self.taken.add("0.0.0.0:5")
        source = self.source(self.listener("[::]:5"), self.listener("0.0.0.0:5", covered_by="[::]:5"))
        source.listen()
        with pytest.raises(ConfigurationError, match="Address already in use"):
            self.source(self.listener("0.0.0.0:5", covered_by="[::]:5")).listen()

    def test_a_listener_that_raises_is_one_sentence(self) -> None:
        def open_port() -> Deferred[IListeningPort]:
            raise RuntimeError("no such thing")

        with pytest.raises(ConfigurationError) as raised:
            self.source(Listener("listen.3", "onion:5", open_port)).listen()
        assert raised.value.path == "listen.3"
        assert raised.value.sentence == "cannot listen on onion:5: no such thing; choose another port or address."

    def test_a_listener_may_take_its_time(self) -> None:
        opening: Deferred[IListeningPort] = Deferred()
        source = self.source(Listener("listen.0", "onion:5", lambda: opening))
        source.listen()
        assert source.addresses() == []
        port = Port("an onion")
        opening.callback(port)
        assert source.addresses() == ["onion:5"]

    def test_one_that_fails_later_is_reported_and_one_that_comes_too_late_closed(self) -> None:
        openings: list[Deferred[IListeningPort]] = [Deferred(), Deferred()]
        source = self.source(
            Listener("listen.0", "onion:5", lambda: openings[0]), Listener("listen.1", "onion:6", lambda: openings[1])
        )
        source.listen()
        openings[0].errback(Failure(RuntimeError("no network")))
        assert self.failed == [("onion:5", "no network")]
        source.stop()
        port = Port("an onion")
        openings[1].callback(port)
        assert not port.open
        assert source.addresses() == []

    def test_listeners_come_and_go_and_those_that_stay_are_not_touched(self) -> None:
        source = self.source(self.listener("192.0.2.1:5"), self.listener("192.0.2.1:6"))
        source.listen()
        stays = self.ports["192.0.2.1:6"]
        self.successResultOf(source.set_listeners([self.listener("192.0.2.1:6"), self.listener("192.0.2.1:7")]))
        assert source.addresses() == ["192.0.2.1:6", "192.0.2.1:7"]
        assert self.ports["192.0.2.1:6"] is stays
        assert stays.open
        assert not self.ports["192.0.2.1:5"].open

    def test_where_one_cannot_be_had_the_old_ones_are_put_back(self) -> None:
        source = self.source(self.listener("192.0.2.1:5"), self.listener("192.0.2.1:6"))
        source.listen()
        self.taken.add("192.0.2.1:8")
        wanted = [self.listener(f"192.0.2.1:{port}") for port in (6, 7, 8)]
        self.failureResultOf(source.set_listeners(wanted), ConfigurationError)
        assert sorted(source.addresses()) == ["192.0.2.1:5", "192.0.2.1:6"]
        assert not self.ports["192.0.2.1:7"].open

    def test_before_it_is_started_nobody_is_dialled(self) -> None:
        dials: list[str] = []

        def dial(name: str) -> Dial:
            def start() -> Deferred[object]:
                dials.append(name)
                return Deferred()

            return Dial(name, start)

        source = self.source(dials=(dial("a"),))
        source.set_dials([dial("a"), dial("b")])
        assert dials == []
        source.start()
        assert dials == ["a", "b"]
        source.set_dials([dial("b"), dial("c")])
        assert dials == ["a", "b", "c"]
        assert [found.address for found in source.candidates()] == ["b", "c"]
