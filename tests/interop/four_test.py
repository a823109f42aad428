"""Two Greenrooms and two Synapses in the same rooms, made on any of them: what one does all others see, outages leave no gap,
and in the end all have the same events and the same state.
"""

import concurrent.futures
import itertools
import json
import os
import subprocess
import time

import pytest

import harness
from harness import q
from remote import Authority, federating, federating_synapse, now_ms

LIMIT_S = 90
AWAY_S = 60
GAP_ROOMS, GAP_EVENTS = 20, 500
NAMES = ("alice", "bert", "rita", "sven")   # of the first and second Greenroom, the first and second Synapse
numbers = itertools.count(1)
complete_since = {}   # room -> time: all are in it, and should have the same from then on


def each(act, items):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(act, items))


@pytest.fixture(scope="module")
def servers():
    """By the name of the user on it; all trust the same authority."""
    authority = Authority()
    made = [federating(authority), federating(authority),
            *(federating_synapse(authority, presence={"enabled": True}) for _ in range(2))]
    for server in made:
        server.start()
    yield dict(zip(NAMES, made))
    for server in made:
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def users(servers):
    return {name: servers[name].register(name) for name in NAMES}


@pytest.fixture(scope="module")
def talk(servers, users):
    """A room of the first Greenroom, and one of the first Synapse, that all are in.  As they are told to be encrypted, servers
    follow the devices of those who are in them.
    """
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    return [shared(servers, users, home, "11", initial_state=[encryption]) for home in ("alice", "rita")]


@pytest.fixture(params=NAMES)
def one(request):
    """Each of the four in turn."""
    return request.param


def until(holds, what, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.2)
    return value


def enter(servers, user, room, through):
    return user.post(f"/join/{q(room)}?{over(servers, through)}", {})


def over(servers, name):
    """Which server is to be asked, in both spellings."""
    return "&".join(f"{key}={q(servers[name].server_name)}" for key in ("via", "server_name"))


def membership(user, room, of):
    reply = user.state(room, "m.room.member", of.user_id)
    return reply.json.get("membership") if reply.status == 200 else None


def all_see(users, room, of, wanted, but=()):
    for name in NAMES:
        if name not in but:
            until(lambda: membership(users[name], room, of) == wanted, f"{name} does not see that {of.user_id} is {wanted}")


def shared(servers, users, home, version, members=NAMES, **more):
    """A room that they are in, each let in by the server of the one before."""
    room = users[home].create(room_version=version, **more)
    through = home
    for name in members:
        if name != home:
            enter(servers, users[name], room, through).ok()
            through = name
    for name in members:
        all_see(users, room, users[name], "join", but=set(NAMES) - set(members))
    complete_since[room] = now_ms()
    return room


def pages(user, room):
    """All that the server has of a room, or can fetch, newest first."""
    at = None
    while True:
        page = user.get_(f"/rooms/{q(room)}/messages", dir="b", limit=100, **{"from": at}).ok()
        yield from page["chunk"]
        if not page.get("end") or not page["chunk"]:
            return
        at = page["end"]


def events(user, room):
    """What each event is, of those since all are there.  A redacted one has lost its content."""
    return {e["event_id"]: json.dumps([e["type"], e["sender"], e.get("state_key"), e["content"]], sort_keys=True)
            for e in pages(user, room) if e["origin_server_ts"] >= complete_since[room]}


def state(user, room):
    return {f"{e['type']}/{e['state_key']}": e["event_id"] for e in user.get_(f"/rooms/{q(room)}/state").ok()}


def texts(user, room):
    return [e["content"].get("body") for e in pages(user, room) if e["type"] == "m.room.message"][::-1]


def difference(tellings):
    """Of what several tell of a room, what they do not all tell, and who does."""
    everything = set().union(*(telling.items() for telling in tellings.values()))
    return {item: [name for name, telling in tellings.items() if item in telling.items()]
            for item in everything if not all(item in telling.items() for telling in tellings.values())}


def all_agree(users, rooms, members=NAMES):
    for room in rooms:
        for what in (state, events):
            def differ():
                return difference({name: what(users[name], room) for name in members})
            until(lambda: not differ(), lambda: f"{what.__name__} of {room}, and who has it: {differ()}")


# What one does in a room, all see


