"""The Go peer as a process on loopback."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pinecone_transport.identity import Identity
from tests.support.peer_process import PeerProcess


class GoPeer(PeerProcess):
    """A Go node of a test.

    Args:
        program: Its path.
        identity: Its key.
        sessions: ``quic``, ``utp`` or ``none``.
        listen: Where it takes peerings; again the same for one that is restarted.
        peers: Addresses that it dials.
        transfer_time: Seconds that a request or an answer may take.
        multicast: Whether it looks for peers on its local networks.
        further: Options that only some programs have.
        prefix: What the program is run by, such as ``/usr/sbin/ip netns exec …``.
    """

    def __init__(
        self,
        program: str,
        identity: Identity,
        *,
        sessions: str = "utp",
        listen: str = "127.0.0.1:0",
        peers: Sequence[str] = (),
        transfer_time: int = 60,
        multicast: bool = False,
        further: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self.sessions = sessions
        arguments = {
            "-seed": identity.seed.hex(),
            "-listen": listen,
            "-peers": ",".join(peers),
            "-sessions": sessions,
            "-transfer-time": str(transfer_time),
        }
        command = [*prefix, program, *itertools.chain.from_iterable(arguments.items())]
        if multicast:
            command.append("-multicast")
        command += further
        super().__init__(identity, command, {"GOMAXPROCS": "2"})

    @property
    def lost_links(self) -> list[str]:
        """What the log has of lost links, with their reasons."""
        return [line for line in self.log if "Disconnected from peer" in line or "Refused peering" in line]
