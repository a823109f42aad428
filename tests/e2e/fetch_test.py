"""What another server may fetch of rooms that its users are in, and what is pushed to it; the server is a Remote."""

import itertools
import time
from types import SimpleNamespace

import pytest

import harness
from federating import alice  # noqa: F401
from harness import q
from pdus import JoinedRoom, content_hash, event_id
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def remote(authority):
    running = Remote(authority)
    running.routes["PUT /_matrix/federation/v1/send/"] = (200, {"pdus": {}})
    yield running
    running.close()


@pytest.fixture(scope="module")
def stranger(authority):
    running = Remote(authority)
    yield running
    running.close()


def join(remote, ours, room):
    return JoinedRoom(remote, ours, room, f"@rita{next(numbers)}:{remote.name}", q)


def get(remote, ours, what, room, rest=""):
    return remote.ask(ours, "GET", f"{V1}/{what}/{q(room)}{rest}")


def pushed(remote, room):
    found = [p for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"]]
    return [p for p in found if p.get("room_id") == room]


def say(alice, room, text):
    return alice.say(room, text)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("version", ["3", "6", "11", "12"])
def test_what_is_said_is_pushed_to_the_servers_in_the_room(ours, remote, alice, version):
    room = alice.create(room_version=version, preset="public_chat")
    join(remote, ours, room)
    said = [say(alice, room, f"m{n}") for n in range(5)]
    wait_for(lambda: len(pushed(remote, room)) >= 5)
    got = pushed(remote, room)
    assert [event_id(version, p) for p in got] == said and all(p["hashes"]["sha256"] == content_hash(p) for p in got)


def test_a_join_is_pushed_to_the_other_servers_only_and_a_kick_to_whom_it_takes_out(authority, ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat")
    second = Remote(authority)
    second.routes["PUT /_matrix/federation/v1/send/"] = (200, {"pdus": {}})
    first = join(remote, ours, room)
    user = join(second, ours, room).creator
    wait_for(lambda: pushed(remote, room))
    assert [p["state_key"] for p in pushed(remote, room)] == [user]
    alice.member(room, "kick", SimpleNamespace(user_id=user)).ok()
    wait_for(lambda: pushed(second, room))
    assert [p["content"]["membership"] for p in pushed(second, room)] == ["leave"]
    say(alice, room, "he is gone")
    wait_for(lambda: len(pushed(remote, room)) == 3)
    assert len(pushed(second, room)) == 1 and first.membership(first.creator) == "join"
    second.close()


def test_typing_and_receipts_of_our_users_are_pushed(ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat")
    join(remote, ours, room)
    event = say(alice, room, "read me")
    alice.put(f"/rooms/{q(room)}/typing/{q(alice.user_id)}", {"typing": True, "timeout": 20000}).ok()
    alice.post(f"/rooms/{q(room)}/receipt/m.read/{q(event)}", {}).ok()

    def edus(kind):
        return [e["content"] for r in remote.asked(f"{V1}/send/") for e in r.json["edus"] if e["edu_type"] == kind]

    wait_for(lambda: any(e["room_id"] == room for e in edus("m.typing")))
    wait_for(lambda: any(room in e for e in edus("m.receipt")))
    told = next(e[room] for e in edus("m.receipt") if room in e)
    assert told["m.read"][alice.user_id]["event_ids"] == [event]


@covers("GET /_matrix/federation/v1/backfill/{roomId}")
def test_history_is_given_backwards(ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat")
    said = [say(alice, room, f"m{n}") for n in range(30)]
    join(remote, ours, room)
    answer = get(remote, ours, "backfill", room, f"?v={q(said[20])}&limit=10").ok()
    assert answer["origin"] == ours.server_name
    assert [event_id("11", p) for p in answer["pdus"]] == said[20:10:-1]
    everything = get(remote, ours, "backfill", room, f"?v={q(said[-1])}&limit=1000").ok()["pdus"]
    assert everything[-1]["type"] == "m.room.create" and len(everything) > 30
    assert get(remote, ours, "backfill", room, f"?v={q('$' + 'A' * 43)}&limit=5").ok()["pdus"] == []
    get(remote, ours, "backfill", room, "?limit=5").refused(400, "M_MISSING_PARAM")


@covers("POST /_matrix/federation/v1/get_missing_events/{roomId}")
def test_missing_events_are_those_between(ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat")
    said = [say(alice, room, f"m{n}") for n in range(25)]
    join(remote, ours, room)

    def missing(**more):
        body = {"earliest_events": [said[2]], "latest_events": [said[8]], **more}
        answer = remote.ask(ours, "POST", f"{V1}/get_missing_events/{q(room)}", body).ok()
        return [event_id("11", e) for e in answer["events"]]

    assert missing() == said[3:8]
    assert missing(limit=2) == said[6:8]
    assert missing(limit=0) == []
    depth = get(remote, ours, "event", said[5]).ok()["pdus"][0]["depth"]
    assert missing(min_depth=depth) == said[5:8]
    assert missing(earliest_events=[], limit=1000)[-8:] == said[:8]
    assert missing(earliest_events=[], latest_events=[said[24]], limit=1000) == said[4:24], "no more than 20"
    remote.ask(ours, "POST", f"{V1}/get_missing_events/{q(room)}", {"latest_events": []}).refused(400, "M_MISSING_PARAM")


@covers("GET /_matrix/federation/v1/event/{eventId}")
def test_an_event_is_found_in_the_rooms_of_the_server(ours, remote, stranger, alice):
    room, closed = alice.create(room_version="11", preset="public_chat"), alice.create(room_version="11")
    event, hidden = say(alice, room, "here"), say(alice, closed, "elsewhere")
    join(remote, ours, room)
    assert event_id("11", get(remote, ours, "event", event).ok()["pdus"][0]) == event
    get(remote, ours, "event", hidden).refused(404, "M_NOT_FOUND")
    get(stranger, ours, "event", event).refused(404, "M_NOT_FOUND")


def test_an_event_is_found_however_many_rooms_the_server_is_in(authority, ours, alice):
    busy = Remote(authority)
    rooms = [alice.create(room_version="11", preset="public_chat") for _ in range(24)]
    events = [say(alice, room, "here") for room in rooms]
    for room in rooms:
        join(busy, ours, room)
    for room in rooms[8:]:             # More than are remembered of the server.
        get(busy, ours, "state_ids", f"{room}?event_id={q(events[rooms.index(room)])}")
    for event in events[:8]:
        assert event_id("11", get(busy, ours, "event", event).ok()["pdus"][0]) == event
    get(busy, ours, "event", "$" + 43 * "x").refused(404, "M_NOT_FOUND")
    busy.close()


@covers("GET /_matrix/federation/v1/state/{roomId}", "GET /_matrix/federation/v1/state_ids/{roomId}",
        "GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}")
def test_states_and_auth_chains_are_given_whole(ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat", name="Old name")
    event = say(alice, room, "then")
    alice.state(room, "m.room.name", content={"name": "New name"})
    copy = join(remote, ours, room)
    answer = get(remote, ours, "state", room, f"?event_id={q(event)}")
    state = answer.ok()
    assert answer.headers["Transfer-Encoding"] == "chunked", "it is sent as it comes from the room"
    ids = get(remote, ours, "state_ids", room, f"?event_id={q(event)}").ok()
    assert [event_id("11", e) for e in state["pdus"]] == ids["pdu_ids"]
    assert [event_id("11", e) for e in state["auth_chain"]] == ids["auth_chain_ids"]
    names = {e["type"]: e for e in state["pdus"]}
    assert names["m.room.name"]["content"]["name"] == "Old name"
    assert ("m.room.member", copy.creator) not in {(e["type"], e["state_key"]) for e in state["pdus"]}
    cited = {a for e in state["pdus"] for a in e["auth_events"]}
    assert cited <= set(ids["auth_chain_ids"])
    chain = get(remote, ours, "event_auth", room, f"/{q(event)}").ok()["auth_chain"]
    kinds = {e["type"] for e in chain}
    assert {"m.room.create", "m.room.power_levels", "m.room.member"} <= kinds and "m.room.name" not in kinds
    assert {a for e in chain for a in e["auth_events"]} <= {event_id("11", e) for e in chain}
    get(remote, ours, "state_ids", room, f"?event_id={q('$' + 'A' * 43)}").refused(404, "M_NOT_FOUND")
    get(remote, ours, "state_ids", room).refused(400, "M_INVALID_PARAM")


@covers("GET /_matrix/federation/v1/timestamp_to_event/{roomId}")
def test_the_event_closest_to_a_time_is_found(ours, remote, alice):
    room = alice.create(room_version="11", preset="public_chat")
    event = say(alice, room, "now")
    join(remote, ours, room)
    ts = get(remote, ours, "event", event).ok()["pdus"][0]["origin_server_ts"]
    assert get(remote, ours, "timestamp_to_event", room, f"?ts={ts}&dir=b").ok()["event_id"] == event
    get(remote, ours, "timestamp_to_event", room, f"?ts={ts + 10 ** 9}&dir=f").refused(404, "M_NOT_FOUND")
    get(remote, ours, "timestamp_to_event", room, f"?ts={ts}&dir=x").refused(400, "M_INVALID_PARAM")


def everything(remote, ours, room, event):
    return [get(remote, ours, "backfill", room, f"?v={q(event)}&limit=5"),
            remote.ask(ours, "POST", f"{V1}/get_missing_events/{q(room)}", {"earliest_events": [], "latest_events": [event]}),
            get(remote, ours, "state", room, f"?event_id={q(event)}"), get(remote, ours, "state_ids", room, f"?event_id={q(event)}"),
            get(remote, ours, "event_auth", room, f"/{q(event)}"), get(remote, ours, "timestamp_to_event", room, "?ts=1&dir=f")]


def test_servers_that_are_not_in_the_room_or_that_its_acl_names_get_nothing(ours, remote, stranger, alice):
    room = alice.create(room_version="11", preset="public_chat")
    event = say(alice, room, "secret")
    copy = join(remote, ours, room)
    for reply in everything(stranger, ours, room, event):
        reply.refused(403, "M_FORBIDDEN")
    alice.state(room, "m.room.server_acl", content={"allow": ["*"], "deny": ["localhost"]})
    for reply in everything(remote, ours, room, event):
        reply.refused(403, "M_FORBIDDEN")
    get(remote, ours, "event", event).refused(404, "M_NOT_FOUND")
    alice.state(room, "m.room.server_acl", content={"allow": ["*"]})
    alice.member(room, "kick", SimpleNamespace(user_id=copy.creator)).ok()
    for reply in everything(remote, ours, room, event):
        reply.refused(403, "M_FORBIDDEN")


def test_what_history_visibility_hides_is_given_redacted(ours, remote, alice):
    hidden = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room = alice.create(room_version="11", preset="public_chat", initial_state=[hidden])
    before = say(alice, room, "before she joined")
    copy = join(remote, ours, room)
    after = say(alice, room, "after she joined")
    pdu = get(remote, ours, "event", before).ok()["pdus"][0]
    assert pdu["content"] == {} and event_id("11", pdu) == before
    assert get(remote, ours, "event", after).ok()["pdus"][0]["content"]["body"] == "after she joined"
    by_id = {event_id("11", p): p for p in get(remote, ours, "backfill", room, f"?v={q(after)}&limit=100").ok()["pdus"]}
    assert by_id[after]["content"] and not by_id[before]["content"] and by_id[copy.join]["content"]["membership"] == "join"
    assert by_id[copy.state["m.room.member", alice.user_id]]["content"]["membership"] == "join", "redaction keeps it"
    alice.put(f"/rooms/{q(room)}/redact/{q(after)}/r", {}).ok()
    wait_for(lambda: get(remote, ours, "event", after).ok()["pdus"][0]["content"] == {})
