"""Rooms of the client-server API, by plain HTTP: creation, membership, state, events, history, aliases, the
directory.
"""

import uuid

import pytest

from harness import Client, q

covers, synapse_deviates = pytest.mark.covers, pytest.mark.synapse_deviates

STATE = "/rooms/{roomId}/state/{eventType}/{stateKey}"
SEND = "PUT /rooms/{roomId}/send/{eventType}/{txnId}"


def joined(user):
    return user.get_("/joined_rooms").ok()["joined_rooms"]


def membership(user, room, of):
    return user.state(room, "m.room.member", of.user_id).ok()["membership"]


def walk(user, room, direction, start=None, limit=10, **more):
    """All events from a place on, page by page."""
    found, token = [], start
    for _ in range(200):
        page = user.get_(
            user.room(room, "messages"), dir=direction, limit=limit, **{"from": token}, **more
        ).ok()
        found += page["chunk"]
        token = page.get("end")
        if not token:
            return found
    raise AssertionError("paging never ends")


def bodies(events):
    return [e["content"]["body"] for e in events if e["type"] == "m.room.message" and "body" in e["content"]]


# Creation


@covers("POST /createRoom", "GET " + STATE)
@pytest.mark.parametrize(
    "preset,rule,visibility,guests",
    [
        ("public_chat", "public", "shared", "forbidden"),
        ("private_chat", "invite", "shared", "can_join"),
        ("trusted_private_chat", "invite", "shared", "can_join"),
    ],
)
def test_a_preset_sets_join_rules_history_and_guests(alice, preset, rule, visibility, guests):
    room = alice.create(preset=preset)
    assert alice.state(room, "m.room.join_rules").ok()["join_rule"] == rule
    assert alice.state(room, "m.room.history_visibility").ok()["history_visibility"] == visibility
    guest = alice.state(room, "m.room.guest_access")
    assert (guest.ok()["guest_access"] if guest.status == 200 else "forbidden") == guests


@covers("POST /createRoom")
def test_a_trusted_private_chat_gives_invitees_the_power_of_the_creator(alice, bob):
    room = alice.create(preset="trusted_private_chat", invite=[bob.user_id], is_direct=True)
    create = alice.state(room, "m.room.create").ok()
    power = alice.state(room, "m.room.power_levels").ok()["users"]
    assert bob.user_id in create.get("additional_creators", []) or power.get(bob.user_id) == 100


@covers("POST /createRoom")
def test_name_topic_and_alias_become_state(alice):
    alias = "made" + uuid.uuid4().hex[:8]
    room = alice.create(name="Kitchen", topic="Tea", room_alias_name=alias)
    assert alice.state(room, "m.room.name").ok()["name"] == "Kitchen"
    assert alice.state(room, "m.room.topic").ok()["topic"] == "Tea"
    assert alice.state(room, "m.room.canonical_alias").ok()["alias"] == f"#{alias}:e2e.test"
    assert alice.get_("/directory/room/" + q(f"#{alias}:e2e.test")).ok()["room_id"] == room


@covers("POST /createRoom")
def test_initial_state_is_set_and_overrides_the_preset(alice):
    room = alice.create(
        preset="private_chat",
        initial_state=[
            {"type": "org.example.colour", "state_key": "wall", "content": {"value": "red"}},
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": "joined"},
            },
        ],
    )
    assert alice.state(room, "org.example.colour", "wall").ok() == {"value": "red"}
    assert alice.state(room, "m.room.history_visibility").ok()["history_visibility"] == "joined"


@covers("POST /createRoom")
def test_creation_content_and_power_level_overrides_are_applied(alice):
    room = alice.create(
        creation_content={"org.example.kind": "test"}, power_level_content_override={"invite": 77}
    )
    assert alice.state(room, "m.room.create").ok()["org.example.kind"] == "test"
    assert alice.state(room, "m.room.power_levels").ok()["invite"] == 77


@covers("POST /createRoom")
@pytest.mark.parametrize(
    "options,status,errcode",
    [
        ({"room_version": "not-a-version"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "no_such_preset"}, 400, None),
        ({"invite": ["not a user id"]}, 400, None),
        ({"room_alias_name": "has:colon"}, 400, None),
    ],
)
def test_createroom_refuses_what_it_cannot_do(alice, options, status, errcode):
    alice.post("/createRoom", options).refused(status, errcode)


