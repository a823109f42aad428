"""Another server pushes transactions: each is taken once, to-device messages arrive once, and only its own users speak."""

import itertools
import time

import pytest

import harness
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
numbers = itertools.count(1)


@pytest.fixture
def bob(ours):
    user = ours.register(f"bob{next(numbers)}")
    keys = {"user_id": user.user_id, "device_id": user.device_id, "algorithms": [], "signatures": {},
            "keys": {f"ed25519:{user.device_id}": "A" * 43}}
    user.post("/keys/upload", {"device_keys": keys}).ok()
    return user


def send(remote, ours, edus=(), pdus=(), txn=None, **more):
    body = {"origin": remote.name, "origin_server_ts": 1, "pdus": list(pdus), "edus": list(edus), **more}
    return remote.ask(ours, "PUT", f"/_matrix/federation/v1/send/{txn or 't%d' % next(numbers)}", body)


def to_device(remote, user, text, message_id=None, sender=None, device=None):
    return {"edu_type": "m.direct_to_device", "content": {
        "sender": sender or f"@rita:{remote.name}", "type": "x.note", "message_id": message_id or f"m{next(numbers)}",
        "messages": {user.user_id: {device or user.device_id: {"text": text}}}}}


def inbox(user, since=None):
    told = user.sync(since)
    told = told.ok() if hasattr(told, "ok") else told
    return [event["content"]["text"] for event in told["to_device"]["events"]]


@covers("PUT /_matrix/federation/v1/send/{txnId}")
def test_to_device_messages_arrive_before_the_answer(ours, remote, bob):
    assert send(remote, ours, [to_device(remote, bob, "one"), to_device(remote, bob, "all", device="*")]).ok() == {"pdus": {}}
    assert inbox(bob) == ["one", "all"]


@covers("PUT /_matrix/federation/v1/send/{txnId}")
def test_a_repeated_transaction_is_answered_the_same_and_taken_once(ours, remote, bob):
    pdu = {"event_id": "$e:" + remote.name, "room_id": "!r:" + remote.name, "type": "x"}
    first = send(remote, ours, [to_device(remote, bob, "once")], [pdu], txn="same").ok()
    assert list(first["pdus"]) == [pdu["event_id"]] and "error" in first["pdus"][pdu["event_id"]]
    assert send(remote, ours, [to_device(remote, bob, "twice")], [], txn="same").ok() == first
    assert inbox(bob) == ["once"]


def test_the_same_message_in_another_transaction_is_taken_once(ours, remote, bob):
    for _ in range(3):
        send(remote, ours, [to_device(remote, bob, "once", message_id="the-same")]).ok()
    assert inbox(bob) == ["once"]


def test_what_was_answered_is_there_after_a_kill(ours, remote, bob):
    send(remote, ours, [to_device(remote, bob, "kept")], txn="kept").ok()
    ours.kill9()
    ours.start()
    assert send(remote, ours, [to_device(remote, bob, "again")], txn="kept").ok() == {"pdus": {}}
    assert inbox(bob) == ["kept"]


def test_nobody_speaks_for_users_of_others(ours, remote, bob):
    for sender in (bob.user_id, "@x:elsewhere.example", "nobody"):
        send(remote, ours, [to_device(remote, bob, "forged", sender=sender)]).ok()
    send(remote, ours, [to_device(remote, bob, "good")]).ok()
    assert inbox(bob) == ["good"]
    send(remote, ours, origin="elsewhere.example").refused(400, "M_INVALID_PARAM")


