"""Rooms and spaces that only other servers know: told of, walked through, and told to others."""

import itertools

import pytest

import harness
from federating import alice  # noqa: F401
from harness import Client, User, q
from pdus import JoinedRoom, RemoteRoom
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
HIERARCHY = f"GET {V1}/hierarchy/"
numbers = itertools.count(1)


@pytest.fixture
def remote(authority):
    running = Remote(authority)
    yield running
    running.close()


def told(room_id, **more):
    return {"room_id": room_id, "num_joined_members": 3, "world_readable": False, "guest_can_join": False, "join_rule": "public",
            "name": f"Room {room_id[:4]}", **more}


def child(room_id, *via, **more):
    return {"type": "m.space.child", "state_key": room_id, "sender": "@rita:there", "origin_server_ts": next(numbers),
            "content": {"via": list(via), **more}}


def serve(remote, spaces):
    """spaces: room id -> (summary, child events, summaries of children, inaccessible children)."""
    def hierarchy(request):
        from urllib.parse import unquote
        room_id = unquote(request.path.split("/")[5])
        if room_id not in spaces:
            return 404, {"errcode": "M_NOT_FOUND", "error": "unknown"}
        summary, events, children, hidden = spaces[room_id]
        room = dict(summary, children_state=events)
        return 200, {"room": room, "children": children, "inaccessible_children": hidden}

    remote.routes[HIERARCHY] = hierarchy


@covers("GET /_matrix/client/v1/room_summary/{roomIdOrAlias}")
def test_a_room_of_another_server_is_summarised(ours, remote, alice):
    room_id = f"!summary{next(numbers)}:{remote.name}"
    serve(remote, {room_id: (told(room_id, topic="Tea", x_more=1, num_joined_members="many"), [], [], [])})
    path = f"/v1/room_summary"
    summary = alice.get_(f"{path}/{q(room_id)}").ok()
    assert summary["name"] and summary["topic"] == "Tea" and "x_more" not in summary and "num_joined_members" not in summary
    Client(ours.base).get_(f"{path}/{q(room_id)}").refused(404, "M_NOT_FOUND")
    remote.routes[f"GET {V1}/query/directory"] = (200, {"room_id": room_id, "servers": [remote.name]})
    assert alice.get_(f"{path}/{q('#tea:' + remote.name)}").ok()["room_id"] == room_id
    alice.get_(f"{path}/{q('!other:' + remote.name)}").refused(404, "M_NOT_FOUND")


def test_a_room_whose_id_names_no_server_is_found_by_via(ours, remote, alice):
    room = RemoteRoom(remote, "12")
    serve(remote, {room.room_id: (told(room.room_id), [], [], [])})
    path = f"/v1/room_summary/{q(room.room_id)}"
    alice.get_(path).refused(404)
    assert alice.get_(path, via=remote.name).ok()["room_id"] == room.room_id


def test_what_another_server_tells_is_judged_for_the_user(ours, remote, alice):
    space = alice.create(preset="public_chat")
    closed, restricted, lying = (f"!{n}{next(numbers)}:{remote.name}" for n in ("closed", "restricted", "lying"))
    serve(remote, {
        closed: (told(closed, join_rule="invite"), [], [], []),
        restricted: (told(restricted, join_rule="restricted", allowed_room_ids=[space]), [], [], []),
        lying: (told(closed), [], [], []),
    })
    bob, path = ours.register(f"bob{next(numbers)}"), f"/v1/room_summary"
    alice.get_(f"{path}/{q(restricted)}").ok()
    bob.get_(f"{path}/{q(restricted)}").refused(404)
    assert len(remote.asked(f"{V1}/hierarchy/{q(restricted)}")) == 1, "what is kept is judged again"
    alice.get_(f"{path}/{q(closed)}").refused(404)
    alice.get_(f"{path}/{q(lying)}").refused(404)


@covers("GET /_matrix/client/v1/rooms/{roomId}/hierarchy")
def test_a_space_leads_through_other_servers(ours, remote, alice):
    top, inner, leaf, deep, hidden = (f"!{n}{next(numbers)}:{remote.name}" for n in ("top", "inner", "leaf", "deep", "hidden"))
    ours_leaf = alice.create(preset="public_chat", name="Ours")
    space = {"room_type": "m.space"}
    serve(remote, {
        top: (told(top, **space), [child(inner, remote.name), child(leaf, remote.name), child(hidden, remote.name),
                                   child(ours_leaf, remote.name)],
              [told(inner, **space), told(leaf)], [hidden]),
        inner: (told(inner, **space), [child(deep, remote.name)], [told(deep)], []),
    })
    mine = alice.create(preset="public_chat", creation_content={"type": "m.space"})
    alice.state(mine, "m.space.child", top, content={"via": [remote.name]}).ok()
    path = "/v1/rooms"
    rooms = alice.get_(f"{path}/{q(mine)}/hierarchy").ok()["rooms"]
    assert [r["room_id"] for r in rooms] == [mine, top, inner, deep, leaf, ours_leaf]
    assert [e["state_key"] for e in rooms[1]["children_state"]] == [inner, leaf, hidden, ours_leaf]
    asked = {r.path.split("/")[5] for r in remote.asked(f"{V1}/hierarchy")}
    assert asked == {q(top), q(inner)}, "leaves are known along with their parents"
    page = alice.get_(f"{path}/{q(mine)}/hierarchy", limit=2).ok()
    assert len(page["rooms"]) == 2
    rest = alice.get_(f"{path}/{q(mine)}/hierarchy", limit=50, **{"from": page["next_batch"]}).ok()["rooms"]
    assert [r["room_id"] for r in rest] == [inner, deep, leaf, ours_leaf]
    assert [r["room_id"] for r in alice.get_(f"{path}/{q(top)}/hierarchy", max_depth=0).ok()["rooms"]] == [top]
    assert len(remote.asked(f"{V1}/hierarchy")) == 2, "what another server told is kept for a while"


