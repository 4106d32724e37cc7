"""libtorrent as a µTP that is neither ours nor Go's: BitTorrent over UDP on loopback."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_twisted

from tests.support.bittorrent import BitTorrentPeer, Torrent
from tests.support.nodes import eventually
from tests.support.udp_utp import Shim, UdpUtp

pytestmark = pytest.mark.interop

logger = logging.getLogger(__name__)

MEGABYTE = 1 << 20
OFF = [
    "enable_outgoing_tcp",
    "enable_incoming_tcp",
    "enable_dht",
    "enable_lsd",
    "enable_upnp",
    "enable_natpmp",
]
"""What is not µTP, or talks to others than loopback."""
PERSISTENCE = {"utp_num_resends": 20, "min_reconnect_time": 1, "max_failcount": 100}
"""It closes a connection of which it has sent one packet three times in vain, and once two SYNs or their answers were
lost it dials again after a minute. With a loss of 2 % that is one transfer of 2,000 packets in 60, and one dial in 600.
"""
WORK = 30.0
"""Seconds in which a transfer is done if nobody waits for a timer: 6 beside two busy processes, 13 beside a dozen."""
STALLS = 20.0
"""Seconds for which libtorrent may wait for its timers during a transfer with a loss of 2 %.

It repeats a packet once as soon as it misses it, then after 1 s, 1.5 s more, 2.5 s more. About one packet in 2,000 is
lost twice. It dials again 4 s, 9 s and 15 s after a dial whose SYN or answer was lost, which is one in 25. All together
take more than this once in a million transfers.
"""


@pytest.fixture(scope="session")
def libtorrent() -> ModuleType:
    """The binding. Where CI is true, there is no skipping."""
    try:
        return importlib.import_module("libtorrent")
    except ImportError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"there is no libtorrent to test against, install the dev extra for it: {missing}")


class Swarm:
    """A torrent, a libtorrent session with some of its pieces, and a socket of ours with the others."""

    def __init__(self, libtorrent: ModuleType, folder: Path, torrent: Torrent, shim: Shim) -> None:
        self.torrent = torrent
        self.info_hash = hashlib.sha1(libtorrent.bencode(torrent.info())).digest()
        self.theirs = range(0, torrent.count, 2)
        self.ours = range(1, torrent.count, 2)
        self.shim = shim
        self.utp = UdpUtp(self.answer, shim)
        self._libtorrent = libtorrent
        self._folder = folder
        self.session = libtorrent.session(
            dict.fromkeys(OFF, False)
            | {
                "listen_interfaces": "127.0.0.1:0",
                "out_enc_policy": libtorrent.enc_policy.disabled,
                "in_enc_policy": libtorrent.enc_policy.disabled,
                "allow_multiple_connections_per_ip": True,
                "close_redundant_connections": False,
                **PERSISTENCE,
            }
        )

    def add_torrent(self) -> Any:
        """Give the session the torrent and a file in which every second piece is right; return its handle."""
        libtorrent, torrent = self._libtorrent, self.torrent
        empty = bytes(torrent.piece)
        contents = [torrent.content(index) if index in self.theirs else empty for index in range(torrent.count)]
        (self._folder / "file").write_bytes(b"".join(contents))
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info({b"info": torrent.info()})
        parameters.save_path = str(self._folder)
        parameters.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
        return self.session.add_torrent(parameters)

    def answer(self) -> BitTorrentPeer:
        """Return our end of a connection that libtorrent has dialled."""
        return BitTorrentPeer(self.torrent, self.info_hash, self.ours)

    def dial(self) -> BitTorrentPeer:
        peer = BitTorrentPeer(self.torrent, self.info_hash, self.ours, dials=True)
        self.utp.dial(self.session.listen_port(), peer)
        return peer

    async def dialled(self, handle: Any) -> BitTorrentPeer:
        """Have libtorrent dial us; return our end."""
        handle.connect_peer(("127.0.0.1", self.utp.port))
        await eventually(lambda: self.utp.accepted)
        return self.utp.accepted[0]

    async def peer(self, handle: Any, dialler: str) -> BitTorrentPeer:
        """Connect the two, whoever dials; return our end."""
        return self.dial() if dialler == "ours" else await self.dialled(handle)

    async def checked(self) -> Any:
        """Wait until libtorrent has looked which pieces it has and takes peers; return the torrent's handle."""
        handle = self.add_torrent()
        await eventually(lambda: handle.status().state == self._libtorrent.torrent_status.downloading)
        assert handle.status().num_pieces == len(self.theirs)
        return handle


