"""A user of Greenroom and one of Synapse share a room: each server follows device lists, presence and profiles of the other's."""

import time

import pytest

import harness
from harness import q
from remote import Authority, federating, federating_synapse

ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
NEWS_S = 60


@pytest.fixture(scope="module")
def servers():
    """(Greenroom, Synapse), which trust the same authority."""
    authority = Authority()
    ours, theirs = federating(authority), federating_synapse(authority, presence={"enabled": True})
    ours.start()
    theirs.start()
    yield ours, theirs
    for server in (ours, theirs):
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def users(servers):
    """Alice of Greenroom and Rita of Synapse, in an encrypted room of Greenroom."""
    alice, rita = servers[0].register("alice"), servers[1].register("rita")
    for user in (alice, rita):
        upload(user)
    room = alice.create(room_version="10", preset="public_chat", initial_state=[ENCRYPTION])
    rita.post(f"/join/{q(room)}?server_name={q(servers[0].server_name)}", {}).ok()
    alice.room_id = rita.room_id = room
    return alice, rita


@pytest.fixture(params=["greenroom looks", "synapse looks"])
def ways(request, servers, users):
    """(who looks, who is looked at, the server of the latter): once in each direction."""
    alice, rita = users
    return (alice, rita, servers[1]) if request.param == "greenroom looks" else (rita, alice, servers[0])


def upload(user):
    name = user.device_id
    keys = {"user_id": user.user_id, "device_id": name, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{name}": "A" * 43, f"curve25519:{name}": "B" * 43}, "signatures": {user.user_id: {}}}
    user.post("/keys/upload", {"device_keys": keys}).ok()


def devices(user, of):
    answer = user.post("/keys/query", {"device_keys": {of.user_id: []}}).ok()
    assert answer["failures"] == {}
    return answer["device_keys"].get(of.user_id, {})


def until(holds, limit_s=NEWS_S):
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    assert holds()


def changed(user, since, of):
    return user.sync_until(lambda s: of.user_id in s.get("device_lists", {}).get("changed", []), since, limit_s=NEWS_S)


def test_new_renamed_and_gone_devices_are_followed(ways):
    looker, other, server = ways
    assert other.device_id in devices(looker, other)
    since = looker.sync()["next_batch"]
    phone = harness.login(server.base, other.localpart)
    upload(phone)
    assert changed(looker, since, other)
    until(lambda: set(devices(looker, other)) == {other.device_id, phone.device_id})
    since = looker.sync()["next_batch"]
    phone.post("/logout", {}).ok()
    assert changed(looker, since, other)
    until(lambda: set(devices(looker, other)) == {other.device_id})


def test_presence_is_seen(ways):
    looker, other, _ = ways
    since = looker.sync()["next_batch"]
    for state in ("unavailable", "online"):
        other.put(f"/presence/{q(other.user_id)}/status", {"presence": state, "status_msg": f"I am {state}"}).ok()

        def wanted(s):
            events = [e["content"] for e in s.get("presence", {}).get("events", []) if e["sender"] == other.user_id]
            return any(e["presence"] == state and e.get("status_msg") == f"I am {state}" for e in events)
        looker.sync_until(wanted, since, limit_s=NEWS_S, set_presence="offline")
    told = looker.get_(f"/presence/{q(other.user_id)}/status").ok()
    assert told["presence"] == "online" and told["status_msg"] == "I am online"


def test_a_new_display_name_is_seen_in_the_room(ways):
    looker, other, _ = ways
    name = f"{other.localpart} of {time.time()}"
    since = looker.sync()["next_batch"]
    other.put(f"/profile/{q(other.user_id)}/displayname", {"displayname": name}).ok()

    def wanted(s):
        room = s.get("rooms", {}).get("join", {}).get(looker.room_id, {})
        events = room.get("timeline", {}).get("events", []) + room.get("state", {}).get("events", [])
        return any(e["type"] == "m.room.member" and e["content"].get("displayname") == name for e in events)
    looker.sync_until(wanted, since, limit_s=NEWS_S)
    assert looker.get_(f"/profile/{q(other.user_id)}/displayname").ok() == {"displayname": name}
