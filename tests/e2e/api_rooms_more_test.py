"""More of rooms in the client-server API, by plain HTTP: upgrades, spaces, reports, redactions, guests."""

import uuid

import pytest

from harness import q

covers = pytest.mark.covers

UPGRADE = "POST /rooms/{roomId}/upgrade"


def upgrade(user, room, version="11", **more):
    return user.post(user.room(room, "upgrade"), dict(more, new_version=version))


# Upgrades


@covers(UPGRADE)
@pytest.mark.parametrize("old,new", [("10", "12"), ("12", "12"), ("12", "10"), ("5", "6")])
def test_an_upgrade_links_both_rooms(alice, bob, old, new):
    room = alice.create(room_version=old, name="Old hall", topic="Echoes")
    bob.join(room).ok()
    after = upgrade(alice, room, new).ok()["replacement_room"]
    assert alice.state(room, "m.room.tombstone").ok()["replacement_room"] == after
    create = alice.state(after, "m.room.create").ok()
    assert create["predecessor"]["room_id"] == room
    assert create["room_version"] == new
    assert alice.state(after, "m.room.name").ok()["name"] == "Old hall"
    assert alice.state(after, "m.room.topic").ok()["topic"] == "Echoes"
    assert alice.state(after, "m.room.join_rules").ok()["join_rule"] == "public"
    bob.put_event(room, {"body": "still here?"}).refused(403, "M_FORBIDDEN")
    bob.join(after).ok()


@covers(UPGRADE)
def test_an_upgrade_keeps_power_levels_and_settings(alice, bob):
    room = alice.create(
        room_version="10",
        power_level_content_override={
            "events": {"m.room.name": 77},
            "users": {alice.user_id: 100, bob.user_id: 60},
        },
        initial_state=[
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
            {"type": "m.room.server_acl", "content": {"allow": ["*"], "deny": ["evil.test"]}},
        ],
    )
    after = upgrade(alice, room, "11").ok()["replacement_room"]
    levels = alice.state(after, "m.room.power_levels").ok()
    assert levels["events"]["m.room.name"] == 77
    assert levels["users"] == {alice.user_id: 100, bob.user_id: 60}
    assert alice.state(after, "m.room.guest_access").ok()["guest_access"] == "can_join"
    assert alice.state(after, "m.room.history_visibility").ok()["history_visibility"] == "joined"
    assert alice.state(after, "m.room.server_acl").ok()["deny"] == ["evil.test"]
    closed = alice.state(room, "m.room.power_levels").ok()
    assert closed["events_default"] == 50
    assert closed["invite"] == 50


@covers(UPGRADE)
def test_one_who_may_only_tombstone_hands_over_the_levels_as_they_were(alice, bob):
    room = alice.create(
        room_version="10",
        power_level_content_override={
            "events": {"m.room.tombstone": 50},
            "users": {alice.user_id: 100, bob.user_id: 50},
        },
    )
    bob.join(room).ok()
    after = upgrade(bob, room, "11").ok()["replacement_room"]
    levels = bob.state(after, "m.room.power_levels").ok()
    assert levels["users"] == {alice.user_id: 100, bob.user_id: 50}


@covers(UPGRADE)
def test_an_upgrade_moves_aliases_and_the_listing(alice):
    name = "up" + uuid.uuid4().hex[:8]
    alias = f"#{name}:e2e.test"
    room = alice.create(room_version="11", room_alias_name=name, visibility="public")
    after = upgrade(alice, room, "12").ok()["replacement_room"]
    assert alice.get_("/directory/room/" + q(alias)).ok()["room_id"] == after
    assert alice.get_(alice.room(after, "aliases")).ok()["aliases"] == [alias]
    assert alice.get_(alice.room(room, "aliases")).ok()["aliases"] == []
    assert alice.state(after, "m.room.canonical_alias").ok()["alias"] == alias
    assert "alias" not in alice.state(room, "m.room.canonical_alias").ok()
    assert alice.get_("/directory/list/room/" + q(after)).ok()["visibility"] == "public"
    assert alice.get_("/directory/list/room/" + q(room)).ok()["visibility"] == "private"


@covers(UPGRADE)
def test_who_may_not_tombstone_may_not_upgrade(alice, bob, room):
    upgrade(bob, room).refused(403, "M_FORBIDDEN")
    upgrade(alice, room, "no-such").refused(400, "M_UNSUPPORTED_ROOM_VERSION")
    alice.post(alice.room(room, "upgrade"), {}).refused(400, "M_MISSING_PARAM")
    assert alice.state(room, "m.room.tombstone").status == 404