MakeSwarm = Callable[..., Swarm]


@pytest_twisted.async_yield_fixture
async def make_swarm(libtorrent: ModuleType, tmp_path: Path) -> AsyncIterator[MakeSwarm]:
    made: list[Swarm] = []

    def make(length: int, **shim: float) -> Swarm:
        made.append(Swarm(libtorrent, tmp_path, Torrent(random.Random(1).randbytes(length)), Shim(**shim)))
        return made[-1]

    yield make
    for swarm in made:
        await swarm.utp.stop()


async def complete(handle: Any, peer: BitTorrentPeer, torrent: Torrent, stalls: float = 0.0) -> None:
    """Wait until both sides have all pieces, for ``stalls`` seconds longer than the work takes."""

    def is_complete() -> bool:
        assert peer.errors == [], "the stream ended too early"
        return handle.status().is_seeding and len(peer.pieces) == torrent.count

    await eventually(is_complete, WORK + stalls)


@pytest_twisted.ensureDeferred
async def test_it_dials_us_with_random_numbers_and_no_window_and_the_connection_is_ready(
    libtorrent: ModuleType, make_swarm: MakeSwarm
) -> None:
    swarm = make_swarm(MEGABYTE)
    handle = await swarm.checked()
    ends = [swarm.utp, *(UdpUtp(swarm.answer) for _ in range(2))]
    for end in ends:
        handle.connect_peer(("127.0.0.1", end.port))
    await eventually(lambda: all(end.accepted and end.accepted[0].shaken for end in ends))
    assert {syn.wnd_size for end in ends for syn in end.syns} == {0}
    assert len({end.syns[0].seq_nr for end in ends}) == 3
    not_ready = libtorrent.peer_info.connecting | libtorrent.peer_info.handshake

    await eventually(lambda: [bool(info.flags & not_ready) for info in handle.get_peer_info()] == [False] * 3)
    for end in ends[1:]:
        await end.stop()


@pytest.mark.parametrize("dialler", ["ours", "theirs"])
@pytest.mark.parametrize(
    ("megabytes", "shim"), [(16, {}), (4, {"loss": 0.02, "late": 0.05})], ids=["good way", "bad way"]
)
@pytest_twisted.ensureDeferred
async def test_pieces_go_both_ways_at_once_and_arrive_whole(
    make_swarm: MakeSwarm, dialler: str, megabytes: int, shim: dict[str, float]
) -> None:
    swarm = make_swarm(megabytes * MEGABYTE, **shim)
    handle = await swarm.checked()
    started_at = time.monotonic()
    peer = await swarm.peer(handle, dialler)
    await complete(handle, peer, swarm.torrent, STALLS if shim else 0.0)
    seconds = time.monotonic() - started_at
    shim_counts = f"{swarm.shim.lost} of {swarm.shim.carried} packets lost, {swarm.shim.late} late"
    logger.info("%d MB each way in %.2f s, %s", megabytes // 2, seconds, shim_counts)
    assert peer.bad_pieces == []
    assert handle.status().total_failed_bytes == 0
    assert peer.bytes_sent >= len(swarm.torrent.data) // 2
    assert bool(swarm.shim.lost and swarm.shim.late) is bool(shim)
    assert peer.errors == []


@pytest.mark.parametrize("dialler", ["ours", "theirs"])
@pytest.mark.parametrize("closer", ["ours", "theirs"])
@pytest_twisted.ensureDeferred
async def test_a_stream_that_either_side_closes_ends_in_order(make_swarm: MakeSwarm, dialler: str, closer: str) -> None:
    swarm = make_swarm(MEGABYTE)
    handle = await swarm.checked()
    peer = await swarm.peer(handle, dialler)
    await complete(handle, peer, swarm.torrent)
    # It forgets a connection as soon as it has closed it, and does not answer what comes then.
    await eventually(lambda: [session.packets_in_flight for session in swarm.utp.socket.sessions()] == [0])
    if closer == "ours":
        swarm.utp.close(peer)
    else:
        swarm.session.remove_torrent(handle)
    await eventually(lambda: peer.errors)
    assert peer.errors == [None]
    assert swarm.utp.socket.connection_count == 0
