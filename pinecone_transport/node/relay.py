"""A process that is a node and nothing else: ``pinecone node``."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.python.log import PythonLoggingObserver

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.node.config import NodeConfig, parse_node_config
from pinecone_transport.node.keyfile import read_key_file, write_key_file
from pinecone_transport.node.lock import lock_key_file
from pinecone_transport.node.node import Node
from pinecone_transport.node.reload import reload_options

SERVICES: Final = "pinecone.services"
"""Entry points of what other packages give a node that has no homeserver: functions that get the running node. They
are found by name, since what is above the node is not imported by it."""

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads


def run_relay(read_options: Callable[[], Mapping[str, object]], *, say: Callable[[str], None], verbose: bool) -> None:
    """Run a node with such options until the process is told to end.

    Args:
        read_options: Returns them, as for `parse_node_config`; called again at SIGHUP. It may raise ConfigurationError.
        say: Gets the lines that tell the user where the node is.
        verbose: Log at DEBUG instead of INFO.

    Raises:
        ConfigurationError: An option is wrong, or another process runs a node with this key.
        KeyFileError: The key cannot be read or made.
    """
    from twisted.internet import reactor

    config = _parse(read_options())
    if config.key_file is None:
        raise ConfigurationError("key_file", "where is the node's key to be? Give --key-file PATH.")
    _log_to_stderr(verbose)
    identity = _key(config.key_file, say)
    lock_key_file(Path(config.key_file))  # held until the process ends
    node = Node(identity, config, cast(IReactorTime, reactor))
    node.startService()
    threads = cast("IReactorFromThreads", reactor)
    # Before anything is said: whoever reads it may send the signal at once.
    signal.signal(
        signal.SIGHUP, lambda *_: threads.callFromThread(reload_options, node, lambda: _parse(read_options()))
    )
    say(f"Node {node.identity.server_name}")
    for address in node.listening_addresses():
        say(f"Listening on {address}")
    if config.control_socket is not None:
        say(f"Control socket {config.control_socket}")
    sys.stdout.flush()
    for service in entry_points(group=SERVICES):
        service.load()(node)
    IReactorCore(reactor).addSystemEventTrigger("before", "shutdown", node.stopService)
    IReactorCore(reactor).run()


def _parse(options: Mapping[str, object]) -> NodeConfig:
    config = parse_node_config(options, discover=True)
    if config.would_be_alone():
        raise ConfigurationError(
            "",
            "A node needs somebody to talk to: an address to listen on (--listen), a peer to dial (--peer), or local "
            "networks to look for peers on (--lan).",
        )
    return config


def _key(path: str, say: Callable[[str], None]) -> Identity:
    if not Path(path).exists():
        write_key_file(path, Identity.generate())
        say(f"Made a new key in {path}")
    return read_key_file(path)


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    # The QUIC library tells of each connection, and warns of what any far end sends.
    logging.getLogger("quic").setLevel(logging.INFO if verbose else logging.CRITICAL)
    # Twisted tells of each port and connector; of its lines only trouble is of interest.
    logging.getLogger("twisted").setLevel(logging.INFO if verbose else logging.WARNING)
    PythonLoggingObserver().start()
