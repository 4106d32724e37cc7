from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.discovery import StaticPeer


class _DialledLink:
    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()
        self.closed = False

    def close(self) -> None:
        self.closed = True


class StaticPeerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dials: list[tuple[float, Deferred[_DialledLink]]] = []
        self.cancelled = 0
        self.failures: list[str] = []
        self.peer = StaticPeer(
            "relay:1",
            dial=self._dial,
            failed=lambda address, reason: self.failures.append(f"{address} {reason.type.__name__}"),
            reactor=self.clock,
            clock=self.clock.seconds,
        )

    def _dial(self) -> Deferred[_DialledLink]:
        def canceller(_: object) -> None:
            self.cancelled += 1

        deferred: Deferred[_DialledLink] = Deferred(canceller)
        self.dials.append((self.clock.seconds(), deferred))
        return deferred

    def _refuse(self) -> None:
        self.dials[-1][1].errback(Failure(ConnectionRefusedError()))

    def _connect(self) -> _DialledLink:
        link = _DialledLink()
        self.dials[-1][1].callback(link)
        return link

    def _dial_times(self) -> list[float]:
        return [at for at, _ in self.dials]

    def test_delays_grow_up_to_a_minute(self) -> None:
        self.peer.start()
        for delay in (1, 1, 1, 2, 4, 8, 16, 32, 60, 60):
            self._refuse()
            dials = len(self.dials)
            self.clock.advance(delay - 0.01)
            assert len(self.dials) == dials
            assert self.peer.state == "waiting"
            self.clock.advance(0.01)
            assert len(self.dials) == dials + 1
            assert self.peer.state == "dialling"
        assert self.failures == ["relay:1 ConnectionRefusedError"] * 10
        assert self.peer.failures == 10

    def test_a_link_that_lived_ten_seconds_is_dialled_again_at_once_and_the_delays_begin_anew(self) -> None:
        self.peer.start()
        self._refuse()
        self.clock.advance(1)
        link = self._connect()
        self.peer.handshake_completed(link)
        assert self.peer.state == "connected"
        self.clock.advance(10)
        link.lost.callback(None)
        assert self.peer.failures == 0
        self.clock.advance(0)
        assert self._dial_times() == [0, 1, 11]
        self._refuse()
        self.clock.advance(1)
        assert self._dial_times() == [0, 1, 11, 12]

    def test_a_link_that_lived_shorter_is_waited_with(self) -> None:
        self.peer.start()
        for delay in (1, 1, 1, 2, 4):
            link = self._connect()
            self.peer.handshake_completed(link)
            self.clock.advance(9.9)
            link.lost.callback(None)
            dials = len(self.dials)
            self.clock.advance(delay - 0.01)
            assert len(self.dials) == dials
            self.clock.advance(0.01)
            assert len(self.dials) == dials + 1

    def test_a_link_that_never_shakes_hands_does_not_count_as_good(self) -> None:
        self.peer.start()
        link = self._connect()
        self.peer.handshake_completed(_DialledLink())  # somebody else's
        self.clock.advance(30)
        link.lost.callback(None)
        self.clock.advance(0.9)
        assert len(self.dials) == 1
        self.clock.advance(0.1)
        assert len(self.dials) == 2

    def test_redial_now_ends_the_wait_and_resets_the_delays(self) -> None:
        self.peer.start()
        for delay in (1, 1, 1, 2, 4):
            self._refuse()
            self.clock.advance(delay)
        self._refuse()
        self.peer.redial_now()
        assert self._dial_times() == [0, 1, 2, 3, 5, 9, 9]
        self._refuse()
        self.clock.advance(1)
        assert self._dial_times()[-1] == 10
        assert len(self.clock.getDelayedCalls()) == 0

    def test_redial_now_does_nothing_where_nobody_waits(self) -> None:
        self.peer.redial_now()
        assert self.dials == []
        self.peer.start()
        self.peer.redial_now()
        assert len(self.dials) == 1
        self._connect()
        self.peer.redial_now()
        assert len(self.dials) == 1

    def test_a_dial_that_nobody_has_answered_is_begun_anew_when_the_network_has_changed(self) -> None:
        self.peer.start()
        self.clock.advance(0.9)
        self.peer.redial_now()
        assert self._dial_times() == [0]
        self.clock.advance(0.1)
        self.peer.redial_now()
        assert self._dial_times() == [0, 1]
        assert (self.cancelled, self.failures, self.peer.state) == (1, [], "dialling")
        self._connect()
        assert self.peer.state == "connected"

    def test_a_link_that_comes_of_a_dial_that_was_given_up_is_closed(self) -> None:
        kept: Deferred[_DialledLink] = Deferred(lambda _: None)
        kept.cancel = lambda: None  # type: ignore[method-assign]  # an endpoint that cannot be stopped any more
        self.peer = StaticPeer(
            "relay:1", dial=lambda: kept, failed=self.fail, reactor=self.clock, clock=self.clock.seconds
        )
        self.peer.start()
        self.peer.stop()
        link = _DialledLink()
        kept.callback(link)
        assert link.closed
        assert self.peer.link is None

    def test_a_peer_that_is_removed_loses_its_link(self) -> None:
        self.peer.start()
        link = self._connect()
        assert self.peer.link is link
        self.peer.remove()
        assert link.closed
        link.lost.callback(None)
        self.clock.advance(100)
        assert len(self.dials) == 1

    def test_starting_twice_dials_once(self) -> None:
        self.peer.start()
        self.peer.start()
        assert len(self.dials) == 1

    def test_stop_cancels_a_dial_without_calling_it_a_failure(self) -> None:
        self.peer.start()
        self.peer.stop()
        assert (self.cancelled, self.failures) == (1, [])
        assert self.clock.getDelayedCalls() == []

    def test_stop_ends_a_wait(self) -> None:
        self.peer.start()
        self._refuse()
        self.peer.stop()
        assert self.clock.getDelayedCalls() == []
        assert self.peer.state == "stopped"

    def test_after_stop_a_lost_link_is_not_dialled_again(self) -> None:
        self.peer.start()
        link = self._connect()
        self.peer.handshake_completed(link)
        self.peer.stop()
        self.clock.advance(20)
        link.lost.callback(None)
        self.clock.advance(100)
        assert len(self.dials) == 1

    def test_it_can_be_started_again(self) -> None:
        self.peer.start()
        self._refuse()
        self.peer.stop()
        self.peer.start()
        assert len(self.dials) == 2
        self._refuse()
        self.clock.advance(2)
        assert len(self.dials) == 3
