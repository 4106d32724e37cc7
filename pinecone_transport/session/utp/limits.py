"""What a `UtpSocket` allows itself and its peers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UtpLimits:
    """Bounds and times of a `UtpSocket`; the defaults suit deployed nodes (§8).

    Attributes:
        packet: Longest packet that we send to a far end that does not say what it takes, bytes, header included; Go
            nodes cut longer ones than 8,192 short.
        largest_packet: Longest packet that we receive, and the longest that we send to a far end that says that it
            takes so much, bytes, header included. With the longest coordinates it fits a frame (§3).
        early_bytes: Payload that a SYN may bring, or that ours brings.
        early: Connections begun with such a SYN that are not shown to be real, all keys. Further ones are half-open as
            any other, and what came with their SYN has to come again.
        early_per_key: The same for one key.
        receive_window: Bytes per stream that may lie here without being acknowledged by the stream's owner.
        send_buffer: Bytes per stream that may wait for being sent and acknowledged by the far end.
        memory: Bytes that all streams together may hold, of what they receive, and again of what they send; above that
            a stream gets no more than its share.
        share: Bytes of that which each stream has for certain.
        window_packets: Data packets in flight to one key at most, however fast its path is.
        window_bytes: The same in bytes.
        connections: Connections with all keys, as far as far nodes may dial us.
        kept_for_dials: So many more may be there by dials of our own.
        connections_per_key: Connections with one key.
        half_open: Connections that far nodes have begun and not shown to be real, all keys; the oldest goes first.
        half_open_per_key: The same for one key.
        resets: Answers to packets of unknown connections that wait for being sent.
        resets_per_key: The same for one key.
        connect_timeout: Seconds after which a dial without an answer fails.
        dead_after: Seconds for which the path may be interrupted without harm to its streams.
        keepalive_after: Seconds of silence on an open stream after which the far end is asked whether it is there.
        min_rto: Seconds that a packet is given to be acknowledged at least. Go nodes hold acknowledgements for 0.5 s.
        min_rto_extended: The same where the far end knows our extension (§11), and so acknowledges at once.
        max_rto: Seconds above which waiting longer and longer for an acknowledgement, or for an answer to the question
            whether the far end is there, stops.
    """

    packet: int = 8192
    largest_packet: int = 60_000
    early_bytes: int = 2048
    early: int = 64
    early_per_key: int = 8
    receive_window: int = 4 << 20
    send_buffer: int = 4 << 20
    memory: int = 64 << 20
    share: int = 1 << 18
    window_packets: int = 256
    window_bytes: int = 4 << 20
    connections: int = 4096
    kept_for_dials: int = 256
    connections_per_key: int = 256
    half_open: int = 512
    half_open_per_key: int = 128
    resets: int = 256
    resets_per_key: int = 16
    connect_timeout: float = 15.0
    dead_after: float = 30.0
    keepalive_after: float = 5.0
    min_rto: float = 1.0
    min_rto_extended: float = 0.5
    max_rto: float = 2.0

    @property
    def patience(self) -> float:
        """Seconds of silence, or of data that is not acknowledged, after which a stream is lost.

        When an interruption ends, the next packet may be as late as ``max_rto``, and its answer takes a while.
        """
        return self.dead_after + 2 * self.max_rto
