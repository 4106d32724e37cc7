"""Synapse and Dendrite in rooms with each other, with a relay of ours between their LANs and nothing configured.

Everything is what its users run: Synapse as ``pinecone new-homeserver`` makes it, ``pinecone node``, and Dendrite's
demo.
"""

from __future__ import annotations

import base64
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from synapse_module.homeserver import write_homeserver
from tests.support.dendrite_process import Dendrite, require_dendrite
from tests.support.namespaces import Lans, require_namespaces
from tests.support.synapse_processes import QUICK_SETTINGS, Process, Server, Synapse, User

pytestmark = [pytest.mark.interop, pytest.mark.synapse]

logger = logging.getLogger(__name__)

ROOM_VERSIONS = ("10", "11")
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000
RETURN_TIMEOUT = 90.0
"""Seconds for what waited for a server that was away. Dendrite tries again after 2, 4, 8 … seconds, at most 64 then."""


@dataclass
class Network:
    """The two homeservers, and a user of each who has a device."""

    synapse: Synapse
    dendrite: Dendrite
    alice: User
    bob: User

    @property
    def users(self) -> tuple[tuple[User, User], tuple[User, User]]:
        """Each with the other."""
        return (self.alice, self.bob), (self.bob, self.alice)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    program = require_dendrite()
    require_namespaces()
    directory = tmp_path_factory.mktemp("dendrite")
    with Lans("lan0", "lan1") as lans, ExitStack() as running:
        near, middle, far = lans.host("near", "lan0"), lans.host("middle", "lan0", "lan1"), lans.host("far", "lan1")
        settings = {**QUICK_SETTINGS, "enable_authenticated_media": False}
        written = write_homeserver(directory / "synapse", client_port=8008, room_version="10", settings=settings)
        synapse = Synapse("synapse", written, 8008, near)
        dendrite = Dendrite(program, directory / "dendrite", far)
        node = [sys.executable, "-m", "pinecone_transport.node.cli", "node", "--lan"]
        files = ["--key-file", str(directory / "relay.key"), "--control-socket", str(directory / "relay.sock")]
        for process in (Process("relay", middle.command(*node, *files), directory / "relay.log"), synapse, dendrite):
            process.start()
            running.callback(process.stop)
        synapse.wait_until_up()
        dendrite.wait_until_up()
        yield Network(synapse, dendrite, synapse.user("alice"), dendrite.user("bob"))


def path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def server_of(user: User) -> str:
    return user.user_id.partition(":")[2]


