"""History that is missing here: other servers in the room are asked for it when somebody pages back to where it ends."""

import itertools
import threading

import pytest

import harness
from fetch_test import wait_for
from harness import q
from incoming_test import heard, joined, message, results
from joining_test import join
from pdus import RemoteRoom, event_id, history
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
MISSING = 404, {"errcode": "M_NOT_FOUND", "error": "no"}
numbers = itertools.count(1)


def hosting(authority, copies):
    running = Remote(authority)
    running.routes[f"PUT {V1}/send/"] = (200, {"pdus": {}})
    history(running, copies)
    return running


@pytest.fixture
def remote(authority):
    running = hosting(authority, {})
    running.copies = {}
    history(running, running.copies)
    yield running
    running.close()


@pytest.fixture
def bob(ours):
    return ours.register(f"bob{next(numbers)}")


def hosted(remote, said, version="11", **options):
    room = RemoteRoom(remote, version, **options).serve()
    remote.copies[room.room_id] = room
    for n in range(said):
        room.put("m.room.message", {"msgtype": "m.text", "body": f"m{n}"})
    return room


def page(user, room, start=None, limit=10, direction="b"):
    token = f"&from={start}" if start else ""
    return user.get_(f"/rooms/{q(room.room_id)}/messages?dir={direction}&limit={limit}{token}").ok()


def all_pages(user, room, limit=10, start=None):
    """What paging back gives, until it comes to an end or does not go on."""
    events, token = [], start
    while True:
        got = page(user, room, token, limit)
        events += got["chunk"]
        if got.get("end") in (None, token):
            return events
        token = got["end"]


def ids(events):
    return [e["event_id"] for e in events]


@covers("GET /_matrix/client/v3/rooms/{roomId}/messages")
@pytest.mark.parametrize("version", ["3", "6", "10", "11", "12"])
def test_paging_back_gives_every_event_from_before_the_join_once(ours, remote, bob, version):
    room = hosted(remote, 130, version)
    join(bob, room).ok()
    told = bob.sync()["rooms"]["join"][room.room_id]["timeline"]
    assert told["limited"]
    got = ids(all_pages(bob, room, 17, told["prev_batch"]))
    wanted = [event_id(version, e) for e in room.events.values()][:-1]
    assert got == wanted[::-1]


def test_some_history_is_fetched_right_after_a_join(ours, remote, bob):
    room = hosted(remote, 30)
    join(bob, room).ok()
    wait_for(lambda: remote.asked(f"{V1}/backfill/"))
    wait_for(lambda: len(heard(bob, room.room_id)) == 30)
    assert len(remote.asked(f"{V1}/backfill/")) == 1


def test_history_of_forks_comes_whole_and_state_in_it_moves_nothing(ours, remote, bob):
    room = hosted(remote, 3)
    fork = list(room.heads)
    room.put("m.room.topic", {"topic": "old"}, "")
    left = room.heads[0]
    room.heads = fork
    room.put("m.room.message", {"msgtype": "m.text", "body": "beside"})
    room.heads = [left, room.heads[0]]
    room.put("m.room.topic", {"topic": "new"}, "")
    join(bob, room).ok()
    assert sorted(ids(all_pages(bob, room, 4))) == sorted(room.events)
    assert bob.state(room.room_id, "m.room.topic").ok()["topic"] == "new"


