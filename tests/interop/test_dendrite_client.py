"""A real homeserver, asked over QUIC and µTP for all that Dendrite asks for, by the Go library that Dendrite asks with.

That library makes and signs the requests and events and checks hashes and signatures of what comes back. The same holds
for what the homeserver sends: the Go node refuses what is not signed as Dendrite wants it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from pinecone_transport.identity import Identity
from synapse_module.homeserver import write_homeserver
from tests.support.go_peer import GoPeer
from tests.support.peer_process import PeerError
from tests.support.synapse_processes import QUICK_SETTINGS, Synapse, User, free_port

pytestmark = [pytest.mark.interop, pytest.mark.synapse]

LONGEST_ANSWER = 10.0
"""Seconds. What takes longer does not come through where Dendrite is in the middle of it."""

V1 = "/_matrix/federation/v1"
V2 = "/_matrix/federation/v2"
PICTURE = bytes(range(256)) * 1000
ROOM_VERSIONS = ("10", "11")


@dataclass
class Homeserver:
    """Synapse with Alice, who has a device, a picture and public rooms of the versions, and Carol, who is nowhere."""

    synapse: Synapse
    overlay_address: str
    alice: User
    carol: User
    picture: str
    rooms: dict[str, str]

    @property
    def name(self) -> str:
        return self.synapse.server_name


@pytest.fixture(scope="module")
def homeserver(tmp_path_factory: pytest.TempPathFactory, go_peers: dict[str, str]) -> Iterator[Homeserver]:
    port, address = free_port(), f"127.0.0.1:{free_port()}"
    written = write_homeserver(
        tmp_path_factory.mktemp("dendrite") / "homeserver",
        client_port=port,
        listen=[address],
        lan=False,
        room_version="10",
        settings={
            **QUICK_SETTINGS,
            "enable_authenticated_media": False,
            # By default a user is invited five times and then once in five minutes.
            "rc_invites": {"per_user": {"per_second": 10, "burst_count": 100}},
        },
    )
    synapse = Synapse("synapse", written, port)
    synapse.start()
    try:
        synapse.wait_until_up()
        alice, carol = synapse.user("alice"), synapse.user("carol")
        alice.ok("PUT", f"/client/v3/profile/{alice.user_id}/displayname", {"displayname": "Alice Liddell"})
        picture = alice.ok("POST", "/media/v3/upload", PICTURE)["content_uri"].rpartition("/")[2]
        assert not carol.new_invites()
        rooms = {}
        for version in ROOM_VERSIONS:
            room = {"preset": "public_chat", "visibility": "public", "room_alias_name": f"lobby{version}"}
            if version != "10":
                room["room_version"] = version
            rooms[version] = alice.ok("POST", "/client/v3/createRoom", room)["room_id"]
        yield Homeserver(synapse, address, alice, carol, picture, rooms)
    finally:
        synapse.stop()


@dataclass
class Dendrite:
    """A Go node that speaks to the homeserver."""

    peer: GoPeer
    server: str
    asked: list[str] = field(default_factory=list)
    """Methods and addresses of the last action's requests."""

    @property
    def name(self) -> str:
        return self.peer.name

    async def act(self, action: str, *, signed: bool = True, **options: object) -> Any:
        """Return what the homeserver answered; check what it was asked."""
        result = await self.peer.command("federate", key=self.server, timeout=LONGEST_ANSWER, action=action, **options)
        self.asked = [self._checked(head, signed) for head in result["requests"]]
        assert result["seconds"] < LONGEST_ANSWER
        return result["answer"]

    def _checked(self, head: str, signed: bool) -> str:
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, uri, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        authorization = headers.pop("Authorization", "")
        if signed:
            assert re.fullmatch(
                f'X-Matrix origin="{self.name}",key="ed25519:dendrite-demo-yggdrasil",'
                f'sig="[A-Za-z0-9+/]{{86}}",destination="{self.server}"',
                authorization,
            )
        else:
            assert not authorization
        length = headers.pop("Content-Length", None)
        assert (length is not None) is (method != "GET" or "/p2p/" in uri)
        assert headers.pop("Content-Type", None) == ("application/json" if signed and length else None)
        assert headers == {"Host": self.server, "User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}
        return f"{method} {uri}"


@pytest_twisted.async_yield_fixture(
    scope="module", params=[("0.48", "quic"), ("0.37", "quic"), ("0.48", "utp")], ids="-".join
)
async def dendrite(
    request: pytest.FixtureRequest, homeserver: Homeserver, go_peers: dict[str, str]
) -> AsyncIterator[Dendrite]:
    version, sessions = request.param
    peer = GoPeer(
        go_peers[version],
        Identity.generate(),
        sessions=sessions,
        peers=[homeserver.overlay_address],
        transfer_time=int(LONGEST_ANSWER),
    )
    await peer.ready
    made = Dendrite(peer, homeserver.name)
    try:
        await eventually(lambda: linked(made), "link")
        yield made
    finally:
        await peer.stop()


async def linked(dendrite: Dendrite) -> bool:
    state = await dendrite.peer.state()
    return [link["key"] for link in state["links"]] == [dendrite.server] and bool(
        state["parent"] or state["descending"]
    )


async def eventually(look: Any, what: str, timeout: float = 20.0) -> Any:
    """Return what ``look`` comes to once that is true."""
    give_up_at = reactor.seconds() + timeout
    while True:
        found = await look()
        if found:
            return found
        assert reactor.seconds() < give_up_at, f"no {what} within {timeout} s"
        await deferLater(reactor, 0.05)


def escaped(identifier: str) -> str:
    return identifier.replace("!", "%21")


@pytest_twisted.ensureDeferred
async def test_a_profile(homeserver: Homeserver, dendrite: Dendrite) -> None:
    alice = homeserver.alice.user_id
    assert await dendrite.act("profile", user=alice) == {"displayname": "Alice Liddell"}
    assert dendrite.asked == [f"GET {V1}/query/profile?user_id={quote(alice, safe='')}"]
    with pytest.raises(PeerError, match="404"):
        await dendrite.act("profile", user=f"@nobody:{homeserver.name}")


@pytest_twisted.ensureDeferred
async def test_an_alias(homeserver: Homeserver, dendrite: Dendrite) -> None:
    alias = f"#lobby10:{homeserver.name}"
    answer = await dendrite.act("directory", alias=alias)
    assert answer["room_id"] == homeserver.rooms["10"]
    assert homeserver.name in answer["servers"]
    assert dendrite.asked == [f"GET {V1}/query/directory?room_alias={quote(alias, safe='')}"]


@pytest_twisted.ensureDeferred
async def test_the_room_list(homeserver: Homeserver, dendrite: Dendrite) -> None:
    answer = await dendrite.act("public rooms")
    assert {room["room_id"] for room in answer["chunk"]} == {*homeserver.rooms.values()}
    assert dendrite.asked == [f"POST {V1}/publicRooms"]


@pytest_twisted.ensureDeferred
async def test_a_search_for_users(homeserver: Homeserver, dendrite: Dendrite) -> None:
    async def found() -> Any:
        return (await dendrite.act("search", text="liddell", signed=False))["Profiles"]

    (profile,) = await eventually(found, "entry in the directory")
    assert profile == {
        "local_part": "alice",
        "server_name": homeserver.name,
        "display_name": "Alice Liddell",
        "avatar_url": "",
    }
    assert dendrite.asked == ["GET /_matrix/p2p/profiles"]
    assert await dendrite.act("search", text="nobody", signed=False) == {"Profiles": None}


@pytest.mark.parametrize(("version", "path"), [("10", V2), ("11", V2), ("1", V1)])
@pytest_twisted.ensureDeferred
async def test_an_invite(homeserver: Homeserver, dendrite: Dendrite, version: str, path: str) -> None:
    carol = homeserver.carol
    (event,) = await dendrite.act("invite", version=version, user=carol.user_id)
    assert event["content"] == {"membership": "invite"}
    room = f"!of{version}:{dendrite.name}"
    assert dendrite.asked == [f"PUT {path}/invite/{escaped(room)}/{event['id']}"]
    assert await deferToThread(carol.new_invites) == {room}


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest_twisted.ensureDeferred
async def test_a_room_is_joined_read_written_and_left(homeserver: Homeserver, dendrite: Dendrite, version: str) -> None:
    alice, room, dave = homeserver.alice, homeserver.rooms[version], f"@dave:{dendrite.name}"
    joined = await dendrite.act("join", room=room, user=dave)
    join, state = joined["event"], joined["state"]
    make_join, send_join = dendrite.asked
    assert make_join.startswith(f"GET {V1}/make_join/{escaped(room)}/{dave}?ver=")
    assert send_join == f"PUT {V2}/send_join/{escaped(room)}/{join['id']}"
    assert joined["version"] == version
    assert {("m.room.create", ""), ("m.room.member", alice.user_id)} <= {
        (event["type"], event["state_key"]) for event in state
    }

    alices_id = await deferToThread(alice.send, room, f"Have some wine, {dave}")
    received = await eventually(lambda: events_in(dendrite, room, alices_id), "transaction")
    assert received["content"]["body"] == f"Have some wine, {dave}"

    sent = await dendrite.act("send", room=room, user=dave, text=f"I see none, {dave}", typing=100)
    daves = sent["event"]
    assert sent["result"] == {"pdus": {daves["id"]: {}}}
    assert re.fullmatch(rf"PUT {V1}/send/\d+-1", dendrite.asked[0])
    assert daves["previous"] == [alices_id]
    await deferToThread(alice.wait_for_message, room, f"I see none, {dave}")

    (again,) = await dendrite.act("event", room=room, event=join["id"])
    assert (again["sender"], again["content"]["membership"]) == (dave, "join")
    assert dendrite.asked == [f"GET {V1}/event/{join['id']}"]
    ids = await dendrite.act("state ids", room=room, event=join["id"])
    assert {*ids["pdu_ids"]} == {event["id"] for event in state}
    assert ids["auth_chain_ids"]
    assert dendrite.asked == [f"GET {V1}/state_ids/{escaped(room)}?event_id={quote(join['id'], safe='')}"]
    between = await dendrite.act(
        "missing events", room=room, version=version, earliest=[join["id"]], latest=[daves["id"]]
    )
    assert [event["id"] for event in between] == [alices_id]
    assert dendrite.asked == [f"POST {V1}/get_missing_events/{escaped(room)}"]
    before = await dendrite.act("backfill", room=room, event=daves["id"])
    assert {daves["id"], alices_id, join["id"]} <= {event["id"] for event in before}
    assert dendrite.asked == [f"GET {V1}/backfill/{escaped(room)}?limit=10&v={quote(daves['id'], safe='')}"]

    assert await dendrite.act("leave", room=room, user=dave) == {"version": version}
    assert await membership(alice, room, dave) == "leave"


async def events_in(dendrite: Dendrite, room: str, event_id: str) -> Any:
    """Return the event if the homeserver has sent it; it may have sent others of the room, too."""
    received = await dendrite.act("received", room=room)
    return next((event for event in received if event["id"] == event_id), None)


async def membership(asked: User, room: str, user: str) -> str:
    path = f"/client/v3/rooms/{quote(room)}/state/m.room.member/{quote(user)}"
    content = await deferToThread(asked.ok, "GET", path)
    return content["membership"]


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest_twisted.ensureDeferred
async def test_an_invite_is_taken_and_rejected(homeserver: Homeserver, dendrite: Dendrite, version: str) -> None:
    alice, room, eve = homeserver.alice, homeserver.rooms[version], f"@eve:{dendrite.name}"
    await deferToThread(alice.ok, "POST", f"/client/v3/rooms/{quote(room)}/invite", {"user_id": eve})
    assert await membership(alice, room, eve) == "invite"
    assert await dendrite.act("leave", room=room, user=eve) == {"version": version}
    make_leave, send_leave = dendrite.asked
    assert make_leave == f"GET {V1}/make_leave/{escaped(room)}/{eve}"
    assert send_leave.startswith(f"PUT {V2}/send_leave/{escaped(room)}/$")
    assert await membership(alice, room, eve) == "leave"


@pytest_twisted.ensureDeferred
async def test_devices_and_keys(homeserver: Homeserver, dendrite: Dendrite) -> None:
    alice = homeserver.alice
    device = (await deferToThread(alice.ok, "GET", "/client/v3/devices"))["devices"][0]["device_id"]
    keys = {
        "user_id": alice.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "A" * 43},
        "signatures": {alice.user_id: {f"ed25519:{device}": "A" * 86}},
    }
    one_time = {f"signed_curve25519:{dendrite.name[:8]}": {"key": "A" * 43, "signatures": {}}}
    await deferToThread(alice.ok, "POST", "/client/v3/keys/upload", {"device_keys": keys, "one_time_keys": one_time})
    devices = await dendrite.act("devices", user=alice.user_id)
    assert [(found["device_id"], found["keys"]["keys"]) for found in devices["devices"]] == [(device, keys["keys"])]
    assert dendrite.asked == [f"GET {V1}/user/devices/{alice.user_id}"]
    found = await dendrite.act("query keys", user=alice.user_id)
    assert found["device_keys"][alice.user_id][device]["keys"] == keys["keys"]
    assert dendrite.asked == [f"POST {V1}/user/keys/query"]
    claimed = await dendrite.act("claim keys", user=alice.user_id, device=device)
    assert claimed["one_time_keys"] == {alice.user_id: {device: one_time}}
    assert dendrite.asked == [f"POST {V1}/user/keys/claim"]


@pytest_twisted.ensureDeferred
async def test_media_with_and_without_a_signature(homeserver: Homeserver, dendrite: Dendrite) -> None:
    picture = {
        "status": 200,
        "type": "application/octet-stream",
        "bytes": len(PICTURE),
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
    }
    assert await dendrite.act("media", media=homeserver.picture) == picture
    assert dendrite.asked == [f"GET {V1}/media/download/{homeserver.picture}"]
    assert await dendrite.act("media of old", media=homeserver.picture, signed=False) == picture
    path = f"/_matrix/media/v3/download/{homeserver.name}/{homeserver.picture}?allow_remote=false"
    assert dendrite.asked == [f"GET {path}"]
