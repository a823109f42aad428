"""Users of another server join, leave and knock through this one: templates, what is taken of them, and who is kept out.

The other server is a Remote that makes its own events.
"""

import itertools

import pytest

import harness
from federating import alice  # noqa: F401
from harness import q
from pdus import RemoteRoom, content_hash, event_id, signed
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
VERSIONS = ["1", "3", "6", "10", "11", "12"]
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
numbers = itertools.count(1)
every_version = "".join(f"&ver={n}" for n in range(1, 13))[1:]


@pytest.fixture
def rita(remote):
    return f"@rita{next(numbers)}:{remote.name}"


def room_of(alice, version="10", **more):
    return alice.create(room_version=version, preset=more.pop("preset", "public_chat"), **more)


def make(remote, ours, act, room, user, versions=every_version):
    return remote.ask(ours, "GET", f"{V1}/make_{act}/{q(room)}/{q(user)}" + (f"?{versions}" if versions else ""))


def finished(remote, template, **changes):
    """What the joining server makes of a template."""
    event, version = dict(template["event"], **changes), template["room_version"]
    event["origin"] = remote.name
    if version in ("1", "2"):
        event["event_id"] = f"$e{next(numbers)}:{remote.name}"
    return signed(remote, version, event), version


def send(remote, ours, act, event, version, v=V2, **query):
    extra = "?omit_members=true" if query.get("omit") else ""
    return remote.ask(ours, "PUT", f"{v}/send_{act}/{q(event.get('room_id', ''))}/{q(event_id(version, event))}{extra}", event)


def enter(remote, ours, act, room, user, **more):
    event, version = finished(remote, make(remote, ours, act, room, user).ok())
    return event, send(remote, ours, act, event, version, V2 if act != "knock" else V1, **more)


def membership(alice, room, user):
    reply = alice.state(room, "m.room.member", user)
    return (reply.ok() if hasattr(reply, "ok") else reply)["membership"]


@covers("GET /_matrix/federation/v1/make_join/{roomId}/{userId}", "PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_of_another_server_joins_and_gets_the_state(ours, remote, alice, rita, version):
    room = room_of(alice, version, name="Here")
    template = make(remote, ours, "join", room, rita).ok()
    assert template["room_version"] == version
    event, _ = finished(remote, template)
    assert event["sender"] == event["state_key"] == rita and event["room_id"] == room
    answer = send(remote, ours, "join", event, version).ok()
    kinds = {(e["type"], e["state_key"]) for e in answer["state"]}
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id)} <= kinds
    assert ("m.room.member", rita) not in kinds
    known = {event_id(version, e) for e in answer["auth_chain"]}
    cited = [a if isinstance(a, str) else a[0] for e in answer["state"] + answer["auth_chain"] + [event] for a in e["auth_events"]]
    assert set(cited) <= known
    assert all(e["hashes"]["sha256"] == content_hash(e) for e in answer["state"])
    assert membership(alice, room, rita) == "join"
    assert send(remote, ours, "join", event, version).ok()["state"], "repeated, it is answered the same"


def test_the_first_version_of_send_join_answers_a_pair(ours, remote, alice, rita):
    room = room_of(alice)
    event, version = finished(remote, make(remote, ours, "join", room, rita).ok())
    status, answer = send(remote, ours, "join", event, version, V1).json
    assert status == 200 and answer["state"] and answer["auth_chain"]


def test_a_reduced_answer_leaves_out_of_the_chain_what_is_in_the_state(ours, remote, alice, rita):
    room = room_of(alice)
    _, reply = enter(remote, ours, "join", room, rita, omit=True)
    answer = reply.ok()
    state = {event_id("10", e) for e in answer["state"]}
    assert not state & {event_id("10", e) for e in answer["auth_chain"]} and answer["members_omitted"] is False


def test_a_join_reaches_the_users_of_the_room(ours, remote, alice, rita):
    room = room_of(alice)
    since = alice.sync()["next_batch"]
    enter(remote, ours, "join", room, rita)[1].ok()
    timeline = alice.sync(since)["rooms"]["join"][room]["timeline"]["events"]
    assert [e["state_key"] for e in timeline] == [rita]


@covers("GET /_matrix/federation/v1/make_leave/{roomId}/{userId}", "PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}")
def test_a_user_leaves_again(ours, remote, alice, rita):
    room = room_of(alice)
    make(remote, ours, "leave", room, rita).refused(403, "M_FORBIDDEN")
    enter(remote, ours, "join", room, rita)[1].ok()
    assert enter(remote, ours, "leave", room, rita)[1].json == {}
    assert membership(alice, room, rita) == "leave"
    enter(remote, ours, "join", room, rita)[1].ok()
    event, version = finished(remote, make(remote, ours, "leave", room, rita).ok())
    assert send(remote, ours, "leave", event, version, V1).json == [200, {}]


@covers("GET /_matrix/federation/v1/make_knock/{roomId}/{userId}", "PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}")
def test_a_knock_is_told_what_the_room_is(ours, remote, alice, rita):
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = room_of(alice, "12", preset="private_chat", name="Behind a door", initial_state=[rules])
    make(remote, ours, "join", room, rita).refused(403, "M_FORBIDDEN")
    state = enter(remote, ours, "knock", room, rita)[1].ok()["knock_room_state"]
    by_type = {e["type"]: e for e in state}
    assert by_type["m.room.name"]["content"]["name"] == "Behind a door"
    assert "!" + event_id("12", by_type["m.room.create"])[1:] == room
    assert membership(alice, room, rita) == "knock"
    enter(remote, ours, "leave", room, rita)[1].ok()
    assert membership(alice, room, rita) == "leave"


