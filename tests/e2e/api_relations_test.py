"""Events that relate to others, threads and what is unread in them, and events by time, by plain HTTP."""

import pytest

from harness import q

covers = pytest.mark.covers

RELATIONS = "GET /v1/rooms/{roomId}/relations/{eventId}"
RECEIPT = "POST /rooms/{roomId}/receipt/{receiptType}/{eventId}"
APART = {"room": {"timeline": {"unread_thread_notifications": True}}}


def relate(user, room, target, rel_type, text="r", **more):
    return user.put_event(room, {"body": text, "m.relates_to": {"rel_type": rel_type, "event_id": target}, **more})


def reply(user, room, root, text="in the thread"):
    return relate(user, room, root, "m.thread", text).ok()["event_id"]


def edit(user, room, target, text):
    return relate(user, room, target, "m.replace", "* " + text, **{"m.new_content": {"body": text}}).ok()["event_id"]


def react(user, room, target, key):
    relates = {"rel_type": "m.annotation", "event_id": target, "key": key}
    return user.put_event(room, {"m.relates_to": relates}, "m.reaction").ok()["event_id"]


def relations(user, room, event, *parts, **query):
    path = "/".join([f"/v1/rooms/{q(room)}/relations/{q(event)}", *map(q, parts)])
    return user.get_(path, **query)


def ids(answer):
    return [e["event_id"] for e in answer.ok()["chunk"]]


def bundle(user, room, event):
    return user.get_(user.room(room, f"event/{q(event)}")).ok()["unsigned"].get("m.relations", {})


@covers(RELATIONS, RELATIONS + "/{relType}", RELATIONS + "/{relType}/{eventType}")
def test_children_are_listed_newest_first_and_by_kind(alice, bob, room):
    root = alice.say(room, "root")
    first, second = reply(bob, room, root), reply(alice, room, root)
    smile = react(bob, room, root, "smile")
    assert ids(relations(bob, room, root)) == [smile, second, first]
    assert ids(relations(bob, room, root, dir="f")) == [first, second, smile]
    assert ids(relations(bob, room, root, "m.thread")) == [second, first]
    assert ids(relations(bob, room, root, "m.annotation", "m.reaction")) == [smile]
    assert ids(relations(bob, room, root, "m.annotation", "m.room.message")) == []
    assert ids(relations(bob, room, first)) == []


@covers(RELATIONS + "/{relType}")
@pytest.mark.parametrize("direction", ["b", "f"])
def test_children_come_in_pages_each_once(alice, room, direction):
    root = alice.say(room, "root")
    wanted = [reply(alice, room, root) for _ in range(7)]
    found, token = [], None
    for _ in range(9):
        page = relations(alice, room, root, "m.thread", limit=3, dir=direction, **{"from": token})
        found += ids(page)
        token = page.get("next_batch")
        if not token:
            break
    assert found == (wanted if direction == "f" else wanted[::-1])


@covers(RELATIONS)
def test_children_of_children_come_with_recursion(alice, room):
    root = alice.say(room, "root")
    child = reply(alice, room, root)
    grandchild = react(alice, room, child, "x")
    assert ids(relations(alice, room, root)) == [child]
    answer = relations(alice, room, root, recurse="true")
    assert ids(answer) == [grandchild, child] and answer["recursion_depth"] >= 1
    assert ids(relations(alice, room, root, "m.annotation", recurse="true")) == [grandchild]


@covers(RELATIONS)
def test_children_stop_at_tokens_of_sync(alice, room):
    root = alice.say(room, "root")
    before = [reply(alice, room, root) for _ in range(2)]
    token = alice.sync()["next_batch"]
    after = [reply(alice, room, root) for _ in range(2)]
    assert ids(relations(alice, room, root, **{"from": token})) == before[::-1]
    assert ids(relations(alice, room, root, to=token)) == after[::-1]


@covers(RELATIONS)
def test_what_can_not_be_listed_is_refused(alice, bob, carol, room):
    root = alice.say(room, "root")
    relations(alice, room, "$none").refused(404, "M_NOT_FOUND")
    relations(carol, room, root).refused(404, "M_NOT_FOUND")
    for query in ({"limit": 0}, {"limit": "x"}, {"dir": "up"}, {"from": "nonsense"}, {"recurse": "maybe"}):
        relations(alice, room, root, **query).refused(400, "M_INVALID_PARAM")


@covers("GET /rooms/{roomId}/event/{eventId}")
def test_an_edit_that_is_valid_is_bundled_and_the_original_is_left(alice, bob, room):
    sent = alice.say(room, "firts")
    edit(bob, room, sent, "not mine")
    relate(alice, room, sent, "m.replace", "no new content").ok()
    assert "m.replace" not in bundle(bob, room, sent)
    old, new = edit(alice, room, sent, "furst"), edit(alice, room, sent, "first")
    assert bundle(bob, room, sent)["m.replace"]["event_id"] == new
    assert bob.get_(bob.room(room, f"event/{q(sent)}")).ok()["content"]["body"] == "firts"
    alice.put(alice.room(room, f"redact/{q(new)}/e1")).ok()
    assert bundle(bob, room, sent)["m.replace"]["event_id"] == old
    alice.put(alice.room(room, f"redact/{q(sent)}/e2")).ok()
    assert "m.replace" not in bundle(bob, room, sent)


