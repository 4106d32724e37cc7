"""What is done in the demo, in order; each step returns what came of it, or raises `DemoError`."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from demo.client_api import ClientApi
from demo.device import device_keys
from demo.errors import DemoError
from demo.overlay import wait_until_converged
from demo.processes import Programs
from demo.state import Side, State

MESSAGES: Final = 5
MEDIA_SIZE: Final = 1_000_000
START_TIMEOUT: Final = 120.0
"""Seconds for a homeserver to start; the first time it makes its tables, 13 s on two busy cores."""

CONVERGENCE_TIMEOUT: Final = 60.0
"""Seconds; redialling a relay that came up late takes 2, then 4, then 8 of them."""


@attrs.define
class Scene:
    """Who takes part."""

    state: State
    programs: Programs
    alice: ClientApi
    bob: ClientApi
    room: str = ""
    last_message: str = ""


def expect(holds: bool, sentence: str) -> None:
    """Raise with this sentence if what should hold does not."""
    if not holds:
        raise DemoError(sentence)


def homeservers_start(scene: Scene) -> str:
    """Both homeservers answer their users."""
    for user in (scene.alice, scene.bob):
        user.wait_until_up(START_TIMEOUT)
    return "both answer"


def users_log_in(scene: Scene) -> str:
    """Alice and bob log in; on the first start they are registered before."""
    made = []
    for user, side in ((scene.alice, scene.state.a), (scene.bob, scene.state.b)):
        made.append(user.register(side.user, side.password, side.shared_secret))
        user.log_in(side.user, side.password, "DEMO")
        user.call("PUT", f"/v3/profile/{quote(side.user_id)}/displayname", {"displayname": display_name(side)})
    return "registered and logged in" if all(made) else "as on the first start"


def overlay_converges(scene: Scene) -> str:
    """The relay has a link to each homeserver, and all three agree on the root of the tree."""
    return wait_until_converged(scene.state, CONVERGENCE_TIMEOUT, scene.programs.check)


def profile(scene: Scene) -> str:
    """Alice's homeserver asks bob's for his profile."""
    name = scene.alice.call("GET", f"/v3/profile/{quote(scene.bob.user_id)}/displayname")["displayname"]
    expect(name == display_name(scene.state.b), f"Bob's profile came with the name {name!r}.")
    return f"{name!r}"


def room(scene: Scene) -> str:
    """Alice makes a public room and invites bob, bob joins; on later starts both are still in it."""
    kept = scene.state.room
    if kept is not None:
        for user in (scene.alice, scene.bob):
            expect(kept in user.call("GET", "/v3/joined_rooms")["joined_rooms"], f"{user.user_id} has left {kept}.")
        scene.room = kept
        return "the room of the first start"
    options = {"name": "Over the overlay", "preset": "public_chat", "visibility": "public"}
    scene.room = scene.alice.call("POST", "/v3/createRoom", options)["room_id"]
    scene.alice.call("POST", f"/v3/rooms/{quote(scene.room)}/invite", {"user_id": scene.bob.user_id})
    scene.bob.wait_for("The invitation", lambda answer: scene.room in answer.get("rooms", {}).get("invite", {}))
    scene.bob.call("POST", f"/v3/join/{quote(scene.room)}")
    scene.alice.wait_for(
        "Bob's joining", lambda answer: any(is_join(event, scene.bob) for event in timeline(answer, scene.room))
    )
    scene.state.save_room(scene.room)
    return "invited, joined"


def messages_to_bob(scene: Scene) -> str:
    """Alice writes, bob sees it."""
    return send_messages(scene, scene.alice, scene.bob)


def messages_to_alice(scene: Scene) -> str:
    """Bob writes, alice sees it."""
    return send_messages(scene, scene.bob, scene.alice)


def send_messages(scene: Scene, sender: ClientApi, receiver: ClientApi) -> str:
    """Send messages one after the other, each when the one before has been seen."""
    times = []
    for number in range(1, MESSAGES + 1):
        began = time.monotonic()
        scene.last_message = sender.send(scene.room, f"Message {number} of {MESSAGES}")
        receiver.wait_for(f"Message {number}", lambda answer: has_event(answer, scene.room, scene.last_message))
        times.append((time.monotonic() - began) * 1000)
    return f"{MESSAGES} of {MESSAGES} seen, {statistics.median(times):.0f} ms each"


def typing(scene: Scene) -> str:
    """Alice types, bob sees it."""
    path = f"/v3/rooms/{quote(scene.room)}/typing/{quote(scene.alice.user_id)}"
    scene.alice.call("PUT", path, {"typing": True, "timeout": 20_000})
    scene.bob.wait_for(
        "The typing notice",
        lambda answer: any(
            scene.alice.user_id in event["content"]["user_ids"] for event in ephemeral(answer, scene.room, "m.typing")
        ),
    )
    scene.alice.call("PUT", path, {"typing": False})
    return "seen"


def read_receipt(scene: Scene) -> str:
    """Alice has read bob's last message, bob sees that."""
    scene.alice.call("POST", f"/v3/rooms/{quote(scene.room)}/receipt/m.read/{quote(scene.last_message)}", {})
    scene.bob.wait_for(
        "The read receipt",
        lambda answer: any(
            scene.alice.user_id in event["content"].get(scene.last_message, {}).get("m.read", {})
            for event in ephemeral(answer, scene.room, "m.receipt")
        ),
    )
    return "seen"


