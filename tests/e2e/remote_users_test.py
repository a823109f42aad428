"""Users of another server who share rooms with ours: their device lists are followed, ours are told, and presence goes both
ways; what the other server may not say, and what is too much, changes nothing."""

import itertools
import time
from urllib.parse import unquote

import pytest

import harness
from harness import q
from remote import Remote
from resident_test import enter
from transactions_test import send, until

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
numbers = itertools.count(1)
QUERY, DEVICES = "/_matrix/federation/v1/user/keys/query", "/_matrix/federation/v1/user/devices/"
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@pytest.fixture(scope="module")
def running_remote(authority):
    running = Remote(authority)
    yield running
    running.close()


@pytest.fixture
def remote(running_remote):
    """Its users have device lists: user id -> device id -> name."""
    lists, taken = {}, []
    running_remote.requests.clear()
    running_remote.lists, running_remote.taken, running_remote.stream = lists, taken, 10
    running_remote.routes[f"POST {QUERY}"] = lambda r: (200, {
        "device_keys": {u: {d: keys(u, d) for d in lists.get(u, {})} for u in r.json["device_keys"]}})
    running_remote.routes[f"GET {DEVICES}"] = lambda r: list_of(running_remote, unquote(r.path.split("/")[-1]))
    running_remote.routes["PUT /_matrix/federation/v1/send"] = lambda r: taken.append(r.json) or (200, {"pdus": {}})
    return running_remote


def list_of(remote, user):
    devices = [{"device_id": d, "keys": keys(user, d), "device_display_name": n} for d, n in remote.lists.get(user, {}).items()]
    return 200, {"user_id": user, "stream_id": remote.stream, "devices": devices}


