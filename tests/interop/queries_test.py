"""Greenroom and Synapse ask each other for what concerns no room: keys, profiles, aliases, rooms, devices and their keys."""

import time

import pytest

from harness import q
from remote import Authority, Remote, federating, federating_synapse, now_ms


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def servers(authority):
    """(Greenroom, Synapse), which trust the same authority."""
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


@pytest.fixture(params=["greenroom asks", "synapse asks"])
def ways(request, servers, users):
    """(asking user, asked user, asked server): once in each direction."""
    alice, rita = users
    return (alice, rita, servers[1]) if request.param == "greenroom asks" else (rita, alice, servers[0])


def test_each_is_a_notary_for_the_keys_of_the_other(servers, authority):
    someone = Remote(authority)
    for one, other in (servers, reversed(servers)):
        own = someone.ask(other, "GET", "/_matrix/key/v2/server", authorization="none").ok()
        wanted = {"server_keys": {other.server_name: {key_id: {"minimum_valid_until_ts": now_ms()} for key_id in own["verify_keys"]}}}
        told = someone.ask(one, "POST", "/_matrix/key/v2/query", wanted, authorization="none").ok()
        keys, = told["server_keys"]
        assert keys["verify_keys"] == own["verify_keys"]
        assert set(keys["signatures"]) == {one.server_name, other.server_name}
    someone.close()


def test_profiles_are_told(ways):
    asker, asked, _ = ways
    asked.put(f"/profile/{q(asked.user_id)}/displayname", {"displayname": "Ärmel \U0001f33b"}).ok()
    assert asker.get_(f"/profile/{q(asked.user_id)}").ok()["displayname"] == "Ärmel \U0001f33b"
    assert asker.get_(f"/profile/{q(asked.user_id)}/displayname").ok() == {"displayname": "Ärmel \U0001f33b"}
    nobody = f"@nobody:{asked.user_id.split(':', 1)[1]}"
    asker.get_(f"/profile/{q(nobody)}").refused(404, "M_NOT_FOUND")


def test_aliases_are_resolved(ways):
    asker, asked, server = ways
    room = asked.create(room_alias_name="tea", visibility="public", name="Tea room")
    found = asker.get_(f"/directory/room/{q('#tea:' + server.server_name)}").ok()
    assert found["room_id"] == room and server.server_name in found["servers"]
    asker.get_(f"/directory/room/{q('#nothing:' + server.server_name)}").refused(404, "M_NOT_FOUND")


def test_public_rooms_are_listed_and_searched(ways):
    asker, asked, server = ways
    room = asked.create(visibility="public", name="Library of maps")
    listed = asker.get_("/publicRooms", server=server.server_name, limit=50).ok()["chunk"]
    assert room in [r["room_id"] for r in listed]
    body = {"filter": {"generic_search_term": "maps"}, "limit": 5}
    found = asker.post(f"/publicRooms?server={q(server.server_name)}", body).ok()["chunk"]
    assert [r["room_id"] for r in found] == [room]


def test_keys_of_devices_are_told_and_claimed(ways):
    asker, asked, _ = ways
    user, device = asked.user_id, asked.device_id
    signatures = {user: {f"ed25519:{device}": "B" * 86}}
    keys = {"user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "C" * 43}, "signatures": signatures}
    one_time = {"signed_curve25519:AAAA": {"key": "D" * 43, "signatures": signatures}}
    asked.post("/keys/upload", {"device_keys": keys, "one_time_keys": one_time}).ok()
    told = asker.post("/keys/query", {"device_keys": {user: []}}).ok()
    assert told["device_keys"][user][device]["keys"] == keys["keys"] and not told["failures"]
    body = {"one_time_keys": {user: {device: "signed_curve25519"}}}
    assert asker.post("/keys/claim", body).ok()["one_time_keys"][user][device] == one_time


def test_to_device_messages_arrive_once_and_in_order(ways):
    asker, asked, _ = ways
    since = asked.sync()["next_batch"]
    for n in range(10):
        body = {"messages": {asked.user_id: {asked.device_id: {"n": n}}}}
        asker.put(f"/sendToDevice/x.note/i{n}{asker.localpart}", body).ok()
    seen, end = [], time.monotonic() + 30
    while len(seen) < 10 and time.monotonic() < end:
        told = asked.sync(since, timeout=1000)
        since, seen = told["next_batch"], seen + told["to_device"]["events"] if "to_device" in told else seen
    assert [event["content"]["n"] for event in seen] == list(range(10))
    assert {event["sender"] for event in seen} == {asker.user_id}


def test_openid_tokens_are_proved(servers, users, authority):
    someone = Remote(authority)
    for user, server in zip(users, servers):
        token = user.post(f"/user/{q(user.user_id)}/openid/request_token").ok()
        assert token["matrix_server_name"] == server.server_name
        uri = "/_matrix/federation/v1/openid/userinfo?access_token=" + q(token["access_token"])
        assert someone.ask(server, "GET", uri, authorization="none").ok() == {"sub": user.user_id}
    someone.close()