@pytest.mark.parametrize("home", ["alice", "rita"])
@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_all_that_happens_in_a_room_is_seen_by_all(servers, users, home, version):
    """Joins over each other's servers, messages, redactions, state, profiles, kicks, bans and invites."""
    room = shared(servers, users, home, version, room_alias_name=f"four{time.time_ns()}")
    host, (near, *far) = users[home], [users[name] for name in NAMES if name != home]
    said = {user.user_id: user.say(room, f"{user.localpart} {n}") for n in range(3) for user in users.values()}
    for user in users.values():
        until(lambda: len(texts(user, room)) == 12, f"{user.user_id} has not got all messages")
    for user in (near, far[0]):
        host.put(f"/rooms/{q(room)}/redact/{q(said[user.user_id])}/r{next(numbers)}", {"reason": "Hush"}).ok()
    far[1].put(f"/rooms/{q(room)}/redact/{q(said[far[1].user_id])}/r{next(numbers)}", {}).ok()
    host.state(room, "m.room.topic", content={"topic": f"Of {home}"}).ok()
    calls_itself = f"{far[0].localpart} of {version} {home}"
    far[0].put(f"/profile/{q(far[0].user_id)}/displayname", {"displayname": calls_itself}).ok()
    for user in users.values():            # before one is thrown out, so that nothing passes it by
        until(lambda: user.state(room, "m.room.member", far[0].user_id).json.get("displayname") == calls_itself,
              f"{user.user_id} does not see the new name")
        until(lambda: user.state(room, "m.room.topic").json.get("topic") == f"Of {home}", f"{user.user_id} does not see the topic")
    host.member(room, "kick", near).ok()
    all_see(users, room, near, "leave", but=[near.localpart])
    enter(servers, near, room, home).ok()
    all_see(users, room, near, "join")
    host.member(room, "ban", far[1]).ok()
    all_see(users, room, far[1], "ban", but=[far[1].localpart])
    host.member(room, "unban", far[1]).ok()
    host.member(room, "invite", far[1]).ok()
    until(lambda: room in far[1].sync().get("rooms", {}).get("invite", {}), "the invite is not told")
    far[1].post(f"/rooms/{q(room)}/join", {}).ok()
    all_see(users, room, far[1], "join")
    far[1].say(room, "Here again")
    for user in users.values():
        until(lambda: texts(user, room)[-1] == "Here again", f"{user.user_id} has not got the last message")
    all_agree(users, [room])


def test_who_types_and_what_is_read_is_seen_by_all(users, talk, one):
    def ephemeral(name, room, since, kind, wanted):
        def seen(answer):
            told = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
            return any(wanted(event["content"]) for event in told if event["type"] == kind)
        users[name].sync_until(seen, since, limit_s=LIMIT_S, set_presence="offline")

    who = users[one].user_id
    others = [name for name in NAMES if name != one]
    for room in talk:
        newest = users[others[0]].say(room, f"for {one}")
        until(lambda: newest in events(users[one], room), f"{one} has not got the message")
        since = {name: users[name].sync()["next_batch"] for name in others}
        users[one].put(users[one].room(room, f"typing/{q(who)}"), {"typing": True, "timeout": 30000}).ok()
        for name in others:
            ephemeral(name, room, since[name], "m.typing", lambda content: who in content["user_ids"])
        users[one].put(users[one].room(room, f"typing/{q(who)}"), {"typing": False}).ok()
        users[one].post(users[one].room(room, f"receipt/m.read/{q(newest)}"), {}).ok()
        for name in others:
            ephemeral(name, room, since[name], "m.receipt", lambda content: who in content.get(newest, {}).get("m.read", {}))


def test_new_devices_and_presence_are_followed_by_all(servers, users, talk, one):
    def devices(name):
        return users[name].post("/keys/query", {"device_keys": {users[one].user_id: []}}).ok()["device_keys"][users[one].user_id]

    others = [name for name in NAMES if name != one]
    since = {name: users[name].sync()["next_batch"] for name in others}
    phone = harness.login(servers[one].base, one)
    keys = {"user_id": phone.user_id, "device_id": phone.device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{phone.device_id}": "A" * 43, f"curve25519:{phone.device_id}": "B" * 43},
            "signatures": {phone.user_id: {}}}
    phone.post("/keys/upload", {"device_keys": keys}).ok()
    users[one].put(f"/presence/{q(phone.user_id)}/status", {"presence": "online", "status_msg": f"I am {one}"}).ok()
    for name in others:
        users[name].sync_until(lambda s: phone.user_id in s.get("device_lists", {}).get("changed", []), since[name],
                               limit_s=LIMIT_S, set_presence="offline")
        until(lambda: phone.device_id in devices(name), f"{name} does not know the device")
        until(lambda: users[name].get_(f"/presence/{q(phone.user_id)}/status").json.get("status_msg") == f"I am {one}",
              f"{name} has not heard of the presence")


