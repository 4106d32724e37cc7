"""One real homeserver, and a node of this process that asks it for all that Dendrite asks for, as Dendrite does."""

from __future__ import annotations

import email.parser
import email.policy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
import yaml
from synapse.api.room_versions import RoomVersion, RoomVersions
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from synapse_module.homeserver import write_homeserver
from tests.support.dendrite import ALL_ROOM_VERSIONS, Answer, Dendrite, path_escape, query_escape
from tests.support.synapse_processes import QUICK_SETTINGS, Synapse, User, free_port

pytestmark = pytest.mark.synapse

SEARCHES_AT_ONCE = 40
V1 = "/_matrix/federation/v1"
V2 = "/_matrix/federation/v2"
PICTURE = bytes(range(256)) * 40


@dataclass
class Homeserver:
    """Synapse with Alice, who has a public room, a device and a picture, and Carol, who has none of them."""

    synapse: Synapse
    overlay_address: str
    alice: User
    carol: User
    lobby: str
    picture: str

    @property
    def name(self) -> str:
        return self.synapse.server_name


@pytest.fixture(scope="module")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
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
            "rc_user_directory": {"per_second": 0.01, "burst_count": SEARCHES_AT_ONCE},
        },
    )
    synapse = Synapse("synapse", written, port)
    synapse.start()
    try:
        synapse.wait_until_up()
        alice, carol = synapse.user("alice"), synapse.user("carol")
        alice.ok("PUT", f"/client/v3/profile/{alice.user_id}/displayname", {"displayname": "Alice Liddell"})
        room = {"preset": "public_chat", "visibility": "public", "room_alias_name": "lobby", "name": "Lobby"}
        lobby = alice.ok("POST", "/client/v3/createRoom", room)["room_id"]
        picture = alice.ok("POST", "/media/v3/upload", PICTURE)["content_uri"].rpartition("/")[2]
        yield Homeserver(synapse, address, alice, carol, lobby, picture)
    finally:
        synapse.stop()


@pytest_twisted.async_yield_fixture(scope="module")
async def dendrite(homeserver: Homeserver) -> AsyncIterator[Dendrite]:
    server = Dendrite(homeserver.overlay_address)
    yield server
    await server.stop()


