"""The three programs, and how to see that their nodes have become one network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from demo.errors import DemoError
from demo.processes import Programs, require_free_ports
from demo.state import State, relay_port
from pinecone_transport.node.control import ControlError, ask

LONGEST_SOCKET: Final = 103
"""Bytes of a unix socket's path: the systems' limits are 103 and 107."""

PROGRAMS: Final = Path(sys.executable).parent
"""Where `pinecone` is: beside the Python that runs this."""


def start_programs(state: State, programs: Programs) -> None:
    """Start the relay and both homeservers."""
    if len(os.fsencode(control_socket(state.relay_folder))) > LONGEST_SOCKET:
        raise DemoError(
            f"The path {state.folder} is too long for the sockets in it: "
            "name a shorter one with ARGS='--state-dir /tmp/demo'."
        )
    relay = relay_port(state.base_port)
    require_free_ports({"homeserver A": state.a.port, "homeserver B": state.b.port, "the relay": relay})
    key_file, listen = str(state.relay_folder / "relay.key"), f"127.0.0.1:{relay}"
    programs.start(
        "The relay",
        [
            *(str(PROGRAMS / "pinecone"), "node", "--key-file", key_file, "--listen", listen, "--no-lan"),
            *("--control-socket", control_socket(state.relay_folder)),
        ],
        state.relay_folder,
    )
    for side in (state.a, state.b):
        folder = state.homeserver_folder(side)
        programs.start(
            f"Homeserver {side.name.upper()}",
            [sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(folder / "homeserver.yaml")],
            folder,
        )


def control_socket(folder: Path) -> str:
    """Return the path of the socket on which a node in this folder answers."""
    return str(folder / "pinecone.sock")


def wait_until_converged(state: State, timeout: float, check: Callable[[], None]) -> str:
    """Return once the relay has a link to each homeserver and all three nodes agree on the root of the tree.

    Args:
        state: Where the nodes are.
        timeout: Seconds.
        check: Raises if one of the programs has died.
    """
    give_up_at = time.monotonic() + timeout
    while True:
        check()
        relay = status(state.relay_folder)
        homeservers = [status(state.homeserver_folder(side)) for side in (state.a, state.b)]
        if converged(relay, homeservers):
            return f"one tree, its root is {relay['root']['key'][:8]}…"
        if time.monotonic() > give_up_at:
            raise DemoError(
                f"the nodes did not agree on a root within {timeout:.0f} s", state.relay_folder / "output.log"
            )
        time.sleep(0.05)


def status(folder: Path) -> dict[str, Any]:
    """Return what a node says of itself; nothing while it does not answer."""
    try:
        return ask(control_socket(folder), "status")
    except ControlError:
        return {}


def converged(relay: dict[str, Any], homeservers: list[dict[str, Any]]) -> bool:
    """Tell whether the nodes are one network, by what they say of themselves."""
    if not relay or not all(homeservers):
        return False
    highest = max(node["key"] for node in (relay, *homeservers))
    linked = {link["key"] for link in relay["links"]}
    return all(node["root"]["key"] == highest for node in (relay, *homeservers)) and all(
        node["key"] in linked for node in homeservers
    )