@covers(UPGRADE)
def test_a_repeated_upgrade_gives_the_same_room(alice):
    room = alice.create()
    first = upgrade(alice, room, "12").ok()["replacement_room"]
    assert upgrade(alice, room, "12").ok()["replacement_room"] == first


@covers(UPGRADE)
def test_additional_creators_are_those_of_the_request(alice, bob):
    room = alice.create(room_version="12")
    after = upgrade(alice, room, "12", additional_creators=[bob.user_id]).ok()["replacement_room"]
    assert alice.state(after, "m.room.create").ok()["additional_creators"] == [bob.user_id]
    upgrade(alice, after, "12", additional_creators=["bob"]).refused(400, "M_INVALID_PARAM")


@covers(UPGRADE)
def test_an_upgraded_space_keeps_its_children(alice):
    space = alice.create(creation_content={"type": "m.space"}, room_version="11")
    rooms = [f"!child{i:02}:e2e.test" for i in range(40)]
    for child in rooms:
        alice.state(space, "m.space.child", child, {"via": ["e2e.test"], "order": child[6:8]}).ok()
    alice.state(space, "m.space.child", rooms[3], {}).ok()
    after = upgrade(alice, space, "12").ok()["replacement_room"]
    assert alice.state(after, "m.room.create").ok()["type"] == "m.space"
    state = alice.get_(alice.room(after, "state")).ok()
    kept = {e["state_key"] for e in state if e["type"] == "m.space.child"}
    assert kept == set(rooms) - {rooms[3]}


@covers(UPGRADE)
def test_who_joins_an_upgraded_room_keeps_tags_rules_and_the_direct_mark(new_user):
    alice, bob = new_user("ann"), new_user("bo")
    room = alice.create()
    bob.join(room).ok()
    user = f"/user/{q(bob.user_id)}"
    bob.put(f"{user}/rooms/{q(room)}/tags/m.favourite", {"order": 0.5}).ok()
    bob.put(f"{user}/account_data/m.direct", {alice.user_id: [room]}).ok()
    bob.put(f"/pushrules/global/room/{q(room)}", {"actions": []}).ok()
    condition = {"kind": "event_match", "key": "room_id", "pattern": room}
    bob.put(f"/pushrules/global/override/{q(room)}", {"conditions": [condition], "actions": []}).ok()
    bob.put(f"/pushrules/global/override/{q(room)}/enabled", {"enabled": False}).ok()
    after = upgrade(alice, room, "12").ok()["replacement_room"]
    since = bob.sync()["next_batch"]
    bob.join(after).ok()
    assert bob.get_(f"{user}/rooms/{q(after)}/tags").ok()["tags"] == {"m.favourite": {"order": 0.5}}
    assert bob.get_(f"{user}/account_data/m.direct").ok()[alice.user_id] == [room, after]
    assert bob.get_(f"/pushrules/global/room/{q(after)}").ok()["actions"] == []
    override = bob.get_(f"/pushrules/global/override/{q(after)}").ok()
    assert override["conditions"][0]["pattern"] == after
    assert override["enabled"] is False
    told = bob.sync(since)
    assert {e["type"] for e in told["account_data"]["events"]} >= {"m.direct", "m.push_rules"}
    inside = told["rooms"]["join"][after]["account_data"]["events"]
    assert [e["type"] for e in inside] == ["m.tag"]


# Spaces

HIERARCHY = "GET /v1/rooms/{roomId}/hierarchy"
SUMMARY = "GET /v1/room_summary/{roomIdOrAlias}"
V1 = "/_matrix/client/v1"


def space(user, **options):
    return user.create(creation_content={"type": "m.space"}, **options)


def adopt(user, parent, child, **content):
    user.state(parent, "m.space.child", child, {"via": ["e2e.test"], **content}).ok()


def hierarchy(user, room, **query):
    return user.get_(f"{V1}/rooms/{q(room)}/hierarchy", **query)


def ids(answer):
    return [room["room_id"] for room in answer["rooms"]]


def restricted(user, *allowed, **more):
    allow = [{"type": "m.room_membership", "room_id": room} for room in allowed]
    rules = {"join_rule": "restricted", "allow": allow}
    state = [{"type": "m.room.join_rules", "content": rules}]
    return user.create(preset="private_chat", initial_state=state, **more)


