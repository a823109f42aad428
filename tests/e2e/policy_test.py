"""Rooms with a policy server: what is sent from here is signed by it first, and what comes without that is not shown."""

import itertools

import pytest

import harness
from federating import alice  # noqa: F401
from fetch_test import wait_for
from harness import q
from pdus import JoinedRoom, event_id, redacted, signed, without
from remote import Remote, canonical, unpadded
from Crypto.PublicKey import ECC

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
SIGN = "POST /_matrix/policy/v1/sign"
numbers = itertools.count(1)


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


def pushed(policy):
    return [p for r in policy.asked(f"{V1}/send/") for p in r.json.get("pdus", [])]


def test_what_is_sent_is_signed_by_the_policy_server_first(alice, policy, room):
    name = alice.say(room.room_id, "hello")
    event = policy.asked("/_matrix/policy")[-1].json
    assert event["content"]["body"] == "hello" and texts(alice, room) == ["hello"]
    assert event_id("11", event) == name
    wait_for(lambda: [p for p in pushed(policy) if p["content"].get("body") == "hello"])
    event = next(p for p in pushed(policy) if p["content"].get("body") == "hello")
    assert event["signatures"][policy.name] == policy.signature(event)[policy.name]


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


def unsigned(policy, room, body, prevs, depth=20):
    """An event of the policy server's user that it has not signed as a policy server."""
    event = room.template("m.room.message", {"msgtype": "m.text", "body": body}, prev_events=prevs, depth=depth)
    return signed(policy, "11", dict(event, auth_events=auth(room, event)))


def send(ours, policy, *pdus):
    body = {"origin": policy.name, "origin_server_ts": 1, "pdus": list(pdus)}
    results = policy.ask(ours, "PUT", f"{V1}/send/p{next(numbers)}", body).ok()["pdus"]
    assert all(r == {} for r in results.values())


def judged(policy, body):
    return [r.json for r in policy.asked("/_matrix/policy") if r.json["content"].get("body") == body]


def test_what_comes_without_its_signature_is_shown_once_it_has_signed(ours, alice, policy, room):
    latest = alice.say(room.room_id, "from here")
    with_it, good, bad = (unsigned(policy, room, body, [latest]) for body in ("signed", "unsigned", "spam"))
    with_it["signatures"][policy.name].update(policy.signature(with_it)[policy.name])
    after = unsigned(policy, room, "after", [event_id("11", good)], 21)
    send(ours, policy, bad, good, after, with_it)
    wait_for(lambda: {"signed", "unsigned", "after"} <= set(texts(alice, room)))
    wait_for(lambda: judged(policy, "spam"))
    assert len(judged(policy, "unsigned")) == len(judged(policy, "after")) == 1 and not judged(policy, "signed")
    alice.say(room.room_id, "last")
    assert set(texts(alice, room)) == {"from here", "signed", "unsigned", "after", "last"}
    assert not policy.asked(f"{V1}/get_missing_events"), "what waits for the policy server is not missing"


def test_the_policy_server_is_left_alone_for_a_while_when_it_cannot_be_asked(ours, alice, policy, room):
    latest = alice.say(room.room_id, "from here")
    policy.routes[SIGN] = (500, {})
    asked = len(policy.asked("/_matrix/policy"))
    first = unsigned(policy, room, "first", [latest])
    behind, good = unsigned(policy, room, "behind", [event_id("11", first)], 21), unsigned(policy, room, "good", [latest])
    for event in (behind, good):
        event["signatures"][policy.name].update(policy.signature(event)[policy.name])
    send(ours, policy, first, behind)
    wait_for(lambda: "behind" in texts(alice, room))
    policy.routes[SIGN] = policy.judge
    send(ours, policy, *(unsigned(policy, room, f"more {n}", [latest]) for n in range(5)), good)
    wait_for(lambda: "good" in texts(alice, room))
    assert set(texts(alice, room)) == {"from here", "behind", "good"}
    assert len(policy.asked("/_matrix/policy")) == asked + 1