@covers("POST /createRoom")
def test_createroom_refuses_an_alias_in_use(alice):
    alias = "twice" + uuid.uuid4().hex[:8]
    alice.create(room_alias_name=alias)
    alice.post("/createRoom", {"room_alias_name": alias}).refused(400, "M_ROOM_IN_USE")


@covers("POST /createRoom", "GET /joined_rooms")
def test_a_new_room_is_joined_at_once(alice):
    assert alice.create() in joined(alice)


# Membership


@covers("POST /join/{roomIdOrAlias}", "POST /rooms/{roomId}/join", "GET /joined_rooms")
@pytest.mark.parametrize("path", ["/join/{}", "/rooms/{}/join"])
def test_a_public_room_can_be_joined_and_is_seen_at_once(alice, bob, path):
    room = alice.create()
    assert bob.post(path.format(q(room))).ok()["room_id"] == room
    assert room in joined(bob) and membership(alice, room, bob) == "join"


@covers("POST /join/{roomIdOrAlias}")
def test_joining_twice_changes_nothing(alice, bob, room):
    before = alice.state(room, "m.room.member", bob.user_id).ok()
    bob.join(room).ok()
    assert alice.state(room, "m.room.member", bob.user_id).ok() == before


@covers("POST /join/{roomIdOrAlias}")
def test_joining_by_alias(alice, bob):
    alias = "door" + uuid.uuid4().hex[:8]
    room = alice.create(room_alias_name=alias)
    assert bob.join(f"#{alias}:e2e.test").ok()["room_id"] == room


@covers("POST /join/{roomIdOrAlias}")
def test_joining_an_invite_only_room_uninvited_is_forbidden(alice, bob):
    bob.join(alice.create(preset="private_chat")).refused(403, "M_FORBIDDEN")


@covers("POST /join/{roomIdOrAlias}")
def test_joining_a_room_or_alias_that_is_not_there(bob):
    bob.join("!nosuch:e2e.test").refused((403, 404))
    bob.join("#nosuch:e2e.test").refused(404, "M_NOT_FOUND")
    bob.join("neither").refused(400)


@covers("POST /rooms/{roomId}/invite", "POST /rooms/{roomId}/join")
def test_an_invited_user_can_join(alice, bob):
    room = alice.create(preset="private_chat")
    alice.member(room, "invite", bob, reason="come in").ok()
    assert (
        alice.state(room, "m.room.member", bob.user_id).ok() | {"reason": "come in"}
        == alice.state(room, "m.room.member", bob.user_id).ok()
    )
    bob.post(bob.room(room, "join")).ok()
    assert membership(alice, room, bob) == "join"


@covers("POST /rooms/{roomId}/invite")
def test_an_invite_by_a_stranger_or_of_a_member_is_forbidden(alice, bob, carol, room):
    carol.member(room, "invite", bob).refused(403, "M_FORBIDDEN")
    alice.member(room, "invite", bob).refused(403, "M_FORBIDDEN")


@covers("POST /rooms/{roomId}/leave")
def test_an_invite_can_be_rejected(alice, bob):
    room = alice.create(preset="private_chat", invite=[bob.user_id])
    bob.post(bob.room(room, "leave")).ok()
    assert membership(alice, room, bob) == "leave"


@covers("POST /rooms/{roomId}/leave")
def test_leaving_takes_the_room_off_the_list(alice, bob, room):
    bob.post(bob.room(room, "leave"), {"reason": "tired"}).ok()
    assert room not in joined(bob)
    assert alice.state(room, "m.room.member", bob.user_id).ok()["reason"] == "tired"
    bob.put_event(room, {"body": "still here?"}).refused(403, "M_FORBIDDEN")


@covers("POST /rooms/{roomId}/kick")
def test_a_kicked_member_is_out_and_may_come_back(alice, bob, room):
    alice.member(room, "kick", bob, reason="shoo").ok()
    assert room not in joined(bob)
    bob.join(room).ok()


@covers("POST /rooms/{roomId}/kick", "POST /rooms/{roomId}/ban")
@pytest.mark.parametrize("act", ["kick", "ban"])
def test_a_member_without_power_cannot_remove_others(alice, bob, room, act):
    bob.member(room, act, alice).refused(403, "M_FORBIDDEN")