def until(server: Server, look: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    started_at = time.monotonic()
    found = server.wait_until(look, what, timeout)
    logger.info("%s: %.2f s", what, time.monotonic() - started_at)
    return found


def join(user: User, room: str, through: User) -> str:
    """Join a room that another server is in, as soon as there is a way to it; return its id."""

    def look() -> Any:
        status, answer = user.call("POST", f"/client/v3{path('join', room)}?server_name={server_of(through)}", {})
        return answer["room_id"] if status == 200 else None

    room_id: str = until(user.server, look, f"join by {user.user_id[:6]}")
    return room_id


def check_messages(room: str, *pairs: tuple[User, User]) -> None:
    """What each of them says is read by the other."""
    for sender, reader in pairs:
        text = f"{sender.user_id} says hello in {room} at {time.monotonic()}"
        sender.send(room, text)
        reader.wait_for_message(room, text)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest.mark.parametrize("host", ["synapse", "dendrite"])
def test_a_public_room_is_found_by_its_alias_and_joined(network: Network, host: str, version: str) -> None:
    owner, guest = network.users[host == "dendrite"]
    name = f"lobby-{host}-{version}"
    settings = {"preset": "public_chat", "room_alias_name": name, "room_version": version}
    room = owner.ok("POST", "/client/v3/createRoom", settings)["room_id"]
    owner.send(room, "written before anybody came")
    assert join(guest, f"#{name}:{server_of(owner)}", owner) == room
    check_messages(room, *network.users)
    guest.wait_for_message(room, "written before anybody came")


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest.mark.parametrize("host", ["synapse", "dendrite"])
def test_an_invite_to_a_private_room_is_seen_and_accepted(network: Network, host: str, version: str) -> None:
    owner, guest = network.users[host == "dendrite"]
    settings = {"preset": "private_chat", "room_version": version, "invite": [guest.user_id]}
    room = owner.ok("POST", "/client/v3/createRoom", settings)["room_id"]
    guest.wait_for_invite(room)
    assert join(guest, room, owner) == room
    check_messages(room, *network.users)
    guest.ok("POST", f"/client/v3{path('rooms', room, 'leave')}", {})

    def left() -> bool:
        state = owner.ok("GET", f"/client/v3{path('rooms', room, 'state', 'm.room.member', guest.user_id)}")
        return bool(state["membership"] == "leave")

    until(owner.server, left, "leave")


def test_profiles_are_looked_up(network: Network) -> None:
    for user, other in network.users:
        other.ok("PUT", f"/client/v3{path('profile', other.user_id, 'displayname')}", {"displayname": "Somebody"})
        assert user.ok("GET", f"/client/v3{path('profile', other.user_id)}")["displayname"] == "Somebody"


def test_public_rooms_are_listed(network: Network) -> None:
    for user, other in network.users:
        settings = {"preset": "public_chat", "visibility": "public", "name": "the square"}
        room = other.ok("POST", "/client/v3/createRoom", settings)["room_id"]
        listed = user.ok("POST", f"/client/v3/publicRooms?server={server_of(other)}", {"limit": 50})
        assert room in {entry["room_id"] for entry in listed["chunk"]}


def test_media_are_fetched(network: Network) -> None:
    for user, other in network.users:
        uri = other.ok("POST", "/media/v3/upload", PICTURE)["content_uri"]
        status, content = user.call("GET", "/media/v3/download/" + uri.removeprefix("mxc://"))
        assert (status, content) == (200, PICTURE)


def test_keys_for_encryption_are_looked_up_and_claimed_and_what_is_sent_to_a_device_arrives(network: Network) -> None:
    for user, other in network.users:
        device = other.ok("GET", "/client/v3/account/whoami")["device_id"]
        device_keys = {
            "user_id": other.user_id,
            "device_id": device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"curve25519:{device}": unpadded(1, 32), f"ed25519:{device}": unpadded(2, 32)},
            "signatures": {other.user_id: {f"ed25519:{device}": unpadded(3, 64)}},
        }
        once = {"signed_curve25519:AAAA": {"key": unpadded(4, 32), "signatures": device_keys["signatures"]}}
        other.ok("POST", "/client/v3/keys/upload", {"device_keys": device_keys, "one_time_keys": once})
        queried = user.ok("POST", "/client/v3/keys/query", {"device_keys": {other.user_id: []}})
        assert queried["device_keys"][other.user_id][device]["keys"] == device_keys["keys"]
        claim = {other.user_id: {device: "signed_curve25519"}}
        claimed = user.ok("POST", "/client/v3/keys/claim", {"one_time_keys": claim})
        assert claimed["one_time_keys"][other.user_id][device] == once
        check_message_to_device(user, other, device)


def unpadded(value: int, length: int) -> str:
    return base64.b64encode(bytes([value] * length)).decode().rstrip("=")


def check_message_to_device(sender: User, reader: User, device: str) -> None:
    event_type, content = "org.example.greeting", {"text": f"for this device alone, {time.monotonic()}"}
    message = {"messages": {reader.user_id: {device: content}}}
    sender.ok("PUT", f"/client/v3/sendToDevice/{event_type}/{time.monotonic_ns()}", message)
    wanted = {"type": event_type, "sender": sender.user_id, "content": content}
    until(reader.server, lambda: wanted in reader.news(1).get("to_device", {}).get("events", []), "message to a device")


@pytest.mark.parametrize("away", ["synapse", "dendrite"])
def test_messages_to_a_server_that_was_away_arrive_when_it_is_back(network: Network, away: str) -> None:
    settings = {"preset": "private_chat", "invite": [network.bob.user_id]}
    room = network.alice.ok("POST", "/client/v3/createRoom", settings)["room_id"]
    network.bob.wait_for_invite(room)
    join(network.bob, room, network.alice)
    check_messages(room, *network.users)
    present, absent = network.users[away == "synapse"]
    absent.server.stop()
    text = f"{away} is not there"
    present.send(room, text)
    absent.server.start()
    absent.server.wait_until_up()
    until(absent.server, lambda: absent.has_message(room, text), f"message for {away}", RETURN_TIMEOUT)
    check_messages(room, *network.users)
