"""A process with peers that are no nodes: they take a place below a node, then send what they are told, or count.

They cost next to nothing, so that on two cores the node between them is what is measured. All of them dial, and stay
below the node that they dial, which is the root to them.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Final, final

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from benchmarks.commands import Command, run
from pinecone_transport.identity import Identity
from pinecone_transport.wire import (
    BOOTSTRAP,
    HANDSHAKE_LENGTH,
    KEEPALIVE,
    TRAFFIC,
    TREE_ANNOUNCEMENT,
    Announcement,
    Frame,
    Watermark,
    decode_announcement,
    decode_frame,
    decode_handshake,
    encode_frame,
    encode_handshake,
    frame_length,
    sign_bootstrap,
)

BLAST: Final = 1 << 20
"""Bytes, about, that are written at once."""
BUFFERS: Final = 4 << 20
"""Bytes that the system may keep for a socket."""
KEEPALIVE_INTERVAL: Final = 1.0
PATIENCE: Final = 30.0
TICK: Final = 0.02


@final
class RawPeer:
    """One link of a node, from the other end.

    Args:
        address: The node's.
        handshake: Whether there is a node; else only bytes are sent and counted.

    Attributes:
        counted: Bytes that came.
        place: What the node announced; None until it did.
    """

    def __init__(self, address: str, handshake: bool) -> None:
        self.counted = 0
        self.place: Announcement | None = None
        self.identity: Identity | None = None
        self._lock: Final = Lock()
        self._input = b""
        self._shaken = not handshake
        host, _, port = address.rpartition(":")
        self.socket: Final = socket.create_connection((host, int(port)))
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFERS)

    def shake(self, below: bytes) -> None:
        """Begin as a node whose key is lower than this one's."""
        self.identity = Identity.generate()
        while self.identity.key >= below:
            self.identity = Identity.generate()
        self.send(encode_handshake(self.identity))

    def send(self, data: bytes | memoryview) -> None:
        """Send whole frames, all of them."""
        with self._lock:
            self.socket.sendall(data)

    def receive(self, data: memoryview) -> None:
        """Count bytes; until there is a place to take, read them."""
        self.counted += len(data)
        if self.place is None and self.identity is not None:
            self._input += data
            self._read()

    def _read(self) -> None:
        if not self._shaken:
            if len(self._input) < HANDSHAKE_LENGTH:
                return
            decode_handshake(self._input[:HANDSHAKE_LENGTH])
            self._input = self._input[HANDSHAKE_LENGTH:]
            self._shaken = True
        while self.place is None:
            length = frame_length(self._input, 0, len(self._input))
            if length is None or len(self._input) < length:
                return
            frame = self._input[:length]
            self._input = self._input[length:]
            if frame[5] == TREE_ANNOUNCEMENT:
                self._take_place(decode_announcement(decode_frame(frame).payload))

    def _take_place(self, announcement: Announcement) -> None:
        assert self.identity is not None
        below = announcement.signed_by(self.identity, 1)
        self.send(encode_frame(Frame(TREE_ANNOUNCEMENT, below.encode())))
        self.place = announcement


