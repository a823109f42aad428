"""Rooms with a policy server: what is sent from here is signed by it first, and what comes without that is not shown."""

import itertools
import time

import pytest

import harness
from harness import q
from pdus import JoinedRoom, event_id, redacted, signed, without
from remote import Remote, canonical, unpadded
from Crypto.PublicKey import ECC

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
SIGN = "POST /_matrix/policy/v1/sign"
numbers = itertools.count(1)


@pytest.fixture
def alice(ours):
    return ours.register(f"alice{next(numbers)}")


class Policy(Remote):
    """A policy server: it signs what does not speak of spam."""

    def __init__(self, authority):
        super().__init__(authority)
        self.policy_key = ECC.generate(curve="Ed25519")
        self.routes[SIGN] = self.judge
        self.version = "11"

    def public_policy_key(self):
        return unpadded(self.policy_key.public_key().export_key(format="raw"))

    def signature(self, event):
        bytes_ = canonical(without(redacted(self.version, event), "signatures", "unsigned"))
        return {self.name: {"ed25519:policy_server": self.sign_bytes(bytes_, self.policy_key)}}

    def judge(self, request):
        if "spam" in str(request.json["content"]):
            return 400, {"errcode": "M_FORBIDDEN", "error": "That looks like spam"}
        return 200, self.signature(request.json)


@pytest.fixture
def policy(authority):
    running = Policy(authority)
    running.routes[f"PUT {V1}/send/"] = (200, {"pdus": {}})
    yield running
    running.close()


@pytest.fixture
def room(ours, alice, policy):
    """A room with a policy server, which is in it."""
    room_id = alice.create(preset="public_chat", room_version="11")
    joined = JoinedRoom(policy, ours, room_id, f"@judge:{policy.name}", q)
    content = {"via": policy.name, "public_keys": {"ed25519": policy.public_policy_key()}}
    alice.state(room_id, "m.room.policy", content=content).ok()
    assert not policy.asked("/_matrix/policy"), "the event that names it is not shown to it"
    return joined


def texts(user, room):
    page = user.get_(f"/rooms/{q(room.room_id)}/messages", dir="b", limit=50).ok()["chunk"]
    return [e["content"].get("body") for e in page if e["type"] == "m.room.message"]


def test_what_is_sent_is_signed_by_the_policy_server_first(alice, policy, room):
    name = alice.say(room.room_id, "hello")
    event = policy.asked("/_matrix/policy")[-1].json
    assert event["content"]["body"] == "hello" and texts(alice, room) == ["hello"]
    assert event_id("11", event) == name
    end = time.monotonic() + 20
    while True:
        pushed = [p for r in policy.asked(f"{V1}/send/") for p in r.json.get("pdus", []) if p["content"].get("body") == "hello"]
        if pushed:
            break
        assert time.monotonic() < end, "it was not pushed"
        time.sleep(0.05)
    assert pushed[0]["signatures"][policy.name] == policy.signature(pushed[0])[policy.name]


def test_what_the_policy_server_refuses_is_not_sent(alice, policy, room):
    reply = alice.put_event(room.room_id, {"msgtype": "m.text", "body": "spam"})
    reply.refused(403, "M_FORBIDDEN")
    assert reply["error"] == "That looks like spam" and texts(alice, room) == []
    alice.state(room.room_id, "m.room.topic", content={"topic": "spam"}).refused(403, "M_FORBIDDEN")
    alice.state(room.room_id, "m.room.topic", content={"topic": "tea"}).ok()


@pytest.mark.parametrize("answer", [(404, {"errcode": "M_UNRECOGNIZED", "error": "?"}), (200, {}), (500, {})])
def test_a_policy_server_that_does_not_sign_lets_nothing_through(alice, policy, room, answer):
    policy.routes[SIGN] = answer
    assert alice.put_event(room.room_id, {"msgtype": "m.text", "body": "hello"}).status in (403, 502)
    assert texts(alice, room) == []
    alice.state(room.room_id, "m.room.policy", content={}).ok()
    alice.say(room.room_id, "without it")


def test_a_wrong_signature_of_the_policy_server_does_not_count(alice, policy, room):
    policy.policy_key = ECC.generate(curve="Ed25519")
    alice.put_event(room.room_id, {"msgtype": "m.text", "body": "hello"}).refused(403, "M_FORBIDDEN")
    assert texts(alice, room) == []


def test_a_repeated_request_is_sent_once(alice, policy, room):
    path = f"/rooms/{q(room.room_id)}/send/m.room.message/again"
    first, second = (alice.put(path, {"msgtype": "m.text", "body": "once"}).ok()["event_id"] for _ in range(2))
    assert first == second and texts(alice, room) == ["once"]


def test_members_come_and_go_with_its_signature(ours, alice, policy, room):
    bob = ours.register(f"bob{next(numbers)}")
    bob.join(room.room_id).ok()
    assert policy.asked("/_matrix/policy")[-1].json["state_key"] == bob.user_id
    assert room.room_id in bob.get_("/joined_rooms").ok()["joined_rooms"]
    alice.member(room.room_id, "kick", bob, reason="spam").refused(403, "M_FORBIDDEN")
    alice.member(room.room_id, "kick", bob).ok()
    assert room.room_id not in bob.get_("/joined_rooms").ok()["joined_rooms"]


def test_what_comes_without_its_signature_is_not_shown(ours, alice, policy, room):
    latest = alice.say(room.room_id, "from here")
    signed_one = room.template("m.room.message", {"msgtype": "m.text", "body": "signed"}, prev_events=[latest], depth=20)
    unsigned = room.template("m.room.message", {"msgtype": "m.text", "body": "unsigned"}, prev_events=[latest], depth=20)
    signed_one, unsigned = (signed(policy, "11", dict(e, auth_events=auth(room, e))) for e in (signed_one, unsigned))
    judged = policy.signature(signed_one)[policy.name]
    signed_one["signatures"][policy.name].update(judged)
    body = {"origin": policy.name, "origin_server_ts": 1, "pdus": [unsigned, signed_one]}
    results = policy.ask(ours, "PUT", f"{V1}/send/p{next(numbers)}", body).ok()["pdus"]
    assert all(r == {} for r in results.values())
    end = time.monotonic() + 20
    while "signed" not in texts(alice, room):
        assert time.monotonic() < end, "it was not taken"
        time.sleep(0.05)
    assert set(texts(alice, room)) == {"from here", "signed"}


def auth(room, event):
    return room.auth_for(event["type"], event["sender"], None, event["content"])


def test_a_policy_server_that_is_not_in_the_room_is_none(ours, alice, authority):
    stranger = Policy(authority)
    room = alice.create(preset="public_chat")
    content = {"via": stranger.name, "public_keys": {"ed25519": stranger.public_policy_key()}}
    alice.state(room, "m.room.policy", content=content).ok()
    alice.say(room, "spam")
    assert not stranger.requests
    stranger.close()