def test_edus_that_make_no_sense_do_not_harm_their_neighbours(ours, remote, bob):
    room = bob.create()
    rita = f"@rita:{remote.name}"
    strange = [
        {}, 7, None, {"edu_type": 7}, {"edu_type": "m.direct_to_device"}, {"edu_type": "m.direct_to_device", "content": []},
        {"edu_type": "m.direct_to_device", "content": {"sender": rita, "type": "t", "message_id": "m" * 200, "messages": {}}},
        {"edu_type": "m.direct_to_device", "content": {"sender": rita, "type": "t", "message_id": "m", "messages": {bob.user_id: 7}}},
        {"edu_type": "m.typing", "content": {"room_id": room, "user_id": rita, "typing": True}},
        {"edu_type": "m.typing", "content": {"room_id": 7, "user_id": bob.user_id, "typing": True}},
        {"edu_type": "m.receipt", "content": {room: {"m.read": {rita: {"event_ids": ["$x"]}, bob.user_id: {"event_ids": [7]}}}}},
        {"edu_type": "m.receipt", "content": {room: 7, "x": {}}},
        {"edu_type": "x.unknown", "content": {}},
    ]
    send(remote, ours, [*strange, to_device(remote, bob, "good")]).ok()
    assert inbox(bob) == ["good"]


def test_transactions_that_are_too_large_are_refused(ours, remote, bob):
    send(remote, ours, [{}] * 101).refused(400, "M_BAD_JSON")
    send(remote, ours, pdus=[{}] * 51).refused(400, "M_BAD_JSON")
    many = {f"@u{n}:{ours.server_name}": {"*": {}} for n in range(2001)}
    edu = to_device(remote, bob, "x")
    edu["content"]["messages"] = many
    send(remote, ours, [edu]).refused(413, "M_TOO_LARGE")
    remote.ask(ours, "PUT", "/_matrix/federation/v1/send/x", {"pdus": 7}).refused(400, "M_BAD_JSON")


# What we push


@pytest.fixture
def taken(remote):
    """What the remote has taken: the bodies of transactions."""
    bodies = []
    remote.routes["PUT /_matrix/federation/v1/send"] = lambda r: bodies.append(r.json) or (200, {"pdus": {}})
    return bodies


def write_to(user, remote, text, txn=None):
    body = {"messages": {f"@rita:{remote.name}": {"RITA": {"text": text}}}}
    return user.put(f"/sendToDevice/x.note/{txn or 'w%d' % next(numbers)}", body).ok()


def texts(bodies, remote):
    messages = [edu["content"]["messages"] for body in bodies for edu in body["edus"]]
    return [m[f"@rita:{remote.name}"]["RITA"]["text"] for m in messages]


def until(holds, limit_s=20):
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


@covers("PUT /sendToDevice/{eventType}/{txnId}")
def test_to_device_messages_for_another_server_are_pushed_signed(ours, remote, bob, taken):
    write_to(bob, remote, "hello")
    assert until(lambda: texts(taken, remote) == ["hello"])
    content = taken[0]["edus"][0]["content"]
    assert content["sender"] == bob.user_id and content["type"] == "x.note" and 0 < len(content["message_id"]) <= 32
    assert taken[0]["origin"] == ours.server_name
    assert remote.requests[-1].authorization()["destination"] == remote.name


def test_a_server_that_fails_gets_everything_in_order_and_the_failed_transaction_again(ours, authority, bob):
    remote = Remote(authority)
    taken, failed = [], []
    remote.routes["PUT /_matrix/federation/v1/send"] = lambda r: failed.append((r.target, r.body)) or (500, {})
    write_to(bob, remote, "0")
    assert until(lambda: failed)
    for n in range(1, 30):
        write_to(bob, remote, str(n))
    repeated = []

    def take(request):
        repeated.append((request.target, request.body))
        taken.append(request.json)
        return 200, {}

    remote.routes["PUT /_matrix/federation/v1/send"] = take
    assert until(lambda: len(texts(taken, remote)) == 30)
    assert texts(taken, remote) == [str(n) for n in range(30)]
    assert repeated[0] == failed[0]
    remote.close()


def test_what_waits_survives_a_kill(ours, authority, bob):
    remote = Remote(authority)
    taken = []
    write_to(bob, remote, "before")         # nothing is there to take it: 404
    assert until(lambda: remote.asked("/_matrix/federation/v1/send"))
    ours.kill9()
    ours.start()
    remote.routes["PUT /_matrix/federation/v1/send"] = lambda r: taken.append(r.json) or (200, {})
    write_to(bob, remote, "after")
    assert until(lambda: texts(taken, remote) == ["before", "after"])
    remote.close()
