"""The control socket: a unix socket for the node's owner alone. One JSON object a line, each way.

A request is ``{"command": "status"}``, with the command's arguments beside it if it has any; the answer is what the
command returns, or ``{"error": "…"}``. A client's requests are answered one after the other, in order.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pinecone_transport.errors import ConfigurationError, PineconeError

logger = logging.getLogger("pinecone_transport.node")

Command: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any] | Deferred[Mapping[str, Any]]]
"""Gets the request, and answers at once or later. A `PineconeError` becomes the answer's ``error``."""


LONGEST_REQUEST: Final = 4096
IDLE_TIMEOUT: Final = 60
"""Seconds of silence after which a client is hung up on."""

_MODE: Final = 0o600
_OPTION: Final = "control_socket"
_BACKLOG: Final = 16
_ASK_TIMEOUT: Final = 5.0
_MAX_WAITING: Final = 16


class ControlError(PineconeError):
    """A node could not be asked; the message is a sentence for the user."""


@final
class ControlSocket:
    """Listens on a unix socket and answers requests.

    Args:
        reactor: Provides IReactorUNIX.
        path: Of the socket, mode 600.
        commands: By name.
    """

    def __init__(self, reactor: IReactorTime, path: str, commands: Mapping[str, Command]) -> None:
        self._reactor = reactor
        self._path = path
        self._factory = _ControlFactory(reactor, commands)
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: Another node has the socket, or it cannot be made.
        """
        _remove_stale(self._path)
        try:
            self._port = IReactorUNIX(self._reactor).listenUNIX(self._path, self._factory, _BACKLOG, _MODE)
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            reason = getattr(reason, "strerror", None) or reason
            raise ConfigurationError(_OPTION, f"cannot make the socket {self._path}: {reason}.") from error

    def stop(self) -> Deferred[Any]:
        """Stop listening, hang up on clients, and remove the socket."""
        port, self._port = self._port, None
        self._factory.hang_up()
        return (port.stopListening() if port is not None else None) or succeed(None)


@final
class _ControlFactory(Factory):
    noisy = False

    def __init__(self, reactor: IReactorTime, commands: Mapping[str, Command]) -> None:
        self.reactor: Final = reactor
        self.commands: Final = commands
        self.clients: Final[set[_ControlProtocol]] = set()

    def buildProtocol(self, addr: IAddress | None) -> _ControlProtocol:
        return _ControlProtocol(self)

    def hang_up(self) -> None:
        for client in list(self.clients):
            client.hang_up()


@final
class _ControlProtocol(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_REQUEST

    def __init__(self, factory: _ControlFactory) -> None:
        self._factory = factory
        self._timeout: IDelayedCall | None = None
        self._waiting: deque[bytes] = deque()
        self._answering = False

    def connectionMade(self) -> None:
        self._factory.clients.add(self)
        self._timeout = self._factory.reactor.callLater(IDLE_TIMEOUT, self.hang_up)

    def connectionLost(self, reason: object = None) -> None:
        self._factory.clients.discard(self)
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        self._waiting.append(line)
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.clear()
            self.hang_up()
        elif not self._answering:
            self._answer_next()

    def _answer_next(self) -> None:
        if self._waiting and not self._answering:
            self._answering = True
            answering: Deferred[Mapping[str, Any]] = maybeDeferred(cast(Any, self._answer), self._waiting.popleft())
            answering.addErrback(_error_of).addCallback(self._answered)

    def _answered(self, answer: Mapping[str, Any]) -> None:
        self._answering = False
        if self._timeout is not None and self._timeout.active() and self.transport is not None:
            self._timeout.reset(IDLE_TIMEOUT)
            self.transport.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
            self._answer_next()

    def _answer(self, line: bytes) -> Mapping[str, Any] | Deferred[Mapping[str, Any]]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "A request is one JSON object on a line."}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._factory.commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._factory.commands))
            return {"error": f"A request names a command; there are: {known}."}
        return command(request)


def _error_of(reason: Failure) -> Mapping[str, Any]:
    if reason.check(PineconeError):
        return {"error": str(reason.value)}
    logger.error("A command of the control socket failed", exc_info=reason.value)
    return {"error": "The command failed; the node's log says why."}


def ask(path: str, command: str, *, timeout: float = _ASK_TIMEOUT, **arguments: object) -> dict[str, Any]:
    """Ask the node behind a control socket, blocking for at most ``timeout`` seconds.

    Raises:
        ControlError: Nobody answers there, or the answer is an error.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            client.connect(path)
            client.sendall(json.dumps({**arguments, "command": command}).encode() + b"\n")
            with client.makefile("rb") as file:
                answer = json.loads(file.readline())
    except FileNotFoundError:
        raise ControlError(f"There is no control socket {path}: is the node running, and is this its path?") from None
    except ConnectionRefusedError:
        raise ControlError(f"Nobody listens on the control socket {path}: the node is not running.") from None
    except PermissionError:
        raise ControlError(f"The control socket {path} belongs to another user; ask as the user of the node.") from None
    except TimeoutError:
        raise ControlError(f"The node behind {path} does not answer.") from None
    except (OSError, ValueError) as error:
        raise ControlError(f"The node behind {path} gave no usable answer: {error}.") from error
    if not isinstance(answer, dict):
        raise ControlError(f"What answers on {path} is not a node.")
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def _remove_stale(path: str) -> None:
    """Remove the socket of a node that is dead."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(_OPTION, f"{path} exists and is not a socket; choose another path.")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise ConfigurationError(_OPTION, f"cannot use the socket {path}: {error.strerror}.") from error
    raise ConfigurationError(_OPTION, f"another node listens on {path}; stop it or choose another path.")