def test_a_join_of_another_server_is_signed_by_the_policy_server_first(ours, authority, policy, room):
    other = Remote(authority)
    user = f"@nosy:{other.name}"
    JoinedRoom(other, ours, room.room_id, user, q)
    assert policy.asked("/_matrix/policy")[-1].json["state_key"] == user
    policy.routes[SIGN] = (400, {"errcode": "M_FORBIDDEN", "error": "Not you"})
    with pytest.raises(AssertionError, match="Not you"):
        JoinedRoom(other, ours, room.room_id, f"@second:{other.name}", q)
    other.close()


# What nobody waits for

def membership(user, room, member):
    return user.get_(f"/rooms/{q(room.room_id)}/state/m.room.member/{q(member)}").ok()


def test_a_new_profile_is_signed_by_the_policy_server_first(ours, alice, policy, room):
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Al"}).ok()
    wait_for(lambda: membership(alice, room, alice.user_id).get("displayname") == "Al")
    assert [r.json["content"]["displayname"] for r in policy.asked("/_matrix/policy") if "displayname" in r.json["content"]] == ["Al"]
    wait_for(lambda: [p for p in pushed(policy) if "displayname" in p["content"]])
    event = next(p for p in pushed(policy) if "displayname" in p["content"])
    assert event["signatures"][policy.name] == policy.signature(event)[policy.name]
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "spam"}).ok()
    wait_for(lambda: "spam" in str(policy.asked("/_matrix/policy")[-1].json["content"]))
    alice.say(room.room_id, "still here")
    assert membership(alice, room, alice.user_id)["displayname"] == "Al"


def test_a_new_profile_waits_for_a_policy_server_that_cannot_be_asked(ours, alice, policy, room):
    policy.routes[SIGN] = (500, {})
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "First"}).ok()
    wait_for(lambda: "First" in str([r.json for r in policy.asked("/_matrix/policy")]))
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Last"}).ok()
    policy.routes[SIGN] = policy.judge
    wait_for(lambda: membership(alice, room, alice.user_id).get("displayname") == "Last")
    history = alice.get_(f"/rooms/{q(room.room_id)}/messages", dir="b", limit=50).ok()["chunk"]
    assert [e["content"]["displayname"] for e in history if e["type"] == "m.room.member" and "displayname" in e["content"]] == ["Last"]


@pytest.mark.parametrize("signs", [True, False])
def test_a_deactivated_account_leaves_signed_or_not(ours, alice, policy, room, signs):
    bob = ours.register(f"bob{next(numbers)}")
    bob.join(room.room_id).ok()
    if not signs:
        policy.routes[SIGN] = (400, {"errcode": "M_FORBIDDEN", "error": "Stay"})
    session = bob.post("/account/deactivate", {}).refused(401)["session"]
    proof = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": bob.user_id}, "password": harness.PASSWORD,
             "session": session}
    bob.post("/account/deactivate", {"auth": proof}).ok()
    wait_for(lambda: membership(alice, room, bob.user_id)["membership"] == "leave")
    wait_for(lambda: leaves(policy))
    assert policy.asked("/_matrix/policy")[-1].json["content"]["membership"] == "leave"
    assert (policy.name in leaves(policy)[0]["signatures"]) == signs


def leaves(policy):
    return [p for p in pushed(policy) if p["content"].get("membership") == "leave"]


def test_guests_leave_with_its_signature(ours, alice, policy, room):
    alice.state(room.room_id, "m.room.guest_access", "", {"guest_access": "can_join"}).ok()
    answer = harness.Client(ours.base).post("/register?kind=guest", {}).ok()
    guest = harness.User(ours.base, answer["user_id"], answer["access_token"], answer["device_id"])
    guest.join(room.room_id).ok()
    alice.state(room.room_id, "m.room.guest_access", "", {"guest_access": "forbidden"}).ok()
    wait_for(lambda: membership(alice, room, guest.user_id)["membership"] == "leave")
    wait_for(lambda: leaves(policy))
    assert policy.name in leaves(policy)[0]["signatures"]


def test_a_room_that_is_replaced_is_closed_with_its_signature(ours, alice, policy, room):
    alice.post(f"/rooms/{q(room.room_id)}/upgrade", {"new_version": "11"}).ok()
    wait_for(lambda: [p for p in pushed(policy) if p["type"] == "m.room.tombstone"])
    event = next(p for p in pushed(policy) if p["type"] == "m.room.tombstone")
    assert event["signatures"][policy.name] == policy.signature(event)[policy.name]


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