def test_a_version_that_the_other_server_does_not_speak_is_named(ours, remote, alice, rita):
    room = room_of(alice, "10")
    for versions in ("ver=9&ver=11", ""):
        reply = make(remote, ours, "join", room, rita, versions)
        reply.refused(400, "M_INCOMPATIBLE_ROOM_VERSION")
        assert reply["room_version"] == "10"
    make(remote, ours, "join", room_of(alice, "1"), rita, "").ok()


def test_who_may_not_join_is_told_so(ours, remote, alice, rita):
    room = room_of(alice, preset="private_chat")
    make(remote, ours, "join", room, rita).refused(403, "M_FORBIDDEN")
    make(remote, ours, "join", f"!nowhere:{ours.server_name}", rita).refused(404, "M_NOT_FOUND")
    make(remote, ours, "join", room, alice.user_id).refused(403, "M_FORBIDDEN")
    alice.member(room, "leave").ok()
    make(remote, ours, "join", room, rita).refused(404, "M_NOT_FOUND")


def test_a_server_that_the_acl_names_is_kept_out(ours, remote, alice, rita):
    room = room_of(alice)
    template = make(remote, ours, "join", room, rita).ok()
    alice.state(room, "m.room.server_acl", content={"allow": ["*"], "deny": ["localhost"]})
    make(remote, ours, "join", room, rita).refused(403, "M_FORBIDDEN")
    event, version = finished(remote, template)
    send(remote, ours, "join", event, version).refused(403, "M_FORBIDDEN")


def test_events_that_are_no_join_of_the_sender_are_not_taken(ours, remote, alice, rita):
    room = room_of(alice)
    template = make(remote, ours, "join", room, rita).ok()
    for changes in ({"type": "m.room.message"}, {"content": {"membership": "invite"}}, {"state_key": alice.user_id},
                    {"sender": alice.user_id, "state_key": alice.user_id}, {"prev_events": ["$" + "A" * 43]},
                    {"auth_events": ["$" + "A" * 43]}):
        event, version = finished(remote, template, **changes)
        send(remote, ours, "join", event, version).refused(400, "M_INVALID_PARAM")
    event, version = finished(remote, template)
    remote.ask(ours, "PUT", f"{V2}/send_join/{q(room)}/{q('$' + 'B' * 43)}", event).refused(400, "M_INVALID_PARAM")
    other = room_of(alice)
    remote.ask(ours, "PUT", f"{V2}/send_join/{q(other)}/{q(event_id(version, event))}", event).refused(400, "M_INVALID_PARAM")
    forged = dict(event, signatures={remote.name: {remote.key_id: remote.sign_bytes(b"something else")}})
    send(remote, ours, "join", forged, version).refused(400, "M_INVALID_PARAM")
    unsigned = dict(event, signatures={})
    send(remote, ours, "join", unsigned, version).refused(400, "M_INVALID_PARAM")
    assert alice.get_(f"/rooms/{q(room)}/state/m.room.member/{q(rita)}").status == 404


def restricted(*rooms):
    allow = [{"type": "m.room_membership", "room_id": r} for r in rooms]
    return {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}


def test_a_restricted_room_vouches_for_members_of_its_space(ours, remote, alice, rita):
    space = room_of(alice)
    room = room_of(alice, "10", preset="private_chat", initial_state=[restricted(space)])
    make(remote, ours, "join", room, rita).refused(403, "M_FORBIDDEN")
    enter(remote, ours, "join", space, rita)[1].ok()
    template = make(remote, ours, "join", room, rita).ok()
    assert template["event"]["content"]["join_authorised_via_users_server"] == alice.user_id
    event, version = finished(remote, template)
    answer = send(remote, ours, "join", event, version).ok()
    assert set(answer["event"]["signatures"]) == {remote.name, ours.server_name}
    assert membership(alice, room, rita) == "join"


def test_a_restricted_room_vouches_for_nobody_who_left_meanwhile(ours, remote, alice, rita):
    space = room_of(alice)
    room = room_of(alice, "10", preset="private_chat", initial_state=[restricted(space)])
    enter(remote, ours, "join", space, rita)[1].ok()
    event, version = finished(remote, make(remote, ours, "join", room, rita).ok())
    enter(remote, ours, "leave", space, rita)[1].ok()
    send(remote, ours, "join", event, version).refused(403, "M_FORBIDDEN")


def test_a_room_where_nobody_here_may_invite_sends_who_may_join_to_others(ours, remote, alice, rita):
    space = room_of(alice)
    enter(remote, ours, "join", space, rita)[1].ok()
    room = room_of(alice, "10", preset="private_chat", initial_state=[restricted(space)])
    levels = alice.state(room, "m.room.power_levels").ok()
    alice.state(room, "m.room.power_levels", content=dict(levels, users={}, users_default=0, invite=50, state_default=0))
    make(remote, ours, "join", room, rita).refused(400, "M_UNABLE_TO_GRANT_JOIN")


def test_conditions_that_cannot_be_looked_at_are_left_to_others(ours, remote, alice, rita):
    room = room_of(alice, "10", preset="private_chat", initial_state=[restricted(f"!unknown:{remote.name}")])
    make(remote, ours, "join", room, rita).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN")


def test_a_large_room_is_given_whole(ours, remote, alice, rita):
    room = room_of(alice)
    for n in range(150):
        alice.state(room, "x.blob", f"{n}", content={"body": "x" * 8000})
    _, reply = enter(remote, ours, "join", room, rita)
    answer = reply.ok()
    assert sum(e["type"] == "x.blob" for e in answer["state"]) == 150 and len(reply.raw) > 1_200_000