@covers("POST /rooms/{roomId}/ban", "POST /rooms/{roomId}/unban")
def test_a_banned_user_cannot_join_until_unbanned(alice, bob, room):
    alice.member(room, "ban", bob).ok()
    assert membership(alice, room, bob) == "ban"
    bob.join(room).refused(403, ("M_FORBIDDEN", "M_BAD_STATE"))
    alice.member(room, "unban", bob).ok()
    bob.join(room).ok()


@covers("POST /rooms/{roomId}/forget")
def test_a_room_can_be_forgotten_only_after_leaving(bob, room):
    bob.post(bob.room(room, "forget")).refused(400, "M_UNKNOWN")
    bob.post(bob.room(room, "leave")).ok()
    bob.post(bob.room(room, "forget")).ok()
    bob.get_(bob.room(room, "messages"), dir="b").refused(403)


@covers("POST /knock/{roomIdOrAlias}")
def test_a_knock_can_be_answered_by_an_invite(alice, bob):
    room = alice.create(
        preset="private_chat",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )
    assert bob.post(f"/knock/{q(room)}", {"reason": "please"}).ok()["room_id"] == room
    assert membership(alice, room, bob) == "knock"
    alice.member(room, "invite", bob).ok()
    bob.join(room).ok()


# State


@covers("PUT " + STATE, "GET " + STATE)
def test_state_can_be_set_and_read(alice, bob, room):
    first = alice.state(room, "org.example.thing", "key", {"n": 1}).ok()["event_id"]
    second = alice.state(room, "org.example.thing", "key", {"n": 2}).ok()["event_id"]
    assert first != second
    assert bob.state(room, "org.example.thing", "key").ok() == {"n": 2}


@covers("GET " + STATE)
def test_state_with_format_event_is_the_whole_event(alice, room):
    event = alice.get_(alice.room(room, "state/m.room.create/"), format="event").ok()
    assert (
        event["type"] == "m.room.create"
        and event["sender"] == alice.user_id
        and event["event_id"].startswith("$")
    )


@covers("GET " + STATE)
def test_state_with_an_empty_key_is_read_with_and_without_a_slash(alice, room):
    for path in ("state/m.room.join_rules", "state/m.room.join_rules/"):
        assert alice.get_(alice.room(room, path)).ok()["join_rule"] == "public"


@covers("GET " + STATE)
def test_state_that_was_never_set_is_not_found(alice, room):
    alice.state(room, "org.example.never").refused(404, "M_NOT_FOUND")


@covers("GET /rooms/{roomId}/state", "GET " + STATE)
def test_state_is_forbidden_to_strangers(carol, room):
    carol.get_(carol.room(room, "state")).refused(403, "M_FORBIDDEN")
    carol.state(room, "m.room.create").refused(403, "M_FORBIDDEN")


@covers("GET /rooms/{roomId}/state")
def test_the_whole_state_lists_every_state_event_once(bob, room):
    events = bob.get_(bob.room(room, "state")).ok()
    keys = [(e["type"], e["state_key"]) for e in events]
    assert (
        len(keys) == len(set(keys))
        and ("m.room.member", bob.user_id) in keys
        and ("m.room.create", "") in keys
    )


@covers("GET /rooms/{roomId}/state")
def test_one_who_left_sees_the_state_at_leaving(alice, bob, room):
    alice.state(room, "m.room.topic", "", {"topic": "before"}).ok()
    bob.post(bob.room(room, "leave")).ok()
    alice.state(room, "m.room.topic", "", {"topic": "after"}).ok()
    topics = [
        e["content"]["topic"] for e in bob.get_(bob.room(room, "state")).ok() if e["type"] == "m.room.topic"
    ]
    assert topics == ["before"]


@covers("PUT " + STATE)
@pytest.mark.parametrize(
    "kind,content",
    [
        ("m.room.name", {"name": "mine"}),
        ("org.example.x", {}),
        ("m.room.power_levels", {"users_default": 100}),
    ],
)
def test_state_needs_power(bob, room, kind, content):
    bob.state(room, kind, "", content).refused(403, "M_FORBIDDEN")


@covers("PUT " + STATE)
def test_a_power_level_can_be_granted_but_not_above_the_own(alice, bob, carol, room):
    levels = alice.state(room, "m.room.power_levels").ok()
    levels["users"] = dict(levels.get("users", {}), **{bob.user_id: 50})
    alice.state(room, "m.room.power_levels", "", levels).ok()
    bob.state(room, "m.room.name", "", {"name": "allowed"}).ok()
    levels["users"][carol.user_id] = 100
    bob.state(room, "m.room.power_levels", "", levels).refused(403, "M_FORBIDDEN")