def media(scene: Scene) -> str:
    """Alice uploads a file, bob's homeserver fetches it from hers."""
    file = secrets.token_bytes(MEDIA_SIZE)
    uri = scene.alice.upload("random.bin", file)
    fetched = scene.bob.request("GET", "/_matrix/client/v1/media/download/" + uri.removeprefix("mxc://"))
    expect(fetched == file, f"{uri} came with other bytes than were uploaded.")
    return f"{len(fetched):,} bytes, equal"


def devices(scene: Scene) -> str:
    """Bob publishes the keys of his device, alice asks for them and gets the same."""
    published = device_keys(scene.bob.user_id, scene.bob.device_id, scene.state.b.device_seed)
    scene.bob.call("POST", "/v3/keys/upload", {"device_keys": published})
    answer = scene.alice.call("POST", "/v3/keys/query", {"device_keys": {scene.bob.user_id: []}})
    keys = answer["device_keys"].get(scene.bob.user_id, {}).get(scene.bob.device_id, {})
    expect(keys.get("keys") == published["keys"], f"The keys of bob's device came as {keys}.")
    expect(keys.get("signatures") == published["signatures"], "The keys of bob's device came with other signatures.")
    return f"{len(published['keys'])} keys, equal"


def to_device(scene: Scene) -> str:
    """Alice sends a message to bob's device."""
    content = {"secret": secrets.token_hex(16)}
    scene.alice.send_to_device(scene.bob.user_id, scene.bob.device_id, "org.example.demo", content)
    scene.bob.wait_for(
        "The message to bob's device",
        lambda answer: content in (event["content"] for event in answer.get("to_device", {}).get("events", [])),
    )
    return "received"


def public_rooms(scene: Scene) -> str:
    """Bob looks at the list of public rooms of alice's homeserver."""
    query = urlencode({"server": scene.state.a.server_name})
    chunk = scene.bob.call("GET", f"/v3/publicRooms?{query}")["chunk"]
    expect(scene.room in (entry["room_id"] for entry in chunk), f"{scene.room} is not among the {len(chunk)} rooms.")
    return f"{len(chunk)} listed"


def display_name(side: Side) -> str:
    """Return the name that a side's user goes by."""
    return side.user.capitalize()


def timeline(answer: dict[str, Any], room_id: str) -> list[dict[str, Any]]:
    """Return the new events of a room in an answer of /sync."""
    events: list[dict[str, Any]] = in_room(answer, room_id).get("timeline", {}).get("events", [])
    return events


def has_event(answer: dict[str, Any], room_id: str, event_id: str) -> bool:
    """Tell whether an answer of /sync has this event among the new ones of the room."""
    return any(event["event_id"] == event_id for event in timeline(answer, room_id))


def ephemeral(answer: dict[str, Any], room_id: str, kind: str) -> list[dict[str, Any]]:
    """Return the typing notices or receipts of a room in an answer of /sync."""
    events = in_room(answer, room_id).get("ephemeral", {}).get("events", [])
    return [event for event in events if event["type"] == kind]


def in_room(answer: dict[str, Any], room_id: str) -> dict[str, Any]:
    """Return what an answer of /sync says of a room that the user is in."""
    joined: dict[str, Any] = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return joined


def is_join(event: dict[str, Any], user: ClientApi) -> bool:
    """Tell whether the event is this user's joining of the room."""
    return (
        event["type"] == "m.room.member"
        and event.get("state_key") == user.user_id
        and event["content"]["membership"] == "join"
    )


STEPS: Final[tuple[tuple[str, Callable[[Scene], str]], ...]] = (
    ("Homeservers start", homeservers_start),
    ("The overlay converges", overlay_converges),
    ("Alice and Bob log in", users_log_in),
    ("Profile look-up", profile),
    ("Room, invitation, joining", room),
    (f"{MESSAGES} messages, Alice to Bob", messages_to_bob),
    (f"{MESSAGES} messages, Bob to Alice", messages_to_alice),
    ("Typing notice", typing),
    ("Read receipt", read_receipt),
    ("Media of 1 MB, upload and fetch", media),
    ("Device keys", devices),
    ("Message to a device", to_device),
    ("Public rooms of the other server", public_rooms),
)
