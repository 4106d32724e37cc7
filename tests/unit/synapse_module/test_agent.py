"""Each request goes where its server name belongs; Synapse's own agent is stood in for at its boundary."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import NoRouteError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from synapse_module.agent import MISSPELT, FederationAgent, RefusedResponse

KEY = "ab" * 32


@implementer(IAgent)
class RecordingAgent:
    """Keeps what it was asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.requests: list[tuple[object, ...]] = []
        self.answers: list[Deferred[object]] = []

    def request(self, *arguments: object) -> Deferred[object]:
        self.requests.append(arguments)
        self.answers.append(Deferred())
        return self.answers[-1]


class Body(Protocol):
    """Collects a body."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason


def uri(name: str) -> bytes:
    return f"matrix-federation://{name}/_matrix/federation/v1/version?a=b".encode()


def refusal(answer: Deferred[IResponse]) -> str:
    """Return the reason of an answer that must be there already."""
    (response,) = answer.result if isinstance(answer.result, tuple) else (answer.result,)
    assert response.code == 404
    body = Body()
    response.deliverBody(body)
    assert body.reason is not None
    assert body.reason.check(ResponseDone)
    assert response.length == len(body.data)
    assert response.headers.getRawHeaders(b"Content-Type") == [b"application/json"]
    content = json.loads(body.data)
    assert content["errcode"] == "M_NOT_FOUND"
    return str(content["error"])


@pytest.fixture
def ordinary() -> RecordingAgent:
    return RecordingAgent()


@pytest.fixture
def overlay() -> RecordingAgent:
    return RecordingAgent()


def test_a_key_goes_over_the_overlay_with_its_name_as_host(ordinary: RecordingAgent, overlay: RecordingAgent) -> None:
    headers, producer = Headers({b"User-Agent": [b"Synapse"]}), object()
    FederationAgent(ordinary, overlay).request(b"PUT", uri(KEY), headers, producer)
    ((method, where, sent, body),) = overlay.requests
    assert (method, where, body) == (b"PUT", uri(KEY), producer)
    assert sent.getRawHeaders(b"Host") == [KEY.encode()]
    assert sent.getRawHeaders(b"User-Agent") == [b"Synapse"]
    assert not headers.hasHeader(b"Host"), "the caller's headers are the caller's"
    assert ordinary.requests == []


@pytest.mark.parametrize(
    "where",
    [uri("example.org"), uri("example.org:8448"), uri("[::1]:8448"), uri(f"{KEY}.org"), b"https://example.org/media"],
)
def test_everything_else_goes_the_ordinary_way_unchanged(
    ordinary: RecordingAgent, overlay: RecordingAgent, where: bytes
) -> None:
    headers, producer = Headers(), object()
    FederationAgent(ordinary, overlay).request(b"GET", where, headers, producer)
    assert ordinary.requests == [(b"GET", where, headers, producer)]
    assert ordinary.requests[0][2] is headers
    assert overlay.requests == []


@pytest.mark.parametrize(
    "where",
    [uri(KEY.upper()), uri(f"{KEY}:8448"), uri(f"{KEY.upper()}:443"), uri(f"{KEY}."), f"https://{KEY}/media".encode()],
)
def test_a_misspelt_key_is_refused_at_once_by_nobody_but_us(
    ordinary: RecordingAgent, overlay: RecordingAgent, where: bytes
) -> None:
    assert refusal(FederationAgent(ordinary, overlay).request(b"GET", where)) == MISSPELT
    assert ordinary.requests == overlay.requests == []


@pytest.mark.parametrize("name", [KEY, KEY.upper(), f"{KEY}:8448"])
def test_where_there_is_no_overlay_keys_are_refused_with_the_reason(ordinary: RecordingAgent, name: str) -> None:
    reason = refusal(FederationAgent(ordinary, "There is none").request(b"GET", uri(name)))
    assert reason == ("There is none" if name == KEY else MISSPELT)
    assert ordinary.requests == []


def test_outcomes_of_the_overlay_are_told_and_passed_on(ordinary: RecordingAgent, overlay: RecordingAgent) -> None:
    outcomes: list[tuple[str, bool]] = []
    agent = FederationAgent(ordinary, overlay, lambda name, answered: outcomes.append((name, answered)))
    answered, failed = (agent.request(b"GET", uri(KEY)) for _ in range(2))
    response, failures = RefusedResponse("x"), []
    overlay.answers[0].callback(response)
    overlay.answers[1].errback(NoRouteError())
    failed.addErrback(failures.append)
    assert answered.result is response
    assert [failure.type for failure in failures] == [NoRouteError]
    assert outcomes == [(KEY, True), (KEY, False)]


def test_cancelling_reaches_the_overlay(ordinary: RecordingAgent, overlay: RecordingAgent) -> None:
    answer = FederationAgent(ordinary, overlay).request(b"GET", uri(KEY))
    failures: list[Failure] = []
    answer.addErrback(failures.append)
    answer.cancel()
    assert overlay.answers[0].called
    assert len(failures) == 1


def test_a_refusal_is_a_whole_response() -> None:
    response = RefusedResponse("x")
    assert verifyObject(IResponse, response)
    earlier = RefusedResponse("y")
    response.setPreviousResponse(earlier)
    assert response.previousResponse is earlier