@covers("GET /rooms/{roomId}/event/{eventId}")
def test_references_are_bundled_and_annotations_are_not(alice, bob, room):
    sent = alice.say(room, "look")
    wanted = [relate(bob, room, sent, "m.reference").ok()["event_id"] for _ in range(2)]
    react(bob, room, sent, "x")
    assert bundle(alice, room, sent) == {"m.reference": {"chunk": [{"event_id": event} for event in wanted]}}
    topic = alice.state(room, "m.room.topic", "", {"topic": "t"}).ok()["event_id"]
    relate(bob, room, topic, "m.reference").ok()
    assert bundle(alice, room, topic) == {}


@covers("PUT /rooms/{roomId}/send/{eventType}/{txnId}")
def test_nobody_annotates_twice_in_the_same_way(alice, bob, room):
    sent = alice.say(room, "yes?")
    once = react(bob, room, sent, "+1")
    again = {"m.relates_to": {"rel_type": "m.annotation", "event_id": sent, "key": "+1"}}
    bob.put_event(room, again, "m.reaction").refused(400, "M_DUPLICATE_ANNOTATION")
    react(bob, room, sent, "-1")
    react(alice, room, sent, "+1")
    bob.put(bob.room(room, f"redact/{q(once)}/a1")).ok()
    react(bob, room, sent, "+1")


@covers("PUT /rooms/{roomId}/send/{eventType}/{txnId}")
def test_a_thread_does_not_begin_with_an_event_that_relates_to_another(alice, room):
    root = alice.say(room, "root")
    for child in (reply(alice, room, root), edit(alice, room, root, "x"), react(alice, room, root, "x")):
        relate(alice, room, child, "m.thread").refused(400, "M_UNKNOWN")


