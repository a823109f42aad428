"""Outages between Greenroom and Synapse: after a short one what waited arrives, after a long one each room is caught up, in
both directions, and Greenroom may be killed in every state; in the end both have the same events and state."""

import json
import subprocess
import time

import pytest

import harness
from harness import q
from remote import Authority, federating, federating_synapse

LIMIT_S = 120
ROOMS = 6


@pytest.fixture(scope="module")
def servers():
    """(Greenroom, Synapse), which trust the same authority.  Greenroom gives a queue up after 10 s, Synapse waits 1 s."""
    authority = Authority()
    ours, theirs = federating(authority, **{"federation.catch_up_after": "10s"}), federating_synapse(authority)
    theirs.reconfigure({"federation": {"client_timeout": "20s", "destination_min_retry_interval": "1s",
                                       "destination_retry_multiplier": 1, "destination_max_retry_interval": "2s"}})
    ours.start()
    theirs.start()
    yield ours, theirs
    for server in (ours, theirs):
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def users(servers):
    return servers[0].register("alice"), servers[1].register("rita")


@pytest.fixture(scope="module")
def rooms(servers, users):
    """Rooms of Greenroom that both are in."""
    alice, rita = users
    made = [alice.create(room_version="10", preset="public_chat") for _ in range(ROOMS)]
    for room in made:
        rita.post(f"/join/{q(room)}?server_name={q(servers[0].server_name)}", {}).ok()
    return made


def until(holds, what, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.2)
    assert holds(), what


def tool(ours, *words):
    done = subprocess.run([ours.binary, "destinations", *words, "--dir", str(ours.directory / "data")], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def facts(ours, theirs):
    listed = {d["server"]: d for d in json.loads(tool(ours, "--json"))}
    return listed.get(theirs.server_name, {"state": "unknown"})


def in_state(ours, theirs, *states):
    until(lambda: facts(ours, theirs)["state"] in states, f"never {states}: {facts(ours, theirs)}")


def history(user, room):
    """All messages that the user's server has or can fetch, oldest first."""
    chunk = user.get_(f"/rooms/{q(room)}/messages", dir="b", limit=100).ok()["chunk"]
    return [event["content"].get("body") for event in reversed(chunk) if event["type"] == "m.room.message"]


def ids(user, room):
    chunk = user.get_(f"/rooms/{q(room)}/messages", dir="b", limit=100).ok()["chunk"]
    return {event["event_id"] for event in chunk}


def state(user, room):
    return {(e["type"], e["state_key"]): e["event_id"] for e in user.get_(f"/rooms/{q(room)}/state").ok()}


def the_same(users, rooms):
    alice, rita = users
    for room in rooms:
        until(lambda: state(alice, room) == state(rita, room), f"the state of {room} differs")
        until(lambda: ids(alice, room) == ids(rita, room), f"the events of {room} differ")


def test_a_short_outage_of_synapse_is_made_good_from_the_queue(servers, users, rooms):
    ours, theirs = servers
    alice, rita = users
    theirs.kill9()
    for n in range(5):
        alice.say(rooms[0], f"short {n}")
    in_state(ours, theirs, "backing off")
    assert facts(ours, theirs)["events"] >= 1 and facts(ours, theirs)["rooms_owed"] == 0
    ours.kill9()                       # backing off
    ours.start()
    in_state(ours, theirs, "backing off")
    theirs.start()
    tool(ours, "reset", theirs.server_name)
    until(lambda: history(rita, rooms[0])[-5:] == [f"short {n}" for n in range(5)], "not all arrived in order")
    in_state(ours, theirs, "live")
    the_same(users, rooms[:1])


def test_after_a_long_outage_each_room_is_caught_up(servers, users, rooms):
    ours, theirs = servers
    alice, rita = users
    theirs.kill9()
    for n in range(4):
        for room in rooms:
            alice.say(room, f"long {n}")
    in_state(ours, theirs, "catch-up pending")
    until(lambda: facts(ours, theirs)["rooms_owed"] == ROOMS and facts(ours, theirs)["events"] == 0, "not all folded")
    ours.kill9()                       # pending
    ours.start()
    in_state(ours, theirs, "catch-up pending")
    alice.say(rooms[1], "while away")
    theirs.start()
    tool(ours, "reset", theirs.server_name)
    in_state(ours, theirs, "catching up", "live")
    ours.kill9()                       # catching up
    ours.start()
    until(lambda: facts(ours, theirs)["state"] == "live" and facts(ours, theirs)["rooms_owed"] == 0, "never live again")
    for room in rooms:                 # what Synapse has taken, and could not place while Greenroom was away, it asks for now
        alice.say(room, "after")
    for room in rooms:
        wanted = {"after", *(f"long {n}" for n in range(4))}
        until(lambda: wanted <= set(history(rita, room)), f"not all is in {room}")
    assert "while away" in history(rita, rooms[1])
    ours.kill9()                       # live
    ours.start()
    the_same(users, rooms)


def test_synapse_catches_up_to_greenroom(servers, users, rooms):
    ours, theirs = servers
    alice, rita = users
    ours.kill9()
    for n in range(5):
        rita.say(rooms[3], f"theirs {n}")
    time.sleep(3)                      # Synapse tries, and fails
    ours.start()
    rita.say(rooms[3], "theirs 5")
    until(lambda: {f"theirs {n}" for n in range(6)} <= set(history(alice, rooms[3])), "not all reached Greenroom")
    the_same(users, rooms[3:4])
