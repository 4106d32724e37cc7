"""The two kinds of node in a container, and how to see that one is well."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path
from typing import Final

import yaml

from pinecone_transport.node.control import ControlError, ask
from synapse_module.homeserver import CONFIG_FILE, write_homeserver

DATA: Final = Path("/data")
RELAY_SOCKET: Final = DATA / "relay.sock"
HOMESERVER: Final = DATA / "homeserver"


def run_homeserver() -> int:
    """Make a homeserver, the first time, and become it. Replaces this process."""
    port = int(os.environ["CLIENT_PORT"])
    if not (HOMESERVER / CONFIG_FILE).exists():
        peers = os.environ.get("PEER", "").split()
        write_homeserver(HOMESERVER, client_port=port, peers=peers, lan=not peers, settings=_settings(port))
    command = [sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(HOMESERVER / CONFIG_FILE)]
    os.execv(command[0], command)


def run_relay() -> int:
    """Become a relay that finds others on its networks, and takes WebSockets. Replaces this process."""
    config = DATA / "relay.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "key_file": str(DATA / "relay.key"),
                "listen": ["[::]:65432", "ws://[::]:8090"],
                "control_socket": str(RELAY_SOCKET),
            }
        )
    )
    command = [sys.executable, "-m", "pinecone_transport.node.cli", "node", "--config", str(config)]
    os.execv(command[0], command)


def health() -> int:
    """Return 0 if the node has a link, and the homeserver, if it is one, answers."""
    homeserver = HOMESERVER.exists()
    try:
        status = ask(str(HOMESERVER / "pinecone.sock" if homeserver else RELAY_SOCKET), "status")
        if homeserver:
            url = f"http://127.0.0.1:{os.environ['CLIENT_PORT']}/_matrix/client/versions"
            urllib.request.urlopen(url, timeout=5.0).close()
    except (ControlError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if any(link["key"] for link in status["links"]) else 1


def _settings(port: int) -> dict[str, object]:
    """Return settings of a homeserver that is used from other containers, and by a program that writes quickly."""
    listener = {"type": "http", "port": port, "bind_addresses": ["::", "0.0.0.0"], "resources": [{"names": ["client"]}]}
    quick = {"per_second": 1000, "burst_count": 1000}
    return {
        "listeners": [listener],
        "rc_message": quick,
        "rc_login": {"address": quick, "account": quick, "failed_attempts": quick},
        "rc_registration": quick,
    }
