"""``pinecone node`` as a process, with as much of the Go peer's face as a relay has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from pinecone_transport.identity import Identity
from pinecone_transport.node.control import ask
from pinecone_transport.node.keyfile import write_key_file
from tests.support.relay_processes import RelayProcess


class NodeProcess:
    """A node of ours as its operator runs it.

    Args:
        folder: For its key and its control socket.
        identity: Its key.
        listen: Where it takes peerings.
        peers: Addresses that it dials.

    Attributes:
        address: That it listens on, once started.
    """

    def __init__(
        self, folder: Path, identity: Identity, *, listen: str = "127.0.0.1:0", peers: Sequence[str] = ()
    ) -> None:
        self.identity = identity
        self.name = identity.server_name
        short = self.name[:16]
        self._socket = folder / f"{short}.sock"
        key_file = folder / f"{short}.key"
        if not key_file.exists():
            write_key_file(key_file, identity)
        self._process = RelayProcess(folder, short, list(peers))
        self._process.address = listen

    @property
    def address(self) -> str:
        return self._process.address

    async def start(self) -> None:
        await self._process.start()

    async def state(self) -> dict[str, Any]:
        return {**await deferToThread(ask, str(self._socket), "status"), "wakeups": []}

    async def stop(self) -> None:
        """End the process, without a word to its peers."""
        await self._process.kill()
