"""Users on all homeservers, in one room: each writes, and everything is looked for at the others."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs
import yaml

from demo.client_api import ApiError, ClientApi

HOMESERVERS: Final = Path("/homeservers")
REPORT: Final = Path("/report")
BEGUN: Final = REPORT / "begun"
RESULT: Final = REPORT / "load.json"

INTERVAL: Final = 0.5
"""Seconds between two messages of a user."""
START_TIMEOUT: Final = 240.0
LATE: Final = 180.0
"""Seconds after the last message until one that is missing counts as lost."""
ATTEMPT: Final = 60.0


@attrs.define
class Message:
    """One message: when it was written, and when each of the others had it."""

    sender: str
    sent_at: float
    received_at: dict[str, float] = attrs.field(factory=dict)


@attrs.define
class Log:
    """All messages of a run, by their text; shared by the threads."""

    messages: dict[str, Message] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    refused: int = 0

    def missing(self, users: int) -> int:
        """Return how many deliveries are still out."""
        with self.lock:
            return sum(users - 1 - len(message.received_at) for message in self.messages.values())


class User:
    """A user of one homeserver, with a thread that writes and one that reads."""

    def __init__(self, name: str, log: Log) -> None:
        config = yaml.safe_load((HOMESERVERS / name / "homeserver" / "homeserver.yaml").read_text())
        self.name: Final = name
        self._log = log
        self._secret: str = config["registration_shared_secret"]
        self.server_name: Final[str] = config["server_name"]
        self._port: int = config["listeners"][0]["port"]
        self.writer: Final = ClientApi(self._port, lambda: None, name)
        self.reader: Final = ClientApi(self._port, lambda: None, name)

    def log_in(self) -> None:
        """Register a new user and log in twice: for writing and for reading."""
        self.writer.wait_until_up(START_TIMEOUT)
        user, password = f"load-{secrets.token_hex(4)}", secrets.token_hex(16)
        self.writer.register(user, password, self._secret)
        self.writer.log_in(user, password, "writer")
        self.reader.log_in(user, password, "reader")

    def write(self, room: str, until: float) -> None:
        """Write one message after the other."""
        while time.monotonic() < until:
            text = f"{self.name} {secrets.token_hex(8)}"
            with self._log.lock:
                self._log.messages[text] = Message(self.name, time.monotonic())
            try:
                self.writer.send(room, text)
            except ApiError:  # its own homeserver did not take it, so nobody else is to have it
                with self._log.lock:
                    del self._log.messages[text]
                    self._log.refused += 1
            time.sleep(INTERVAL)

    def read(self, room: str, goes_on: Callable[[], bool]) -> None:
        """Note what arrives."""
        while goes_on():
            try:
                news = self.reader.news(1.0)
            except ApiError:
                time.sleep(0.2)
                continue
            joined: dict[str, Any] = news.get("rooms", {}).get("join", {}).get(room, {})
            now = time.monotonic()
            with self._log.lock:
                for event in joined.get("timeline", {}).get("events", []):
                    message = self._log.messages.get(event.get("content", {}).get("body", ""))
                    if message is not None and message.sender != self.name:
                        message.received_at.setdefault(self.name, now)


def run_load() -> int:
    """Write for ``SECONDS_OF_LOAD``, wait for what is late, report; 0 if nothing was lost."""
    seconds = float(os.environ["SECONDS_OF_LOAD"])
    for old in (BEGUN, RESULT):
        old.unlink(missing_ok=True)
    log = Log()
    names = ["homeserver-a", "homeserver-b", "homeserver-c"]
    _wait_for_files(names)
    users = [User(name, log) for name in names]
    for user in users:
        user.log_in()
    room = _shared_room(users)
    BEGUN.touch()
    until = time.monotonic() + seconds
    done = threading.Event()
    readers = [threading.Thread(target=user.read, args=(room, lambda: not done.is_set())) for user in users]
    writers = [threading.Thread(target=user.write, args=(room, until)) for user in users]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    give_up_at = time.monotonic() + LATE
    while log.missing(len(users)) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    done.set()
    for thread in readers:
        thread.join()
    result = report(log, names)
    RESULT.write_text(json.dumps(result, indent=2))
    sys.stdout.write(
        f"{result['messages']} messages, {result['deliveries']} deliveries, lost: {result['lost']}\n"
        f"longest pause: {result['longest_pause']:.1f} s, median delay {result['median_delay']:.3f} s\n"
    )
    return 1 if result["lost"] else 0


def report(log: Log, names: list[str]) -> dict[str, Any]:
    """Return what was lost, and how long the longest pause was in which somebody got nothing of somebody else."""
    delays = sorted(at - message.sent_at for message in log.messages.values() for at in message.received_at.values())
    pauses = []
    for sender in names:
        sent = [message for message in log.messages.values() if message.sender == sender]
        for receiver in names:
            if receiver != sender:
                times = sorted(message.received_at[receiver] for message in sent if receiver in message.received_at)
                pauses += [after - before for before, after in itertools.pairwise(times)]
    return {
        "messages": len(log.messages),
        "refused_by_own_homeserver": log.refused,
        "deliveries": len(delays),
        "lost": log.missing(len(names)),
        "longest_pause": max(pauses, default=0.0),
        "median_delay": delays[len(delays) // 2] if delays else 0.0,
        "longest_delay": delays[-1] if delays else 0.0,
    }


def _shared_room(users: list[User]) -> str:
    """Let the first user make a room, the others join it through any of those who are in; return its id."""
    first = users[0]
    room: str = first.writer.call("POST", "/v3/createRoom", {"preset": "public_chat"})["room_id"]
    path = f"/v3/join/{quote(room)}?server_name={first.server_name}"
    for user in users[1:]:
        _insist(user.writer, path)
    return room


def _insist(api: ClientApi, path: str) -> None:
    """Post until it works: an overlay that has just begun need not know the way yet."""
    give_up_at = time.monotonic() + ATTEMPT
    while True:
        try:
            api.call("POST", path, {})
        except ApiError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(1.0)
        else:
            return


def _wait_for_files(names: list[str]) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT
    while not all((HOMESERVERS / name / "homeserver" / "homeserver.yaml").exists() for name in names):
        if time.monotonic() > give_up_at:
            sys.exit("The homeservers have not made their configurations.")
        time.sleep(0.5)