@pytest.mark.parametrize("home, through, guest", [("alice", "rita", "sven"), ("rita", "alice", "bert"), ("alice", "rita", "bert")])
def test_a_server_that_is_only_a_member_lets_others_in(servers, users, home, through, guest):
    """By a restricted join, and a knock is heard over it, too."""
    space = shared(servers, users, home, "10", members=(home, through, guest), preset="public_chat")
    for rule, allow in (("restricted", [{"type": "m.room_membership", "room_id": space}]), ("knock", None)):
        rules = {"join_rule": rule, **({"allow": allow} if allow else {})}
        room = users[home].create(room_version="10", preset="private_chat", invite=[users[through].user_id],
                                  initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}])
        until(lambda: room in users[through].sync().get("rooms", {}).get("invite", {}), "the invite is not told")
        users[through].post(f"/rooms/{q(room)}/join", {}).ok()
        until(lambda: membership(users[home], room, users[through]) == "join", "the first is not in")
        if rule == "knock":
            users[guest].post(f"/knock/{q(room)}?{over(servers, through)}", {}).ok()
            until(lambda: membership(users[home], room, users[guest]) == "knock", "the knock is not heard")
            users[home].member(room, "invite", users[guest]).ok()
            until(lambda: room in users[guest].sync().get("rooms", {}).get("invite", {}), "the invite is not told")
            users[guest].post(f"/rooms/{q(room)}/join", {}).ok()
        else:
            enter(servers, users[guest], room, through).ok()
        for name in (home, through):
            until(lambda: membership(users[name], room, users[guest]) == "join", f"{name} does not see the guest")
        complete_since[room] = now_ms()
        users[guest].say(room, "Thank you")
        all_agree(users, [room], (home, through, guest))


@pytest.mark.parametrize("home, guests", [("alice", ("bert", "sven")), ("rita", ("bert", "sven"))])
def test_history_of_200_messages_is_fetched(servers, users, home, guests):
    room = users[home].create(room_version="11")
    for n in range(200):
        users[home].say(room, f"old {n}")
    for name in guests:
        enter(servers, users[name], room, home).ok()
        until(lambda: texts(users[name], room) == [f"old {n}" for n in range(200)], f"{name} has not got the history")


def test_four_talk_with_real_end_to_end_encryption(servers):
    environment = dict(os.environ, BASES=" ".join(servers[name].base for name in NAMES), VIA=servers["alice"].server_name)
    ran = subprocess.run([harness.node(), "--test", "--test-force-exit", "interop.mjs"], cwd=harness.js_directory(), env=environment,
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


# Outages


def test_a_greenroom_that_was_cut_off_closes_all_gaps(servers, users):
    both = ("alice", "rita")
    rooms = each(lambda home: shared(servers, users, home, "11", both), both * (GAP_ROOMS // 2))
    servers["alice"].kill9()
    for n in range(GAP_EVENTS // GAP_ROOMS):
        each(lambda room: users["rita"].say(room, f"gap {n}"), rooms)
    servers["alice"].start()
    for room in rooms:
        users["alice"].say(room, "back")       # before it has heard of the rest
    for room in rooms:
        users["rita"].say(room, "after")
    all_agree(users, rooms, both)


def test_a_synapse_that_was_stopped_for_a_minute_gets_what_was_said(servers, users, talk):
    servers["sven"].stop()
    end, said = time.monotonic() + AWAY_S, 0
    while time.monotonic() < end:
        for room in talk:
            users[("alice", "bert")[said % 2]].say(room, f"away {said}")
        said += 1
        time.sleep(1)
    servers["sven"].start()
    for room in talk:
        users["sven"].say(room, "back")   # what Greenroom hears of a server makes its next try due
        until(lambda: {f"away {n}" for n in range(said)} <= set(texts(users["sven"], room)), "not all has come")
    all_agree(users, talk)
