"""Synapse's federation agent: names that are keys go over the overlay, all others the ordinary way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from synapse_module.names import NameKind, kind_of_name
from synapse_module.synapse_internals import PreserveLoggingContext

SCHEME: Final = b"matrix-federation"

MISSPELT: Final = "A server on the Pinecone overlay is named by 64 lower-case hex digits, without a port"

Outcome = Callable[[str, bool], None]
"""Told of each request over the overlay: the server's name, and whether it answered."""


def ignore_outcome(server_name: str, answered: bool) -> None:
    """Take no notice."""


@final
@implementer(IAgent)
class FederationAgent:
    """Takes the place of the agent that Synapse calls other homeservers with.

    Names that it refuses are answered at once with 404 and M_NOT_FOUND, as if by that server: an error would have
    Synapse try again and again and tell its user only that sending failed, while from this answer it takes the reason,
    does not retry, and goes on to the next server where there is a choice.

    Args:
        ordinary: What Synapse had; it is called unchanged.
        overlay: The way over the overlay, or why there is none, in one sentence.
        outcome: Hears how requests over the overlay went.
    """

    def __init__(self, ordinary: IAgent, overlay: IAgent | str, outcome: Outcome = ignore_outcome) -> None:
        self._ordinary = ordinary
        self._overlay = overlay
        self._outcome = outcome

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send the request where its server name belongs."""
        parts = urlsplit(uri)
        name = parts.netloc.decode("ascii", "replace")
        kind = kind_of_name(name)
        if kind is NameKind.ORDINARY:
            return self._ordinary.request(method, uri, headers, bodyProducer)
        if kind is NameKind.MISSPELT or parts.scheme != SCHEME:
            return succeed(RefusedResponse(MISSPELT))
        if isinstance(self._overlay, str):
            return succeed(RefusedResponse(self._overlay))
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Host", [parts.netloc])
        # What the overlay keeps (connections, timers) outlives this request and must not be booked on it.
        with PreserveLoggingContext():
            answer: Deferred[IResponse] = self._overlay.request(method, uri, headers, bodyProducer)
            return answer.addCallbacks(self._answered, self._failed, callbackArgs=(name,), errbackArgs=(name,))

    def _answered(self, response: IResponse, name: str) -> IResponse:
        self._outcome(name, True)
        return response

    def _failed(self, failure: Failure, name: str) -> Failure:
        self._outcome(name, False)
        return failure


@final
@implementer(IResponse)
class RefusedResponse:
    """A Matrix error in the shape of an answer from afar."""

    version: Final = (b"HTTP", 1, 1)
    code: Final = 404
    phrase: Final = b"Not Found"
    previousResponse: IResponse | None = None
    request: IClientRequest | None = None

    def __init__(self, reason: str) -> None:
        self._body: Final = json.dumps({"errcode": "M_NOT_FOUND", "error": reason}).encode()
        self.length: Final = len(self._body)
        self.headers: Final = Headers({b"Content-Type": [b"application/json"]})

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the whole body to the protocol."""
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: Any) -> None:
        """Keep the answer that redirected here."""
        self.previousResponse = response