@covers(HIERARCHY)
def test_a_hierarchy_is_walked_depth_first_in_the_order_of_the_space(alice):
    root, inner = space(alice, name="Root"), space(alice, name="Inner")
    a, b, c, d = (alice.create(name=name) for name in "abcd")
    adopt(alice, root, c)
    adopt(alice, root, inner, order="b")
    adopt(alice, root, a, order="a")
    adopt(alice, root, d, order="\x19 not valid")
    adopt(alice, inner, b)
    adopt(alice, inner, a)
    answer = hierarchy(alice, root).ok()
    assert ids(answer) == [root, a, inner, b, c, d]
    assert "next_batch" not in answer
    first = answer["rooms"][0]
    assert first["room_type"] == "m.space" and first["name"] == "Root" and first["num_joined_members"] == 1
    assert [e["state_key"] for e in first["children_state"]] == [a, inner, c, d]
    assert set(first["children_state"][0]) == {"type", "state_key", "sender", "content", "origin_server_ts"}
    assert answer["rooms"][1]["children_state"] == []


@covers(HIERARCHY)
def test_a_hierarchy_comes_in_pages(alice):
    root = space(alice)
    rooms = [alice.create() for _ in range(20)]
    for number, room in enumerate(rooms):
        adopt(alice, root, room, order=f"{number:02}")
    found, token = [], None
    while True:
        answer = hierarchy(alice, root, limit=6, **({"from": token} if token else {})).ok()
        assert len(answer["rooms"]) <= 6
        found += ids(answer)
        token = answer.get("next_batch")
        if not token:
            break
    assert found == [root, *rooms]


@covers(HIERARCHY)
def test_a_hierarchy_stops_at_the_depth_asked_for(alice):
    spaces = [space(alice) for _ in range(4)]
    for parent, child in zip(spaces, spaces[1:]):
        adopt(alice, parent, child)
    adopt(alice, spaces[3], spaces[0])  # a circle
    assert ids(hierarchy(alice, spaces[0], max_depth=0).ok()) == spaces[:1]
    assert ids(hierarchy(alice, spaces[0], max_depth=2).ok()) == spaces[:3]
    assert ids(hierarchy(alice, spaces[0]).ok()) == spaces


@covers(HIERARCHY)
def test_a_hierarchy_can_be_of_suggested_rooms_only(alice):
    root, good, other = space(alice), alice.create(), alice.create()
    adopt(alice, root, good, suggested=True)
    adopt(alice, root, other)
    answer = hierarchy(alice, root, suggested_only="true").ok()
    assert ids(answer) == [root, good]
    assert len(answer["rooms"][0]["children_state"]) == 1


@covers(HIERARCHY)
def test_a_removed_child_is_no_child(alice):
    root, child = space(alice), alice.create()
    adopt(alice, root, child)
    alice.state(root, "m.space.child", child, {}).ok()
    assert ids(hierarchy(alice, root).ok()) == [root]


@covers(HIERARCHY)
def test_a_hierarchy_shows_what_the_reader_may_know_of(alice, bob):
    root = space(alice)
    hidden = alice.create(preset="private_chat")
    invited = alice.create(preset="private_chat", invite=[bob.user_id])
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    knocked = alice.create(preset="private_chat", initial_state=[knock])
    world = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    seen = alice.create(preset="private_chat", initial_state=[world])
    members = restricted(alice, root)
    others = restricted(alice, alice.create())
    everywhere = [hidden, invited, knocked, seen, members, others, "!not-here:e2e.test"]
    for number, room in enumerate(everywhere):
        adopt(alice, root, room, order=str(number))
    assert ids(hierarchy(alice, root).ok()) == [root, *everywhere[:-1]]
    assert ids(hierarchy(bob, root).ok()) == [root, invited, knocked, seen]
    bob.join(root).ok()
    answer = hierarchy(bob, root).ok()
    assert ids(answer) == [root, invited, knocked, seen, members]
    assert answer["rooms"][4]["allowed_room_ids"] == [root]


