"""Users of this server join, knock on and leave rooms that another server has; that server lies, fails and dawdles, too."""

import gzip
import itertools
import threading
import time

import pytest

import harness
from harness import q
from pdus import RemoteRoom, dumps, event_id, signed
from remote import Raw, Remote, federating

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
numbers = itertools.count(1)
SEND = f"PUT {V2}/send_join/"


@pytest.fixture(scope="module")
def ours(authority):
    running = federating(authority, **{"log.level": "info"}).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture
def remote(authority):
    running = Remote(authority)
    running.routes[f"PUT {V1}/send/"] = (200, {"pdus": {}})        # else what is pushed there makes it be left alone
    yield running
    running.close()


@pytest.fixture
def bob(ours):
    return ours.register(f"bob{next(numbers)}")


def join(user, room, *via, **body):
    query = "&".join(f"via={q(v)}" for v in via or [room.remote.name])
    return user.post(f"/join/{q(room.room_id)}?{query}", body)


def state_of(user, room):
    return {(e["type"], e["state_key"]): e for e in user.get_(f"/rooms/{q(room.room_id)}/state").ok()}


def not_joined(user, room):
    return room.room_id not in user.get_("/joined_rooms").ok()["joined_rooms"]


def wait_until(true, limit_s=20):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.05)


# Joins


@covers("POST /_matrix/client/v3/join/{roomIdOrAlias}", "POST /_matrix/client/v3/rooms/{roomId}/join")
@pytest.mark.parametrize("version", ["1", "3", "6", "10", "11", "12"])
def test_a_room_of_another_server_is_joined(ours, remote, bob, version):
    room = RemoteRoom(remote, version).serve()
    room.put("m.room.topic", {"topic": "old"}, "")
    room.put("m.room.topic", {"topic": "new"}, "")
    bob.put(f"/profile/{q(bob.user_id)}/displayname", {"displayname": "Bob"}).ok()
    assert join(bob, room, reason="Hello").ok() == {"room_id": room.room_id}
    sent = room.offered[-1]
    assert sent["content"]["membership"] == "join" and sent["content"]["reason"] == "Hello"
    assert sent["content"]["displayname"] == "Bob" and event_id(version, sent) == room.heads[0]
    state = state_of(bob, room)
    assert set(state) == set(room.state) and state["m.room.topic", ""]["content"] == {"topic": "new"}
    told = bob.sync()["rooms"]["join"][room.room_id]
    assert told["timeline"]["limited"] and [e["sender"] for e in told["timeline"]["events"]] == [bob.user_id]
    assert told["summary"]["m.joined_member_count"] == 2
    bob.say(room.room_id, "I am in")