def keys(user, device):
    return {"user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "B" * 43}, "signatures": {user: {}}}


def upload(user):
    user.post("/keys/upload", {"device_keys": keys(user.user_id, user.device_id)}).ok()


def edus(remote, kind):
    return [e["content"] for body in remote.taken for e in body["edus"] if e["edu_type"] == kind]


@pytest.fixture
def alice(ours):
    user = ours.register(f"alice{next(numbers)}")
    upload(user)
    return user


@pytest.fixture
def rita(remote):
    return f"@rita{next(numbers)}:{remote.name}"


@pytest.fixture
def room(ours, remote, alice, rita):
    """Encrypted; both are in it."""
    name = alice.create(room_version="10", preset="public_chat", initial_state=[ENCRYPTION])
    enter(remote, ours, "join", name, rita)[1].ok()
    return name


def update(remote, ours, user, device, stream=None, prev=None, **more):
    """Tells of a change of a device; by default one that follows."""
    before, remote.stream = remote.stream, stream or remote.stream + 1
    content = {"user_id": user, "device_id": device, "stream_id": remote.stream, "prev_id": [before] if prev is None else prev,
               **({"keys": keys(user, device)} if not more else {}), **more}
    return send(remote, ours, [{"edu_type": "m.device_list_update", "content": content}])


def known(alice, user):
    """Device ids by /keys/query."""
    answer = alice.post("/keys/query", {"device_keys": {user: []}}).ok()
    assert answer["failures"] == {}
    return sorted(answer["device_keys"].get(user, {}))


def followed(alice, remote, user, *devices):
    """The list is known here: no request asks for it any more."""
    def holds():
        assert known(alice, user) == sorted(devices)
        asked = len(remote.asked(QUERY))
        return known(alice, user) == sorted(devices) and len(remote.asked(QUERY)) == asked
    until(holds)
    assert holds()


def changed(alice, since, user, key="changed"):
    return alice.sync_until(lambda s: user in s.get("device_lists", {}).get(key, []), since)


# Theirs


@covers("POST /_matrix/client/v3/keys/query")
def test_a_device_list_is_fetched_once_and_followed(ours, remote, alice, rita, room):
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    since = alice.sync()["next_batch"]
    assert update(remote, ours, rita, "R2").ok() == {"pdus": {}}
    assert changed(alice, since, rita)
    asked = len(remote.asked(QUERY)), len(remote.asked(DEVICES))
    assert known(alice, rita) == ["R1", "R2"]
    update(remote, ours, rita, "R1", deleted=True).ok()
    assert known(alice, rita) == ["R2"]
    assert (len(remote.asked(QUERY)), len(remote.asked(DEVICES))) == asked
    names = alice.get_("/keys/changes", **{"from": since, "to": alice.sync()["next_batch"]}).ok()["changed"]
    assert rita in names


def test_a_gap_makes_the_list_be_fetched_again(ours, remote, alice, rita, room):
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    for stream, prev in ((50, [49]), (20, [])):              # one was missed; the numbers went back
        remote.lists[rita][f"S{stream}"] = "Other"
        update(remote, ours, rita, f"S{stream}", stream=stream, prev=prev).ok()
        assert known(alice, rita) == sorted(remote.lists[rita]), "the server itself is asked meanwhile"
        followed(alice, remote, rita, *remote.lists[rita])


def test_a_list_that_was_followed_is_there_after_a_kill(ours, remote, alice, rita, room):
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    update(remote, ours, rita, "R2").ok()
    ours.kill9()
    ours.start()
    asked = len(remote.asked(QUERY))
    assert known(alice, rita) == ["R1", "R2"]
    assert len(remote.asked(QUERY)) == asked


def test_nobody_tells_of_devices_of_users_of_others(ours, remote, alice, rita, room):
    bob = ours.register(f"bob{next(numbers)}")
    upload(bob)
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    for user in (bob.user_id, "@x:elsewhere.example", "nobody", 7, None):
        content = {"user_id": user, "device_id": "EVIL", "stream_id": 99, "prev_id": [], "keys": keys(str(user), "EVIL")}
        send(remote, ours, [{"edu_type": "m.device_list_update", "content": content},
                            {"edu_type": "m.signing_key_update", "content": {"user_id": user, "master_key": {"keys": {}}}}]).ok()
    assert known(alice, bob.user_id) == [bob.device_id]
    assert known(alice, rita) == ["R1"]


def test_updates_that_make_no_sense_do_no_harm(ours, remote, alice, rita, room):
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    strange = [{}, {"device_id": 7}, {"device_id": "X", "stream_id": "y"}, {"device_id": "X", "stream_id": 1 << 60, "prev_id": 7},
               {"device_id": "X" * 3000, "stream_id": 99}, {"device_id": "X", "stream_id": 99, "keys": "none"},
               {"device_id": "X", "stream_id": 99, "keys": {"huge": "x" * 100000}},
               {"device_id": "X", "stream_id": 99, "prev_id": list(range(5000)), "keys": keys(rita, "X")}]
    for content in strange:
        send(remote, ours, [{"edu_type": "m.device_list_update", "content": {"user_id": rita, **content}}, {}]).ok()
    followed(alice, remote, rita, "R1")


def test_a_list_of_thousands_is_not_kept_but_told(ours, remote, alice, rita, room):
    remote.lists[rita] = {f"D{n}": "" for n in range(3000)}
    for _ in range(2):
        assert len(known(alice, rita)) == 3000
    until(lambda: remote.asked(DEVICES))
    since = alice.sync()["next_batch"]
    update(remote, ours, rita, "D1").ok()
    assert changed(alice, since, rita)
    assert len(known(alice, rita)) == 3000


def test_who_shares_no_encrypted_room_any_more_is_told_as_left(ours, remote, alice, rita, room):
    since = alice.sync()["next_batch"]
    enter(remote, ours, "leave", room, rita)[1].ok()
    assert changed(alice, since, rita, "left")
    remote.lists[rita] = {"R9": ""}
    update(remote, ours, rita, "R9").ok()                    # nobody here listens
    asked = len(remote.asked(QUERY))
    assert known(alice, rita) == ["R9"] and len(remote.asked(QUERY)) == asked + 1


def test_cross_signing_keys_are_followed_and_signed(ours, remote, alice, rita, room):
    remote.lists[rita] = {"R1": "Phone"}
    followed(alice, remote, rita, "R1")
    since = alice.sync()["next_batch"]
    master = {"user_id": rita, "usage": ["master"], "keys": {"ed25519:" + "M" * 43: "M" * 43}}
    send(remote, ours, [{"edu_type": "m.signing_key_update", "content": {"user_id": rita, "master_key": master}}]).ok()
    assert changed(alice, since, rita)
    assert alice.post("/keys/query", {"device_keys": {rita: []}}).ok()["master_keys"][rita] == master


@covers("POST /_matrix/client/v3/keys/query", "POST /_matrix/client/v3/keys/claim")
def test_a_slow_server_fails_alone_in_the_time_that_is_given(ours, remote, alice, rita):
    bob, late = ours.register(f"bob{next(numbers)}"), lambda r: time.sleep(4) or (200, {"device_keys": {}})
    upload(bob)
    for path, key, wanted in ((QUERY, "device_keys", []), (QUERY.replace("query", "claim"), "one_time_keys", {"D": "signed_curve25519"})):
        remote.routes[f"POST {path}"] = late
        mine = [] if key == "device_keys" else {bob.device_id: "signed_curve25519"}
        began = time.monotonic()
        answer = alice.post(f"/keys/{path.split('/')[-1]}", {key: {rita: wanted, bob.user_id: mine}, "timeout": 500}).ok()
        assert time.monotonic() - began < 3.5
        assert list(answer["failures"]) == [remote.name]
        assert key != "device_keys" or list(answer["device_keys"]) == [bob.user_id]


@covers("POST /_matrix/client/v3/keys/signatures/upload")
def test_a_user_signs_the_master_key_of_somebody_elsewhere(ours, remote, alice, rita, room):
    public = "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"
    master = {"user_id": rita, "usage": ["master"], "keys": {"ed25519:" + public: public}}
    remote.routes[f"POST {QUERY}"] = lambda r: (200, {"device_keys": {}, "master_keys": {rita: master}})
    refused = alice.post("/keys/signatures/upload", {rita: {"x": master, public: master}}).ok()["failures"][rita]
    assert refused["x"]["errcode"] == "M_NOT_FOUND", "that is no master key"
    assert refused[public]["errcode"] == "M_INVALID_SIGNATURE", "found there, but nobody has signed it"
    assert remote.asked(QUERY)


# Ours


@covers("GET /_matrix/federation/v1/user/devices/{userId}")
def test_what_changes_with_our_devices_is_told_to_servers_that_share_a_room(ours, remote, alice, rita, room):
    phone = harness.login(ours.base, alice.localpart)
    upload(phone)
    told = lambda: [u for u in edus(remote, "m.device_list_update") if u["device_id"] == phone.device_id]
    until(told)
    first = told()[0]
    assert first["user_id"] == alice.user_id and first["keys"]["device_id"] == phone.device_id
    listed = remote.ask(ours, "GET", DEVICES + q(alice.user_id)).ok()
    assert listed["stream_id"] == first["stream_id"] and {d["device_id"] for d in listed["devices"]} == {
        alice.device_id, phone.device_id}
    alice.put(f"/devices/{phone.device_id}", {"display_name": "Renamed"}).ok()
    until(lambda: len(told()) == 2)
    assert told()[1]["device_display_name"] == "Renamed" and told()[1]["prev_id"] == [first["stream_id"]]
    phone.post("/logout", {}).ok()
    until(lambda: len(told()) == 3)
    assert told()[2]["deleted"] and told()[2]["prev_id"] == [told()[1]["stream_id"]]
    assert len({u["stream_id"] for u in told()}) == 3


def test_what_changes_is_told_also_when_we_are_killed(ours, remote, alice, rita, room):
    phone = harness.login(ours.base, alice.localpart)
    upload(phone)
    ours.kill9()
    ours.start()
    until(lambda: [u for u in edus(remote, "m.device_list_update") if u["device_id"] == phone.device_id], limit_s=60)
    assert [u for u in edus(remote, "m.device_list_update") if u["device_id"] == phone.device_id]


def test_servers_that_share_no_room_hear_nothing(ours, remote):
    carol = ours.register(f"carol{next(numbers)}")
    upload(carol)
    dave = ours.register(f"dave{next(numbers)}")
    room = dave.create(preset="public_chat")
    enter(remote, ours, "join", room, f"@rita{next(numbers)}:{remote.name}")
    upload(dave)
    heard = lambda user: [u for u in edus(remote, "m.device_list_update") if u["user_id"] == user.user_id]
    until(lambda: heard(dave))
    assert heard(dave) and not heard(carol)


# Presence


def presence(remote, ours, user, state="online", **more):
    push = {"user_id": user, "presence": state, "last_active_ago": 1000, "currently_active": True, **more}
    return send(remote, ours, [{"edu_type": "m.presence", "content": {"push": [push]}}])


def seen(user, since, of, state):
    def wanted(s):
        return any(e["sender"] == of and e["content"]["presence"] == state for e in s.get("presence", {}).get("events", []))
    return user.sync_until(wanted, since)


def status(user):
    return f"/presence/{q(user.user_id if hasattr(user, 'user_id') else user)}/status"


@covers("GET /_matrix/client/v3/presence/{userId}/status", "PUT /_matrix/client/v3/presence/{userId}/status")
def test_presence_is_set_and_seen_by_those_who_share_a_room(ours, alice):
    bob, carol = ours.register(f"bob{next(numbers)}"), ours.register(f"carol{next(numbers)}")
    room = alice.create(preset="public_chat")
    bob.post(f"/join/{q(room)}", {}).ok()
    since = bob.sync()["next_batch"]
    alice.put(status(alice), {"presence": "unavailable", "status_msg": "at lunch"}).ok()
    assert seen(bob, since, alice.user_id, "unavailable")
    told = bob.get_(status(alice)).ok()
    assert told["presence"] == "unavailable" and told["status_msg"] == "at lunch"
    carol.get_(status(alice)).refused(403, "M_FORBIDDEN")
    bob.put(status(alice), {"presence": "offline"}).refused(403, "M_FORBIDDEN")
    alice.put(status(alice), {"presence": "dancing"}).refused(400, "M_INVALID_PARAM")
    alice.put(status(alice), {"presence": "online", "status_msg": 7}).refused(400, "M_BAD_JSON")
    alice.put(status(alice), {}).refused(400, "M_MISSING_PARAM")
    alice.get_("/presence/nobody/status").refused(400, "M_INVALID_PARAM")


@covers("GET /_matrix/client/v3/sync")
def test_who_syncs_is_online_unless_they_say_otherwise(ours, alice):
    bob, shy = ours.register(f"bob{next(numbers)}"), ours.register(f"shy{next(numbers)}")
    room = alice.create(preset="public_chat")
    for user in (bob, shy):
        user.post(f"/join/{q(room)}", {}).ok()
    shy.sync(set_presence="offline")
    since = alice.sync(set_presence="offline")["next_batch"]
    bob.sync(set_presence="unavailable")
    assert seen(alice, since, bob.user_id, "unavailable")
    bob.sync()
    bob.put_event(room, {"body": "hello", "msgtype": "m.text"})
    assert seen(alice, since, bob.user_id, "online")
    assert alice.get_(status(shy)).ok()["presence"] == "offline"


def test_presence_goes_to_other_servers_and_comes_from_them(ours, remote, alice, rita, room):
    since = alice.sync()["next_batch"]
    mine = lambda: [p for e in edus(remote, "m.presence") for p in e["push"] if p["user_id"] == alice.user_id]
    until(mine)
    assert mine()[0]["presence"] == "online"
    presence(remote, ours, rita, "online", status_msg="hi").ok()
    assert seen(alice, since, rita, "online")
    told = alice.get_(status(rita)).ok()
    assert told["presence"] == "online" and told["status_msg"] == "hi" and told["last_active_ago"] >= 1000


def test_presence_of_others_users_and_of_strangers_is_not_taken(ours, remote, alice, rita, room):
    since = alice.sync()["next_batch"]
    for user in ("@x:elsewhere.example", "nobody", 7):
        presence(remote, ours, user).ok()
    presence(remote, ours, alice.user_id, "offline").ok()
    presence(remote, ours, f"@stranger:{remote.name}").ok()
    for strange in ({"push": 7}, {"push": [7, None, {}]}, {"push": [{"user_id": rita, "presence": "x" * 5000}]}, []):
        send(remote, ours, [{"edu_type": "m.presence", "content": strange}]).ok()
    presence(remote, ours, rita, "unavailable").ok()
    told = seen(alice, since, rita, "unavailable")[1]["presence"]["events"]
    assert {e["sender"] for e in told} <= {rita, alice.user_id}
    assert alice.get_(status(alice)).ok()["presence"] == "online"


def test_a_transaction_full_of_presence_is_bounded(ours, remote, alice, rita, room):
    push = [{"user_id": f"@u{n}:{remote.name}", "presence": "online"} for n in range(2001)]
    send(remote, ours, [{"edu_type": "m.presence", "content": {"push": push}}]).refused(413, "M_TOO_LARGE")
    began = time.monotonic()
    send(remote, ours, [{"edu_type": "m.presence", "content": {"push": push[:1900]}}]).ok()
    assert time.monotonic() - began < 20
