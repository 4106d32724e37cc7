"""Links over a serial line: ``serial:/dev/ttyUSB0:baudrate=115200``.

A line has no beginning: whoever opens it does not know whether somebody is at the other end, what is left of an earlier
conversation, or whether the other end has started anew since. So both ends greet first. Each says a number that it has
just chosen until it hears it back; what came before that is noise, and what follows is the link. A greeting with
another number in place of the link's first bytes means that the other end has started anew.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final, cast, final

import attrs
from serial import SerialException  # type: ignore[import-untyped]  # it has no types
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.serialport import SerialPort
from twisted.python.failure import Failure

from pinecone_transport.links.address import EndpointString
from pinecone_transport.links.endpoint import EndpointLink
from pinecone_transport.links.interfaces import LinkOwner
from pinecone_transport.wire import PeerType

DEFAULT_BAUDRATE: Final = 115_200
GREETING_INTERVAL: Final = 1.0
"""Seconds from one greeting to the next."""

_MAGIC: Final = b"\x00pinecone-serial"
_NUMBER_LENGTH: Final = 16
_HELLO: Final = b"?"
_HEARD: Final = b"!"
_LENGTH: Final = len(_MAGIC) + 1 + _NUMBER_LENGTH
_BITS_PER_BYTE: Final = 10  # with start and stop bit
_WRITE_SECONDS: Final = 0.25
_LEAST_WRITE: Final = 256


@attrs.frozen
class SerialLine:
    """A serial device.

    Attributes:
        device: Its path.
        baudrate: Bits per second.
    """

    device: str
    baudrate: int = DEFAULT_BAUDRATE


def parse_serial(address: EndpointString) -> SerialLine:
    r"""Read ``serial:<device>[:baudrate=<bits per second>]``; a colon in the device's path is written ``\:``.

    Raises:
        ValueError: With a sentence that says what is wrong and what would be right.
    """
    _, device, *options = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", address.text))
    baudrate = DEFAULT_BAUDRATE
    for option in options:
        match = re.fullmatch(r"baudrate=([1-9][0-9]{1,7})", option)
        if match is None:
            raise ValueError(f"{address.text!r} is not a serial line; write serial:/dev/ttyUSB0:baudrate=115200")
        baudrate = int(match[1])
    return SerialLine(device, baudrate)


def dial_serial(
    reactor: IReactorTime, line: SerialLine, address: EndpointString, owner: LinkOwner, *, outbound: bool
) -> Deferred[EndpointLink]:
    """Open the line and greet; the result is the connected link, once somebody has answered. Cancelling closes it.

    Args:
        reactor: Provides IReactorFDSet.
        line: The device.
        address: As it is configured.
        owner: Gets the link.
        outbound: Whether this end counts as the one that dialled.
    """
    link = EndpointLink(
        owner,
        reactor,
        # Slow, and never to be preferred to another link.
        peer_type=PeerType.BLUETOOTH,
        way=address.way,
        address=str(address),
        outbound=outbound,
        write_limit=max(_LEAST_WRITE, int(line.baudrate / _BITS_PER_BYTE * _WRITE_SECONDS)),
    )
    greeting = Greeting(link, reactor)
    try:
        cast(Any, _Line)(greeting, line.device, reactor, baudrate=line.baudrate)
    except (SerialException, OSError, ValueError) as error:
        greeting.failed(Failure(ConnectError(string=str(error))))
    return greeting.opened


@final
class _Line(SerialPort):
    """A serial port that can be closed at once."""

    def abortConnection(self) -> None:
        """Close; what has not left never will."""
        IReactorTime(self.reactor).callLater(0, self._abort)

    def _abort(self) -> None:
        if self.connected:
            cast(Any, self).connectionLost(Failure(ConnectionAborted()))


@final
class Greeting(Protocol):
    """What comes before the link on a serial line.

    Args:
        link: Is connected when both ends have heard one another.
        reactor: For the time between greetings.

    Attributes:
        opened: Fires with the link.
    """

    def __init__(self, link: EndpointLink, reactor: IReactorTime) -> None:
        self.opened: Final[Deferred[EndpointLink]] = Deferred(lambda _: self._give_up())
        self._link: Final = link
        self._reactor = reactor
        self._own: Final = os.urandom(_NUMBER_LENGTH)
        self._theirs: bytes | None = None
        self._heard = False  # they have heard us
        self._received = b""
        self._flowing = False  # the link's own bytes come
        self._next: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Greet until we are heard."""
        self._say(_HELLO, self._own)
        self._next = self._reactor.callLater(GREETING_INTERVAL, self.connectionMade)

    def dataReceived(self, data: bytes) -> None:
        """Take greetings, then the link's bytes."""
        if self._flowing:
            self._link.dataReceived(data)
            return
        self._received += data
        if not self._is_open:
            self._look_for_greetings()
        if self._is_open:
            self._skip_greetings()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the link, or whoever waits for it."""
        self._stop_greeting()
        if self._is_open:
            self._link.connectionLost(reason)
        else:
            self.failed(reason)

    def failed(self, reason: Failure) -> None:
        """There will be no link."""
        if not self.opened.called:
            self.opened.errback(reason)

    @property
    def _is_open(self) -> bool:
        return self._heard and self._theirs is not None

    def _look_for_greetings(self) -> None:
        while not self._is_open:
            start = self._received.find(_MAGIC)
            if start < 0:
                self._received = self._received[-len(_MAGIC) :]
                return
            if len(self._received) - start < _LENGTH:
                self._received = self._received[start:]
                return
            self._greeted(self._received[start : start + _LENGTH])
            self._received = self._received[start + _LENGTH :]
        self._stop_greeting()
        cast(Any, self._link).makeConnection(self.transport)
        if not self.opened.called:
            self.opened.callback(self._link)

    def _greeted(self, message: bytes) -> None:
        kind, number = message[len(_MAGIC) : -_NUMBER_LENGTH], message[-_NUMBER_LENGTH:]
        if kind == _HELLO:
            self._theirs = number
            self._say(_HEARD, number)
        elif kind == _HEARD and number == self._own:
            self._heard = True

    def _skip_greetings(self) -> None:
        """Leave out what the other end said before it had heard us; the link's first byte ends that."""
        while self._received.startswith(_MAGIC) and len(self._received) >= _LENGTH:
            message, self._received = self._received[:_LENGTH], self._received[_LENGTH:]
            if message[len(_MAGIC) :] not in (_HELLO + (self._theirs or b""), _HEARD + self._own):
                self._link.abort()
                return
        if self._received and not _MAGIC.startswith(self._received[: len(_MAGIC)]):
            self._flowing = True
            data, self._received = self._received, b""
            self._link.dataReceived(data)

    def _say(self, kind: bytes, number: bytes) -> None:
        assert self.transport is not None
        self.transport.write(_MAGIC + kind + number)

    def _stop_greeting(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _give_up(self) -> None:
        self._stop_greeting()
        cast(Any, self.transport).abortConnection()