@covers(HIERARCHY)
def test_a_hierarchy_refuses_what_it_cannot_show(alice, bob):
    secret = space(alice, preset="private_chat")
    hierarchy(bob, secret).refused(403, "M_FORBIDDEN")
    hierarchy(bob, "!nothing:e2e.test").refused(403, "M_FORBIDDEN")
    banned = space(alice)
    alice.member(banned, "ban", bob).ok()
    hierarchy(bob, banned).refused(403, "M_FORBIDDEN")
    root = space(alice)
    adopt(alice, root, alice.create())
    token = hierarchy(alice, root, limit=1, max_depth=3).ok()["next_batch"]
    hierarchy(alice, root, max_depth=4, **{"from": token}).refused(400, "M_INVALID_PARAM")
    hierarchy(alice, root, suggested_only="true", **{"from": token}).refused(400, "M_INVALID_PARAM")
    for bad in ("x", "h", "h1", "h1_2", "h1_2_3", "h99999999999_1_0", "h1_99999_0", "h1_1_0_0"):
        hierarchy(alice, root, **{"from": bad}).refused(400, "M_INVALID_PARAM")
    hierarchy(alice, root, limit=0).refused(400, "M_INVALID_PARAM")
    hierarchy(alice, root, limit="many").refused(400, "M_INVALID_PARAM")


@covers(SUMMARY)
def test_a_summary_tells_members_of_a_restricting_room(alice, bob):
    hall = alice.create()
    club = restricted(alice, hall, name="Club")
    path = f"{V1}/room_summary/{q(club)}"
    bob.get_(path).refused(404, "M_NOT_FOUND")
    bob.join(hall).ok()
    summary = bob.get_(path).ok()
    assert summary["name"] == "Club"
    assert summary["join_rule"] == "restricted"
    assert summary["allowed_room_ids"] == [hall]


@covers(SUMMARY)
def test_a_summary_can_be_asked_by_alias(alice, bob):
    name = "sum" + uuid.uuid4().hex[:8]
    room = alice.create(room_alias_name=name)
    assert bob.get_(f"{V1}/room_summary/{q(f'#{name}:e2e.test')}").ok()["room_id"] == room


@covers(SUMMARY)
def test_a_summary_is_found_where_clients_looked_before_it_was_specified(alice, bob, room):
    path = f"/_matrix/client/unstable/im.nheko.summary/summary/{q(room)}"
    assert bob.get_(path).ok() == bob.get_(f"{V1}/room_summary/{q(room)}").ok()


# Aliases


@covers("PUT /rooms/{roomId}/state/{eventType}/{stateKey}")
def test_only_new_aliases_of_a_canonical_alias_must_point_to_the_room(alice):
    name = "canon" + uuid.uuid4().hex[:8]
    room, alias = alice.create(), f"#{name}:e2e.test"
    canonical = lambda **content: alice.state(room, "m.room.canonical_alias", "", content)
    canonical(alias=alias).refused(400, "M_BAD_ALIAS")
    alice.put("/directory/room/" + q(alias), {"room_id": room}).ok()
    canonical(alias=alias).ok()
    alice.delete("/directory/room/" + q(alias)).ok()
    canonical(alias=alias, alt_aliases=["#other:else.test"]).ok()
    canonical(alias=alias, alt_aliases=["#none:e2e.test"]).refused(400, "M_BAD_ALIAS")
    for bad in ("none", 7, ""):
        canonical(alias=alias, alt_aliases=[bad]).refused(400, "M_INVALID_PARAM")
    canonical(alias=7).refused(400, "M_INVALID_PARAM")
    canonical(alt_aliases=["#other:else.test"]).ok()
    canonical(alias=alias).refused(400, "M_BAD_ALIAS")


# Members


@covers("GET /rooms/{roomId}/members")
def test_either_of_two_filters_lets_a_member_pass(alice, bob, new_user):
    room, carol = alice.create(), new_user("carol")
    bob.join(room).ok()
    carol.join(room).ok()
    carol.member(room, "leave").ok()
    members = lambda **query: {
        e["state_key"] for e in alice.get_(alice.room(room, "members"), **query).ok()["chunk"]
    }
    assert members(membership="leave") == {carol.user_id}
    assert members(not_membership="leave") == {alice.user_id, bob.user_id}
    assert members(membership="leave", not_membership="join") == {carol.user_id}
    assert members(membership="join", not_membership="join") == {alice.user_id, bob.user_id, carol.user_id}


# Redactions


@covers("PUT /rooms/{roomId}/send/{eventType}/{txnId}")
@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_a_redaction_can_be_sent_like_any_event(alice, version):
    room = alice.create(room_version=version)
    event = alice.say(room, "a slip")
    sent = alice.put_event(room, {"redacts": event, "reason": "typo"}, "m.room.redaction").ok()["event_id"]
    seen = alice.get_(alice.room(room, f"event/{q(event)}")).ok()
    assert seen["content"] == {}
    assert seen["unsigned"]["redacted_because"]["event_id"] == sent
    alice.put_event(room, {"reason": "of what?"}, "m.room.redaction").refused(400, "M_MISSING_PARAM")


