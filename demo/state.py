"""What stays between two starts: one folder with two homeservers, a relay and the users' passwords."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any, Final, final

import attrs

from demo.errors import DemoError
from synapse_module.homeserver import write_homeserver

DEFAULT_BASE_PORT: Final = 18008
FILE: Final = "demo.json"


@attrs.frozen
class Side:
    """One homeserver and its one user."""

    name: str
    server_name: str
    port: int
    shared_secret: str
    user: str
    password: str
    device_seed: str
    """64 hex digits, from which the keys of the user's device are made anew at each start."""

    @property
    def user_id(self) -> str:
        """The user's full name on Matrix."""
        return f"@{self.user}:{self.server_name}"

    @property
    def client_url(self) -> str:
        """What to type into a client as the homeserver's address."""
        return f"http://localhost:{self.port}"


@final
class State:
    """The folder; made on the first start, and found again on later ones."""

    def __init__(self, folder: Path, base_port: int | None) -> None:
        """Find the state in the folder, or make it.

        Args:
            folder: Where all of it lies.
            base_port: The first of three ports; None: as last time, or the default.
        """
        self.folder = folder.absolute()
        self._file = self.folder / FILE
        if self._file.exists():
            saved = json.loads(self._file.read_text(encoding="utf-8"))
            if base_port not in (None, saved["base_port"]):
                raise DemoError(
                    f"The homeservers in {self.folder} were made with --base-port {saved['base_port']}: "
                    "use that, or begin anew with --fresh."
                )
        else:
            saved = self._make(DEFAULT_BASE_PORT if base_port is None else base_port)
        self._saved: dict[str, Any] = saved
        self.base_port: int = saved["base_port"]
        self.a, self.b = (Side(**side) for side in saved["sides"])

    @property
    def room(self) -> str | None:
        """The id of the room that both users are in; None before there is one."""
        room: str | None = self._saved["room"]
        return room

    @property
    def relay_folder(self) -> Path:
        """Where the relay has its key."""
        return self.folder / "relay"

    def homeserver_folder(self, side: Side) -> Path:
        """Where a homeserver has its configuration, database and log."""
        return self.folder / side.name

    def save_room(self, room: str) -> None:
        """Remember the room for the next start."""
        self._saved["room"] = room
        self._write(self._saved)

    def _make(self, base_port: int) -> dict[str, Any]:
        if self.folder.exists():  # what an interrupted first start has left
            remove(self.folder)
        self.folder.mkdir(parents=True, mode=0o700)
        (self.folder / "relay").mkdir()
        relay = f"127.0.0.1:{relay_port(base_port)}"
        sides = [
            self._make_side("a", "alice", base_port, relay),
            self._make_side("b", "bob", base_port + 1, relay),
        ]
        saved = {"base_port": base_port, "sides": [attrs.asdict(side) for side in sides], "room": None}
        self._write(saved)
        return saved

    def _make_side(self, name: str, user: str, port: int, relay: str) -> Side:
        homeserver = write_homeserver(self.folder / name, client_port=port, peers=[relay], lan=False)
        return Side(
            name=name,
            server_name=homeserver.server_name,
            port=port,
            shared_secret=homeserver.registration_shared_secret,
            user=user,
            password=secrets.token_urlsafe(9),
            device_seed=secrets.token_hex(32),
        )

    def _write(self, saved: dict[str, Any]) -> None:
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
        new.replace(self._file)


def relay_port(base_port: int) -> int:
    """Return the port on which the relay takes links: the last of the three."""
    return base_port + 2


def remove(folder: Path) -> None:
    """Delete the state, and nothing else: a folder with other things in it is left alone."""
    if not folder.exists():
        return
    if not {entry.name for entry in folder.iterdir()} <= {"a", "b", "relay", FILE, "demo.new"}:
        raise DemoError(f"{folder} holds other files than the demo's: delete it yourself, or name another folder.")
    shutil.rmtree(folder)
