"""When a stack gets its say: at the end of a turn, and at its own deadlines.

A turn: what the links bring goes into the stack at once, but what comes of it is handed out at the turn's end, which
is scheduled once per iteration of the reactor. There receivers are called, dirty streams flushed, packets made into
frames, and links written. So nobody is called from inside a call of his own, and what one iteration of the reactor
brings leaves in as few writes as can be.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pinecone_transport.node.events import LinkDown
from pinecone_transport.node.link_table import LinkTable
from pinecone_transport.node.streams import Streams
from pinecone_transport.session import StreamData
from pinecone_transport.stack import Stack, StackEvent

logger = logging.getLogger("pinecone_transport.node")

NodeEvent: TypeAlias = StackEvent | LinkDown

_ROUNDS: Final = 16
_LEAST_PART: Final = 4
"""Events after which what has come of them leaves, if there are more: so many small requests are half a millisecond's
work. The far end can work on the first answers while we make the others, instead of by turns with us."""
_STALL: Final = 1.0
"""Seconds that the timer comes late when the process was held up, as by a homeserver's long computation."""


@final
class Turns:
    """Drives one stack with one timer. Nothing is scheduled before `start` nor after `stop`.

    Args:
        stack: What is driven.
        links: Are written at the end of a turn.
        streams: Are flushed there.
        hand_out: Gets each event, with the time.
        reactor: For the timer.
        clock: Monotonic seconds.

    Attributes:
        under_way: Whether a turn's end is being worked on.
    """

    def __init__(
        self,
        stack: Stack,
        links: LinkTable,
        streams: Streams,
        *,
        hand_out: Callable[[NodeEvent, float], None],
        reactor: IReactorTime,
        clock: Callable[[], float],
    ) -> None:
        self.under_way = False
        self._stack: Final = stack
        self._links: Final = links
        self._streams: Final = streams
        self._hand_out = hand_out
        self._reactor = reactor
        self._clock = clock
        self._now_reached = clock()
        self._events: deque[NodeEvent] = deque()
        self._calls: list[Callable[[], None]] = []
        self._active = False
        self._turn_call: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0
        self._held_up = False

    def start(self) -> None:
        """Begin to schedule turns."""
        self._active = True
        self.end_soon()

    def stop(self) -> None:
        """Hand out what is left, then schedule nothing more."""
        self.end_now()
        self._active = False
        for call in (self._turn_call, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._turn_call = self._timer = None

    def now(self) -> float:
        """Return the time, which never goes back."""
        # A timer may run a little before its time on our clock; time must not go back behind it afterwards.
        self._now_reached = max(self._now_reached, self._clock())
        return self._now_reached

    def add(self, events: Iterable[NodeEvent]) -> None:
        """Have events handed out at the end of the turn, which is scheduled."""
        self._events += events
        self.end_soon()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have something called in this turn, or else the next, behind what is being handed out now."""
        self._calls.append(call)
        self.end_soon()

    def end_soon(self) -> None:
        """Schedule the end of the turn, if that is not done yet."""
        if self._active and self._turn_call is None and not self.under_way:
            self._turn_call = self._reactor.callLater(0, self._turn_due)

    def end_now(self) -> None:
        """End the turn; not to be called while one is `under_way`."""
        self._end(self.now())

    def _turn_due(self) -> None:
        self._turn_call = None
        now = self.now()
        if self._timer is not None and self._timer_at <= now and not self._held_up:
            # The reactor's clock can be set back by hours, and its timers with it: whatever wakes us looks at ours.
            self._timer.cancel()
            self._deadline_passed(now)
        self._end(now)

    def _timer_due(self) -> None:
        self._now_reached = max(self.now(), self._timer_at)
        self._deadline_passed(self._now_reached)
        self._end(self._now_reached)

    def _deadline_passed(self, now: float) -> None:
        if now > self._timer_at + _STALL and not self._held_up:
            # What has come meanwhile waits in the sockets. It is read before the silence counts.
            self._held_up = True
            self._timer = self._reactor.callLater(0, self._timer_due)
            return
        self._held_up = False
        self._timer = None
        self._events += self._stack.handle_timer(now)

    def _end(self, now: float) -> None:
        self.under_way = True
        more = False
        try:
            more = self._run_rounds(now)
        finally:
            # Whatever went wrong, the node goes on.
            self.under_way = False
            self._arm_timer(self.now())
            if more or self._events:
                self.end_soon()

    def _run_rounds(self, now: float) -> bool:
        """Hand out events and write until nothing is left to do; tell whether something is left all the same."""
        for rounds_left in reversed(range(_ROUNDS)):
            self._hand_out_part(rounds_left + 1, now)
            self._call()
            self._streams.flush(now)
            self._stack.pump(now, data_only=bool(self._events and rounds_left))
            # What was written made room in the links' queues.
            more = self._links.write(now) and self._stack.has_more_to_send()
            if not (more or self._events or self._calls or self._streams.has_work):
                return False
            now = self.now()
        return True

    def _hand_out_part(self, parts: int, now: float) -> None:
        """Hand out as many events that none is left after so many parts, and that only data is left.

        Streams are flushed behind each part: their owners must know by then what has become of them.
        """
        events = self._events
        count = len(events)
        least = max(_LEAST_PART, -(-count // parts))
        while count > least and isinstance(events[count - 1], StreamData):
            count -= 1
        for _ in range(count):
            self._hand_out(events.popleft(), now)

    def _call(self) -> None:
        """Call whom `call_soon` was told of."""
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call()
            except Exception:
                logger.exception("What was to be called in a turn failed")

    def _arm_timer(self, now: float) -> None:
        deadline = self._stack.next_timer()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        delay = max(deadline - now, 0.0)
        self._timer_at = deadline
        if self._timer is not None:
            self._timer.reset(delay)
        else:
            self._timer = self._reactor.callLater(delay, self._timer_due)