@covers("PUT /rooms/{roomId}/send/{eventType}/{txnId}")
def test_redacting_the_event_of_another_by_send_needs_power(alice, bob, room):
    event = alice.say(room, "mine")
    bob.put_event(room, {"redacts": event}, "m.room.redaction").refused(403, "M_FORBIDDEN")
    assert alice.get_(alice.room(room, f"event/{q(event)}")).ok()["content"]["body"] == "mine"


# Reports

REPORT_EVENT = "POST /rooms/{roomId}/report/{eventId}"


@covers(REPORT_EVENT, "POST /rooms/{roomId}/report", "POST /users/{userId}/report")
def test_what_is_reported_must_be_known(alice, bob, new_user, room):
    event = alice.say(room, "rude")
    carol = new_user("carol")
    bob.post(bob.room(room, f"report/{q(event)}"), {"reason": "rude", "score": -100}).ok()
    bob.post(bob.room(room, f"report/{q(event)}"), {}).ok()
    bob.post(bob.room(room, "report/$none"), {"reason": "?"}).refused(404, "M_NOT_FOUND")
    carol.post(carol.room(room, f"report/{q(event)}"), {"reason": "?"}).refused(404, "M_NOT_FOUND")
    bob.post(bob.room(room, f"report/{q(event)}"), {"reason": 7}).refused(400, "M_BAD_JSON")
    carol.post(carol.room(room, "report"), {"reason": "a bad place"}).ok()
    carol.post(carol.room(room, "report"), {}).refused(400, "M_MISSING_PARAM")
    carol.post(carol.room("!none:e2e.test", "report"), {"reason": ""}).refused(404, "M_NOT_FOUND")
    carol.post(f"/users/{q(bob.user_id)}/report", {"reason": ""}).ok()
    carol.post("/users/" + q("@nobody:e2e.test") + "/report", {"reason": ""}).refused(404, "M_NOT_FOUND")
    carol.post("/users/" + q("@someone:else.test") + "/report", {"reason": "spam"}).ok()


# Shared rooms

MUTUAL = "GET /v1/mutual_rooms"


def mutual(user, other, **query):
    return user.get_(f"{V1}/mutual_rooms", user_id=other if isinstance(other, str) else other.user_id, **query)


@covers(MUTUAL)
def test_mutual_rooms_are_those_both_are_joined_to(new_user):
    ann, bo = new_user("ann"), new_user("bo")
    both = [ann.create() for _ in range(3)]
    ann.create(invite=[bo.user_id])
    bo.create()
    left = ann.create()
    for room in [*both, left]:
        bo.join(room).ok()
    bo.member(left, "leave").ok()
    answer = mutual(ann, bo).ok()
    assert sorted(answer["joined"]) == sorted(both) and answer["count"] == 3 and "next_batch" not in answer
    assert sorted(mutual(bo, ann).ok()["joined"]) == sorted(both)
    assert mutual(ann, "@nobody:e2e.test").ok() == {"joined": [], "count": 0}
    assert mutual(ann, "@someone:else.test").ok() == {"joined": [], "count": 0}
    mutual(ann, ann).refused(400, "M_INVALID_PARAM")
    mutual(ann, "bo").refused(400, "M_INVALID_PARAM")
    ann.get_(f"{V1}/mutual_rooms").refused(400, "M_MISSING_PARAM")
    mutual(ann, bo, **{"from": "?"}).refused(400, "M_INVALID_PARAM")


@covers(MUTUAL)
def test_mutual_rooms_come_in_pages(new_user):
    ann, bo = new_user("ann"), new_user("bo")
    rooms = [ann.create() for _ in range(105)]
    for room in rooms:
        bo.join(room).ok()
    first = mutual(ann, bo).ok()
    assert len(first["joined"]) == 100 and first["count"] == 105
    rest = mutual(ann, bo, **{"from": first["next_batch"]}).ok()
    assert sorted(first["joined"] + rest["joined"]) == sorted(rooms)


@covers("POST /publicRooms")
def test_rooms_of_a_network_nobody_brought_are_none(alice):
    alice.create(visibility="public")
    assert alice.post("/publicRooms", {"third_party_instance_id": "irc"}).ok()["chunk"] == []
    assert alice.post("/publicRooms", {"include_all_networks": True}).ok()["chunk"]
    both = {"third_party_instance_id": "irc", "include_all_networks": True}
    alice.post("/publicRooms", both).refused(400, "M_INVALID_PARAM")
