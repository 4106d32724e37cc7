"""A relay that looks into the µTP packets it passes on, and does to them what a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pinecone_transport.errors import UtpError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import connect_nodes
from pinecone_transport.links.interfaces import Link
from pinecone_transport.node import Node
from pinecone_transport.session.utp import (
    ST_DATA,
    ST_FIN,
    ST_RESET,
    ST_STATE,
    ST_SYN,
    UtpPacket,
    decode_packet,
    encode_packet,
)
from pinecone_transport.wire import (
    HANDSHAKE_LENGTH,
    HEADER_LENGTH,
    KEEPALIVE,
    TRAFFIC,
    Frame,
    decode_frame,
    encode_frame,
)
from twisted_endpoints.testing import MemoryNetwork

LATENCY = 0.01
PER_SECOND = 50
"""Tricks in a second. What the ends answer to what a relay has made up passes it again, and so on without an end."""


@dataclass(frozen=True)
class Passing:
    """A packet on its way: whose it is said to be, for whom, and its bytes."""

    source: PublicKey
    destination: PublicKey
    packet: bytes

    def changed(self, **fields: object) -> Passing:
        """Return the same with other header fields, or another payload; what is not µTP comes back as it is."""
        if not _is_utp(self.packet):
            return self
        packet = decode_packet(self.packet)
        for name, value in fields.items():
            setattr(packet, name, value & 0xFFFF if name in {"connection_id", "seq_nr", "ack_nr"} else value)
        return replace(self, packet=encode_packet(packet))


Treatment = Callable[[Passing], list[Passing]]
"""What leaves the relay instead of a packet."""


class HostileRelay:
    """An honest node, and links from it that a test has in its hands. Peerings themselves are left in peace.

    Attributes:
        treat: What is done with each packet; honest at first.
        seen: Packets that came to the relay, the oldest first.
        caught: How many packets it did not pass on as they were.
    """

    def __init__(self, network: MemoryNetwork, node: Node) -> None:
        self.node = node
        self.treat: Treatment = honest
        self.seen: list[Passing] = []
        self.caught = 0
        self._network = network
        self._leaves: dict[PublicKey, _Leaf] = {}

    def join(self, node: Node) -> None:
        """Link a node to the relay."""
        leaf = self._leaves[node.identity.key] = _Leaf(self, node)
        connect_nodes(self.node, leaf)

    def send(self, *passing: Passing) -> None:
        """Put packets on the link to the destination of the first, whoever made them."""
        leaf = self._leaves.get(passing[0].destination)
        if leaf is not None:
            leaf.deliver(passing)

    def arrived(self, passing: Passing) -> None:
        """A packet is about to leave for its destination."""
        self.seen.append(passing)
        treated = self.treat(passing)
        self.caught += treated != [passing]
        for one in treated:
            self.send(one)


class _Leaf:
    """A node's side of its link to the relay: what comes to the node comes by here."""

    def __init__(self, relay: HostileRelay, node: Node) -> None:
        self.reactor: IReactorTime = node.reactor
        self._relay = relay
        self._node = node
        self._buffer = bytearray()
        self._shaken = False
        self._frame = Frame(TRAFFIC)
        self._link: Link

    def deliver(self, packets: Sequence[Passing]) -> None:
        self._pass_on(b"".join(encode_frame(self._frame_around(passing)) for passing in packets))

    def _frame_around(self, passing: Passing) -> Frame:
        frame = self._frame
        return Frame(
            TRAFFIC,
            passing.packet,
            hop_limit=frame.hop_limit,
            destination=frame.destination,
            source=frame.source,
            destination_key=passing.destination,
            source_key=passing.source,
            watermark=frame.watermark,
        )

    def link_made(self, link: Link) -> None:
        self._link = link
        self._node.link_made(link)

    def link_data(self, link: Link, data: bytes) -> None:
        self._buffer += data
        if not self._shaken and len(self._buffer) >= HANDSHAKE_LENGTH:
            self._shaken = True
            self._pass_on(self._take(HANDSHAKE_LENGTH))
        while self._shaken and len(self._buffer) >= HEADER_LENGTH:
            length = int.from_bytes(self._buffer[8:10], "big")
            if len(self._buffer) < length:
                return
            encoded = self._take(length)
            frame = decode_frame(encoded)
            if frame.type == TRAFFIC:
                self._frame = frame
                # The link stays up even if nothing else of what came passes.
                self._pass_on(encode_frame(Frame(KEEPALIVE)))
                self._relay.arrived(Passing(frame.source_key, frame.destination_key, frame.payload))
            else:
                self._pass_on(encoded)

    def link_writable(self, link: Link) -> None:
        self._node.link_writable(link)

    def link_lost(self, link: Link, reason: Failure) -> None:
        self._node.link_lost(link, reason)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _pass_on(self, data: bytes) -> None:
        self.reactor.callLater(LATENCY, self._node.link_data, self._link, data)


def honest(passing: Passing) -> list[Passing]:
    """Pass the packet on."""
    return [passing]


class Tricks:
    """A treatment that does one of several things to a part of the packets.

    Args:
        relay: Whose packets.
        names: Of the tricks, out of `TRICKS`.
        share: Of the packets that get one.
        random: For everything that is drawn.
        victims: Whose packets, either way; None for everybody's.
    """

    def __init__(
        self,
        relay: HostileRelay,
        names: Sequence[str],
        share: float,
        random: Random,
        victims: set[PublicKey] | None = None,
    ) -> None:
        self._relay = relay
        self._tricks = [TRICKS[name] for name in names]
        self._share = share
        self._random = random
        self._victims = victims
        self._second = 0.0
        self._done = 0

    def __call__(self, passing: Passing) -> list[Passing]:
        if self._victims is not None and not self._victims & {passing.source, passing.destination}:
            return [passing]
        second = self._relay.node.reactor.seconds() // 1.0
        if second != self._second:
            self._second, self._done = second, 0
        if self._random.random() >= self._share or self._done >= PER_SECOND or not _is_utp(passing.packet):
            return [passing]
        self._done += 1
        return self._random.choice(self._tricks)(passing, self._relay, self._random)


