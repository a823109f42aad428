"""/sync and what travels by it: timelines, gaps, state, receipts, typing, unread counts, push rules,
notifications.
"""

import json
import time

import pytest

from harness import login, q

covers, synapse_deviates = pytest.mark.covers, pytest.mark.synapse_deviates

RULE = "/pushrules/global/{kind}/{ruleId}"


def joined_room(answer, room):
    return answer.get("rooms", {}).get("join", {}).get(room, {})


def timeline(answer, room):
    return joined_room(answer, room).get("timeline", {})


def texts(answer, room):
    return [
        e["content"].get("body")
        for e in timeline(answer, room).get("events", [])
        if e["type"] == "m.room.message"
    ]


def state_keys(answer, room, where="state"):
    return {(e["type"], e["state_key"]) for e in joined_room(answer, room).get(where, {}).get("events", [])}


@pytest.fixture
def pair(new_user):
    """Two fresh users in one public room."""
    one, two = new_user("one"), new_user("two")
    room = one.create()
    two.join(room).ok()
    return one, two, room


@covers("GET /sync")
def test_a_new_user_gets_a_token_and_push_rules(new_user):
    answer = new_user().sync()
    assert answer["next_batch"] and not answer.get("rooms", {}).get("join")
    assert "m.push_rules" in [e["type"] for e in answer["account_data"]["events"]]


@covers("GET /sync")
def test_an_initial_sync_has_timeline_and_state_that_do_not_overlap(pair):
    one, two, room = pair
    one.say(room, "hello")
    answer = two.sync()
    events = timeline(answer, room)["events"]
    assert texts(answer, room) == ["hello"]
    seen = state_keys(answer, room) | {(e["type"], e["state_key"]) for e in events if "state_key" in e}
    assert {("m.room.create", ""), ("m.room.member", one.user_id), ("m.room.member", two.user_id)} <= seen
    in_state = {e["event_id"] for e in joined_room(answer, room).get("state", {}).get("events", [])}
    assert not in_state & {e["event_id"] for e in events}


@covers("GET /sync")
@synapse_deviates("gives a summary only with lazy loading")
def test_an_initial_sync_counts_the_members(pair):
    assert joined_room(pair[1].sync(), pair[2])["summary"]["m.joined_member_count"] == 2


@covers("GET /sync")
def test_an_incremental_sync_has_only_what_is_new(pair):
    one, two, room = pair
    one.say(room, "old")
    since = two.sync()["next_batch"]
    one.say(room, "new")
    answer = two.sync(since)
    assert texts(answer, room) == ["new"] and not timeline(answer, room)["limited"]
    assert not state_keys(answer, room)
    assert room not in two.sync(answer["next_batch"]).get("rooms", {}).get("join", {})


@covers("GET /sync")
def test_the_same_token_gives_the_same_events_again(pair):
    one, two, room = pair
    since = two.sync()["next_batch"]
    one.say(room, "again")
    assert texts(two.sync(since), room) == texts(two.sync(since), room) == ["again"]


@covers("GET /sync")
def test_a_long_poll_waits_for_its_timeout(pair):
    one = pair[0]
    since = one.sync_until(lambda a: not a.get("rooms"), one.sync()["next_batch"])[1]["next_batch"]
    begun = time.monotonic()
    one.sync(since, timeout=400)
    assert 0.3 < time.monotonic() - begun < 10


@covers("GET /sync")
def test_a_long_poll_ends_when_something_comes(pair, server):
    import threading

    one, two, room = pair
    since = two.sync()["next_batch"]
    answers = []
    poll = threading.Thread(target=lambda: answers.append(two.sync_until(lambda a: texts(a, room), since)[0]))
    poll.start()
    one.say(room, "wake up")
    poll.join(25)
    assert answers == [["wake up"]]


@covers("GET /sync")
def test_full_state_gives_all_state_at_once(pair):
    one, two, room = pair
    since = two.sync()["next_batch"]
    begun = time.monotonic()
    answer = two.sync(since, timeout=20000, full_state="true")
    assert time.monotonic() - begun < 10
    assert ("m.room.create", "") in state_keys(answer, room)