@covers("GET /v1/rooms/{roomId}/threads")
def test_threads_are_listed_by_their_latest_reply(alice, bob, carol, room):
    first, second, third = (alice.say(room, text) for text in "abc")
    for root in (second, first, third, second):
        reply(alice, room, root)
    latest = reply(bob, room, first, "latest")
    path = f"/v1/rooms/{q(room)}/threads"
    answer = bob.get_(path)
    assert ids(answer) == [first, second, third]
    thread = answer["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
    assert thread["count"] == 2 and thread["current_user_participated"] is True
    assert thread["latest_event"]["event_id"] == latest
    assert ids(bob.get_(path, include="participated")) == [first]
    page = bob.get_(path, limit=2)
    assert ids(page) == [first, second]
    assert ids(bob.get_(path, limit=2, **{"from": page["next_batch"]})) == [third]
    carol.get_(path).refused(403, "M_FORBIDDEN")
    alice.get_(f"/v1/rooms/{q('!none:e2e.test')}/threads").refused(403, "M_FORBIDDEN")
    for query in ({"limit": 0}, {"include": "some"}, {"from": "nonsense"}):
        bob.get_(path, **query).refused(400, "M_INVALID_PARAM")


def counts(user, room, filter=APART):
    part = user.sync(filter=filter)["rooms"]["join"][room]
    return part["unread_notifications"], part.get("unread_thread_notifications")


def several(notifications, highlights=0):
    return {"notification_count": notifications, "highlight_count": highlights}


@covers("GET /sync", RECEIPT)
def test_threads_are_counted_apart_when_the_filter_says_so(alice, new_user):
    bob = new_user("bob")
    room = alice.create()
    bob.join(room).ok()
    root = alice.say(room, "root")
    first = reply(alice, room, root)
    reply(alice, room, root)
    last = alice.put_event(
        room, {"body": "you", "m.mentions": {"user_ids": [bob.user_id]},
               "m.relates_to": {"rel_type": "m.thread", "event_id": root}},
    ).ok()["event_id"]
    bob.sync_until(lambda a: counts(bob, room) == (several(1), {root: several(3, 1)}))
    assert counts(bob, room, None) == (several(4, 1), None)

    def read(event, **body):
        since = bob.sync()["next_batch"]
        bob.post(bob.room(room, f"receipt/m.read/{q(event)}"), body).ok()
        return bob.sync_until(lambda a: a.get("rooms", {}).get("join", {}).get(room), since, filter=APART)[0]

    part = read(root, thread_id="main")
    assert part["unread_notifications"] == several(0)
    assert part["unread_thread_notifications"] == {root: several(3, 1)}
    receipt = part["ephemeral"]["events"][0]["content"][root]["m.read"][bob.user_id]
    assert receipt["thread_id"] == "main"
    assert read(first, thread_id=root)["unread_thread_notifications"] == {root: several(2, 1)}
    part = read(last)
    assert part["unread_notifications"] == several(0) and part["unread_thread_notifications"] == {}


@covers(RECEIPT)
def test_a_receipt_is_for_a_thread_that_the_event_is_in(alice, bob, room):
    root = alice.say(room, "root")
    child = reply(alice, room, root)
    smile = react(alice, room, child, "smile")
    other = alice.say(room, "other")
    for event, thread in ((child, root), (smile, root), (root, root), (root, "main"), (other, "main")):
        bob.post(bob.room(room, f"receipt/m.read/{q(event)}"), {"thread_id": thread}).ok()
    for event, thread in ((child, "main"), (smile, "main"), (other, root), (child, other), (child, ""), (child, "x")):
        bob.post(bob.room(room, f"receipt/m.read/{q(event)}"), {"thread_id": thread}).refused(400, "M_INVALID_PARAM")
    bob.post(bob.room(room, f"receipt/m.read/{q(child)}"), {"thread_id": 7}).refused(400, "M_INVALID_PARAM")
    bob.post(bob.room(room, f"receipt/m.fully_read/{q(root)}"), {"thread_id": "main"}).refused(400, "M_INVALID_PARAM")


@covers("GET /v1/rooms/{roomId}/timestamp_to_event")
def test_the_event_closest_to_a_time_is_found(alice, bob, carol, room):
    sent = [alice.say(room, str(n)) for n in range(5)]
    times = [alice.get_(alice.room(room, f"event/{q(event)}")).ok()["origin_server_ts"] for event in sent]
    path = f"/v1/rooms/{q(room)}/timestamp_to_event"
    found = bob.get_(path, ts=times[2], dir="f").ok()
    assert found["origin_server_ts"] == times[2]
    assert bob.get_(path, ts=times[-1] + 10**6, dir="b").ok()["event_id"] == sent[-1]
    create = bob.state(room, "m.room.create").status == 200 and bob.get_(path, ts=0, dir="f").ok()["event_id"]
    assert bob.get_(bob.room(room, f"event/{q(create)}")).ok()["type"] == "m.room.create"
    bob.get_(path, ts=times[-1] + 10**6, dir="f").refused(404, "M_NOT_FOUND")
    bob.get_(path, ts=0, dir="b").refused(404, "M_NOT_FOUND")
    carol.get_(path, ts=0, dir="f").refused((403, 404))
    bob.get_(path, dir="f").refused(400, "M_MISSING_PARAM")
    bob.get_(path, ts=0).refused(400, "M_MISSING_PARAM")
    bob.get_(path, ts=-1, dir="f").refused(400, "M_INVALID_PARAM")


# Ignored users


def ignore(user, *others):
    content = {"ignored_users": {other.user_id: {} for other in others}}
    user.put(f"/user/{q(user.user_id)}/account_data/m.ignored_user_list", content).ok()


@covers(RELATIONS, "GET /v1/rooms/{roomId}/threads", "GET /rooms/{roomId}/messages")
def test_what_ignored_users_send_is_left_out_but_state(new_user):
    alice, bob, mallory = new_user("alice"), new_user("bob"), new_user("mallory")
    room = alice.create(power_level_content_override={"events": {"m.room.topic": 0}})
    for user in (bob, mallory):
        user.join(room).ok()
    root, second = alice.say(room, "root"), alice.say(room, "second")
    kept = reply(bob, room, root)
    for target in (root, second):
        reply(mallory, room, target)
    reference = relate(mallory, room, root, "m.reference").ok()["event_id"]
    topic = mallory.state(room, "m.room.topic", "", {"topic": "mine"}).ok()["event_id"]
    assert bundle(alice, room, root)["m.thread"]["count"] == 2
    ignore(alice, mallory)
    shown = bundle(alice, room, root)
    assert shown["m.thread"]["count"] == 1 and shown["m.thread"]["latest_event"]["event_id"] == kept
    assert "m.reference" not in shown
    assert ids(relations(alice, room, root)) == [kept]
    assert ids(alice.get_(f"/v1/rooms/{q(room)}/threads")) == [root]
    page = alice.get_(alice.room(room, "messages"), dir="b", limit=4).ok()["chunk"]
    assert [e["event_id"] for e in page[:2]] == [topic, kept]
    around = alice.get_(alice.room(room, f"context/{q(root)}"), limit=20).ok()
    assert reference not in [e["event_id"] for e in around["events_after"]]
    assert bundle(bob, room, root)["m.thread"]["count"] == 2


@covers("GET /sync", "POST /rooms/{roomId}/invite")
def test_invites_by_ignored_users_are_not_told(new_user):
    alice, bob, mallory = new_user("alice"), new_user("bob"), new_user("mallory")
    ignore(alice, mallory)
    since = alice.sync()["next_batch"]
    unwanted = mallory.create(preset="private_chat", invite=[alice.user_id])
    wanted = bob.create(preset="private_chat", invite=[alice.user_id])
    told, _ = alice.sync_until(lambda a: a.get("rooms", {}).get("invite"), since)
    assert set(told) == {wanted}
    assert set(alice.sync()["rooms"]["invite"]) == {wanted}
    ignore(alice)
    assert set(alice.sync()["rooms"]["invite"]) == {wanted, unwanted}
