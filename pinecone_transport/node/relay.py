"""A process that is a node and nothing else: ``pinecone node``."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.python.log import PythonLoggingObserver

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.node.config import parse_node_config
from pinecone_transport.node.keyfile import read_key_file, write_key_file
from pinecone_transport.node.lock import lock_key_file
from pinecone_transport.node.node import Node

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads


def run_relay(options: Mapping[str, object], *, say: Callable[[str], None], verbose: bool) -> None:
    """Run a node with these options until the process is told to end.

    Args:
        options: As for `parse_node_config`.
        say: Gets the lines that tell the user where the node is.
        verbose: Log at DEBUG instead of INFO.

    Raises:
        ConfigurationError: An option is wrong, or another process runs a node with this key.
        KeyFileError: The key cannot be read or made.
    """
    from twisted.internet import reactor

    config = parse_node_config(options)
    if not config.listen and not config.peers:
        raise ConfigurationError("", "A node needs an address to listen on, or a peer to dial: --listen or --peer.")
    if config.key_file is None:
        raise ConfigurationError("key_file", "where is the node's key to be? Give --key-file PATH.")
    _log_to_stderr(verbose)
    identity = _key(config.key_file, say)
    lock_key_file(Path(config.key_file))  # held until the process ends
    node = Node(identity, config, cast(IReactorTime, reactor))
    node.startService()
    say(f"Node {node.identity.server_name}")
    for address in node.listening_addresses():
        say(f"Listening on {address}")
    if config.control_socket is not None:
        say(f"Control socket {config.control_socket}")
    sys.stdout.flush()
    IReactorCore(reactor).addSystemEventTrigger("before", "shutdown", node.stopService)
    threads = cast("IReactorFromThreads", reactor)
    signal.signal(signal.SIGHUP, lambda *_: threads.callFromThread(node.redial_now))
    IReactorCore(reactor).run()


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
    # Twisted tells of each port and connector; of its lines only trouble is of interest.
    logging.getLogger("twisted").setLevel(logging.INFO if verbose else logging.WARNING)
    PythonLoggingObserver().start()
