"""A BitTorrent peer that is just enough to move pieces both ways (BEP 3), as bytes in and bytes out."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from pinecone_transport.errors import PineconeError

PROTOCOL = b"\x13BitTorrent protocol"
HANDSHAKE_LENGTH = 68
BLOCK = 1 << 14
REQUESTS = 64

UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = 1, 2, 4, 5, 6, 7

_numbers = itertools.count()


@dataclass(frozen=True)
class Torrent:
    """One file of whole pieces.

    Attributes:
        data: All of it.
        piece: Bytes of a piece, a multiple of `BLOCK`.
    """

    data: bytes
    piece: int = 1 << 18

    @property
    def count(self) -> int:
        return len(self.data) // self.piece

    def content(self, index: int) -> bytes:
        return self.data[index * self.piece : (index + 1) * self.piece]

    def info(self) -> dict[bytes, object]:
        """Return the dictionary whose encoding's SHA-1 names the torrent."""
        hashes = b"".join(hashlib.sha1(self.content(index)).digest() for index in range(self.count))
        return {b"length": len(self.data), b"name": b"file", b"piece length": self.piece, b"pieces": hashes}


class BitTorrentPeer:
    """One end of a connection between peers.

    Args:
        torrent: What is moved.
        info_hash: Its name, 20 bytes.
        pieces: Those that we have.
        dials: Whether our handshake comes first.

    Attributes:
        pieces: Those that we have; what came was checked.
        bad_pieces: Those whose content was not the torrent's.
        shaken: Whether the far end's handshake has come.
        bytes_sent: Of pieces.
    """

    def __init__(self, torrent: Torrent, info_hash: bytes, pieces: Iterable[int] = (), *, dials: bool = False) -> None:
        self.outgoing = bytearray()
        self.errors: list[PineconeError | None] = []
        self.pieces = set(pieces)
        self.bad_pieces: list[int] = []
        self.shaken = False
        self.bytes_sent = 0
        self._torrent = torrent
        self._info_hash = info_hash
        self._peer_id = b"-PC0001-%012d" % next(_numbers)
        self._incoming = bytearray()
        self._dials = dials
        self._theirs: set[int] = set()
        self._unchoked = False
        self._wanted: list[tuple[int, int]] = []
        self._asked: set[tuple[int, int]] = set()
        self._arriving: dict[int, dict[int, bytes]] = {}
        if dials:
            self._shake()

    def receive(self, data: bytes) -> None:
        self._incoming += data
        if not self.shaken:
            if len(self._incoming) < HANDSHAKE_LENGTH:
                return
            self._take_handshake(self._take(HANDSHAKE_LENGTH))
        while len(self._incoming) >= 4:
            length = int.from_bytes(self._incoming[:4], "big")
            if len(self._incoming) < 4 + length:
                return
            message = self._take(4 + length)[4:]
            if message:  # else a keepalive
                self._receive_message(message[0], message[1:])

    def _take(self, length: int) -> bytes:
        taken = bytes(self._incoming[:length])
        del self._incoming[:length]
        return taken

    def _shake(self) -> None:
        self.outgoing += PROTOCOL + bytes(8) + self._info_hash + self._peer_id

    def _take_handshake(self, handshake: bytes) -> None:
        assert handshake.startswith(PROTOCOL)
        assert handshake[28:48] == self._info_hash
        self.shaken = True
        if not self._dials:
            self._shake()
        bits = "".join("1" if index in self.pieces else "0" for index in range(self._torrent.count))
        padded = bits.ljust(-len(bits) // 8 * -8, "0")
        self._send(BITFIELD, int(padded, 2).to_bytes(len(padded) // 8, "big"))
        self._send(INTERESTED)
        self._send(UNCHOKE)

    def _send(self, kind: int, content: bytes = b"") -> None:
        self.outgoing += (1 + len(content)).to_bytes(4, "big") + bytes((kind,)) + content

    def _receive_message(self, kind: int, content: bytes) -> None:
        if kind == BITFIELD:
            bits = "".join(f"{byte:08b}" for byte in content)
            self._want(index for index, bit in enumerate(bits) if bit == "1")
        elif kind == HAVE:
            self._want([int.from_bytes(content, "big")])
        elif kind == UNCHOKE:
            self._unchoked = True
        elif kind == REQUEST:
            self._answer(*(int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8)))
        elif kind == PIECE:
            index, offset = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
            self._take_block(index, offset, content[8:])
        self._ask()

    def _want(self, theirs: Iterable[int]) -> None:
        new = set(theirs) - self._theirs - self.pieces
        self._theirs |= new
        self._wanted += [(index, offset) for index in sorted(new) for offset in range(0, self._torrent.piece, BLOCK)]

    def _ask(self) -> None:
        while self._unchoked and self._wanted and len(self._asked) < REQUESTS:
            index, offset = self._wanted.pop(0)
            self._asked.add((index, offset))
            self._send(REQUEST, b"".join(number.to_bytes(4, "big") for number in (index, offset, BLOCK)))

    def _answer(self, index: int, offset: int, length: int) -> None:
        assert index in self.pieces
        block = self._torrent.content(index)[offset : offset + length]
        self.bytes_sent += len(block)
        self._send(PIECE, index.to_bytes(4, "big") + offset.to_bytes(4, "big") + block)

    def _take_block(self, index: int, offset: int, block: bytes) -> None:
        self._asked.remove((index, offset))
        blocks = self._arriving.setdefault(index, {})
        blocks[offset] = block
        if len(blocks) == self._torrent.piece // BLOCK:
            content = b"".join(blocks[at] for at in sorted(blocks))
            if hashlib.sha1(content).digest() == hashlib.sha1(self._torrent.content(index)).digest():
                self.pieces.add(index)
                self._send(HAVE, index.to_bytes(4, "big"))
            else:
                self.bad_pieces.append(index)
