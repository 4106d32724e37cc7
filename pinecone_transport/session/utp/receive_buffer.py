"""The receiving half of a stream: packets in any order become bytes in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final, final

from pinecone_transport.session.utp.extensions import Fragment
from pinecone_transport.session.utp.fragments import Fragments
from pinecone_transport.session.utp.memory import Memory
from pinecone_transport.session.utp.packet import HEADER_LENGTH, KIND_AND_SEQUENCE, MAX_SELECTIVE_ACK

_SELECTABLE: Final = (1 << 8 * MAX_SELECTIVE_ACK) - 1
"""The packets after the missing one of which an acknowledgement can tell, as bits."""


@final
class ReceiveBuffer:
    """Bytes that came, until they are in order and their owner is done with them.

    How far ahead of the missing packet another may be is the connection's business: it may be further than an
    acknowledgement can tell of.

    Args:
        capacity: Bytes that may lie here or with the owner. At most twice as many are kept, and only if the far end
            sent more than it was told to.
        memory: What all receive buffers may have.
        counters: Where what is dropped is counted.

    Attributes:
        next_seq: The number of the packet that is next in order.
        unacknowledged: Bytes that the owner was given and has not acknowledged.
        ended: Whether the end has come, and all before it.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bits",
        "_ahead_bytes",
        "_capacity",
        "_counters",
        "_fin_seq",
        "_fragments",
        "_memory",
        "ended",
        "next_seq",
        "unacknowledged",
    )

    def __init__(self, next_seq: int, capacity: int, memory: Memory, counters: Counter[str]) -> None:
        self._capacity: Final = capacity
        self._memory: Final = memory
        self._counters: Final = counters
        self._ahead: dict[int, bytes] = {}
        self._ahead_bits = 0  # bit 0 is the packet after the missing one
        self._ahead_bytes = 0
        self._fragments: Final[dict[int, Fragments]] = {}
        self._fin_seq: int | None = None
        self.next_seq = next_seq
        self.unacknowledged = 0
        self.ended = False

    def window(self) -> int:
        """Return how many more bytes may come, of those not yet here."""
        return self._memory.room(self._capacity, self.unacknowledged + self._ahead_bytes)

    def _room_for_next(self, held: int = 0) -> int:
        """Return how many bytes the missing packet may have, of which ``held`` are here.

        It may come even if all the room is taken by what comes after it: a sender that heard of windows in the wrong
        order has sent too much, and nothing else would ever make room again.
        """
        room = self._memory.room(self._capacity, self.unacknowledged + held)
        return room if not self._ahead_bytes else max(room, self._capacity - self.unacknowledged - held)

    def take_early(self, length: int) -> None:
        """The beginning of the stream, so many bytes, came with the SYN."""
        self.unacknowledged += length
        self._memory.held += length

    def give_back(self, length: int) -> None:
        """The owner is done with so many bytes."""
        length = min(length, self.unacknowledged)
        self.unacknowledged -= length
        self._memory.held -= length

    def discard(self) -> None:
        """The connection is over."""
        self._memory.held -= self.unacknowledged + self._ahead_bytes
        self._ahead.clear()
        self._fragments.clear()
        self._ahead_bits = self._ahead_bytes = self.unacknowledged = 0

    def receive(self, seq_nr: int, payload: bytes, fin: bool) -> bytes | None:
        """Take a packet and return the bytes that are now in order, which may be none; None if nothing came in order.

        What is returned counts against the window until `give_back`.
        """
        offset = (seq_nr - self.next_seq) & 0xFFFF
        if offset >= 0x8000 or self.ended or seq_nr in self._ahead:
            self._counters["duplicate packets"] += 1
            return None
        room = self.window() if offset else self._room_for_next()
        if len(payload) > room or self._beyond_end(offset):
            self._counters["packets outside the window"] += 1
            return None
        if self._fragments:
            self._forget_fragments(seq_nr)
        if fin and self._fin_seq is None:
            self._fin_seq = seq_nr
        self._memory.held += len(payload)
        if offset:
            self._ahead[seq_nr] = payload
            self._ahead_bits |= 1 << (offset - 1)
            self._ahead_bytes += len(payload)
            return None
        if self._ahead:
            payload = self._join(payload)
        else:
            self.next_seq = (seq_nr + 1) & 0xFFFF
        if self._fin_seq is not None and self.next_seq == (self._fin_seq + 1) & 0xFFFF:
            self.ended = True
        self.unacknowledged += len(payload)
        return payload

    def run_length(self, packets: Sequence[bytes | memoryview], start: int, kind: int) -> int:
        """Return how many packets from ``packets[start]`` on are of a kind, in order, next and within the window.

        That is as many as `receive_run` may be given: none while anything is missing, or the end is known.

        Args:
            packets: Of any length.
            start: The first that counts.
            kind: The first four bytes of their headers, as a number.
        """
        if self._ahead or self._fragments or self._fin_seq is not None:
            return 0
        expected = self.next_seq
        room = self._room_for_next()
        stop = start
        for packet in islice(packets, start, None):
            length = len(packet) - HEADER_LENGTH
            room -= length
            if length < 0 or room < 0 or KIND_AND_SEQUENCE.unpack_from(packet) != (kind, expected):
                break
            expected = (expected + 1) & 0xFFFF
            stop += 1
        return stop - start

    def receive_run(self, packets: Sequence[bytes | memoryview]) -> bytes:
        """Take packets that `run_length` has counted; return their payload. `receive` of each does the same."""
        payload = b"".join([memoryview(packet)[HEADER_LENGTH:] for packet in packets])
        self.next_seq = (self.next_seq + len(packets)) & 0xFFFF
        self.unacknowledged += len(payload)
        self._memory.held += len(payload)
        return payload

    def receive_fragment(self, seq_nr: int, fragment: Fragment, payload: bytes) -> bytes | None:
        """Take a part of a packet; return what `receive` returns once all of it is there, and None before.

        What is kept of it counts against the window as if it were ahead.
        """
        offset = (seq_nr - self.next_seq) & 0xFFFF
        if offset >= 0x8000 or self.ended or seq_nr in self._ahead:
            self._counters["duplicate packets"] += 1
            return None
        fragments = self._fragments.get(seq_nr) or Fragments()
        room = self.window() if offset else self._room_for_next(fragments.held)
        fresh = sum(stop - start for start, stop in fragments.missing(fragment.offset, len(payload)))
        if not fresh or fresh > room or self._beyond_end(offset):
            self._counters["fragments of no use"] += 1
            return None
        fragments.add(fragment.offset, payload, fragment.last)
        self._fragments[seq_nr] = fragments
        self._ahead_bytes += fresh
        self._memory.held += fresh
        whole = fragments.whole()
        if whole is None:
            return None
        self._forget_fragments(seq_nr)
        return self.receive(seq_nr, whole, False)

    def _forget_fragments(self, seq_nr: int) -> None:
        fragments = self._fragments.pop(seq_nr, None)
        if fragments is not None:
            self._ahead_bytes -= fragments.held
            self._memory.held -= fragments.held

    def _beyond_end(self, offset: int) -> bool:
        return self._fin_seq is not None and offset > (self._fin_seq - self.next_seq) & 0xFFFF

    def _join(self, payload: bytes) -> bytes:
        """Return the payload and all that follows it without a gap."""
        parts = [payload]
        ahead = self._ahead
        following = (self.next_seq + 1) & 0xFFFF
        while following in ahead:
            part = ahead.pop(following)
            self._ahead_bytes -= len(part)
            parts.append(part)
            following = (following + 1) & 0xFFFF
        self._ahead_bits >>= len(parts)
        self.next_seq = following
        return b"".join(parts)

    def has_gap(self) -> bool:
        """Tell whether anything is here that cannot be acknowledged but selectively."""
        return bool(self._ahead)

    def selective_ack(self) -> bytes:
        """Return which packets after the missing one are here, as the extension has it; empty if there are none.

        Bit 0 of the first byte is the packet after the missing one. Source: BEP 29, selective ACK.
        """
        bits = self._ahead_bits & _SELECTABLE
        length = (bits.bit_length() + 31) // 32 * 4
        return bits.to_bytes(length, "little")