@covers("GET /sync", "GET /rooms/{roomId}/messages")
def test_a_timeline_over_the_limit_is_limited_and_its_gap_can_be_paged(pair):
    one, two, room = pair
    limit = {"room": {"timeline": {"limit": 3}}}
    since = two.sync(filter=limit)["next_batch"]
    for n in range(8):
        one.say(room, str(n))
    answer = two.sync(since, filter=limit)
    assert timeline(answer, room)["limited"] and texts(answer, room) == ["5", "6", "7"]
    page = two.get_(
        two.room(room, "messages"), dir="b", limit=5, **{"from": timeline(answer, room)["prev_batch"]}
    ).ok()
    assert [e["content"]["body"] for e in page["chunk"]] == ["4", "3", "2", "1", "0"]


@covers("GET /sync")
def test_state_that_changed_in_a_gap_is_in_state(pair):
    one, two, room = pair
    limit = {"room": {"timeline": {"limit": 2}}}
    since = two.sync(filter=limit)["next_batch"]
    one.state(room, "m.room.topic", "", {"topic": "in the gap"}).ok()
    for n in range(4):
        one.say(room, str(n))
    one.state(room, "m.room.name", "", {"name": "in the timeline"}).ok()
    answer = two.sync(since, filter=limit)
    assert state_keys(answer, room) == {("m.room.topic", "")}


@covers("GET /sync")
def test_use_state_after_gives_state_at_the_end_of_the_timeline(pair):
    one, two, room = pair
    after = {"use_state_after": "true", "org.matrix.msc4222.use_state_after": "true"}
    since = two.sync(**after)["next_batch"]
    one.state(room, "m.room.topic", "", {"topic": "new"}).ok()
    part = joined_room(two.sync(since, **after), room)
    assert "state" not in part
    events = (part.get("state_after") or part["org.matrix.msc4222.state_after"])["events"]
    assert [(e["type"], e["content"]) for e in events] == [("m.room.topic", {"topic": "new"})]


