"""All connections with one remote key: they share a budget and take turns to send."""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.session.budget import Budget
from pinecone_transport.session.socket import Pieces
from pinecone_transport.session.utp.congestion import Ledbat
from pinecone_transport.session.utp.connection import ACK_DUE, ANSWER_DUE, Connection
from pinecone_transport.session.utp.limits import UtpLimits
from pinecone_transport.session.utp.packet import ST_RESET, UtpPacket
from pinecone_transport.session.utp.rtt import RttEstimator


def new_budget(limits: UtpLimits) -> Budget:
    """Return what connections with a key have in common, before anything is known of the path."""
    rtt = RttEstimator(limits.min_rto)
    return Budget(Ledbat(limits.window_packets, rtt), rtt, limits.window_bytes, limits.largest_packet)


@final
class Remote:
    """A key that we have connections with.

    Attributes:
        budget: What they share.
        connections: By the connection id of packets to us.
        half_open: Those that the far end has begun and not shown to be real, oldest first, by stream.
        early: The same, of which the owner knows, since the SYN brought the beginning of the stream.
        control: Those with an acknowledgement or the like to send, by stream.
        sending: Those with data to send, by stream, in the order of their turns.

    Args:
        budget: What they share.
        touched: Of all keys; gets those whose deadline may have moved.
    """

    __slots__ = ("_touched", "budget", "connections", "control", "early", "half_open", "sending")

    def __init__(self, budget: Budget, touched: dict[int, Connection]) -> None:
        self._touched: Final = touched
        self.budget: Final = budget
        self.connections: Final[dict[int, Connection]] = {}
        self.half_open: Final[dict[int, Connection]] = {}
        self.early: Final[dict[int, Connection]] = {}
        self.control: Final[dict[int, Connection]] = {}
        self.sending: Final[dict[int, Connection]] = {}

    def ready(self) -> bool:
        """Tell whether `take` would return packets, unless what was lost arrives after all."""
        return bool(self.control) or (bool(self.sending) and self.budget.has_room())

    def connection_of(self, packet: UtpPacket) -> Connection | None:
        """Return whose packet it is. Resets may carry the id of our packets: libutp's carry that of what it met."""
        number = packet.connection_id
        connection = self.connections.get(number)
        if connection is None and packet.type == ST_RESET:
            for near in (number - 1, number + 1):
                one = self.connections.get(near & 0xFFFF)
                if one is not None and one.send_id == number:
                    return one
        return connection

    def is_near_connection(self, receive_id: int) -> bool:
        """Tell whether a reset meant for a connection with this id would also be one for another: Go sends three."""
        return any((receive_id + distance) & 0xFFFF in self.connections for distance in range(-2, 3))

    def longest_idle(self) -> Connection | None:
        """Return the open connection that has been idle for longest, or None if all are busy."""
        idle = [
            (since, each.stream, each) for each in self.connections.values() if (since := each.idle_since) is not None
        ]
        return min(idle)[2] if idle else None

    def take(self, left: int, now: float, packets: list[Pieces], data_only: bool) -> None:
        """Add about ``left`` bytes of packets to ``packets``; with ``data_only``, none that merely acknowledges."""
        now_us = int(now * 1e6) & 0xFFFFFFFF
        self.budget.pass_time(now)
        # What has data to send carries its acknowledgement with it.
        left = self._take_control(left, data_only, self.budget.has_room(), now_us, packets)
        left = self._take_data(left, now, now_us, packets)
        self.budget.held_back = left <= 0 and bool(self.sending)
        self._take_control(left, data_only, False, now_us, packets)

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self.control.pop(connection.stream, None)
        self.sending.pop(connection.stream, None)
        del self.connections[connection.receive_id]

    def _take_control(self, left: int, data_only: bool, spare: bool, now_us: int, packets: list[Pieces]) -> int:
        """Add SYNs, their answers, probes and acknowledgements.

        With ``data_only``, acknowledgements are left out; with ``spare``, what a connection's data can carry.
        """
        for stream, connection in list(self.control.items()):
            if left <= 0:
                break
            if data_only and connection.due == ACK_DUE:
                continue
            if spare and stream in self.sending and not connection.due & ANSWER_DUE:
                continue
            del self.control[stream]
            packet = connection.control_packet(now_us)
            left -= len(packet)
            packets.append((packet,))
        return left

    def _take_data(self, left: int, now: float, now_us: int, packets: list[Pieces]) -> int:
        """Add data packets, one of each connection in turn, or many of one that is alone."""
        sending = self.sending
        while sending and left > 0:
            stream, connection = next(iter(sending.items()))
            if not self.budget.has_room():
                self.budget.limited = True
                self._touched[stream] = connection
                break
            del sending[stream]
            length = connection.data_packets(1 if sending else left, now, now_us, packets)
            if not length:
                continue
            left -= length
            if not connection.due:
                self.control.pop(stream, None)
            if connection.has_data():
                sending[stream] = connection
            self._touched[stream] = connection
        return left
