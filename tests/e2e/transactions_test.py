"""Another server pushes transactions: each is taken once, to-device messages arrive once, and only its own users speak."""

import itertools

import pytest

import harness
from remote import Authority, Remote, federating

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def ours(authority):
    running = federating(authority).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def remote(authority):
    running = Remote(authority)
    yield running
    running.close()


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
