"""Real homeservers and relays as processes of a test: started, watched, used as their users do, and stopped by pid."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import yaml

from synapse_module.homeserver import Homeserver, write_homeserver
from tests.support.namespaces import Host

START_TIMEOUT = 90.0
"""Seconds; the first start makes a database, on a machine that may have other things to do."""

QUICK_SETTINGS: Mapping[str, object] = {
    "password_config": {"bcrypt_rounds": 4},
    **{
        limit: {"per_second": 1000, "burst_count": 1000}
        for limit in ("rc_message", "rc_registration", "rc_room_creation")
    },
}

_T = TypeVar("_T")


def free_port() -> int:
    """Return a TCP port of the loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A program; what it prints goes to ``log``."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._printed_from = 0

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def printed(self) -> str:
        """Return what the program has printed since it was started last."""
        return self.log.read_bytes()[self._printed_from :].decode(errors="replace")

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._printed_from = output.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait_until(self, look: Callable[[], _T | None], what: str, timeout: float) -> _T:
        """Return what ``look`` returns once that is true; fail when the program ends before, or time is up."""
        assert self._process is not None
        give_up_at = time.monotonic() + timeout
        while True:
            found = look()
            if found:
                return found
            try:
                # The pause between two looks ends at once if the program does.
                status = self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                status = None
            assert status is None, f"{self.name} ended with status {status} before {what}: {self._last_words()}"
            assert time.monotonic() < give_up_at, f"{self.name}: no {what} within {timeout} s: {self._last_words()}"

    def _last_words(self) -> str:
        return f"see {self.log}\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def wait(self, timeout: float = 30.0) -> int:
        """Return the exit status when the program has ended by itself."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs on after {timeout} s: see {self.log}") from None

    def signal(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the program if it runs; one that does not listen is killed, and that is a failure."""
        if self._process is None or self._process.poll() is not None:
            return
        self.signal()
        try:
            self.wait()
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


