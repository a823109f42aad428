"""Users of this server are invited by another one: signed, told to the user, and nothing else signed by the way."""

import itertools

import pytest

import harness
from harness import q
from pdus import RemoteRoom, event_id, signed

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
numbers = itertools.count(1)


@pytest.fixture
def bob(ours):
    return ours.register(f"bob{next(numbers)}")


def invite_event(room, user, **changes):
    chosen = {"event_id": f"$i{next(numbers)}:{room.remote.name}"} if room.version in ("1", "2") else {}
    return room.make("m.room.member", {"membership": "invite"}, user.user_id, **chosen, **changes)


def send(room, ours, event, state=None, room_version=None, room_id=None):
    body = {"event": event, "room_version": room_version or room.version,
            "invite_room_state": room.stripped() if state is None else state}
    uri = f"{V2}/invite/{q(room_id or room.room_id)}/{q(event_id(room.version, event))}"
    return room.remote.ask(ours, "PUT", uri, body)


def invites(user):
    return user.sync().get("rooms", {}).get("invite", {})


@covers("PUT /_matrix/federation/v2/invite/{roomId}/{eventId}")
@pytest.mark.parametrize("version", ["3", "10", "11", "12"])
def test_an_invite_is_signed_and_told_to_the_user(ours, remote, bob, version):
    room = RemoteRoom(remote, version, name="Over there")
    event = invite_event(room, bob)
    answer = send(room, ours, event).ok()["event"]
    assert set(answer["signatures"]) == {remote.name, ours.server_name}
    assert {k: v for k, v in answer.items() if k != "signatures"} == {k: v for k, v in event.items() if k != "signatures"}
    events = {e["type"]: e for e in invites(bob)[room.room_id]["invite_state"]["events"]}
    assert events["m.room.name"]["content"]["name"] == "Over there"
    assert events["m.room.member"]["state_key"] == bob.user_id and events["m.room.member"]["sender"] == room.creator
    assert set(events["m.room.create"]) == {"type", "sender", "state_key", "content"}


@covers("PUT /_matrix/federation/v1/invite/{roomId}/{eventId}")
def test_the_first_version_of_invites_serves_old_rooms(ours, remote, bob):
    room_id = f"!old{next(numbers)}:{remote.name}"
    event = signed(remote, "1", {
        "type": "m.room.member", "room_id": room_id, "sender": f"@rita:{remote.name}", "state_key": bob.user_id, "depth": 5,
        "content": {"membership": "invite"}, "event_id": f"$old{next(numbers)}:{remote.name}", "origin_server_ts": 1,
        "prev_events": [], "auth_events": []})
    event["unsigned"] = {"invite_room_state": [
        {"type": "m.room.name", "sender": event["sender"], "state_key": "", "content": {"name": "Old"}}]}
    status, answer = remote.ask(ours, "PUT", f"{V1}/invite/{q(room_id)}/{q(event['event_id'])}", event).json
    assert status == 200 and ours.server_name in answer["event"]["signatures"]
    kinds = [e["type"] for e in invites(bob)[room_id]["invite_state"]["events"]]
    assert kinds == ["m.room.name", "m.room.member"]


def test_what_is_no_invite_by_that_server_of_a_local_user_is_not_signed(ours, remote, bob):
    room = RemoteRoom(remote)
    template = invite_event(room, bob)
    for changes in ({"content": {"membership": "join"}}, {"type": "m.room.message"}, {"sender": f"@eve:{ours.server_name}"},
                    {"state_key": f"@joe:{remote.name}"}):
        event = signed(remote, "10", {**{k: v for k, v in template.items() if k not in ("hashes", "signatures")}, **changes})
        send(room, ours, event).refused(400, "M_INVALID_PARAM")
    send(room, ours, template, room_id=f"!other:{remote.name}").refused(400, "M_INVALID_PARAM")
    send(room, ours, dict(template, signatures={})).refused(400, "M_INVALID_PARAM")
    forged = dict(template, signatures={remote.name: {remote.key_id: remote.sign_bytes(b"x")}})
    send(room, ours, forged).refused(400, "M_INVALID_PARAM")
    reply = send(room, ours, template, room_version="99")
    reply.refused(400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert reply["room_version"] == "99"
    nobody = signed(remote, "10", room.template("m.room.member", {"membership": "invite"}, f"@nobody:{ours.server_name}"))
    send(room, ours, nobody).refused(404, "M_NOT_FOUND")
    assert room.room_id not in invites(bob)


def test_a_room_named_by_its_create_event_is_believed_only_with_it(ours, remote, bob):
    room, other = RemoteRoom(remote, "12"), RemoteRoom(remote, "12")
    event = invite_event(room, bob)
    state = room.stripped()
    send(room, ours, event, state[1:]).refused(400, "M_MISSING_PARAM")
    send(room, ours, event, []).refused(400, "M_MISSING_PARAM")
    send(room, ours, event, other.stripped()).refused(400, "M_INVALID_PARAM")
    send(room, ours, event, state + [dict(state[-1], signatures={})]).refused(400, "M_INVALID_PARAM")
    stripped = [{k: e[k] for k in ("type", "content", "sender", "state_key")} for e in state]
    send(room, ours, event, stripped).refused(400, "M_INVALID_PARAM")
    assert room.room_id not in invites(bob)
    send(room, ours, event, state).ok()
    assert room.room_id in invites(bob)


def test_a_user_may_block_invites(ours, remote, bob):
    room = RemoteRoom(remote)
    bob.put(f"/user/{q(bob.user_id)}/account_data/m.invite_permission_config", {"default_action": "block"}).ok()
    send(room, ours, invite_event(room, bob)).refused(403, "M_INVITE_BLOCKED")
    alice = ours.register(f"alice{next(numbers)}")
    alice.member(alice.create(), "invite", bob).refused(403, "M_INVITE_BLOCKED")
    assert invites(bob) == {}


def test_invites_of_ignored_users_are_not_told(ours, remote, bob):
    room = RemoteRoom(remote)
    bob.put(f"/user/{q(bob.user_id)}/account_data/m.ignored_user_list", {"ignored_users": {room.creator: {}}}).ok()
    send(room, ours, invite_event(room, bob)).ok()
    assert invites(bob) == {}