@covers("GET /sync")
def test_lazy_loading_sends_members_of_the_timeline_only(pair, new_user):
    one, two, room = pair
    quiet = new_user("quiet")
    quiet.join(room).ok()
    one.state(room, "m.room.name", "", {"name": "A name, so that nobody is a hero"}).ok()
    for n in range(12):
        one.say(room, str(n))
    answer = two.sync(filter={"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 5}}})
    members = {key for kind, key in state_keys(answer, room) if kind == "m.room.member"}
    assert one.user_id in members and quiet.user_id not in members


@covers("GET /sync")
def test_a_filter_by_types_applies_before_the_limit(pair):
    one, two, room = pair
    one.say(room, "wanted")
    for n in range(5):
        one.put_event(room, {"n": n}, kind="org.example.noise").ok()
    answer = two.sync(filter={"room": {"timeline": {"types": ["m.room.message"], "limit": 3}}})
    assert texts(answer, room) == ["wanted"]


@covers("GET /sync")
@synapse_deviates("sends excluded rooms in an initial sync")
def test_a_filter_by_rooms_leaves_out_the_others(pair):
    one, _, room = pair
    other = one.create()
    assert set(one.sync(filter={"room": {"rooms": [room]}})["rooms"]["join"]) == {room}
    assert set(one.sync(filter={"room": {"not_rooms": [room]}})["rooms"]["join"]) == {other}


@covers("GET /sync", "POST /user/{userId}/filter")
def test_a_stored_filter_is_applied(pair):
    one, two, room = pair
    kept = two.post(f"/user/{q(two.user_id)}/filter", {"room": {"timeline": {"limit": 1}}}).ok()["filter_id"]
    for text in ("a", "b"):
        one.say(room, text)
    assert texts(two.sync(filter=kept), room) == ["b"]


@covers("GET /sync")
@pytest.mark.parametrize(
    "query",
    [
        {"filter": "{not json"},
        {"filter": "999999"},
        {"since": "nonsense"},
        {"timeout": "soon"},
        {"set_presence": "asleep"},
        {"full_state": "perhaps"},
        {"use_state_after": "perhaps"},
    ],
)
@synapse_deviates("takes any presence")
def test_sync_refuses_bad_parameters(alice, query):
    alice.get_("/sync", **query).refused((400, 404))


@covers("GET /sync", "POST /rooms/{roomId}/invite")
def test_an_invite_comes_with_stripped_state(new_user):
    one, two = new_user(), new_user()
    since = two.sync()["next_batch"]
    room = one.create(preset="private_chat", name="Secret", invite=[two.user_id])
    invite = two.sync(since)["rooms"]["invite"][room]["invite_state"]["events"]
    found = {(e["type"], e["state_key"]) for e in invite}
    assert {("m.room.name", ""), ("m.room.join_rules", ""), ("m.room.member", two.user_id)} <= found
    assert ("m.room.create", "") in found


@covers("GET /sync", "POST /join/{roomIdOrAlias}")
def test_a_room_joined_since_the_token_comes_with_all_its_state(pair, new_user):
    one, _, room = pair
    late = new_user()
    since = late.sync()["next_batch"]
    late.join(room).ok()
    answer = late.sync(since)
    keys = state_keys(answer, room) | {
        (e["type"], e["state_key"]) for e in timeline(answer, room)["events"] if "state_key" in e
    }
    assert {("m.room.create", ""), ("m.room.member", one.user_id), ("m.room.member", late.user_id)} <= keys


@covers("GET /sync", "POST /rooms/{roomId}/leave")
def test_a_room_left_is_told_once(pair):
    one, two, room = pair
    since = two.sync()["next_batch"]
    two.put(f"/user/{q(two.user_id)}/rooms/{q(room)}/account_data/org.left", {"why": "bored"}).ok()
    two.post(two.room(room, "leave")).ok()
    answer = two.sync(since)
    left = answer["rooms"]["leave"][room]
    assert left["account_data"]["events"] == [{"type": "org.left", "content": {"why": "bored"}}]
    assert left["timeline"]["events"][-1]["content"]["membership"] == "leave"
    one.say(room, "behind your back")
    assert room not in two.sync(answer["next_batch"]).get("rooms", {}).get("leave", {})
    assert room not in two.sync().get("rooms", {}).get("join", {})


@covers("GET /sync", "POST /rooms/{roomId}/kick")
def test_a_kick_is_told_to_the_kicked(pair):
    one, two, room = pair
    since = two.sync()["next_batch"]
    one.member(room, "kick", two, reason="bye").ok()
    events = two.sync(since)["rooms"]["leave"][room]["timeline"]["events"]
    assert events[-1]["sender"] == one.user_id and events[-1]["content"]["reason"] == "bye"


@covers("GET /sync", "PUT /rooms/{roomId}/send/{eventType}/{txnId}")
def test_the_sender_gets_its_transaction_id_back(pair):
    one, two, room = pair
    tokens = one.sync()["next_batch"], two.sync()["next_batch"]
    one.put_event(room, {"body": "echo"}, txn="mine").ok()
    assert timeline(one.sync(tokens[0]), room)["events"][-1]["unsigned"]["transaction_id"] == "mine"
    assert "transaction_id" not in timeline(two.sync(tokens[1]), room)["events"][-1].get("unsigned", {})


@covers("GET /sync", "PUT /rooms/{roomId}/redact/{eventId}/{txnId}")
def test_a_redaction_comes_by_sync(pair):
    one, two, room = pair
    sent = one.say(room, "gone soon")
    since = two.sync()["next_batch"]
    one.put(one.room(room, f"redact/{q(sent)}/x")).ok()
    event = timeline(two.sync(since), room)["events"][-1]
    assert event["type"] == "m.room.redaction" and sent in (
        event.get("redacts"),
        event["content"].get("redacts"),
    )
    assert "gone soon" not in json.dumps(two.sync()["rooms"]["join"][room])


@covers(
    "GET /sync",
    "PUT /user/{userId}/account_data/{type}",
    "PUT /user/{userId}/rooms/{roomId}/account_data/{type}",
    "PUT /user/{userId}/rooms/{roomId}/tags/{tag}",
)
def test_account_data_and_tags_come_by_sync(pair):
    one, _, room = pair
    since = one.sync()["next_batch"]
    one.put(f"/user/{q(one.user_id)}/account_data/org.example.a", {"v": 1}).ok()
    one.put(f"/user/{q(one.user_id)}/rooms/{q(room)}/account_data/org.example.b", {"v": 2}).ok()
    one.put(f"/user/{q(one.user_id)}/rooms/{q(room)}/tags/u.x", {"order": 0.5}).ok()
    answer = one.sync(since)
    assert {"type": "org.example.a", "content": {"v": 1}} in answer["account_data"]["events"]
    by_type = {e["type"]: e["content"] for e in joined_room(answer, room)["account_data"]["events"]}
    assert by_type["org.example.b"] == {"v": 2} and by_type["m.tag"] == {"tags": {"u.x": {"order": 0.5}}}


# Typing, receipts, read markers


def ephemeral(answer, room, kind):
    return [e for e in joined_room(answer, room).get("ephemeral", {}).get("events", []) if e["type"] == kind]


@covers("PUT /rooms/{roomId}/typing/{userId}", "GET /sync")
def test_typing_is_shown_and_taken_back(pair):
    one, two, room = pair
    since = two.sync()["next_batch"]
    path = one.room(room, f"typing/{q(one.user_id)}")
    one.put(path, {"typing": True, "timeout": 30000}).ok()
    _, answer = two.sync_until(
        lambda a: [e for e in ephemeral(a, room, "m.typing") if one.user_id in e["content"]["user_ids"]],
        since,
    )
    one.put(path, {"typing": False}).ok()
    two.sync_until(
        lambda a: [e for e in ephemeral(a, room, "m.typing") if not e["content"]["user_ids"]],
        answer["next_batch"],
    )


@covers("PUT /rooms/{roomId}/typing/{userId}")
def test_typing_for_another_or_from_outside_is_forbidden(pair, carol):
    one, two, room = pair
    one.put(one.room(room, f"typing/{q(two.user_id)}"), {"typing": True}).refused((400, 403))
    carol.put(carol.room(room, f"typing/{q(carol.user_id)}"), {"typing": True}).refused(403, "M_FORBIDDEN")


@covers("POST /rooms/{roomId}/receipt/{receiptType}/{eventId}", "GET /sync")
def test_a_read_receipt_reaches_the_others(pair):
    one, two, room = pair
    sent = one.say(room, "read me")
    since = one.sync()["next_batch"]
    two.post(two.room(room, f"receipt/m.read/{q(sent)}")).ok()
    one.sync_until(
        lambda a: [e for e in ephemeral(a, room, "m.receipt") if two.user_id in e["content"][sent]["m.read"]],
        since,
    )


@covers("POST /rooms/{roomId}/receipt/{receiptType}/{eventId}")
def test_a_private_receipt_stays_private(pair):
    one, two, room = pair
    sent = one.say(room, "read me")
    two.post(two.room(room, f"receipt/m.read.private/{q(sent)}")).ok()
    assert "m.read.private" not in json.dumps(ephemeral(one.sync(), room, "m.receipt"))
    assert "m.read.private" in json.dumps(ephemeral(two.sync(), room, "m.receipt"))


@covers("POST /rooms/{roomId}/receipt/{receiptType}/{eventId}")
def test_an_unknown_receipt_type_is_refused(pair):
    one, _, room = pair
    one.post(one.room(room, f"receipt/m.nonsense/{q(one.say(room, 'x'))}")).refused(400)


@covers("POST /rooms/{roomId}/read_markers", "GET /sync")
def test_read_markers_set_the_marker_and_the_receipt(pair):
    one, two, room = pair
    sent = one.say(room, "read me")
    tokens = one.sync()["next_batch"], two.sync()["next_batch"]
    two.post(two.room(room, "read_markers"), {"m.fully_read": sent, "m.read": sent}).ok()
    marked = {
        e["type"]: e["content"] for e in joined_room(two.sync(tokens[1]), room)["account_data"]["events"]
    }
    assert marked["m.fully_read"] == {"event_id": sent}
    one.sync_until(
        lambda a: [e for e in ephemeral(a, room, "m.receipt") if two.user_id in e["content"][sent]["m.read"]],
        tokens[0],
    )


@covers("POST /rooms/{roomId}/read_markers", "POST /rooms/{roomId}/receipt/{receiptType}/{eventId}")
@synapse_deviates("takes any event id")
def test_a_read_marker_stands_at_an_event_of_the_room(pair, carol):
    one, two, room = pair
    sent, elsewhere = one.say(room, "here"), one.say(one.create(), "there")
    for event in ("$none", elsewhere):
        two.post(two.room(room, "read_markers"), {"m.fully_read": event}).refused(404, "M_NOT_FOUND")
        two.post(two.room(room, f"receipt/m.fully_read/{q(event)}")).refused(404, "M_NOT_FOUND")
    carol.post(carol.room(room, "read_markers"), {"m.fully_read": sent}).refused(403, "M_FORBIDDEN")
    two.post(two.room(room, f"receipt/m.fully_read/{q(sent)}")).ok()
    data = two.get_(f"/user/{q(two.user_id)}/rooms/{q(room)}/account_data/m.fully_read").ok()
    assert data == {"event_id": sent}


# Unread counts, push rules, notifications


def unread(user, room):
    counts = joined_room(user.sync(), room)["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


def settled(user, room, wanted):
    """Counts may follow the message by a moment."""
    end = time.monotonic() + 10
    while unread(user, room) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return unread(user, room) == wanted


@covers("GET /sync", "POST /rooms/{roomId}/receipt/{receiptType}/{eventId}")
def test_messages_count_as_unread_until_read(pair):
    one, two, room = pair
    for _ in range(3):
        last = one.say(room, "count me")
    assert settled(two, room, (3, 0)) and unread(one, room) == (0, 0)
    two.post(two.room(room, f"receipt/m.read/{q(last)}")).ok()
    assert settled(two, room, (0, 0))


@covers("GET /sync")
def test_a_mention_is_a_highlight(pair):
    one, two, room = pair
    one.say(room, "you there", **{"m.mentions": {"user_ids": [two.user_id]}})
    assert settled(two, room, (1, 1))


@covers("PUT " + RULE, "GET /sync")
def test_a_keyword_rule_makes_highlights(pair):
    one, two, room = pair
    two.put(
        "/pushrules/global/content/tea", {"pattern": "tea", "actions": ["notify", {"set_tweak": "highlight"}]}
    ).ok()
    one.say(room, "no such word: steam")
    one.say(room, "Tea, anyone?")
    assert settled(two, room, (2, 1))


@covers("PUT " + RULE, "GET /sync")
def test_a_muted_room_counts_nothing(pair):
    one, two, room = pair
    two.put(
        f"/pushrules/global/override/{q(room)}",
        {"actions": [], "conditions": [{"kind": "event_match", "key": "room_id", "pattern": room}]},
    ).ok()
    one.say(room, "psst")
    assert settled(two, room, (0, 0))


@covers("GET /pushrules/", "GET /pushrules/global/")
def test_the_default_rules_are_there(new_user):
    user = new_user()
    rules = user.get_("/pushrules/").ok()["global"]
    assert rules == user.get_("/pushrules/global/").ok()
    ids = [r["rule_id"] for r in rules["override"]]
    assert (
        ids[0] == ".m.rule.master" and ".m.rule.is_user_mention" in ids and ".m.rule.suppress_notices" in ids
    )
    assert ".m.rule.message" in [r["rule_id"] for r in rules["underride"]]
    assert all(r["default"] for r in rules["override"])


@covers("PUT " + RULE, "GET " + RULE, "DELETE " + RULE)
def test_a_push_rule_can_be_made_read_and_deleted(alice):
    path = "/pushrules/global/content/word1"
    alice.put(path, {"pattern": "word1", "actions": ["notify"]}).ok()
    rule = alice.get_(path).ok()
    assert (
        rule["pattern"] == "word1"
        and rule["actions"] == ["notify"]
        and rule["enabled"]
        and not rule["default"]
    )
    alice.delete(path).ok()
    alice.get_(path).refused(404, "M_NOT_FOUND")


@covers("GET " + RULE + "/enabled", "PUT " + RULE + "/enabled")
def test_a_push_rule_can_be_disabled(alice):
    path = "/pushrules/global/override/.m.rule.suppress_notices/enabled"
    alice.put(path, {"enabled": False}).ok()
    assert alice.get_(path).ok() == {"enabled": False}
    alice.put(path, {"enabled": True}).ok()


@covers("GET " + RULE + "/actions", "PUT " + RULE + "/actions")
def test_the_actions_of_a_push_rule_can_be_changed(alice):
    path = "/pushrules/global/underride/.m.rule.message/actions"
    alice.put(path, {"actions": []}).ok()
    assert alice.get_(path).ok() == {"actions": []}


@covers("PUT " + RULE)
@pytest.mark.parametrize(
    "path,body",
    [
        ("/pushrules/global/nonsense/x", {"actions": []}),
        ("/pushrules/global/override/.m.mine", {"actions": []}),
        ("/pushrules/global/content/x", {"actions": ["notify"]}),
        ("/pushrules/global/override/y", {"conditions": []}),
    ],
)
def test_a_bad_push_rule_is_refused(alice, path, body):
    alice.put(path, body).refused((400, 404))


@covers("PUT " + RULE)
def test_new_push_rules_go_before_or_after_others(new_user):
    user = new_user()
    for name, where in (("a", ""), ("b", ""), ("c", "?after=b"), ("d", "?before=a")):
        user.put(f"/pushrules/global/override/{name}{where}", {"actions": [], "conditions": []}).ok()
    ids = [r["rule_id"] for r in user.get_("/pushrules/").ok()["global"]["override"] if not r["default"]]
    assert ids == ["b", "c", "d", "a"]


@covers("PUT " + RULE, "GET /sync")
def test_changed_push_rules_come_by_sync(new_user):
    user = new_user()
    since = user.sync()["next_batch"]
    user.put("/pushrules/global/content/w", {"pattern": "w", "actions": ["notify"]}).ok()
    assert "m.push_rules" in [e["type"] for e in user.sync(since)["account_data"]["events"]]


@covers("GET /notifications")
def test_notifications_list_what_notified(pair):
    one, two, room = pair
    sent = one.say(room, "ping", **{"m.mentions": {"user_ids": [two.user_id]}})
    assert settled(two, room, (1, 1))
    listed = two.get_("/notifications").ok()["notifications"]
    assert (
        [n["event"]["event_id"] for n in listed] == [sent]
        and listed[0]["room_id"] == room
        and not listed[0]["read"]
    )
    assert len(two.get_("/notifications", only="highlight").ok()["notifications"]) == 1


# Two devices, restart


@covers("GET /sync")
def test_two_devices_of_one_user_get_the_same_messages(pair, server):
    one, two, room = pair
    second = login(server.base, two.localpart)
    tokens = two.sync()["next_batch"], second.sync()["next_batch"]
    one.say(room, "to both")
    assert texts(two.sync(tokens[0]), room) == texts(second.sync(tokens[1]), room) == ["to both"]


@covers("GET /sync")
def test_old_tokens_go_on_working_after_a_restart(pair, server):
    one, two, room = pair
    since = two.sync()["next_batch"]
    one.say(room, "before")
    server.restart()
    one.say(room, "after")
    assert texts(two.sync(since), room) == ["before", "after"]