@covers("PUT " + STATE)
def test_state_keys_of_other_users_are_forbidden(alice, bob, room):
    alice.state(room, "org.example.mine", bob.user_id, {}).refused(403, "M_FORBIDDEN")


# Sending and redacting


@covers(SEND, "GET /rooms/{roomId}/event/{eventId}")
def test_a_message_can_be_sent_and_fetched(alice, bob, room):
    sent = alice.say(room, "hello")
    event = bob.get_(bob.room(room, f"event/{q(sent)}")).ok()
    assert (
        event["content"]["body"] == "hello" and event["sender"] == alice.user_id and event["room_id"] == room
    )
    assert event["event_id"] == sent and isinstance(event["origin_server_ts"], int)


@covers(SEND)
def test_the_same_transaction_id_gives_the_same_event(alice, room):
    first = alice.put_event(room, {"body": "once"}, txn="same").ok()["event_id"]
    second = alice.put_event(room, {"body": "once"}, txn="same").ok()["event_id"]
    assert first == second
    assert bodies(walk(alice, room, "b")).count("once") == 1


@covers(SEND)
def test_the_same_transaction_id_in_another_room_or_by_another_is_another_event(alice, bob, room):
    other = alice.create()
    ids = {
        alice.put_event(room, {"body": "a"}, txn="t9").ok()["event_id"],
        alice.put_event(other, {"body": "a"}, txn="t9").ok()["event_id"],
        bob.put_event(room, {"body": "a"}, txn="t9").ok()["event_id"],
    }
    assert len(ids) == 3


@covers(SEND)
def test_the_sender_finds_the_transaction_id_again_and_others_do_not(alice, bob, room):
    sent = alice.put_event(room, {"body": "mine"}, txn="echo").ok()["event_id"]
    path = alice.room(room, f"event/{q(sent)}")
    assert alice.get_(path).ok()["unsigned"]["transaction_id"] == "echo"
    assert "transaction_id" not in bob.get_(path).ok().get("unsigned", {})


@covers(SEND)
def test_sending_to_a_room_one_is_not_in_is_forbidden(carol, room):
    carol.put_event(room, {"body": "x"}).refused(403, "M_FORBIDDEN")


@covers(SEND)
def test_an_event_over_64_kib_is_too_large(alice, room):
    alice.put_event(room, {"body": "x" * 66000}).refused(413, "M_TOO_LARGE")


@covers(SEND)
def test_an_event_type_may_hold_any_character(alice, room):
    sent = alice.put_event(room, {"body": "x"}, kind="org.example/Ünï code%").ok()["event_id"]
    assert alice.get_(alice.room(room, f"event/{q(sent)}")).ok()["type"] == "org.example/Ünï code%"


@covers("PUT /rooms/{roomId}/redact/{eventId}/{txnId}")
def test_a_redaction_empties_the_event(alice, bob, room):
    sent = bob.say(room, "regret")
    redaction = alice.put(alice.room(room, f"redact/{q(sent)}/r1"), {"reason": "rude"}).ok()["event_id"]
    event = bob.get_(bob.room(room, f"event/{q(sent)}")).ok()
    assert event["content"] == {} and event["unsigned"]["redacted_because"]["event_id"] == redaction
    assert (
        alice.put(alice.room(room, f"redact/{q(sent)}/r1"), {"reason": "rude"}).ok()["event_id"] == redaction
    )


@covers("PUT /rooms/{roomId}/redact/{eventId}/{txnId}")
def test_the_event_of_another_cannot_be_redacted_without_power(alice, bob, room):
    sent = alice.say(room, "mine")
    bob.put(bob.room(room, f"redact/{q(sent)}/r1")).refused(403, "M_FORBIDDEN")
    assert alice.get_(alice.room(room, f"event/{q(sent)}")).ok()["content"]["body"] == "mine"


# Reading


@covers("GET /rooms/{roomId}/event/{eventId}")
def test_an_event_that_is_not_there_or_elsewhere_is_not_found(alice, bob, room):
    elsewhere = alice.say(alice.create(), "elsewhere")
    for event in ("$nosuch", elsewhere):
        bob.get_(bob.room(room, f"event/{q(event)}")).refused(404, "M_NOT_FOUND")