class Relay(Process):
    """``pinecone node``, listening on a port of the loopback."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.address = f"127.0.0.1:{free_port()}"
        key_file, control = directory / "relay.key", directory / "relay.sock"
        options = ["--key-file", str(key_file), "--control-socket", str(control), "--listen", self.address]
        command = [sys.executable, "-m", "pinecone_transport.node.cli", "node", "--no-lan", *options]
        super().__init__("relay", command, directory / "relay.log")

    def wait_until_up(self) -> None:
        self.wait_until(lambda: "Listening on" in self.printed(), "listening", START_TIMEOUT)


class Server(Process):
    """A homeserver of whatever make, and what a client may ask it.

    Attributes:
        port: Where clients find it, on the loopback.
        log: The file to look at when something went wrong.
    """

    def __init__(self, name: str, command: list[str], log: Path, port: int, host: Host | None = None) -> None:
        super().__init__(name, host.command(*command) if host else command, log)
        self.port = port
        self._host = host

    def wait_until_up(self) -> None:
        self.wait_until(self._is_up, "answer to a client", START_TIMEOUT)

    def _is_up(self) -> bool:
        try:
            return self.call("GET", "/_matrix/client/versions")[0] == 200
        except OSError:
            return False

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, timeout: float = 60.0
    ) -> tuple[int, Any]:
        """Send one request of a client; return the status and the JSON (or the bytes) of the answer."""
        headers = {"Content-Type": "application/octet-stream" if isinstance(body, bytes) else "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with self._host.entered() if self._host else nullcontext():
            return self._asked(method, path, data, headers, timeout)

    def _asked(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], timeout: float
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            content = response.read()
            is_json = (response.headers.get("Content-Type") or "").startswith("application/json")
            return response.status, json.loads(content) if is_json else content
        finally:
            connection.close()


class Synapse(Server):
    """A homeserver, made by what ``pinecone new-homeserver`` calls."""

    def __init__(self, name: str, homeserver: Homeserver, port: int, host: Host | None = None) -> None:
        self.homeserver = homeserver
        command = [sys.executable, "-m", "synapse.app.homeserver", "-c", str(homeserver.config)]
        super().__init__(name, command, homeserver.directory / "output.log", port, host)

    @classmethod
    def create(cls, name: str, directory: Path, peers: Iterable[str], **settings: object) -> Synapse:
        port = free_port()
        homeserver = write_homeserver(
            directory / name, client_port=port, peers=peers, lan=False, settings={**QUICK_SETTINGS, **settings}
        )
        return cls(name, homeserver, port)

    @property
    def server_name(self) -> str:
        return self.homeserver.server_name

    def logged(self) -> str:
        return self.homeserver.log.read_text()

    @property
    def shared_secret(self) -> str:
        secret: str = yaml.safe_load(self.homeserver.config.read_text())["registration_shared_secret"]
        return secret

    def user(self, name: str) -> User:
        """Register a user, as ``register_new_matrix_user`` does."""
        path = "/_synapse/admin/v1/register"
        nonce = self.call("GET", path)[1]["nonce"]
        text = "\0".join([nonce, name, "password", "notadmin"]).encode()
        mac = hmac.new(self.shared_secret.encode(), text, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": "password", "admin": False, "mac": mac}
        status, answer = self.call("POST", path, body)
        assert status == 200, answer
        return User(self, answer["user_id"], answer["access_token"])


class User:
    """A user of a homeserver, and his client."""

    def __init__(self, server: Server, user_id: str, token: str) -> None:
        self.user_id = user_id
        self.server = server
        self._token = token
        self._transactions = itertools.count()
        self._read_up_to: str | None = None

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> tuple[int, Any]:
        """Send a request below ``/_matrix/client``."""
        return self.server.call(method, "/_matrix" + path, body, token=self._token, timeout=timeout)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.call(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}: see {self.server.log.parent}"
        return answer

    def send(self, room: str, text: str) -> str:
        """Send a text message; return its event id."""
        path = f"/client/v3/rooms/{quote(room)}/send/m.room.message/{next(self._transactions)}"
        event_id: str = self.ok("PUT", path, {"msgtype": "m.text", "body": text})["event_id"]
        return event_id

    def has_message(self, room: str, text: str) -> bool:
        """Return whether the text is among the newest of the room; not, when the server was asked too often."""
        path = f"/client/v3/rooms/{quote(room)}/messages?dir=b&limit=20"
        status, answer = self.call("GET", path)
        assert status in (200, 429), f"{path}: {status} {answer}: see {self.server.log.parent}"
        return status == 200 and any(event["content"].get("body") == text for event in answer["chunk"])

    def wait_for_message(self, room: str, text: str, timeout: float = 30.0) -> None:
        """Return when the text has come in the room."""
        self.server.wait_until(lambda: self.has_message(room, text), f"message {text!r}", timeout)

    def new_invites(self) -> set[str]:
        """Return the rooms that the user was invited to since this was called last; then, wait 10 s for the first."""
        news = self.news(timeout=10)
        return {*news.get("rooms", {}).get("invite", {})}

    def news(self, timeout: float = 0.0) -> Any:
        """Return what is new since this was asked last, whoever asked; the first time, all that there is."""
        path = f"/client/v3/sync?timeout={1000 * timeout:.0f}"
        news = self.ok("GET", path if self._read_up_to is None else f"{path}&since={self._read_up_to}")
        self._read_up_to = news["next_batch"]
        return news

    def wait_to_be_told(self, room: str, text: str, timeout: float = 30.0) -> None:
        """Return when the text has come in the room, which is news then; the server is not asked again and again."""

        def look() -> bool:
            joined = self.news(timeout).get("rooms", {}).get("join", {})
            events = joined.get(room, {}).get("timeline", {}).get("events", [])
            return any(event["content"].get("body") == text for event in events)

        self.server.wait_until(look, f"message {text!r}", timeout)

    def wait_for_invite(self, room: str, timeout: float = 30.0) -> None:
        """Return when the user is invited to the room. An invite that came before is not seen twice."""

        def look() -> bool:
            return room in self.new_invites()

        self.server.wait_until(look, "invite", timeout)