def test_history_of_a_gap_in_a_room_that_was_made_here_is_found_by_paging_back(ours, remote, bob):
    copy = joined(remote, ours, bob)
    remote.copies[copy.room_id] = copy
    before = bob.say(copy.room_id, "here before")
    wait_for(lambda: any(event_id("11", p) == before for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"]))
    copy.hear([p for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"] if event_id("11", p) == before])
    for n in range(40):
        copy.add(message(copy, f"lost{n}"))
    since = bob.sync()["next_batch"]
    copy.add(message(copy, "last"))
    results(remote, ours, copy.events[copy.heads[0]])
    wait_for(lambda: copy.room_id in bob.sync(since).get("rooms", {}).get("join", {}))
    timeline = bob.sync(since)["rooms"]["join"][copy.room_id]["timeline"]
    assert timeline["limited"] and timeline["events"][-1]["content"]["body"] == "last"
    after = [e["content"]["body"] for e in timeline["events"]]
    back = [e["content"].get("body") for e in all_pages(bob, copy, 7, timeline["prev_batch"]) if e["type"] == "m.room.message"]
    assert back[::-1] + after == ["here before", *[f"lost{n}" for n in range(40)], "last"]


def test_when_nobody_has_it_older_history_is_told_and_paging_may_go_on_later(ours, remote, bob):
    room = hosted(remote, 20)
    real = remote.routes[f"GET {V1}/backfill/"]
    remote.routes[f"GET {V1}/backfill/"] = MISSING
    join(bob, room).ok()
    first = page(bob, room)
    assert ids(first["chunk"]) == [room.heads[0]] and first["end"]
    assert ids(page(bob, room, first["end"])["chunk"]) == []
    asked = len(remote.asked(f"{V1}/backfill/"))
    assert page(bob, room, first["end"])["end"] == first["end"] and len(remote.asked(f"{V1}/backfill/")) == asked
    remote.routes[f"GET {V1}/backfill/"] = real


def test_another_server_is_asked_when_one_does_not_have_it(ours, remote, bob, authority):
    other = hosting(authority, remote.copies)
    room = hosted(remote, 25)
    for n in range(3):
        user = f"@guest{n}:{other.name}"
        room.add(room.make("m.room.member", {"membership": "join"}, user, sender=user, signer=other))
    remote.routes[f"GET {V1}/backfill/"] = MISSING
    remote.routes[f"GET {V1}/event/"] = MISSING
    remote.routes[f"GET {V1}/state_ids/"] = MISSING
    join(bob, room).ok()
    wait_for(lambda: len(heard(bob, room.room_id)) == 25)
    assert other.asked(f"{V1}/backfill/")
    other.close()


def test_a_server_that_does_not_answer_keeps_nobody_for_long(ours, remote, bob):
    room = hosted(remote, 20)
    waiting = threading.Event()
    remote.routes[f"GET {V1}/backfill/"] = lambda r: (waiting.wait(30), MISSING)[1]
    join(bob, room).ok()
    got = page(bob, room)
    assert ids(got["chunk"]) == [room.heads[0]] and got["end"]
    waiting.set()


def test_history_that_a_user_may_not_see_is_not_looked_for(ours, remote, bob):
    room = hosted(remote, 0)
    room.put("m.room.history_visibility", {"history_visibility": "joined"}, "")
    room.put("m.room.message", {"msgtype": "m.text", "body": "hidden"})
    remote.routes[f"GET {V1}/backfill/"], real = MISSING, remote.routes[f"GET {V1}/backfill/"]
    join(bob, room).ok()
    wait_for(lambda: remote.asked(f"{V1}/backfill/"))
    remote.routes[f"GET {V1}/backfill/"] = real
    got = page(bob, room)
    assert ids(got["chunk"]) == [room.heads[0]] and "end" not in got
    assert len(remote.asked(f"{V1}/backfill/")) == 1


def test_what_was_found_is_there_after_a_restart(ours, remote, bob):
    room = hosted(remote, 12)
    join(bob, room).ok()
    before = ids(all_pages(bob, room, 5))
    ours.kill9()
    ours.start()
    remote.routes[f"GET {V1}/backfill/"] = MISSING
    assert ids(all_pages(bob, room, 5)) == before and len(before) == len(room.events)


def test_events_that_are_no_history_of_the_room_are_not_taken(ours, remote, bob):
    other, room = hosted(remote, 1), hosted(remote, 5)
    foreign = other.events[other.heads[0]]
    forged = dict(room.events[room.heads[0]], content={"body": "forged"})
    remote.routes[f"GET {V1}/backfill/"] = (200, {"pdus": [foreign, forged, 7, None, {}]})
    remote.routes[f"GET {V1}/event/"] = (200, {"pdus": [foreign]})
    join(bob, room).ok()
    wait_for(lambda: remote.asked(f"{V1}/backfill/"))
    assert [e["content"].get("body") for e in all_pages(bob, room)] == [None]


@covers("GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event")
@pytest.mark.parametrize("way", ["f", "b"])
def test_the_event_closest_to_a_time_is_looked_for_in_history_that_is_not_here_yet(ours, remote, bob, way):
    room = hosted(remote, 150)
    remote.routes[f"GET {V1}/timestamp_to_event/"] = MISSING
    join(bob, room).ok()
    name = list(room.events)[20]
    ts = room.events[name]["origin_server_ts"]
    found = bob.get_(f"/v1/rooms/{q(room.room_id)}/timestamp_to_event", ts=ts, dir=way).ok()
    assert found == {"event_id": name, "origin_server_ts": ts}
    bob.get_(f"/rooms/{q(room.room_id)}/context/{q(name)}").ok()


def test_without_the_others_the_closest_event_that_is_here_is_told(ours, remote, bob):
    room = hosted(remote, 20)
    remote.routes[f"GET {V1}/backfill/"] = MISSING
    join(bob, room).ok()
    found = bob.get_(f"/v1/rooms/{q(room.room_id)}/timestamp_to_event", ts=1, dir="f").ok()
    assert found["event_id"] == room.heads[0]
    bob.get_(f"/v1/rooms/{q(room.room_id)}/timestamp_to_event", ts=1, dir="b").refused(404, "M_NOT_FOUND")


@covers("GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event")
@pytest.mark.parametrize("way", ["f", "b"])
def test_the_event_closest_to_a_time_is_asked_of_others_when_history_is_missing(ours, remote, bob, way):
    room = hosted(remote, 900)
    join(bob, room).ok()
    name = list(room.events)[30]
    ts = room.events[name]["origin_server_ts"]
    path = f"/v1/rooms/{q(room.room_id)}/timestamp_to_event"
    assert bob.get_(path, ts=ts, dir=way).ok() == {"event_id": name, "origin_server_ts": ts}
    asked = remote.asked(f"{V1}/timestamp_to_event/")
    assert len(asked) == 1 and asked[0].query == {"ts": str(ts), "dir": way}
    near = bob.get_(f"/rooms/{q(room.room_id)}/context/{q(name)}", limit=10).ok()
    assert [e["event_id"] for e in near["events_before"]] == list(room.events)[29:24:-1]
    assert bob.get_(path, ts=ts, dir=way).ok()["event_id"] == name, "it is here now"
    assert event_ids_backfilled(remote) < 500, "what lies between was not fetched for it"


def event_ids_backfilled(remote):
    return sum(int(r.query["limit"]) for r in remote.asked(f"{V1}/backfill/"))


def test_what_another_server_tells_of_a_time_is_not_believed(ours, remote, bob):
    room = hosted(remote, 20)
    remote.routes[f"GET {V1}/backfill/"] = MISSING
    join(bob, room).ok()
    newest, ts, nowhere, later = room.heads[0], room.newest_ts, "$" + 43 * "n", "$" + 43 * "l"
    path = f"/v1/rooms/{q(room.room_id)}/timestamp_to_event"
    for told in ({"event_id": nowhere, "origin_server_ts": 5}, {"event_id": 7}, {"event_id": newest, "origin_server_ts": "x"}, []):
        remote.routes[f"GET {V1}/timestamp_to_event/"] = (200, told)
        assert bob.get_(path, ts=1, dir="f").ok()["event_id"] == newest
    remote.routes[f"GET {V1}/timestamp_to_event/"] = (200, {"event_id": later, "origin_server_ts": ts + 50})
    bob.get_(path, ts=1, dir="f").ok()
    targets = [r.target for r in remote.requests]
    assert any(nowhere[1:] in target for target in targets)
    assert not any(later[1:] in target for target in targets), "it is no nearer, and not fetched"
