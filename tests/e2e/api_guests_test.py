"""Guests: accounts without a name and a password, and the rooms that let them in."""

import pytest

from harness import PASSWORD, Client, User, login, q

covers = pytest.mark.covers

REGISTER = "POST /register"
OPEN = {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}}


@pytest.fixture
def guest(server):
    answer = Client(server.base).post("/register?kind=guest", {"initial_device_display_name": "Visitor"}).ok()
    return User(server.base, answer["user_id"], answer["access_token"], answer["device_id"])


@covers(REGISTER, "GET /account/whoami", "GET /devices/{deviceId}")
def test_a_guest_is_registered_without_more_ado(server, guest):
    asked = {"username": "chosen", "password": PASSWORD, "device_id": "CHOSEN", "inhibit_login": True}
    answer = Client(server.base).post("/register?kind=guest", asked).ok()
    assert answer["access_token"] and answer["device_id"] != "CHOSEN" and not answer["user_id"].startswith("@chosen:")
    who = guest.get_("/account/whoami").ok()
    assert who["is_guest"] is True and who["user_id"] == guest.user_id
    assert guest.get_("/devices/" + guest.device_id).ok()["display_name"] == "Visitor"
    Client(server.base).post("/register?kind=visitor").refused(400, "M_INVALID_PARAM")


@covers("POST /join/{roomIdOrAlias}", "POST /rooms/{roomId}/join", "PUT /rooms/{roomId}/state/{eventType}/{stateKey}")
def test_a_guest_enters_only_rooms_that_let_guests_in(alice, guest):
    closed, open_ = alice.create(), alice.create(initial_state=[OPEN])
    for path in (f"/join/{q(closed)}", f"/rooms/{q(closed)}/join"):
        guest.post(path).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
    guest.state(closed, "m.room.member", guest.user_id, {"membership": "join"}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
    guest.join(open_).ok()
    guest.say(open_, "hello")
    assert guest.sync()["rooms"]["join"][open_]["timeline"]["events"][-1]["content"]["body"] == "hello"


@covers("PUT /rooms/{roomId}/state/{eventType}/{stateKey}", "GET /sync")
def test_guests_leave_a_room_that_lets_them_in_no_more(alice, bob, guest):
    room = alice.create(initial_state=[OPEN])
    bob.join(room).ok()
    guest.join(room).ok()
    since = guest.sync()["next_batch"]
    alice.state(room, "m.room.guest_access", "", {"guest_access": "forbidden"}).ok()
    left = guest.sync_until(lambda a: a.get("rooms", {}).get("leave", {}).get(room), since)[0]
    event = left["timeline"]["events"][-1]
    assert event["sender"] == guest.user_id and event["content"]["membership"] == "leave"
    assert alice.state(room, "m.room.member", bob.user_id).ok()["membership"] == "join"
    guest.join(room).refused(403, "M_GUEST_ACCESS_FORBIDDEN")


@covers("GET /rooms/{roomId}/messages", "GET /rooms/{roomId}/state")
def test_a_guest_reads_a_world_readable_room_from_outside(alice, guest):
    visible = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room = alice.create(initial_state=[visible])
    alice.say(room, "for all the world")
    page = guest.get_(guest.room(room, "messages"), dir="b").ok()
    assert page["chunk"][0]["content"]["body"] == "for all the world"
    guest.get_(guest.room(room, "state")).ok()


@covers("PUT /profile/{userId}/{keyName}", "DELETE /profile/{userId}/{keyName}")
def test_a_guest_has_a_display_name_and_no_other_profile(guest):
    profile = f"/profile/{q(guest.user_id)}/"
    guest.put(profile + "displayname", {"displayname": "Visitor"}).ok()
    guest.delete(profile + "displayname").ok()
    guest.put(profile + "avatar_url", {"avatar_url": "mxc://a/b"}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
    guest.put(profile + "org.example.x", {"org.example.x": 1}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")


@pytest.mark.parametrize(
    "method,path",
    [
        ("POST", "/createRoom"),
        ("POST", "/rooms/{room}/invite"),
        ("POST", "/rooms/{room}/upgrade"),
        ("POST", "/knock/{room}"),
        ("PUT", "/directory/room/%23x%3Ae2e.test"),
        ("POST", "/account/deactivate"),
        ("POST", "/user_directory/search"),
        ("DELETE", "/devices/X"),
    ],
)
def test_what_guests_may_not_do_is_refused(alice, guest, method, path):
    room = alice.create(initial_state=[OPEN])
    guest.request(method, path.replace("{room}", q(room)), {}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")


@covers(REGISTER)
def test_a_guest_becomes_a_user_and_stays_who_they_are(server, alice, guest):
    room = alice.create(initial_state=[OPEN])
    guest.join(room).ok()
    anyone = Client(server.base)
    body = {"username": guest.localpart, "password": PASSWORD, "guest_access_token": guest.token}
    anyone.post("/register", dict(body, guest_access_token="nonsense")).refused(403, "M_FORBIDDEN")
    anyone.post("/register", dict(body, guest_access_token=alice.token)).refused(403, "M_FORBIDDEN")
    anyone.post("/register", dict(body, username="another")).refused(403, "M_FORBIDDEN")
    session = anyone.post("/register", body).refused(401)["session"]
    answer = anyone.post("/register", dict(body, auth={"type": "m.login.dummy", "session": session})).ok()
    assert answer["user_id"] == guest.user_id
    guest.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    user = login(server.base, guest.localpart)
    assert user.get_("/account/whoami").ok()["is_guest"] is False
    user.say(room, "now a user")
    alice.state(room, "m.room.guest_access", "", {"guest_access": "forbidden"}).ok()
    user.say(room, "and still here")