@covers("GET /rooms/{roomId}/messages")
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_paging_either_way_gives_every_event_once(alice, room, limit):
    for n in range(12):
        alice.say(room, str(n))
    backwards = walk(alice, room, "b", limit=limit)
    forwards = walk(alice, room, "f", limit=limit)
    assert bodies(forwards) == [str(n) for n in range(12)]
    assert [e["event_id"] for e in backwards] == [e["event_id"] for e in reversed(forwards)]
    assert forwards[0]["type"] == "m.room.create"


@covers("GET /rooms/{roomId}/messages")
def test_messages_with_a_filter_has_only_wanted_types(alice, room):
    alice.say(room, "one")
    events = walk(alice, room, "b", filter='{"types":["m.room.message"],"not_senders":["@x:e2e.test"]}')
    assert bodies(events) == ["one"] and len(events) == 1


def token_after(user, room, event_id, since):
    """Of a /sync that told that event."""

    def told(answer):
        joined = answer.get("rooms", {}).get("join", {}).get(room, {})
        return event_id in [e["event_id"] for e in joined.get("timeline", {}).get("events", [])]

    return user.sync_until(told, since)[1]["next_batch"]


@covers("GET /rooms/{roomId}/messages", "GET /sync")
def test_messages_takes_tokens_of_sync(alice, room):
    before = alice.sync()["next_batch"]
    said = alice.say(room, "between")
    after = token_after(alice, room, said, before)
    alice.say(room, "later")
    back = alice.get_(alice.room(room, "messages"), dir="b", **{"from": after}, limit=1).ok()
    assert bodies(back["chunk"]) == ["between"]
    forward = alice.get_(alice.room(room, "messages"), dir="f", **{"from": before}, limit=50).ok()
    assert bodies(forward["chunk"]) == ["between", "later"]


@covers("GET /rooms/{roomId}/messages")
def test_messages_stops_at_a_sync_token(alice, room):
    before = alice.sync()["next_batch"]
    said = alice.say(room, "between")
    after = token_after(alice, room, said, before)
    page = alice.get_(alice.room(room, "messages"), dir="b", **{"from": after}, to=before, limit=50).ok()
    assert bodies(page["chunk"]) == ["between"]


@covers("GET /rooms/{roomId}/messages")
def test_messages_lazy_loads_the_senders(alice, bob, room):
    bob.say(room, "from bob")
    page = alice.get_(
        alice.room(room, "messages"), dir="b", limit=1, filter='{"lazy_load_members":true}'
    ).ok()
    assert [e["state_key"] for e in page["state"] if e["type"] == "m.room.member"] == [bob.user_id]


@covers("GET /rooms/{roomId}/messages")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param({}, marks=synapse_deviates("takes dir for granted")),
        {"dir": "x"},
        {"dir": "b", "limit": "many"},
        {"dir": "b", "from": "nonsense"},
    ],
)
def test_messages_refuses_bad_parameters(alice, room, query):
    alice.get_(alice.room(room, "messages"), **query).refused(400)


@covers("GET /rooms/{roomId}/messages")
def test_messages_are_forbidden_to_strangers(carol, room):
    carol.get_(carol.room(room, "messages"), dir="b").refused(403, "M_FORBIDDEN")


@covers("GET /rooms/{roomId}/context/{eventId}")
def test_context_has_the_events_around(alice, room):
    sent = [alice.say(room, str(n)) for n in range(7)]
    around = alice.get_(alice.room(room, f"context/{q(sent[3])}"), limit=4).ok()
    assert around["event"]["event_id"] == sent[3]
    assert [e["event_id"] for e in around["events_before"]] == [sent[2], sent[1]]
    assert [e["event_id"] for e in around["events_after"]] == [sent[4], sent[5]]
    assert any(e["type"] == "m.room.create" for e in around["state"])
    older = alice.get_(alice.room(room, "messages"), dir="b", limit=1, **{"from": around["start"]}).ok()
    assert older["chunk"][0]["event_id"] == sent[0]
    newer = alice.get_(alice.room(room, "messages"), dir="f", limit=1, **{"from": around["end"]}).ok()
    assert newer["chunk"][0]["event_id"] == sent[6]


