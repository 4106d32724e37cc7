"""What a `QuicSocket` allows itself and its peers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicLimits:
    """Bounds and times of a `QuicSocket`; the defaults suit deployed nodes (§8).

    Attributes:
        first_packet: Packets until the handshake is done, bytes, 1,200 at least.
        packet: Longest packet that we send to a far end that does not say that it takes more, bytes; longer ones end a
            Go node.
        largest_packet: Longest packet that we receive, and the longest that we send to a far end that says that it
            takes so much, bytes, 16,383 at most: the library gives the length of a frame 14 bits.
        window_packets: Packets in flight to one key; a Go node's queues hold 16 of a flow, acknowledgements included.
        burst: Packets with data that leave at once: the far end works on them while the next ones are made.
        receive_window: Bytes per stream that may lie here without being acknowledged by the stream's owner.
        send_buffer: Bytes per stream that may wait for being sent and acknowledged by the far end.
        memory: Bytes that all connections together may hold, of what they receive, and again of what they send; above
            that a connection, or a key that is sent to, gets no more than its share.
        share: Bytes of that which each has for certain. So much may be under way to a connection at any time.
        streams: Streams that the far end of a connection may have open.
        connections: Connections with all keys.
        connections_per_key: Connections with one key.
        waiting_per_key: Streams that wait for a connection with a key.
        half_open: Connections that far nodes have begun and not finished beginning, all keys; the oldest goes first.
        half_open_per_key: The same for one key.
        strays: Packets of no connection that wait for being sent, all keys.
        strays_per_key: The same for one key.
        spare_streams: How many streams the far end still lets us open when a fresh connection is dialled.
        greetings: Peers that a node which has just begun dials to show that it is there anew.
        connect_timeout: Seconds after which a stream that got no connection fails.
        handshake_timeout: Seconds that a far node has for its handshake.
        leftover_timeout: The same, beside three round trips, once another connection with it is open.
        idle_timeout: Seconds of silence that end a connection.
        ping_after: Seconds of silence on a connection where an answer is owed, or bytes wait for being taken, after
            which the far end is asked for a sign.
        probe_timeout: Seconds that a far end in doubt has for such a sign, beside three round trips.
        doubt_after: Seconds of silence after which a connection is asked for a sign before a stream is opened on it.
        yield_time: Seconds that our dial stands back for one of the far end's.
        unread_timeout: Seconds after which a connection that we dialled counts as taken though nothing was answered.
    """

    first_packet: int = 1280
    packet: int = 1452
    largest_packet: int = 16_000
    window_packets: int = 14
    burst: int = 7
    receive_window: int = 512 << 10
    send_buffer: int = 512 << 10
    memory: int = 64 << 20
    share: int = 256 << 10
    streams: int = 100
    connections: int = 4096
    connections_per_key: int = 16
    waiting_per_key: int = 256
    half_open: int = 256
    half_open_per_key: int = 8
    strays: int = 256
    strays_per_key: int = 16
    spare_streams: int = 8
    greetings: int = 16
    connect_timeout: float = 15.0
    handshake_timeout: float = 10.0
    leftover_timeout: float = 1.0
    idle_timeout: float = 15.0
    ping_after: float = 5.0
    probe_timeout: float = 1.0
    doubt_after: float = 3.0
    yield_time: float = 0.5
    unread_timeout: float = 6.0