@final
class RawPeers:
    """All peers of the process, and the thread that reads for them."""

    def __init__(self) -> None:
        self._peers: Final[list[RawPeer]] = []
        self._selector: Final = selectors.DefaultSelector()
        Thread(target=self._read, daemon=True).start()
        Thread(target=self._keep_alive, daemon=True).start()

    def commands(self) -> dict[str, Command]:
        """Return what this can be told."""
        return {
            "open": self.open,
            "blast": self.blast,
            "count": self.count,
            "feed": self.feed,
        }

    async def open(self, address: str, key: str = "", count: int = 1) -> list[dict[str, Any]]:
        """Dial a node with this key, or any program where there is none; return each peer's key and coordinates."""
        peers = [RawPeer(address, bool(key)) for _ in range(count)]
        for peer in peers:
            if key:
                peer.shake(bytes.fromhex(key))
            self._selector.register(peer.socket, selectors.EVENT_READ, peer)
        self._peers.extend(peers)
        until = time.monotonic() + PATIENCE
        while key and any(peer.place is None for peer in peers):
            if time.monotonic() > until:
                raise TimeoutError("the node did not announce itself")
            await deferLater(reactor, 0.01)
        return [
            {
                "key": peer.identity.key.hex() if peer.identity is not None else "",
                "coordinates": list(peer.place.coordinates) if peer.place is not None else [],
            }
            for peer in peers
        ]

    def blast(self, flows: list[dict[str, Any]], payload: int, seconds: float) -> Deferred[Any]:
        """Send traffic by the first peer for so long: frames of all flows by turns, as many as the node takes."""
        sender = self._peers[0]
        frames = b"".join(_traffic(sender, flow, payload) for flow in flows)
        return deferToThread(self._blast, sender, frames * max(BLAST // len(frames), 1), seconds)

    def count(self) -> dict[str, Any]:
        """Return how many bytes have come by all peers together, and when that was."""
        return {"bytes": sum(peer.counted for peer in self._peers), "at": time.perf_counter()}

    def feed(self, routes: int, interval: float) -> None:
        """Have so many nodes bootstrap by the peers, each of them once in an interval, until the end."""
        identities = [Identity(random.randbytes(32)) for _ in range(routes)]
        Thread(target=self._feed, args=(identities, interval), daemon=True).start()

    def _blast(self, sender: RawPeer, data: bytes, seconds: float) -> int:
        until = time.perf_counter() + seconds
        sent = 0
        while time.perf_counter() < until:
            sender.send(data)
            sent += len(data)
        return sent

    def _feed(self, identities: list[Identity], interval: float) -> None:
        began = time.perf_counter()
        count = 0
        while True:
            due = int((time.perf_counter() - began) / interval * len(identities))
            for number in range(count, due):
                peer = self._peers[number % len(identities) % len(self._peers)]
                peer.send(_bootstrap(peer, identities[number % len(identities)]))
            count = due
            time.sleep(TICK)

    def _read(self) -> None:
        buffer = bytearray(BUFFERS)
        view = memoryview(buffer)
        while True:
            for key, _ in self._selector.select(TICK):
                peer: RawPeer = key.data
                length = peer.socket.recv_into(buffer)
                if not length:
                    self._selector.unregister(peer.socket)
                peer.receive(view[:length])

    def _keep_alive(self) -> None:
        frame = encode_frame(Frame(KEEPALIVE))
        while True:
            time.sleep(KEEPALIVE_INTERVAL)
            for peer in list(self._peers):
                if peer.place is not None:
                    with suppress(OSError):  # whoever measures will see that nothing comes
                        peer.send(frame)


def _traffic(sender: RawPeer, flow: dict[str, Any], payload: int) -> bytes:
    if sender.identity is None or sender.place is None:
        return bytes(payload)
    frame = Frame(
        TRAFFIC,
        bytes(payload),
        hop_limit=64,
        destination=tuple(flow["coordinates"]),
        source=sender.place.coordinates,
        destination_key=bytes.fromhex(flow["key"]),
        source_key=sender.identity.key,
    )
    return encode_frame(frame)


def _bootstrap(peer: RawPeer, identity: Identity) -> bytes:
    assert peer.place is not None
    root, sequence = peer.place.root_key, peer.place.root_sequence
    payload = sign_bootstrap(identity, int(time.time() * 1000), root, sequence).encode()
    return encode_frame(Frame(BOOTSTRAP, payload, destination_key=identity.key, watermark=Watermark(root, 0)))


async def begin() -> tuple[dict[str, Any], dict[str, Command]]:
    """Be there."""
    return {}, RawPeers().commands()


if __name__ == "__main__":
    run(begin)
