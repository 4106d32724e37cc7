"""A process of a benchmark, from inside: one JSON object a line on standard input, one for each on standard output.

The Go peer speaks the same: ``{"id": 1, "command": "…", …}`` is answered by ``{"id": 1, "result": …}`` or by
``{"id": 1, "error": "…"}``, in the order in which commands end; what comes first says where the process is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, final

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

Command = Callable[..., Any | Awaitable[Any]]


@final
class Commands(LineOnlyReceiver):
    """Carries out what comes on standard input; its end is the process's end.

    Args:
        commands: By name; they take the line's other members, and may return coroutines.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, commands: dict[str, Command]) -> None:
        self._commands: Final = {"cpu": time.process_time, **commands}

    def say(self, what: dict[str, Any]) -> None:
        """Print one line."""
        self.sendLine(json.dumps(what).encode())  # type: ignore[no-untyped-call]  # Twisted's is not annotated

    def lineReceived(self, line: bytes) -> None:
        """Carry out a command."""
        arguments = json.loads(line)
        number = arguments.pop("id")
        command = self._commands[arguments.pop("command")]
        done = maybeDeferred(_call, command, arguments)
        done.addCallbacks(
            lambda result: self.say({"id": number, "result": result}),
            lambda failure: self.say({"id": number, "error": _text(failure)}),
        )

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the process with its owner."""
        if reactor.running:
            reactor.stop()


def run(begin: Callable[[], Coroutine[Any, Any, tuple[dict[str, Any], dict[str, Command]]]]) -> None:
    """Begin in the reactor, say what that returned, and carry out commands until standard input ends.

    Args:
        begin: Returns what to say first, and the commands.
    """

    async def start() -> None:
        ready, commands = await begin()
        protocol = Commands(commands)
        StandardIO(protocol)
        protocol.say(ready)

    def failed(failure: Failure) -> None:
        failure.printTraceback()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(failed))
    reactor.run()


def _call(command: Command, arguments: dict[str, Any]) -> Any:
    result = command(**arguments)
    return Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result


def _text(failure: Failure) -> str:
    return f"{failure.type.__name__ if failure.type else 'error'}: {failure.getErrorMessage()}"
