"""A user of a homeserver: as much of Matrix's client-server API as the steps need, over the standard library."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from demo.errors import DemoError

Json = dict[str, Any]

REQUEST_TIMEOUT: Final = 60.0
"""Seconds for one answer; federation behind it has limits of its own, 10 s for queries and 20 s for joins."""

SYNC_TIMEOUT: Final = 1.0
"""Seconds that one /sync waits for news: short, so that a process that died is noticed soon."""


_LONG_TIMELINES: Final = json.dumps({"room": {"timeline": {"limit": 1000}}})
# By default the ten latest messages come, and what came before in a burst is left out.


class ApiError(DemoError):
    """The homeserver answered with an error, or not at all."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        """Matrix's own, such as ``M_FORBIDDEN``; empty if none came."""


class ClientApi:
    """One user of one homeserver."""

    def __init__(self, port: int, check: Callable[[], None], host: str = "127.0.0.1") -> None:
        """Talk to the homeserver at this port; ``check`` raises if it is of no use to go on."""
        self.user_id = ""
        self.device_id = ""
        self._host = host
        self._port = port
        self._check = check
        self._token: str | None = None
        self._since: str | None = None
        self._transactions = itertools.count(time.time_ns())

    def request(
        self, method: str, path: str, body: Json | bytes | None = None, *, timeout: float = REQUEST_TIMEOUT
    ) -> bytes:
        """Send one request and return the answer's body.

        Raises:
            ApiError: The status is not 200, or the homeserver cannot be reached.
        """
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/octet-stream"
            data: bytes | None = body
        else:
            headers["Content-Type"] = "application/json"
            data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._check()
            raise ApiError(f"{method} {path} got no answer: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise refusal(f"{method} {path}", response.status, answer)
        return answer

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send one request below ``/_matrix/client`` and return the answer's JSON."""
        answer: Json = json.loads(self.request(method, "/_matrix/client" + path, body))
        return answer

    def wait_until_up(self, timeout: float) -> None:
        """Return once the homeserver answers."""
        give_up_at = time.monotonic() + timeout
        while True:
            self._check()
            try:
                self.request("GET", "/_matrix/client/versions", timeout=5.0)
            except ApiError as error:
                if time.monotonic() > give_up_at:
                    raise ApiError(f"the homeserver did not answer within {timeout:.0f} s") from error
                time.sleep(0.1)
            else:
                return

    def register(self, name: str, password: str, shared_secret: str) -> bool:
        """Make a user, as ``register_new_matrix_user`` does; False if there is one of that name."""
        path = "/_synapse/admin/v1/register"
        nonce = json.loads(self.request("GET", path))["nonce"]
        text = "\0".join([nonce, name, password, "notadmin"]).encode()
        mac = hmac.new(shared_secret.encode(), text, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": password, "admin": False, "mac": mac}
        try:
            self.request("POST", path, body)
        except ApiError as error:
            if error.code == "M_USER_IN_USE":
                return False
            raise
        return True

    def log_in(self, name: str, password: str, device_id: str) -> None:
        """Log in; whatever happened before is not reported by `wait_for`."""
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, "device_id": device_id}
        answer = self.call("POST", "/v3/login", body)
        self._token = answer["access_token"]
        self.user_id, self.device_id = answer["user_id"], answer["device_id"]
        self._since = self.call("GET", "/v3/sync?timeout=0")["next_batch"]

    def news(self, timeout: float) -> Json:
        """Wait so many seconds at most for what is new; return the answer of /sync, with long timelines."""
        query = urlencode({"since": self._since, "timeout": int(timeout * 1000), "filter": _LONG_TIMELINES})
        answer = self.call("GET", f"/v3/sync?{query}")
        self._since = answer["next_batch"]
        return answer

    def wait_for(self, what: str, seen: Callable[[Json], bool], timeout: float = 30.0) -> None:
        """Follow /sync until an answer holds what is waited for.

        Args:
            what: For the error's sentence.
            seen: Whether an answer of /sync holds it.
            timeout: Seconds.

        Raises:
            ApiError: It did not come in time.
        """
        give_up_at = time.monotonic() + timeout
        while time.monotonic() < give_up_at:
            if seen(self.news(SYNC_TIMEOUT)):
                return
            self._check()
        raise ApiError(f"{what} did not reach {self.user_id} within {timeout:.0f} s")

    def upload(self, name: str, file: bytes) -> str:
        """Put a file into the homeserver's media store and return its ``mxc://`` address."""
        answer = self.request("POST", "/_matrix/media/v3/upload?" + urlencode({"filename": name}), file)
        address: str = json.loads(answer)["content_uri"]
        return address

    def send(self, room: str, text: str) -> str:
        """Send a text message and return its event id."""
        path = f"/v3/rooms/{quote(room)}/send/m.room.message/{next(self._transactions)}"
        event_id: str = self.call("PUT", path, {"msgtype": "m.text", "body": text})["event_id"]
        return event_id

    def send_to_device(self, user_id: str, device_id: str, kind: str, content: Json) -> None:
        """Send a message to one device."""
        path = f"/v3/sendToDevice/{kind}/{next(self._transactions)}"
        self.call("PUT", path, {"messages": {user_id: {device_id: content}}})


def refusal(request: str, status: int, body: bytes) -> ApiError:
    """Return the error for an answer that is not 200."""
    try:
        answer = json.loads(body)
        code, reason = answer["errcode"], answer["error"]
    except (ValueError, TypeError, KeyError):
        code, reason = "", body.decode(errors="replace")
    return ApiError(f"{request} was answered with {status} {code}: {reason}", code)
