"""Trouble for the test bed, by the Docker Engine's API: a homeserver that moves from LAN to LAN, a relay that stops."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from typing import Any, Final
from urllib.parse import quote

from testbed.load import BEGUN, START_TIMEOUT

ENGINE: Final = "/var/run/docker.sock"
CALM: Final = 15.0
"""Seconds between two events."""
STOPPED: Final = 15.0
PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"


class _EngineConnection(http.client.HTTPConnection):
    """HTTP over the engine's unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60.0)
        self.sock.connect(ENGINE)


def engine(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send the engine one request; return the answer's JSON.

    Raises:
        RuntimeError: It was refused.
    """
    connection = _EngineConnection("docker")
    connection.request(
        method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
    return json.loads(answer) if answer.strip() else None


class Project:
    """The containers and networks of the compose project that this container belongs to."""

    def __init__(self) -> None:
        own = engine("GET", f"/containers/{socket.gethostname()}/json")
        self._name: Final[str] = own["Config"]["Labels"][PROJECT]

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        labels = quote(json.dumps({"label": [f"{PROJECT}={self._name}", f"{SERVICE}={service}"]}))
        found: str = engine("GET", f"/containers/json?all=true&filters={labels}")[0]["Id"]
        return found

    def move(self, service: str, source: str, target: str) -> None:
        """Take a service from one network to another."""
        container = self.container(service)
        engine("POST", f"/networks/{self._name}_{source}/disconnect", {"Container": container})
        endpoint = {"Container": container, "EndpointConfig": {"Aliases": [service]}}
        engine("POST", f"/networks/{self._name}_{target}/connect", endpoint)

    def stop(self, service: str) -> None:
        """Stop a service's container."""
        engine("POST", f"/containers/{self.container(service)}/stop?t=5")

    def start(self, service: str) -> None:
        """Start it again."""
        engine("POST", f"/containers/{self.container(service)}/start")


def run_chaos() -> int:
    """Wait for the load to begin, then make trouble once round."""
    give_up_at = time.monotonic() + START_TIMEOUT
    while not BEGUN.exists():
        if time.monotonic() > give_up_at:
            sys.stderr.write("The load did not begin.\n")
            return 1
        time.sleep(0.5)
    project = Project()
    time.sleep(CALM)
    _say("homeserver-a moves to lan2")
    project.move("homeserver-a", "lan1", "lan2")
    time.sleep(CALM)
    _say("homeserver-a moves back to lan1")
    project.move("homeserver-a", "lan2", "lan1")
    time.sleep(CALM)
    _say("relay-1 stops")
    project.stop("relay-1")
    time.sleep(STOPPED)
    _say("relay-1 starts")
    project.start("relay-1")
    return 0


def _say(what: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