Trick = Callable[[Passing, HostileRelay, Random], list[Passing]]


def _is_utp(packet: bytes) -> bool:
    """Tell whether there is anything to play with: what was altered may look like QUIC, and is answered as such."""
    try:
        decode_packet(packet)
    except UtpError:
        return False
    return True


def _drop(_passing: Passing, _relay: HostileRelay, _random: Random) -> list[Passing]:
    return []


def _replay(passing: Passing, relay: HostileRelay, random: Random) -> list[Passing]:
    """Any packet of the past again, the first ones (SYNs) as likely as those just sent."""
    return [passing, random.choice(relay.seen[:10]), random.choice(relay.seen), random.choice(relay.seen[-50:])]


def _hold_back(passing: Passing, relay: HostileRelay, random: Random) -> list[Passing]:
    relay.node.reactor.callLater(random.choice((0.02, 0.2, 2.0, 20.0)), relay.send, passing)
    return []


def _alter(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    packet = bytearray(passing.packet)
    for _ in range(random.choice((1, 1, 3))):
        packet[random.randrange(len(packet))] ^= random.randrange(1, 256)
    if random.random() < 0.2:
        del packet[random.randrange(1, len(packet)) :]
    return [replace(passing, packet=bytes(packet))]


def _alter_payload(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    payload = bytearray(decode_packet(passing.packet).payload)
    if payload:
        payload[random.randrange(len(payload))] ^= random.randrange(1, 256)
    return [passing.changed(payload=bytes(payload))]


def _redirect_to_stream(passing: Passing, relay: HostileRelay, random: Random) -> list[Passing]:
    """The payload of one stream in the place of another's next one, whose numbers fit."""
    others = [one for one in relay.seen[-200:] if one.destination == passing.destination]
    payload = decode_packet(passing.packet).payload
    return [random.choice(others).changed(payload=payload), passing]


def _redirect_to_key(passing: Passing, relay: HostileRelay, random: Random) -> list[Passing]:
    """Another sender's, or for another receiver; with a SYN that is a stream that nobody has dialled."""
    source, destination = random.choice(relay.seen).source, random.choice(relay.seen).destination
    return [replace(passing, source=source), replace(passing, destination=destination), passing]


def _swap_ends(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """Back to its sender, as if the receiver had sent it."""
    offset = random.choice((-1, 0, 1))
    back = replace(passing, source=passing.destination, destination=passing.source)
    return [back.changed(connection_id=decode_packet(passing.packet).connection_id + offset), passing]


def _acknowledge(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """Take a packet away and tell its sender that it and some after it have arrived."""
    packet = decode_packet(passing.packet)
    selective = ((1, random.randbytes(4)),) if random.random() < 0.5 else ()
    forged = UtpPacket(
        ST_STATE,
        packet.connection_id - random.choice((1, 1, 0, -1)) & 0xFFFF,
        0,
        random.choice((0, 1000, 0xFFFFFFFF)),
        random.choice((0, 1, 1 << 20, 0xFFFFFFFF)),
        packet.ack_nr + random.choice((0, 1)) & 0xFFFF,
        packet.seq_nr + random.choice((-1, 0, 0, 1, 200)) & 0xFFFF,
        selective,
    )
    return [Passing(passing.destination, passing.source, encode_packet(forged))]


def _fill_the_window(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """Packets that nobody has sent, wherever the receiver takes one."""
    packet = decode_packet(passing.packet)
    return [
        passing.changed(type=ST_DATA, seq_nr=packet.seq_nr + random.randrange(260), payload=random.randbytes(1000))
        for _ in range(20)
    ] + [passing]


def _end(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """An end that nobody has said, at a number that fits or nearly does."""
    packet = decode_packet(passing.packet)
    return [passing, passing.changed(type=ST_FIN, seq_nr=packet.seq_nr + random.randrange(3), payload=b"")]


def _reset(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    packet = decode_packet(passing.packet)
    return [passing, passing.changed(type=ST_RESET, ack_nr=packet.ack_nr + random.choice((-300, -1, 0, 1, 300)))]


def _guess(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """Packets of every type with numbers out of the blue."""
    return [passing] + [
        passing.changed(
            type=random.choice((ST_DATA, ST_FIN, ST_STATE, ST_RESET, ST_SYN)),
            connection_id=random.getrandbits(16),
            seq_nr=random.getrandbits(16),
            ack_nr=random.getrandbits(16),
        )
        for _ in range(10)
    ]


def _dial(passing: Passing, _relay: HostileRelay, random: Random) -> list[Passing]:
    """SYNs of everybody it knows, near the ids in use."""
    packet = decode_packet(passing.packet)
    return [passing] + [
        passing.changed(
            type=ST_SYN,
            connection_id=packet.connection_id + random.randrange(-3, 4),
            seq_nr=packet.seq_nr + random.randrange(-1, 2),
            payload=b"",
        )
        for _ in range(5)
    ]


TRICKS: dict[str, Trick] = {
    "drop": _drop,
    "replay": _replay,
    "hold back": _hold_back,
    "alter": _alter,
    "alter payload": _alter_payload,
    "redirect to stream": _redirect_to_stream,
    "redirect to key": _redirect_to_key,
    "swap ends": _swap_ends,
    "acknowledge": _acknowledge,
    "fill the window": _fill_the_window,
    "end": _end,
    "reset": _reset,
    "guess": _guess,
    "dial": _dial,
}