@covers("GET /rooms/{roomId}/context/{eventId}")
def test_context_of_nothing_is_not_found(alice, room):
    alice.get_(alice.room(room, "context/" + q("$nosuch"))).refused(404, "M_NOT_FOUND")


@covers("GET /rooms/{roomId}/members")
def test_members_can_be_filtered_by_membership(alice, bob, carol, room):
    carol.join(room).ok()
    carol.post(carol.room(room, "leave")).ok()

    def members(**query):
        return {e["state_key"] for e in alice.get_(alice.room(room, "members"), **query).ok()["chunk"]}

    assert members() == {alice.user_id, bob.user_id, carol.user_id}
    assert members(membership="join") == {alice.user_id, bob.user_id}
    assert members(not_membership="join") == {carol.user_id}


@covers("GET /rooms/{roomId}/members")
def test_members_at_a_sync_token_are_those_of_then(alice, bob, carol, room):
    then = alice.sync()["next_batch"]
    carol.join(room).ok()
    at = {
        e["state_key"]
        for e in alice.get_(alice.room(room, "members"), at=then, membership="join").ok()["chunk"]
    }
    assert at == {alice.user_id, bob.user_id}


@covers("GET /rooms/{roomId}/joined_members")
def test_joined_members_are_listed_with_their_profiles(alice, bob, carol, room):
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Alice"}).ok()
    listed = bob.get_(bob.room(room, "joined_members")).ok()["joined"]
    assert set(listed) == {alice.user_id, bob.user_id}
    carol.get_(carol.room(room, "joined_members")).refused(403, "M_FORBIDDEN")


# History visibility


@covers("GET /rooms/{roomId}/messages", "GET /rooms/{roomId}/event/{eventId}")
@pytest.mark.parametrize(
    "visibility,seen",
    [
        ("world_readable", ["early", "invited", "late"]),
        ("shared", ["early", "invited", "late"]),
        ("invited", ["invited", "late"]),
        ("joined", ["late"]),
    ],
)
def test_history_visibility_decides_what_a_newcomer_sees(alice, bob, visibility, seen):
    room = alice.create(
        preset="private_chat",
        initial_state=[
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": visibility},
            }
        ],
    )
    early = alice.say(room, "early")
    alice.member(room, "invite", bob).ok()
    alice.say(room, "invited")
    bob.join(room).ok()
    alice.say(room, "late")
    assert bodies(walk(bob, room, "f")) == seen
    assert bob.get_(bob.room(room, f"event/{q(early)}")).status == (200 if "early" in seen else 404)


@covers("GET /rooms/{roomId}/messages")
def test_one_who_left_sees_nothing_that_came_later(alice, bob, room):
    alice.say(room, "before")
    bob.post(bob.room(room, "leave")).ok()
    later = alice.say(room, "after")
    assert bodies(walk(bob, room, "b")) == ["before"]
    bob.get_(bob.room(room, f"event/{q(later)}")).refused((403, 404))


@covers("GET /rooms/{roomId}/messages", "GET /rooms/{roomId}/state")
def test_a_world_readable_room_can_be_read_from_outside(alice, carol):
    room = alice.create(
        initial_state=[
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": "world_readable"},
            }
        ]
    )
    alice.say(room, "for all")
    assert "for all" in bodies(walk(carol, room, "b"))
    carol.get_(carol.room(room, "state")).ok()


# Aliases and the directory


@covers(
    "PUT /directory/room/{roomAlias}",
    "GET /directory/room/{roomAlias}",
    "DELETE /directory/room/{roomAlias}",
    "GET /rooms/{roomId}/aliases",
)
def test_an_alias_can_be_made_looked_up_and_removed(alice, room, server):
    alias = f"#name{uuid.uuid4().hex[:8]}:e2e.test"
    path = "/directory/room/" + q(alias)
    alice.put(path, {"room_id": room}).ok()
    found = Client(server.base).get_(path).ok()
    assert found["room_id"] == room and "e2e.test" in found["servers"]
    assert alice.get_(alice.room(room, "aliases")).ok()["aliases"] == [alias]
    alice.put(path, {"room_id": room}).refused(409)
    alice.delete(path).ok()
    alice.get_(path).refused(404, "M_NOT_FOUND")


