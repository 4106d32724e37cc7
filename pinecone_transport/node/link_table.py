"""The links of a node: which number each has in the stack, how many there may be, and their lines in the log."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final, final

from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link
from pinecone_transport.links.scratch import READ_SIZE, SCRATCH, SCRATCH_VIEW
from pinecone_transport.node.admission import NOT_ADMITTED, Admission, host_of
from pinecone_transport.node.events import LinkDown
from pinecone_transport.repeats import RepeatFilter
from pinecone_transport.stack import LinkLost, LinkUp, Received, Stack, StackEvent

logger = logging.getLogger("pinecone_transport.node")


@final
class LinkRecord:
    """What the node knows of one link.

    Attributes:
        key: The peer's, once the handshake is done.
        port: Likewise.
        made_at: When it was connected.
        closed_for: Why we close it, for people; None while we don't.
        unused: The beginning of a frame, from a link that does not keep it itself.
    """

    __slots__ = ("closed_for", "key", "link", "made_at", "number", "port", "unused")

    def __init__(self, link: Link, number: int, made_at: float) -> None:
        self.link: Final = link
        self.number: Final = number
        self.made_at: Final = made_at
        self.key: PublicKey | None = None
        self.port: int | None = None
        self.closed_for: str | None = None
        self.unused = b""


@final
class LinkTable:
    """Puts links into the stack and takes them out.

    Args:
        stack: Where they go.
        admission: Says how many there may be, and what their peers have to prove.
    """

    def __init__(self, stack: Stack, admission: Admission) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._stack: Final = stack
        self._admission: Final = admission
        self._records: Final[dict[Link, LinkRecord]] = {}
        self._by_number: Final[dict[int, LinkRecord]] = {}
        self._log: Final = RepeatFilter(logger)

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> list[LinkRecord]:
        """Return all links, oldest first."""
        return list(self._records.values())

    def add(self, link: Link, now: float) -> bool:
        """Take a link on, unless there are too many: then it is closed, and the result is False."""
        refused = self._admission.link_made(link)
        if refused is not None:
            self.counters[refused] += 1
            self._log.info(_in_vain(link), now, "Refused a link from %s: %s", link.address, refused)
            link.close()
            return False
        terms = self._admission.terms(link.way)
        number = self._stack.add_link(link.peer_type, now, outbound=link.outbound, terms=terms)
        record = LinkRecord(link, number, now)
        self._records[link] = record
        self._by_number[record.number] = record
        return True

    def remove(self, link: Link, reason: str, now: float) -> list[StackEvent | LinkDown]:
        """Forget a link that is gone. Links that were refused are not known here."""
        record = self._records.pop(link, None)
        if record is None:
            return []
        self._by_number.pop(record.number, None)
        self._admission.link_gone(link)
        events: list[StackEvent | LinkDown] = [*self._stack.remove_link(record.number, now)]
        reason = record.closed_for or reason
        if record.key is None:
            self.counters["links that never came up"] += 1
            self._log.info(_in_vain(link), now, "A link %s did not come up: %s", _describe(link), reason)
        else:
            self._log.info(host_of(link), now, "Link down: %s, %s: %s", record.key.hex(), _describe(link), reason)
            events.append(LinkDown(record.number, record.key, reason))
        return events

    def receive_data(self, link: Link, data: bytes, now: float) -> list[StackEvent]:
        """Hand bytes of a link that lends no buffer to the stack, and what passes through to its links."""
        events: list[StackEvent] = []
        for start in range(0, len(data), READ_SIZE):
            record = self._records.get(link)
            if record is None:
                break
            kept = len(record.unused)
            piece = data[start : start + READ_SIZE]
            end = kept + len(piece)
            SCRATCH[:end] = record.unused + piece
            received = self.receive_buffer(link, SCRATCH, len(piece), end, now)
            record.unused = bytes(SCRATCH_VIEW[received.consumed : end])
            events += received.events
        return events

    def receive_buffer(self, link: Link, buffer: bytearray, fresh: int, end: int, now: float) -> Received:
        """Hand a buffer that a link has read into to the stack, and what passes through to its links."""
        record = self._records.get(link)
        if record is None:
            return Received(consumed=end)
        received = self._stack.receive_buffer(record.number, buffer, fresh, end, now)
        for offer in received.offers:
            outlet = self._by_number[offer.link].link
            taken = outlet.write_now(offer.run.pieces) if outlet.writable else 0
            cut = self._stack.offer_taken(offer, taken, now, received)
            if cut:
                outlet.write([cut])
                if not outlet.writable:
                    self._stack.link_blocked(offer.link, now)
        if not received.is_quiet:
            self._pause_or_resume()
        return received

    def unblock(self, link: Link, now: float) -> None:
        """Tell the stack that the link takes bytes again."""
        record = self._records.get(link)
        if record is not None:
            self._stack.link_unblocked(record.number, now)

    def get(self, link: Link) -> LinkRecord | None:
        """Return what is known of a link; None of one that was refused or is gone."""
        return self._records.get(link)

    def opened(self, event: LinkUp) -> LinkRecord | None:
        """Note that a handshake is done; return the link's record, None if it is gone already."""
        record = self._by_number.get(event.link)
        if record is not None:
            record.key = event.key
            record.port = event.port
        return record

    def welcome(self, record: LinkRecord, key: PublicKey, now: float) -> None:
        """Say in the log that the peer is one now."""
        link = record.link
        self._log.info(host_of(link), now, "Link up: %s, %s, port %d", key.hex(), _describe(link), record.port)

    def refuse(self, record: LinkRecord, key: PublicKey, reason: str, now: float) -> list[StackEvent]:
        """Close a link whose peer may not be one, and forget it: what it still sends is nobody's concern."""
        link = record.link
        del self._records[link]
        del self._by_number[record.number]
        self._admission.link_gone(link)
        self.counters[NOT_ADMITTED] += 1
        self._log.info(_in_vain(link), now, "Refused %s, %s: %s", key.hex(), _describe(link), reason)
        link.close()
        return self._stack.remove_link(record.number, now)

    def given_up(self, event: LinkLost) -> None:
        """Close a link that the stack has given up."""
        record = self._by_number.get(event.link)
        if record is not None:
            record.closed_for = str(event.error)
            record.link.abort()

    def dial_failed(self, address: str, reason: str, now: float) -> None:
        """Note that a dial failed."""
        self.counters["dials that failed"] += 1
        self._log.info(address, now, "Cannot reach %s: %s", address, reason)

    def write(self, now: float) -> bool:
        """Write to each link that has something to send and takes it; tell whether anything was written."""
        wrote = False
        for number in self._stack.links_to_send():
            record = self._by_number.get(number)
            if record is None:
                continue
            link = record.link
            data = self._stack.data_to_send(number, link.write_limit, now)
            if data:
                wrote = True
                link.write(data)
            if not link.writable:
                self._stack.link_blocked(number, now)
        self._pause_or_resume()
        return wrote

    def _pause_or_resume(self) -> None:
        """Read from links, or not, as the stack wants it."""
        for number, paused in self._stack.take_pauses().items():
            record = self._by_number.get(number)
            if record is not None and paused:
                record.link.pause_reading()
            elif record is not None:
                record.link.resume_reading()

    def close_all(self, reason: str) -> None:
        """Write what is queued, then close every link."""
        for record in self.records():
            record.closed_for = reason
            record.link.close()

    def abort_all(self) -> None:
        """Close every link at once."""
        for record in self.records():
            record.link.abort()


def _in_vain(link: Link) -> str:
    """Return the subject of its line: many such links must not take the lines of those that come and go."""
    return f"links with {host_of(link)} that came to nothing"


def _describe(link: Link) -> str:
    return f"{link.way} {'to' if link.outbound else 'from'} {link.address}"
