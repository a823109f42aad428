"""Rooms of Greenroom with a user of Synapse in them: messages and state both ways, history, and gaps that are closed."""

import time

import pytest

from harness import q
from remote import Authority, federating, federating_synapse


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def servers(authority):
    ours, theirs = federating(authority), federating_synapse(authority)
    ours.start()
    theirs.start()
    yield ours, theirs
    for server in (ours, theirs):
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def users(servers):
    """Alice of Greenroom and Rita of Synapse."""
    return servers[0].register("alice"), servers[1].register("rita")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def heard(user, room):
    chunk = user.get_(f"/rooms/{q(room)}/messages?dir=b&limit=200").ok()["chunk"]
    return [e["content"].get("body") for e in reversed(chunk) if e["type"] == "m.room.message"]


def shared(users, servers, version):
    alice, rita = users
    room = alice.create(room_version=version, preset="public_chat", name=f"Version {version}")
    rita.post(f"/join/{q(room)}?server_name={q(servers[0].server_name)}&via={q(servers[0].server_name)}", {}).ok()
    return room


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_messages_and_state_go_both_ways(servers, users, version):
    alice, rita = users
    room = shared(users, servers, version)
    for n in range(5):
        alice.say(room, f"alice {n}")
        rita.say(room, f"rita {n}")
    for user in users:
        wait_for(lambda user=user: len(heard(user, room)) == 10)
    assert sorted(heard(alice, room)) == sorted(heard(rita, room))
    alice.state(room, "m.room.topic", content={"topic": "told to Synapse"}).ok()
    wait_for(lambda: rita.state(room, "m.room.topic").json.get("topic") == "told to Synapse")
    rita.put(f"/profile/{q(rita.user_id)}/displayname", {"displayname": f"Rita {version}"}).ok()
    wait_for(lambda: alice.state(room, "m.room.member", rita.user_id).json.get("displayname") == f"Rita {version}")
    states = [{(e["type"], e["state_key"]): e["event_id"] for e in u.get_(f"/rooms/{q(room)}/state").ok()} for u in users]
    assert states[0] == states[1]


def test_history_from_before_the_join_is_fetched_by_synapse(servers, users):
    alice, rita = users
    room = alice.create(room_version="11", preset="public_chat")
    for n in range(40):
        alice.say(room, f"m{n}")
    rita.post(f"/join/{q(room)}?server_name={q(servers[0].server_name)}&via={q(servers[0].server_name)}", {}).ok()
    wait_for(lambda: len(heard(rita, room)) == 40)
    assert heard(rita, room) == [f"m{n}" for n in range(40)]


def test_what_was_said_while_greenroom_was_away_comes_afterwards(servers, users):
    ours, theirs = servers
    alice, rita = users
    room = shared(users, servers, "11")
    rita.say(room, "before")
    wait_for(lambda: heard(alice, room) == ["before"])
    ours.stop()
    for n in range(30):
        rita.say(room, f"away {n}")
    ours.start()
    alice.say(room, "back again")
    wait_for(lambda: {"before", "back again", "away 29"} <= set(heard(alice, room)), 100)
    wait_for(lambda: "back again" in heard(rita, room))


def test_who_is_kicked_by_greenroom_is_out_at_synapse(servers, users):
    alice, rita = users
    room = shared(users, servers, "11")
    alice.member(room, "kick", rita).ok()
    wait_for(lambda: room not in rita.get_("/joined_rooms").ok()["joined_rooms"])