@covers("DELETE /directory/room/{roomAlias}")
def test_an_alias_of_another_cannot_be_removed(alice, bob, room):
    path = "/directory/room/" + q(f"#keep{uuid.uuid4().hex[:8]}:e2e.test")
    alice.put(path, {"room_id": room}).ok()
    bob.delete(path).refused(403, "M_FORBIDDEN")


@covers("PUT /directory/room/{roomAlias}", "GET /directory/room/{roomAlias}")
def test_an_invalid_alias_is_refused(alice, room):
    alice.put("/directory/room/" + q("no-sigil:e2e.test"), {"room_id": room}).refused(400, "M_INVALID_PARAM")
    alice.get_("/directory/room/nonsense").refused(400, "M_INVALID_PARAM")


@covers("PUT " + STATE)
def test_a_canonical_alias_must_point_to_the_room(alice, room):
    alice.state(room, "m.room.canonical_alias", "", {"alias": "#nowhere:e2e.test"}).refused(
        400, "M_BAD_ALIAS"
    )


@covers(
    "GET /publicRooms",
    "POST /publicRooms",
    "PUT /directory/list/room/{roomId}",
    "GET /directory/list/room/{roomId}",
)
def test_a_published_room_is_in_the_directory_until_taken_off(alice, server):
    name = "Listed " + uuid.uuid4().hex
    room = alice.create(name=name, topic="t", visibility="public")
    anyone = Client(server.base)
    entry = next(r for r in anyone.get_("/publicRooms").ok()["chunk"] if r["room_id"] == room)
    assert entry["name"] == name and entry["num_joined_members"] == 1 and entry["join_rule"] == "public"
    assert entry["world_readable"] is False and entry["guest_can_join"] is False
    searched = alice.post("/publicRooms", {"filter": {"generic_search_term": name}}).ok()["chunk"]
    assert [r["room_id"] for r in searched] == [room]
    assert anyone.get_("/directory/list/room/" + q(room)).ok()["visibility"] == "public"
    alice.put("/directory/list/room/" + q(room), {"visibility": "private"}).ok()
    assert alice.post("/publicRooms", {"filter": {"generic_search_term": name}}).ok()["chunk"] == []


@covers("POST /publicRooms")
def test_the_directory_is_given_in_pages(alice):
    stem = uuid.uuid4().hex
    rooms = {alice.create(name=f"{stem} {n}", visibility="public") for n in range(3)}
    found, since = set(), None
    for _ in range(5):
        page = alice.post(
            "/publicRooms",
            {"limit": 2, "filter": {"generic_search_term": stem}, **({"since": since} if since else {})},
        ).ok()
        assert len(page["chunk"]) <= 2
        found |= {r["room_id"] for r in page["chunk"]}
        since = page.get("next_batch")
        if not since:
            break
    assert found == rooms


@covers("PUT /directory/list/room/{roomId}")
def test_only_those_with_power_publish_a_room(bob, room):
    bob.put("/directory/list/room/" + q(room), {"visibility": "public"}).refused(403, "M_FORBIDDEN")


# Tags and room account data


@covers(
    "PUT /user/{userId}/rooms/{roomId}/tags/{tag}",
    "GET /user/{userId}/rooms/{roomId}/tags",
    "DELETE /user/{userId}/rooms/{roomId}/tags/{tag}",
)
def test_a_room_can_be_tagged_and_untagged(alice, room):
    path = f"/user/{q(alice.user_id)}/rooms/{q(room)}/tags"
    alice.put(path + "/m.favourite", {"order": 0.25}).ok()
    alice.put(path + "/u.work", {}).ok()
    assert alice.get_(path).ok()["tags"] == {"m.favourite": {"order": 0.25}, "u.work": {}}
    alice.delete(path + "/u.work").ok()
    assert alice.get_(path).ok()["tags"] == {"m.favourite": {"order": 0.25}}


@covers(
    "PUT /user/{userId}/rooms/{roomId}/account_data/{type}",
    "GET /user/{userId}/rooms/{roomId}/account_data/{type}",
)
def test_room_account_data_is_private_to_its_user(alice, bob, room):
    path = f"/user/{q(alice.user_id)}/rooms/{q(room)}/account_data/org.example.n"
    alice.put(path, {"n": 1}).ok()
    assert alice.get_(path).ok() == {"n": 1}
    bob.get_(path).refused(403, "M_FORBIDDEN")
    alice.get_(path + "ever").refused(404, "M_NOT_FOUND")
