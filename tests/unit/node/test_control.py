import json
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.node import ConfigurationError
from pinecone_transport.node.control import IDLE_TIMEOUT, LONGEST_REQUEST, ControlError, ControlSocket, ask


def _fail(request: object) -> dict[str, Any]:
    raise RuntimeError("command")


def _refuse(request: object) -> dict[str, Any]:
    raise LocalProtocolError("not now")


class ControlSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "s")
        self.later: list[Deferred[dict[str, Any]]] = []
        self.commands = {
            "status": lambda request: {"key": "k"},
            "fail": _fail,
            "refuse": _refuse,
            "echo": lambda request: request,
            "later": self._later,
        }
        self.control = ControlSocket(self.reactor, self.path, self.commands)

    def _later(self, request: object) -> Deferred[dict[str, Any]]:
        self.later.append(Deferred())
        return self.later[-1]

    def _client(self) -> tuple[Any, StringTransport]:
        factory: Factory = self.reactor.unixServers[0][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def _answers(self, request: bytes) -> list[Any]:
        protocol, transport = self._client()
        protocol.dataReceived(request)
        return [json.loads(line) for line in transport.value().splitlines()]

    def test_only_the_owner_may_connect(self) -> None:
        self.control.start()
        ((path, _, _, mode, _),) = self.reactor.unixServers
        assert (path, mode) == (self.path, 0o600)

    def test_each_request_has_its_answer_in_order(self) -> None:
        self.control.start()
        answers = self._answers(b'{"command": "status"}\n{"command": "status"}\n')
        assert answers == [{"key": "k"}, {"key": "k"}]

    def test_a_command_gets_its_arguments(self) -> None:
        self.control.start()
        request = {"command": "echo", "key": "ab"}
        assert self._answers(json.dumps(request).encode() + b"\n") == [request]

    def test_an_error_that_is_for_the_user_is_the_answer(self) -> None:
        self.control.start()
        assert self._answers(b'{"command": "refuse"}\n') == [{"error": "not now"}]

    def test_who_answers_later_keeps_the_order(self) -> None:
        self.control.start()
        protocol, transport = self._client()
        protocol.dataReceived(b'{"command": "later"}\n{"command": "status"}\n{"command": "later"}\n')
        assert transport.value() == b""
        self.later[0].callback({"first": 1})
        assert transport.value() == b'{"first":1}\n{"key":"k"}\n'
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            self.later[1].errback(RuntimeError("late"))
        assert transport.value().endswith(b'{"error":"The command failed; the node\'s log says why."}\n')

    def test_an_answer_for_whoever_has_gone_goes_nowhere(self) -> None:
        self.control.start()
        protocol, transport = self._client()
        protocol.dataReceived(b'{"command": "later"}\n')
        protocol.connectionLost(None)
        self.later[0].callback({})
        assert transport.value() == b""

    def test_who_asks_faster_than_is_answered_is_hung_up_on(self) -> None:
        self.control.start()
        protocol, transport = self._client()
        protocol.dataReceived(b'{"command": "later"}\n' * 18)
        assert transport.disconnecting
        assert len(self.later) == 1

    def test_what_is_no_request_gets_a_sentence(self) -> None:
        self.control.start()
        for request in (b"status", b"[]", b"{}", b'{"command": []}', b'{"command": "stop"}', b"\xff", b"[" * 4000):
            (answer,) = self._answers(request + b"\n")
            assert list(answer) == ["error"]

    def test_a_command_that_fails_is_logged_and_said(self) -> None:
        self.control.start()
        with self.assertLogs("pinecone_transport.node", "ERROR"):
            (answer,) = self._answers(b'{"command": "fail"}\n')
        assert "error" in answer

    def test_a_line_without_an_end_is_hung_up_on(self) -> None:
        self.control.start()
        protocol, transport = self._client()
        protocol.dataReceived(b"x" * (LONGEST_REQUEST + 1))
        assert transport.disconnecting

    def test_an_idle_client_is_hung_up_on_a_busy_one_is_not(self) -> None:
        self.control.start()
        idle, idle_transport = self._client()
        busy, busy_transport = self._client()
        self.reactor.advance(IDLE_TIMEOUT - 1)
        busy.dataReceived(b'{"command": "status"}\n')
        self.reactor.advance(2)
        assert idle_transport.disconnecting
        assert not busy_transport.disconnecting
        for protocol in (idle, busy):
            protocol.connectionLost(None)
        assert self.reactor.getDelayedCalls() == []

    def test_stopping_hangs_up(self) -> None:
        self.control.start()
        _, transport = self._client()
        self.successResultOf(self.control.stop())
        assert transport.disconnecting
        self.successResultOf(self.control.stop())

    def test_the_socket_of_a_dead_node_is_replaced(self) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        self.control.start()
        assert not Path(self.path).exists()  # the reactor in memory binds nothing

    def test_the_socket_of_a_live_node_is_not(self) -> None:
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(self.path)
            live.listen()
            with pytest.raises(ConfigurationError) as raised:
                self.control.start()
        assert raised.value.path == "control_socket"
        assert "another node listens" in raised.value.sentence
        assert Path(self.path).exists()

    def test_a_file_in_its_place_is_left_alone(self) -> None:
        Path(self.path).write_text("precious")
        with pytest.raises(ConfigurationError) as raised:
            self.control.start()
        assert "is not a socket" in raised.value.sentence
        assert Path(self.path).read_text() == "precious"

    def _ask_one_that_answers(self, answer: bytes | None) -> object:
        """Ask a socket that gives this answer, or hangs up."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen()

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    assert json.loads(connection.recv(LONGEST_REQUEST)) == {"command": "status"}
                    if answer is not None:
                        connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                return ask(self.path, "status")
            finally:
                thread.join()
                Path(self.path).unlink()

    def test_an_answer_is_one_object(self) -> None:
        assert self._ask_one_that_answers(b'{"key": "k"}\n') == {"key": "k"}

    def test_an_answer_that_is_none_is_said(self) -> None:
        answers = {
            None: "gave no usable answer",
            b"hello\n": "gave no usable answer",
            b"[1]\n": "is not a node",
            b'{"error": "It is tired."}\n': "It is tired.",
        }
        for answer, sentence in answers.items():
            with pytest.raises(ControlError) as raised:
                self._ask_one_that_answers(answer)
            assert sentence in str(raised.value)

    def test_a_path_that_no_socket_can_have_is_said(self) -> None:
        for path in ("x" * 200, "/dev/null/s"):
            with pytest.raises(ControlError):
                ask(path, "status")

    def test_asking_where_nobody_listens_says_so(self) -> None:
        with pytest.raises(ControlError) as raised:
            ask(self.path, "status")
        assert "There is no control socket" in str(raised.value)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        with pytest.raises(ControlError) as raised:
            ask(self.path, "status")
        assert "is not running" in str(raised.value)