def test_a_second_user_joins_by_the_room_as_it_is_here(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    join(bob, room).ok()
    carol = ours.register(f"carol{next(numbers)}")
    asked = len(remote.asked(f"{V1}/make_join"))
    join(carol, room).ok()
    assert len(remote.asked(f"{V1}/make_join")) == asked == 1
    assert state_of(carol, room)["m.room.member", carol.user_id]["content"]["membership"] == "join"


def test_users_who_join_at_once_wait_for_one_handshake(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    carol, go = ours.register(f"carol{next(numbers)}"), threading.Event()
    answer = remote.routes[SEND]
    remote.routes[SEND] = lambda r: go.wait(20) and answer(r)
    done = []
    threads = [threading.Thread(target=lambda u=u: done.append(join(u, room).status)) for u in (bob, carol)]
    for thread in threads:
        thread.start()
    wait_until(lambda: remote.asked(f"{V2}/send_join"))
    go.set()
    for thread in threads:
        thread.join(30)
    assert done == [200, 200] and len(remote.asked(f"{V2}/send_join")) == 1
    assert not not_joined(bob, room) and not not_joined(carol, room)


def test_servers_are_tried_in_turn_and_the_best_error_is_told(ours, remote, bob, authority):
    other, room = Remote(authority), RemoteRoom(remote, "12").serve()
    other.routes[f"GET {V1}/make_join/"] = (403, {"errcode": "M_FORBIDDEN", "error": "Not by us"})
    join(bob, room, "localhost:1", other.name).refused(403, "M_FORBIDDEN")
    join(bob, room, "localhost:1", other.name, remote.name).ok()
    other.close()


def test_a_room_that_nobody_knows_is_not_found(ours, remote, bob):
    bob.post(f"/join/{q('!nowhere:' + ours.server_name)}", {}).refused(404, "M_NOT_FOUND")


def test_an_alias_of_another_server_is_joined(ours, remote, bob):
    room = RemoteRoom(remote, "12").serve()
    remote.routes[f"GET {V1}/query/directory"] = (200, {"room_id": room.room_id, "servers": [remote.name]})
    assert bob.post(f"/join/{q('#there:' + remote.name)}", {}).ok()["room_id"] == room.room_id


def test_a_restricted_room_is_joined_with_the_signature_of_who_vouches(ours, remote, bob):
    room = RemoteRoom(remote, "10", join_rule={"join_rule": "restricted", "allow": []}).serve()
    template = remote.routes[f"GET {V1}/make_join/"]

    def make(request):
        status, answer = template(request)
        answer["event"]["content"]["join_authorised_via_users_server"] = room.creator
        answer["event"]["auth_events"] = room.auth_for("m.room.member", bob.user_id, bob.user_id, answer["event"]["content"])
        return status, answer

    remote.routes[f"GET {V1}/make_join/"] = make
    join(bob, room).refused(502)
    room.remote.routes[SEND] = lambda r: room.vouch(r)
    room.state.pop(("m.room.member", bob.user_id))
    wait_until(lambda: join(bob, room).status == 200)
    event = state_of(bob, room)["m.room.member", bob.user_id]
    assert event["content"]["join_authorised_via_users_server"] == room.creator


def restricted_here(ours, remote, bob):
    """A room that is here, through carol, who may vouch for nobody; bob is in the space that lets its members in."""
    space = bob.create(preset="public_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room = RemoteRoom(remote, "10")
    room.put("m.room.power_levels", {"users": {room.creator: 100}, "invite": 50}, "")
    carol = ours.register(f"carol{next(numbers)}")
    join(carol, room.serve()).ok()
    room.put("m.room.join_rules", rule, "")
    push(remote, ours, room, room.heads)
    vouched(room)
    return room, carol, space


def push(remote, ours, room, names):
    body = {"origin": remote.name, "origin_server_ts": 1, "pdus": [room.events[n] for n in names]}
    results = remote.ask(ours, "PUT", f"{V1}/send/t{next(numbers)}", body).ok()["pdus"]
    assert results == {n: {} for n in names}


def vouched(room):
    """The remote vouches for who joins, as a resident server does that may."""
    def make(request):
        user = request.path.split("/")[6].replace("%40", "@").replace("%3A", ":")
        content = {"membership": "join", "join_authorised_via_users_server": room.creator}
        return 200, {"room_version": room.version, "event": room.template("m.room.member", content, user, user)}

    room.remote.routes[f"GET {V1}/make_join/"] = make
    room.remote.routes[SEND] = room.vouch


def test_another_server_vouches_when_nobody_here_may(ours, remote, bob):
    room, carol, _ = restricted_here(ours, remote, bob)
    wait_until(lambda: state_of(carol, room)["m.room.join_rules", ""]["content"]["join_rule"] == "restricted")
    bob.post(f"/rooms/{q(room.room_id)}/join", {"reason": "From the space"}).ok()
    assert not not_joined(bob, room)
    event = state_of(carol, room)["m.room.member", bob.user_id]
    assert event["content"]["join_authorised_via_users_server"] == room.creator
    assert event["content"]["reason"] == "From the space" and event["sender"] == bob.user_id
    bob.say(room.room_id, "I am in")
    eve = ours.register(f"eve{next(numbers)}")
    asked = len(remote.asked(f"{V1}/make_join"))
    eve.post(f"/rooms/{q(room.room_id)}/join", {}).refused(403, "M_FORBIDDEN")
    assert len(remote.asked(f"{V1}/make_join")) == asked, "eve is in no room that lets her in"


def test_a_vouched_join_after_events_that_are_not_here_waits_for_them(ours, remote, bob):
    from pdus import history
    room, carol, _ = restricted_here(ours, remote, bob)
    wait_until(lambda: state_of(carol, room)["m.room.join_rules", ""]["content"]["join_rule"] == "restricted")
    history(remote, {room.room_id: room})
    room.put("m.room.topic", {"topic": "Not pushed"}, "")
    bob.post(f"/rooms/{q(room.room_id)}/join", {}).ok()
    assert state_of(bob, room)["m.room.topic", ""]["content"] == {"topic": "Not pushed"}


def test_a_server_that_does_not_vouch_is_no_help(ours, remote, bob):
    room, carol, _ = restricted_here(ours, remote, bob)
    wait_until(lambda: state_of(carol, room)["m.room.join_rules", ""]["content"]["join_rule"] == "restricted")
    remote.routes[f"GET {V1}/make_join/"] = (400, {"errcode": "M_UNABLE_TO_GRANT_JOIN", "error": "Nor may we"})
    bob.post(f"/rooms/{q(room.room_id)}/join", {}).refused(403, "M_FORBIDDEN")
    vouched(room)
    remote.routes[SEND] = lambda r: room.on_send(r, "join")
    wait_until(lambda: bob.post(f"/rooms/{q(room.room_id)}/join", {}).status == 502)
    assert not_joined(bob, room)


def test_a_room_that_was_left_is_joined_again_with_its_new_state(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    join(bob, room).ok()
    bob.member(room.room_id, "leave").ok()
    room.put("m.room.member", {"membership": "leave"}, bob.user_id)
    room.put("m.room.topic", {"topic": "meanwhile"}, "")
    since = bob.sync()["next_batch"]
    join(bob, room).ok()
    assert state_of(bob, room)["m.room.topic", ""]["content"] == {"topic": "meanwhile"}
    told = bob.sync(since)["rooms"]["join"][room.room_id]
    assert told["timeline"]["limited"] and told["timeline"]["events"][-1]["content"]["membership"] == "join"


def test_a_large_answer_is_taken_in_parts(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    for n in range(60):
        room.put("x.blob", {"body": "ä\"\\]}," + "x" * 20000}, f"{n}")
    join(bob, room).ok()
    assert sum(1 for kind, _ in state_of(bob, room) if kind == "x.blob") == 60


# Lies


def lying(room, change):
    """The answer to send_join, changed."""
    answer = room.remote.routes[SEND]

    def lie(request):
        status, value = answer(request)
        return status, change(value) or value

    room.remote.routes[SEND] = lie
    return room


def test_forged_events_of_the_state_are_left_out(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    name = room.put("m.room.topic", {"topic": "forged"}, "")
    room.put("x.other", {"body": "of another room"}, "", room_id=f"!other:{remote.name}")
    room.put("x.altered", {"body": "before"}, "")

    def change(answer):
        for e in answer["state"]:
            if event_id("10", e) == name:
                e["signatures"][remote.name][remote.key_id] = remote.sign_bytes(b"no")
            if e["type"] == "x.altered":
                e["content"] = {"body": "after"}

    join(bob, lying(room, change)).ok()
    state = state_of(bob, room)
    assert ("m.room.topic", "") not in state and ("x.other", "") not in state
    assert state["x.altered", ""]["content"] == {}


@pytest.mark.parametrize("change", [
    lambda a: dict(a, state=[e for e in a["state"] if e["type"] != "m.room.create"],
                   auth_chain=[e for e in a["auth_chain"] if e["type"] != "m.room.create"]),
    lambda a: dict(a, state=[], auth_chain=[]),
    lambda a: dict(a, members_omitted=True),
    lambda a: dict(a, state=[e for e in a["state"] if e["type"] != "m.room.join_rules"]),
    lambda a: {"state": "none"},
    lambda a: [a],
    lambda a: dict(a, state=[1, "x", None, {}, []] * 3000),
], ids=["no create event", "nothing", "members left out", "no join rules", "no lists", "a list", "no events"])
def test_a_state_that_makes_no_sense_is_refused_and_leaves_nothing(ours, remote, bob, change):
    room = lying(RemoteRoom(remote).serve(), change)
    assert join(bob, room).status in (403, 502)
    assert not_joined(bob, room)
    bob.get_(f"/rooms/{q(room.room_id)}/state").refused((403, 404, 429))   # 429: it is still being taken away
    remote.routes[SEND] = lambda r: room.on_send(r, "join")
    room.state.pop(("m.room.member", bob.user_id), None)
    join(bob, room).ok()                   # which waits for that


def with_member_of_far(remote, authority, does_more=False):
    """A room with a member of a server that does not give its keys until `far.up` is set."""
    far, room = Remote(authority), RemoteRoom(remote).serve()
    far.up, keys = threading.Event(), far.routes["GET /_matrix/key/v2/server"]
    far.routes["GET /_matrix/key/v2/server"] = lambda r: keys(r) if far.up.is_set() else (503, {})
    member = f"@f:{far.name}"
    room.put("m.room.member", {"membership": "join"}, member, sender=member, signer=far)
    if does_more:
        room.put("m.room.member", {"membership": "invite"}, room.creator.replace("rita", "sue"), sender=member, signer=far)
    return far, room, member


def test_a_join_waits_for_keys_of_a_server_that_is_down_for_a_moment(ours, remote, bob, authority):
    far, room, member = with_member_of_far(remote, authority, does_more=True)
    joined = []
    thread = threading.Thread(target=lambda: joined.append(join(bob, room)))
    thread.start()
    wait_until(lambda: far.asked("/_matrix/key/v2/server") and remote.asked("/_matrix/key/v2/query"))
    far.up.set()
    thread.join(60)
    joined[0].ok()
    assert state_of(bob, room)["m.room.member", member]["content"]["membership"] == "join"
    far.close()


def test_a_join_asks_the_server_joined_through_for_keys_of_one_that_is_gone(ours, remote, bob, authority):
    far, room, member = with_member_of_far(remote, authority, does_more=True)
    remote.routes["POST /_matrix/key/v2/query"] = lambda r: (200, {"server_keys": [remote.sign(far.keys())]})
    join(bob, room).ok()
    assert set(state_of(bob, room)) == set(room.state)
    far.close()


def test_a_template_of_something_else_is_not_signed(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    template = remote.routes[f"GET {V1}/make_join/"]
    for change in ({"room_id": f"!other:{remote.name}"}, {"sender": room.creator}, {"state_key": room.creator},
                   {"type": "m.room.message"}, {"content": {"membership": "ban"}}):
        remote.routes[f"GET {V1}/make_join/"] = lambda r: (200, {"room_version": "10", "event": {**template(r)[1]["event"], **change}})
        join(bob, room).refused(502)
    remote.routes[f"GET {V1}/make_join/"] = (200, {"room_version": "99", "event": {}})
    join(bob, room).refused(400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert not remote.asked(f"{V2}/send_join")


def head(length=None, more=""):
    size = f"Content-Length: {length}\r\n" if length else ""
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{size}{more}\r\n".encode()


def endless():
    yield head()
    yield b'{"state":['
    while True:
        yield b'"' + b"x" * 65536


def bomb():
    yield head(more="Content-Encoding: gzip\r\n")
    yield gzip.compress(b'{"state":["' + b"x" * (64 << 20))


def cut():
    yield head(1 << 20)
    yield b'{"state":[{"type":'


def too_long():
    yield head()
    yield b'{"state":['
    while True:
        yield b" " * (1 << 20)


@pytest.mark.parametrize("pieces", [endless, bomb, cut, too_long, lambda: [head(), b'{"state":[' + b"[" * 5000]],
                         ids=["endless", "gzip bomb", "cut off", "too long", "nested"])
def test_answers_that_do_not_end_well_cost_little_and_leave_nothing(ours, remote, bob, pieces):
    room = RemoteRoom(remote).serve()
    good, remote.routes[SEND] = remote.routes[SEND], lambda r: Raw(pieces())
    before = ours.rss_mb(forget_peak=True)
    assert join(bob, room).status in (502, 504)
    assert ours.rss_mb("VmHWM") < before + 64 and not_joined(bob, room)
    remote.routes[SEND] = good
    join(bob, room).ok()
    assert set(state_of(bob, room)) == set(room.state)


@pytest.mark.parametrize("spoil", [lambda text: text[:-(len(text) // 3)], lambda text: text[:len(text) // 2] + b"]" + text[len(text) // 2:]],
                         ids=["cut", "broken"])
def test_a_large_answer_that_breaks_in_the_middle_leaves_nothing_and_costs_little(ours, remote, bob, spoil):
    room = RemoteRoom(remote).serve()
    for n in range(400):
        room.put("x.blob", {"body": "x" * 30000}, f"{n}")
    good = remote.routes[SEND]

    def broken(request):
        text = spoil(dumps(good(request)[1]))
        return Raw([head(len(text) + (1 << 20)), text])

    remote.routes[SEND] = broken
    before = ours.rss_mb(forget_peak=True)
    join(bob, room).refused(502)
    assert ours.rss_mb("VmHWM") < before + 64 and not_joined(bob, room)
    bob.get_(f"/rooms/{q(room.room_id)}/state").refused((403, 404, 429))
    room.state.pop(("m.room.member", bob.user_id), None)
    remote.routes[SEND] = good
    join(bob, room).ok()


def test_a_join_goes_on_after_the_server_was_killed(ours, authority, remote):
    mine = federating(authority).start()
    try:
        dora, room, go = mine.register("dora"), RemoteRoom(remote).serve(), threading.Event()
        answer = remote.routes[SEND]

        def once(request):
            go.set()
            time.sleep(1)
            return answer(request)

        remote.routes[SEND] = once
        thread = threading.Thread(target=lambda: pytest.raises(Exception, join, dora, room))
        thread.start()
        assert go.wait(10)
        mine.kill9()
        thread.join(30)
        remote.routes[SEND] = answer
        mine.start()
        assert not_joined(dora, room)
        wait_until(lambda: not not_joined(dora, room), limit_s=40)
        assert state_of(dora, room)["m.room.member", dora.user_id]["content"]["membership"] == "join"
    finally:
        mine.stop()
        mine.remove()


# Invites, knocks, and their ends


def invited(room, ours, user):
    event = room.make("m.room.member", {"membership": "invite"}, user.user_id)
    body = {"event": event, "room_version": room.version, "invite_room_state": room.stripped()}
    room.remote.ask(ours, "PUT", f"{V2}/invite/{q(room.room_id)}/{q(event_id(room.version, event))}", body).ok()
    room.add(event)


def test_an_invite_is_enough_to_find_the_way(ours, remote, bob):
    room = RemoteRoom(remote, "12", join_rule="invite").serve()
    invited(room, ours, bob)
    bob.post(f"/rooms/{q(room.room_id)}/join", {}).ok()
    assert state_of(bob, room)["m.room.member", bob.user_id]["content"]["membership"] == "join"


@covers("POST /_matrix/client/v3/rooms/{roomId}/leave")
def test_an_invite_is_rejected_where_it_came_from(ours, remote, bob):
    room = RemoteRoom(remote, "12", join_rule="invite").serve()
    invited(room, ours, bob)
    since = bob.sync()["next_batch"]
    bob.member(room.room_id, "leave", reason="No, thanks").ok()
    assert room.membership(bob.user_id) == "leave" and room.offered[-1]["content"]["reason"] == "No, thanks"
    told = bob.sync(since)["rooms"]
    assert room.room_id in told["leave"] and room.room_id not in told.get("invite", {})
    bob.post(f"/rooms/{q(room.room_id)}/forget", {}).ok()
    assert room.room_id not in bob.sync().get("rooms", {}).get("leave", {})


def test_an_invite_is_rejected_here_also_when_the_other_server_is_gone(ours, remote, bob):
    room = RemoteRoom(remote)
    invited(room, ours, bob)
    bob.member(room.room_id, "leave").ok()
    assert room.room_id not in bob.sync().get("rooms", {}).get("invite", {})


def pushed(remote, ours, *pdus):
    body = {"origin": remote.name, "origin_server_ts": 1, "pdus": list(pdus)}
    return remote.ask(ours, "PUT", f"{V1}/send/t{next(numbers)}", body).ok()["pdus"]


def end_of(room, user, membership="leave", sender=None, **more):
    return room.make("m.room.member", {"membership": membership}, user.user_id, sender, **more)


@pytest.mark.parametrize("version", ["1", "10", "12"])
def test_an_invite_that_is_taken_back_is_gone(ours, remote, bob, version):
    room = RemoteRoom(remote, version, join_rule="invite")
    invited(room, ours, bob)
    since = bob.sync()["next_batch"]
    event = end_of(room, bob)
    assert pushed(remote, ours, event) == {event_id(version, event): {}}
    told = bob.sync(since)["rooms"]
    assert room.room_id in told["leave"] and room.room_id not in told.get("invite", {})
    assert room.room_id not in bob.sync().get("rooms", {}).get("invite", {})
    assert "error" in pushed(remote, ours, event)[event_id(version, event)], "there is nothing left to end"
    invited(room, ours, bob)
    assert room.room_id in bob.sync()["rooms"]["invite"]


def test_an_invited_user_who_is_banned_has_no_invite_any_more(ours, remote, bob):
    room = RemoteRoom(remote, "12", join_rule="invite")
    invited(room, ours, bob)
    since = bob.sync()["next_batch"]
    pushed(remote, ours, end_of(room, bob, "ban"))
    assert room.room_id in bob.sync(since)["rooms"]["leave"]


def test_a_knock_that_is_refused_is_over(ours, remote, bob):
    room = RemoteRoom(remote, "11", join_rule="knock").serve()
    bob.post(f"/knock/{q(room.room_id)}?via={q(remote.name)}", {}).ok()
    since = bob.sync()["next_batch"]
    pushed(remote, ours, end_of(room, bob))
    told = bob.sync(since)["rooms"]
    assert room.room_id in told["leave"] and room.room_id not in bob.sync().get("rooms", {}).get("knock", {})


def test_nobody_else_takes_an_invite_back(authority, ours, remote, bob):
    room, other = RemoteRoom(remote, "10", join_rule="invite"), Remote(authority)
    invited(room, ours, bob)
    good = end_of(room, bob)
    forged = dict(good, signatures={remote.name: {remote.key_id: remote.sign_bytes(b"x")}})
    stranger = signed(other, "10", dict(room.template("m.room.member", {"membership": "leave"}, bob.user_id), sender=f"@eve:{other.name}"))
    by_another = signed(other, "10", {k: v for k, v in good.items() if k not in ("hashes", "signatures")})
    for by, event in ((remote, forged), (other, stranger), (other, by_another), (other, good)):
        result, = pushed(by, ours, event).values()
        assert "error" in result
    changed = dict(good, content={"membership": "ban"})
    assert "error" in pushed(remote, ours, changed)[event_id("10", changed)], "it does not match its signature"
    assert room.room_id in bob.sync()["rooms"]["invite"]
    other.close()


@covers("POST /_matrix/client/v3/knock/{roomIdOrAlias}")
def test_a_knock_is_told_what_the_room_is_and_can_be_taken_back(ours, remote, bob):
    room = RemoteRoom(remote, "12", join_rule="knock", name="Behind a door").serve()
    since = bob.sync()["next_batch"]
    assert bob.post(f"/knock/{q(room.room_id)}?via={q(remote.name)}", {"reason": "It is me"}).ok()["room_id"] == room.room_id
    assert room.membership(bob.user_id) == "knock" and room.offered[-1]["content"]["reason"] == "It is me"
    told = bob.sync(since)
    events = {e["type"]: e["content"] for e in told["rooms"]["knock"][room.room_id]["knock_state"]["events"]}
    assert events["m.room.name"] == {"name": "Behind a door"} and events["m.room.member"]["membership"] == "knock"
    bob.member(room.room_id, "leave").ok()
    assert room.membership(bob.user_id) == "leave"
    assert room.room_id in bob.sync(told["next_batch"])["rooms"]["leave"]


def test_a_refused_knock_is_told_so(ours, remote, bob):
    room = RemoteRoom(remote).serve()
    remote.routes[f"GET {V1}/make_knock/"] = (403, {"errcode": "M_FORBIDDEN", "error": "No"})
    bob.post(f"/knock/{q(room.room_id)}?via={q(remote.name)}", {}).refused(403, "M_FORBIDDEN")


# The end of a room


@covers("POST /_matrix/client/v3/rooms/{roomId}/forget")
def test_a_room_of_another_server_goes_when_all_have_forgotten_it(ours, remote, bob):
    room, carol = RemoteRoom(remote).serve(), ours.register(f"carol{next(numbers)}")
    join(bob, room).ok()
    join(carol, room).ok()
    for user in (bob, carol):
        user.member(room.room_id, "leave").ok()
    bob.post(f"/rooms/{q(room.room_id)}/forget", {}).ok()
    carol.get_(f"/rooms/{q(room.room_id)}/messages", dir="b").ok()
    for user in (bob, carol):
        room.put("m.room.member", {"membership": "leave"}, user.user_id)
    carol.post(f"/rooms/{q(room.room_id)}/forget", {}).ok()
    asked = len(remote.asked(f"{V1}/make_join"))
    wait_until(lambda: join(bob, room).status == 200)
    assert len(remote.asked(f"{V1}/make_join")) > asked
    told = bob.sync()["rooms"]["join"][room.room_id]["timeline"]["events"]
    assert [e["content"]["membership"] for e in told] == ["join"], "nothing of what was before is here"


# Inviting users of the other server


def serve_invites(remote, user, version="v2", change=lambda e: e):
    """The remote signs what it is sent; the bodies."""
    from pdus import signed as sign
    bodies = []

    def invite(request):
        bodies.append(request.json)
        event = request.json if version == "v1" else request.json["event"]
        event = {k: v for k, v in event.items() if k != "unsigned"}
        room_version = "1" if version == "v1" else request.json["room_version"]
        answer = {"event": sign(remote, room_version, change(event))}
        return 200, [200, answer] if version == "v1" else answer

    remote.routes[f"PUT /_matrix/federation/{version}/invite/"] = invite
    return bodies


@covers("POST /_matrix/client/v3/rooms/{roomId}/invite")
@pytest.mark.parametrize("version", ["6", "11", "12"])
def test_a_user_of_another_server_is_invited(ours, remote, bob, version):
    rita = harness.User(None, f"@rita:{remote.name}", None, None)
    room, bodies = bob.create(room_version=version, preset="private_chat", name="Mine"), serve_invites(remote, rita)
    bob.member(room, "invite", rita, reason="Come").ok()
    body, = bodies
    assert body["room_version"] == version and body["event"]["content"] == {"membership": "invite", "reason": "Come"}
    kinds = {e["type"]: e for e in body["invite_room_state"]}
    assert {"m.room.create", "m.room.name"} <= set(kinds) and all("signatures" in e for e in kinds.values())
    event = {e["state_key"]: e for e in bob.get_(f"/rooms/{q(room)}/state").ok() if e["type"] == "m.room.member"}[rita.user_id]
    assert event["content"]["membership"] == "invite"


@covers("PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}")
def test_an_invite_may_be_written_as_state(ours, remote, bob):
    rita = harness.User(None, f"@rita:{remote.name}", None, None)
    room, bodies = bob.create(preset="private_chat"), serve_invites(remote, rita)
    content = {"membership": "invite", "displayname": "Rita", "x.more": {"a": 1}}
    name = bob.state(room, "m.room.member", rita.user_id, content=content)
    assert bodies[0]["event"]["content"] == content
    event = {e["state_key"]: e for e in bob.get_(f"/rooms/{q(room)}/state").ok() if e["type"] == "m.room.member"}[rita.user_id]
    assert event["content"] == content and (name if isinstance(name, str) else name.ok()["event_id"]) == event["event_id"]


def test_an_old_server_is_invited_the_old_way(ours, remote, bob):
    rita = harness.User(None, f"@rita:{remote.name}", None, None)
    room, bodies = bob.create(room_version="1", preset="private_chat"), serve_invites(remote, rita, "v1")
    bob.member(room, "invite", rita).ok()
    assert bodies[0]["unsigned"]["invite_room_state"] and bob.state(room, "m.room.member", rita.user_id)["membership"] == "invite"


def test_an_invite_that_is_refused_or_changed_is_none(ours, remote, bob):
    rita = harness.User(None, f"@rita:{remote.name}", None, None)
    room = bob.create(room_version="11", preset="private_chat")
    remote.routes[f"PUT {V2}/invite/"] = (403, {"errcode": "M_FORBIDDEN", "error": "No"})
    bob.member(room, "invite", rita).refused(403, "M_FORBIDDEN")
    remote.routes[f"PUT {V2}/invite/"] = (200, {"event": {}})
    bob.member(room, "invite", rita).refused(502)
    serve_invites(remote, rita, change=lambda e: dict(e, content={"membership": "join"}))
    bob.member(room, "invite", rita).refused(502)
    assert bob.get_(f"/rooms/{q(room)}/state/m.room.member/{q(rita.user_id)}").status == 404


@covers("POST /_matrix/client/v3/createRoom")
def test_a_room_is_made_with_users_of_another_server(ours, remote, bob):
    rita = harness.User(None, f"@rita:{remote.name}", None, None)
    bodies = serve_invites(remote, rita)
    room = bob.create(preset="trusted_private_chat", is_direct=True, invite=[rita.user_id, f"@gone:localhost:1"])
    assert bodies[0]["event"]["content"]["is_direct"] is True
    assert bob.state(room, "m.room.member", rita.user_id)["membership"] == "invite"