async def eventually(look: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
    """Return what ``look`` returns once that is true; the reactor runs on meanwhile."""
    give_up_at = time.monotonic() + timeout
    while True:
        found = await deferToThread(look)
        if found:
            return found
        assert time.monotonic() < give_up_at, f"no {what} within {timeout} s"
        await deferLater(reactor, 0.1)


def ok(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.json


@pytest_twisted.ensureDeferred
async def test_a_profile(homeserver: Homeserver, dendrite: Dendrite) -> None:
    uri = f"{V1}/query/profile?user_id={query_escape(homeserver.alice.user_id)}"
    assert ok(await dendrite.request("GET", homeserver.name, uri)) == {"displayname": "Alice Liddell"}
    ok(await dendrite.request("GET", homeserver.name, f"{uri}&field=displayname"))


@pytest_twisted.ensureDeferred
async def test_an_alias(homeserver: Homeserver, dendrite: Dendrite) -> None:
    uri = f"{V1}/query/directory?room_alias={query_escape(f'#lobby:{homeserver.name}')}"
    assert ok(await dendrite.request("GET", homeserver.name, uri))["room_id"] == homeserver.lobby


@pytest_twisted.ensureDeferred
async def test_the_room_list_is_there_for_those_who_sign(homeserver: Homeserver, dendrite: Dendrite) -> None:
    body = {"filter": {}, "limit": 200}
    uri = f"{V1}/publicRooms"
    (room,) = ok(await dendrite.request("POST", homeserver.name, uri, body))["chunk"]
    assert (room["room_id"], room["name"]) == (homeserver.lobby, "Lobby")
    assert (await dendrite.request("POST", homeserver.name, uri, body, authorization=None)).status == 401


@pytest_twisted.ensureDeferred
async def test_a_signature_is_over_the_address_as_it_was_sent(homeserver: Homeserver, dendrite: Dendrite) -> None:
    name, room, user = homeserver.name, homeserver.lobby, f"@dave:{dendrite.name}"
    assert path_escape(f"{room}/#/{user}/$event") == f"%21{room[1:]}/%23/{user}/$event".replace("/", "%2F")
    spellings = [
        f"{V1}/make_join/{room_part}/{user_part}?ver=10"
        for room_part in (path_escape(room), room)
        for user_part in (user, quote(user, safe=""))
    ]
    for sent in spellings:
        for signed in spellings:
            authorization = dendrite.x_matrix("GET", name, signed)
            answer = await dendrite.request("GET", name, sent, authorization=authorization)
            assert answer.status == (200 if sent == signed else 401), (sent, signed)


@pytest_twisted.ensureDeferred
async def test_the_body_of_a_get_is_signed_too(homeserver: Homeserver, dendrite: Dendrite) -> None:
    uri, body = f"{V1}/query/profile?user_id={query_escape(homeserver.alice.user_id)}", {"entry_id": 0}
    ok(await dendrite.request("GET", homeserver.name, uri, body))
    for signed in (None, {"entry_id": 1}):
        authorization = dendrite.x_matrix("GET", homeserver.name, uri, signed)
        answer = await dendrite.request("GET", homeserver.name, uri, body, authorization=authorization)
        assert answer.status == 401, signed
    ok(await dendrite.request("GET", homeserver.name, uri))


@pytest_twisted.ensureDeferred
async def test_a_name_in_upper_case_is_another_name(homeserver: Homeserver, dendrite: Dendrite) -> None:
    uri = f"{V1}/query/profile?user_id={query_escape(homeserver.alice.user_id)}"
    for origin, destination in ((dendrite.name.upper(), homeserver.name), (dendrite.name, homeserver.name.upper())):
        authorization = dendrite.x_matrix("GET", destination, uri, origin=origin)
        answer = await dendrite.request("GET", homeserver.name, uri, authorization=authorization)
        assert answer.status == 401, (origin, destination)


def an_invite(dendrite: Dendrite, invited: User, room: str) -> dict[str, Any]:
    return {
        "type": "m.room.member",
        "room_id": room,
        "sender": f"@dave:{dendrite.name}",
        "origin": dendrite.name,
        "state_key": invited.user_id,
        "content": {"membership": "invite"},
        "depth": 5,
    }


def stripped(version: RoomVersion, sender: str) -> list[dict[str, Any]]:
    content = {"room_version": version.identifier}
    return [{"type": "m.room.create", "sender": sender, "state_key": "", "content": content}]


@pytest_twisted.ensureDeferred
async def test_an_invite_is_signed_and_shown(homeserver: Homeserver, dendrite: Dendrite) -> None:
    room, version = f"!garden:{dendrite.name}", RoomVersions.V10
    links = {"auth_events": ["$" + "a" * 43], "prev_events": ["$" + "b" * 43]}
    event_id, event = dendrite.signed_event(version, {**an_invite(dendrite, homeserver.alice, room), **links})
    uri = f"{V2}/invite/{path_escape(room)}/{path_escape(event_id)}"
    body = {
        "room_version": version.identifier,
        "invite_room_state": stripped(version, event["sender"]),
        "event": event,
    }
    await deferToThread(homeserver.alice.new_invites)
    answer = ok(await dendrite.request("PUT", homeserver.name, uri, body))
    assert answer["event"]["signatures"].keys() == {dendrite.name, homeserver.name}
    assert await deferToThread(homeserver.alice.new_invites) == {room}


@pytest_twisted.ensureDeferred
async def test_an_invite_of_old_is_signed_and_shown(homeserver: Homeserver, dendrite: Dendrite) -> None:
    room = f"!cellar:{dendrite.name}"
    links = {"event_id": f"$invite:{dendrite.name}", "auth_events": [], "prev_events": []}
    event_id, event = dendrite.signed_event(RoomVersions.V1, {**an_invite(dendrite, homeserver.carol, room), **links})
    uri = f"{V1}/invite/{path_escape(room)}/{path_escape(event_id)}"
    await deferToThread(homeserver.carol.new_invites)
    status, answer = ok(await dendrite.request("PUT", homeserver.name, uri, event))
    assert status == 200
    assert answer["event"]["signatures"].keys() == {dendrite.name, homeserver.name}
    assert await deferToThread(homeserver.carol.new_invites) == {room}


async def join(homeserver: Homeserver, dendrite: Dendrite, localpart: str) -> tuple[str, dict[str, Any]]:
    """Have a user of Dendrite's join the lobby; return the event's id and the answer."""
    room, user = homeserver.lobby, f"@{localpart}:{dendrite.name}"
    uri = f"{V1}/make_join/{path_escape(room)}/{path_escape(user)}?{ALL_ROOM_VERSIONS}"
    template = ok(await dendrite.request("GET", homeserver.name, uri))
    assert template["room_version"] == "10"
    content = {**template["event"]["content"], "displayname": f"{localpart.title()} Liddell"}
    event_id, event = dendrite.signed_event(RoomVersions.V10, {**template["event"], "content": content})
    uri = f"{V2}/send_join/{path_escape(room)}/{path_escape(event_id)}"
    return event_id, ok(await dendrite.request("PUT", homeserver.name, uri, event))


async def received_event(dendrite: Dendrite, body: str) -> dict[str, Any]:
    def look() -> Any:
        pdus = [pdu for transaction in dendrite.received for pdu in transaction["pdus"]]
        return next((pdu for pdu in pdus if pdu["content"].get("body") == body), None)

    found: dict[str, Any] = await eventually(look, f"transaction with {body!r}")
    return found


def has_message(user: User, room: str, body: str) -> bool:
    chunk = user.ok("GET", f"/client/v3/rooms/{quote(room)}/messages?dir=b&limit=20")["chunk"]
    return any(event["content"].get("body") == body for event in chunk)


@pytest_twisted.ensureDeferred
async def test_a_room_is_joined_read_and_written(homeserver: Homeserver, dendrite: Dendrite) -> None:
    name, room, alice = homeserver.name, homeserver.lobby, homeserver.alice
    join_id, joined = await join(homeserver, dendrite, "dave")
    state = {(event["type"], event.get("state_key")) for event in joined["state"]}
    assert {("m.room.create", ""), ("m.room.member", alice.user_id)} <= state
    assert joined["auth_chain"]

    (again,) = ok(await dendrite.request("GET", name, f"{V1}/event/{path_escape(join_id)}"))["pdus"]
    assert again["content"]["membership"] == "join"
    uri = f"{V1}/state_ids/{path_escape(room)}?event_id={query_escape(join_id)}"
    assert len(ok(await dendrite.request("GET", name, uri))["pdu_ids"]) == len(joined["state"])

    # Out, from Alice to Dave.
    alices_id = await deferToThread(alice.send, room, "Have some wine")
    assert (await received_event(dendrite, "Have some wine"))["prev_events"] == [join_id]

    # In, from Dave to Alice.
    known = {event["type"]: event for event in joined["state"] if event["type"] != "m.room.member"}
    auth_ids = [dendrite.signed_id(RoomVersions.V10, known[kind]) for kind in ("m.room.create", "m.room.power_levels")]
    message = {
        "type": "m.room.message",
        "room_id": room,
        "sender": f"@dave:{dendrite.name}",
        "content": {"msgtype": "m.text", "body": "I see no wine"},
        "auth_events": [*auth_ids, join_id],
        "prev_events": [alices_id],
        "depth": again["depth"] + 2,
    }
    daves_id, event = dendrite.signed_event(RoomVersions.V10, message)
    typing = {"room_id": room, "user_id": message["sender"], "typing": True}
    edus = [{"edu_type": "m.typing", "content": typing}] * 100
    uri = f"{V1}/send/{time.time_ns() // 10**6}-1"
    assert ok(await dendrite.request("PUT", name, uri, dendrite.transaction([event], edus))) == {"pdus": {daves_id: {}}}
    await eventually(lambda: has_message(alice, room, "I see no wine"), "message")

    uri = f"{V1}/backfill/{path_escape(room)}?limit=10&v={query_escape(daves_id)}"
    assert len(ok(await dendrite.request("GET", name, uri))["pdus"]) == 10
    missing = {"earliest_events": [join_id], "latest_events": [daves_id], "limit": 10, "min_depth": 0}
    uri = f"{V1}/get_missing_events/{path_escape(room)}"
    (between,) = ok(await dendrite.request("POST", name, uri, missing))["events"]
    assert between["content"]["body"] == "Have some wine"


@pytest_twisted.ensureDeferred
async def test_an_invite_is_rejected(homeserver: Homeserver, dendrite: Dendrite) -> None:
    room, user = homeserver.lobby, f"@eve:{dendrite.name}"
    invite_uri = f"/client/v3/rooms/{quote(room)}/invite"
    await deferToThread(homeserver.alice.ok, "POST", invite_uri, {"user_id": user})
    uri = f"{V1}/make_leave/{path_escape(room)}/{path_escape(user)}"
    template = ok(await dendrite.request("GET", homeserver.name, uri))
    event_id, event = dendrite.signed_event(RoomVersions.V10, template["event"])
    uri = f"{V2}/send_leave/{path_escape(room)}/{path_escape(event_id)}"
    assert ok(await dendrite.request("PUT", homeserver.name, uri, event)) == {}
    path = f"/client/v3/rooms/{quote(room)}/state/m.room.member/{quote(user)}"
    member = await deferToThread(homeserver.alice.ok, "GET", path)
    assert member["membership"] == "leave"


@pytest_twisted.ensureDeferred
async def test_devices_and_keys(homeserver: Homeserver, dendrite: Dendrite) -> None:
    name, alice = homeserver.name, homeserver.alice
    device = (await deferToThread(alice.ok, "GET", "/client/v3/devices"))["devices"][0]["device_id"]
    keys = {
        "user_id": alice.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "B" * 43},
        "signatures": {alice.user_id: {f"ed25519:{device}": "C" * 86}},
    }
    one_time = {"signed_curve25519:AAAA": {"key": "D" * 43, "signatures": {}}}
    await deferToThread(alice.ok, "POST", "/client/v3/keys/upload", {"device_keys": keys, "one_time_keys": one_time})
    devices = ok(await dendrite.request("GET", name, f"{V1}/user/devices/{path_escape(alice.user_id)}"))
    assert [found["device_id"] for found in devices["devices"]] == [device]
    uri, body = f"{V1}/user/keys/query", {"device_keys": {alice.user_id: []}}
    found = ok(await dendrite.request("POST", name, uri, body))["device_keys"][alice.user_id][device]
    assert found["keys"] == keys["keys"]
    uri, body = f"{V1}/user/keys/claim", {"one_time_keys": {alice.user_id: {device: "signed_curve25519"}}}
    claimed = ok(await dendrite.request("POST", name, uri, body))["one_time_keys"]
    assert claimed == {alice.user_id: {device: one_time}}


@pytest_twisted.ensureDeferred
async def test_media_with_a_signature_come_as_two_parts(homeserver: Homeserver, dendrite: Dendrite) -> None:
    answer = await dendrite.request("GET", homeserver.name, f"{V1}/media/download/{homeserver.picture}")
    assert answer.status == 200
    (content_type,) = answer.headers.getRawHeaders("Content-Type")
    message = f"Content-Type: {content_type}\r\n\r\n".encode() + answer.content
    about, picture = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(message).iter_parts()
    assert about["Content-Type"] == "application/json"
    assert json.loads(about.get_payload()) == {}
    assert picture["Location"] is None
    assert PICTURE in answer.content


def legacy(version: str, server: str, media_id: str) -> str:
    return f"/_matrix/media/{version}/download/{server}/{media_id}?allow_remote=false"


@pytest.mark.parametrize("version", ["v3", "r0"])
@pytest_twisted.ensureDeferred
async def test_media_without_a_signature_come_plain(homeserver: Homeserver, dendrite: Dendrite, version: str) -> None:
    uri = legacy(version, homeserver.name, homeserver.picture)
    answer = await dendrite.request("GET", homeserver.name, uri, authorization=None)
    assert answer.status == 200
    assert answer.content == PICTURE


@pytest_twisted.ensureDeferred
async def test_nothing_else_comes_without_a_signature(homeserver: Homeserver, dendrite: Dendrite) -> None:
    name, picture = homeserver.name, homeserver.picture
    for method, uri in (
        ("GET", f"/_matrix/media/v3/download/{dendrite.name}/{picture}"),
        ("GET", f"/_matrix/media/v3/download/{name}/nothing"),
        ("GET", f"/_matrix/media/v3/thumbnail/{name}/{picture}?width=10&height=10"),
        ("GET", "/_matrix/media/v3/preview_url?url=http://127.0.0.1/"),
        ("GET", "/_matrix/media/v3/config"),
        ("POST", "/_matrix/media/v3/upload"),
        ("GET", "/_matrix/p2p"),
        ("GET", "/_matrix/p2p/other"),
        ("GET", "/_matrix/key/v2/server"),
        ("GET", "/_matrix/client/versions"),
    ):
        answer = await dendrite.request(method, name, uri, authorization=None)
        assert answer.status == 404, uri
    assert dendrite.name not in "".join(
        line for line in homeserver.synapse.logged().splitlines() if "Fetching remote media" in line
    )


async def profiles(homeserver: Homeserver, dendrite: Dendrite, text: str, limit: int = 25) -> Any:
    body = {"SearchString": text, "Limit": limit}
    return ok(await dendrite.request("GET", homeserver.name, "/_matrix/p2p/profiles", body, authorization=None))


@pytest_twisted.ensureDeferred
async def test_a_search_finds_own_users_who_are_in_public(homeserver: Homeserver, dendrite: Dendrite) -> None:
    await join(homeserver, dendrite, "daisy")
    alice = {
        "local_part": "alice",
        "server_name": homeserver.name,
        "display_name": "Alice Liddell",
        "avatar_url": "",
    }
    path = "/client/v3/user_directory/search"

    def directory_is_up_to_date() -> bool:
        found = homeserver.alice.ok("POST", path, {"search_term": "daisy"})["results"]
        return bool(found)

    await eventually(directory_is_up_to_date, "entry for Daisy")
    for text in ("alice", "ali", "LIDDELL", f"@alice:{homeserver.name}"):
        assert await profiles(homeserver, dendrite, text) == {"Profiles": [alice]}, text
    for text in ("carol", "daisy", "", "*", "%", '"', "' OR 1=1 --", "x" * 5000):
        assert await profiles(homeserver, dendrite, text) == {"Profiles": None}, text
    assert await profiles(homeserver, dendrite, "alice", 0) == {"Profiles": None}
    for body in ({"SearchString": 1}, [], None):
        uri = "/_matrix/p2p/profiles"
        assert (await dendrite.request("GET", homeserver.name, uri, body, authorization=None)).status == 400


@pytest_twisted.ensureDeferred
async def test_a_peer_that_searches_without_end_is_held_up(homeserver: Homeserver, dendrite: Dendrite) -> None:
    body = {"SearchString": "alice", "Limit": 1}
    uri = "/_matrix/p2p/profiles"
    for _ in range(SEARCHES_AT_ONCE + 1):
        answer = await dendrite.request("GET", homeserver.name, uri, body, authorization=None)
        if answer.status == 429:
            return
        assert answer.status == 200
    pytest.fail("never")


async def restarted(homeserver: Homeserver, dendrite: Dendrite, **settings: object) -> None:
    """Start the homeserver again with these settings, some of them the module's options."""
    path: Path = homeserver.synapse.homeserver.config
    config = yaml.safe_load(path.read_text())
    config["modules"][0]["config"]["profiles"] = settings.pop("profiles")
    path.write_text(yaml.safe_dump({**config, **settings}))
    await deferToThread(homeserver.synapse.stop)
    homeserver.synapse.start()
    await deferToThread(homeserver.synapse.wait_until_up)
    dendrite.redial()


@pytest_twisted.ensureDeferred
async def test_what_the_administrator_closes_is_closed(homeserver: Homeserver, dendrite: Dendrite) -> None:
    await restarted(homeserver, dendrite, profiles=False, enable_authenticated_media=True)
    answer = await dendrite.request(
        "GET", homeserver.name, "/_matrix/p2p/profiles", {"SearchString": "alice"}, authorization=None
    )
    assert answer.status == 404
    uri = (await deferToThread(homeserver.alice.ok, "POST", "/media/v3/upload", PICTURE))["content_uri"]
    new = uri.rpartition("/")[2]
    for media_id, status in ((homeserver.picture, 200), (new, 404)):
        path = legacy("v3", homeserver.name, media_id)
        assert (await dendrite.request("GET", homeserver.name, path, authorization=None)).status == status
    assert PICTURE in (await dendrite.request("GET", homeserver.name, f"{V1}/media/download/{new}")).content


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_let_in_gets_nothing(homeserver: Homeserver, dendrite: Dendrite) -> None:
    await restarted(homeserver, dendrite, profiles=True, federation_domain_whitelist=["ab" * 32])
    body = {"SearchString": "alice"}
    for uri, content in (
        ("/_matrix/p2p/profiles", body),
        (legacy("v3", homeserver.name, homeserver.picture), None),
    ):
        answer = await dendrite.request("GET", homeserver.name, uri, content, authorization=None)
        assert answer.status == 403, uri
    uri = f"{V1}/query/profile?user_id={query_escape(homeserver.alice.user_id)}"
    assert (await dendrite.request("GET", homeserver.name, uri)).status == 403