def test_what_one_server_told_of_a_room_never_stands_in_for_another(ours, authority, remote, alice):
    liar = Remote(authority)
    room_id = f"!both{next(numbers)}:{remote.name}"
    serve(liar, {room_id: (told(room_id, name="A lie"), [], [], [])})
    serve(remote, {room_id: (told(room_id, name="The truth"), [], [], [])})
    path = f"/v1/room_summary/{q(room_id)}"
    assert alice.get_(f"{path}?via={q(liar.name)}").ok()["name"] == "A lie"
    assert alice.get_(f"{path}?via={q(remote.name)}").ok()["name"] == "The truth"
    liar.close()


@covers("GET /_matrix/federation/v1/hierarchy/{roomId}")
def test_a_space_is_told_to_servers_that_may_know_it(ours, remote, alice):
    space = alice.create(preset="public_chat", name="Space", creation_content={"type": "m.space"})
    seen, private = alice.create(preset="public_chat", name="Seen"), alice.create(preset="private_chat")
    rule = {"type": "m.room.join_rules", "state_key": "",
            "content": {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}}
    restricted = alice.create(preset="private_chat", room_version="10", initial_state=[rule])
    for room, suggested in ((seen, True), (private, False), (restricted, False), (f"!far:{remote.name}", False)):
        alice.state(space, "m.space.child", room, content={"via": [ours.server_name], "suggested": suggested}).ok()
    answer = remote.ask(ours, "GET", f"{V1}/hierarchy/{q(space)}").ok()
    assert answer["room"]["room_id"] == space and len(answer["room"]["children_state"]) == 4
    assert "membership" not in answer["room"]
    assert [r["room_id"] for r in answer["children"]] == [seen]
    assert set(answer["inaccessible_children"]) == {private, restricted}
    few = remote.ask(ours, "GET", f"{V1}/hierarchy/{q(space)}?suggested_only=true").ok()
    assert [e["state_key"] for e in few["room"]["children_state"]] == [seen] == [r["room_id"] for r in few["children"]]
    JoinedRoom(remote, ours, space, f"@rita:{remote.name}", q)
    answer = remote.ask(ours, "GET", f"{V1}/hierarchy/{q(space)}").ok()
    assert {r["room_id"] for r in answer["children"]} == {seen, restricted}
    remote.ask(ours, "GET", f"{V1}/hierarchy/{q(private)}").refused(404, "M_NOT_FOUND")
    remote.ask(ours, "GET", f"{V1}/hierarchy/{q('!none:' + ours.server_name)}").refused(404, "M_NOT_FOUND")
    alice.state(space, "m.room.server_acl", content={"allow": ["*"], "deny": ["localhost"]}).ok()
    remote.ask(ours, "GET", f"{V1}/hierarchy/{q(space)}").refused(404, "M_NOT_FOUND")


# Guests


@pytest.fixture
def guest(ours):
    answer = Client(ours.base).post("/register?kind=guest", {}).ok()
    return User(ours.base, answer["user_id"], answer["access_token"], answer["device_id"])


@covers("POST /_matrix/client/v3/join/{roomIdOrAlias}")
def test_a_guest_joins_a_room_of_another_server_that_lets_guests_in(ours, remote, guest):
    room = RemoteRoom(remote).serve()
    room.put("m.room.guest_access", {"guest_access": "can_join"}, "")
    spaces = {room.room_id: (told(room.room_id), [], [], [])}
    serve(remote, spaces)
    path = f"/join/{q(room.room_id)}?via={q(remote.name)}"
    guest.post(path, {}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
    assert not remote.asked(f"{V1}/make_join"), "nothing was signed for a room that lets no guests in"
    spaces[room.room_id] = (told(room.room_id, guest_can_join=True), [], [], [])
    guest.post(path, {}).ok()
    assert room.membership(guest.user_id) == "join"


def test_a_guest_leaves_when_the_room_of_another_server_lets_guests_in_no_more(ours, remote, guest):
    room = RemoteRoom(remote).serve()
    room.put("m.room.guest_access", {"guest_access": "can_join"}, "")
    serve(remote, {room.room_id: (told(room.room_id, guest_can_join=True), [], [], [])})
    guest.post(f"/join/{q(room.room_id)}?via={q(remote.name)}", {}).ok()
    since = guest.sync()["next_batch"]
    name = room.put("m.room.guest_access", {"guest_access": "forbidden"}, "")
    body = {"origin": remote.name, "origin_server_ts": 1, "pdus": [room.events[name]]}
    remote.ask(ours, "PUT", f"{V1}/send/g{next(numbers)}", body).ok()
    left = guest.sync_until(lambda a: a.get("rooms", {}).get("leave", {}).get(room.room_id), since)[0]
    assert left["timeline"]["events"][-1]["content"]["membership"] == "leave"
