"""Events that another server pushes: what is good reaches the room's users, what is not is told of that event alone.

The other server is a Remote whose user has joined a room here; it makes events by its own copy of the room, or lies.
"""

import itertools
import socket
import ssl
import time

import pytest

import harness
from federating import alice  # noqa: F401
from fetch_test import say, wait_for
from harness import q
from pdus import JoinedRoom, event_id, signed
from remote import Remote

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def remote(authority):
    running = Remote(authority)
    running.routes[f"PUT {V1}/send/"] = (200, {"pdus": {}})
    yield running
    running.close()


def joined(remote, ours, alice, version="11", **options):
    room = alice.create(room_version=version, preset="public_chat", **options)
    return JoinedRoom(remote, ours, room, f"@rita{next(numbers)}:{remote.name}", q)


def push(remote, ours, *pdus, txn=None, **more):
    body = {"origin": remote.name, "origin_server_ts": int(time.time() * 1000), "pdus": list(pdus), "edus": [], **more}
    return remote.ask(ours, "PUT", f"{V1}/send/{txn or 'i%d' % next(numbers)}", body)


def results(remote, ours, *pdus, **more):
    return push(remote, ours, *pdus, **more).ok()["pdus"]


def message(copy, text, **more):
    return copy.make("m.room.message", {"msgtype": "m.text", "body": text}, **more)


def heard(alice, room, limit=50):
    chunk = alice.get_(f"/rooms/{q(room)}/messages?dir=b&limit={limit}").ok()["chunk"]
    return [e["content"].get("body") for e in reversed(chunk) if e["type"] == "m.room.message"]


@covers("PUT /_matrix/federation/v1/send/{txnId}")
@pytest.mark.parametrize("version", ["3", "6", "10", "11", "12"])
def test_what_another_server_says_is_heard_here(ours, remote, alice, version):
    copy = joined(remote, ours, alice, version)
    since = alice.sync()["next_batch"]
    pdus = []
    for n in range(12):
        pdus.append(message(copy, f"m{n}"))
        copy.add(pdus[-1])
    assert results(remote, ours, *pdus) == {event_id(version, p): {} for p in pdus}
    wait_for(lambda: len(heard(alice, copy.room_id)) == 12)
    assert heard(alice, copy.room_id) == [f"m{n}" for n in range(12)]
    timeline = alice.sync(since)["rooms"]["join"][copy.room_id]["timeline"]["events"]
    assert timeline[-1]["sender"] == copy.creator and timeline[-1]["event_id"] == copy.heads[0]


def test_state_of_another_server_is_state_here_and_both_answer_each_other(ours, remote, alice):
    copy = joined(remote, ours, alice)
    pdu = copy.make("m.room.member", {"membership": "join", "displayname": "Rita"}, copy.creator)
    copy.add(pdu)
    assert results(remote, ours, pdu) == {copy.heads[0]: {}}
    wait_for(lambda: alice.state(copy.room_id, "m.room.member", copy.creator).json.get("displayname") == "Rita")
    event = say(alice, copy.room_id, "hello Rita")
    wait_for(lambda: any(event_id("11", p) == event for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"]))
    last = next(p for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"] if event_id("11", p) == event)
    assert last["prev_events"] == [copy.heads[0]]


def test_events_out_of_order_wait_for_those_before_them(ours, remote, alice):
    copy = joined(remote, ours, alice)
    pdus = []
    for n in range(4):
        pdus.append(message(copy, f"m{n}"))
        copy.add(pdus[-1])
    assert all(r == {} for r in results(remote, ours, pdus[3], pdus[2]).values())
    assert heard(alice, copy.room_id) == []
    assert all(r == {} for r in results(remote, ours, pdus[1]).values())
    ours.kill9()
    ours.start()
    assert all(r == {} for r in results(remote, ours, pdus[0]).values())
    wait_for(lambda: len(heard(alice, copy.room_id)) == 4)
    assert heard(alice, copy.room_id) == ["m0", "m1", "m2", "m3"]


def test_a_bad_event_does_not_fail_its_neighbours(authority, ours, remote, alice):
    copy = joined(remote, ours, alice)
    other = joined(remote, ours, alice)
    good = [message(copy, "first")]
    copy.add(good[0])
    forged = message(copy, "forged")
    forged["signatures"] = {remote.name: {remote.key_id: remote.sign_bytes(b"something else")}}
    unsigned = dict(message(copy, "unsigned"), signatures={})
    as_ours = signed(remote, "11", copy.template("m.room.message", {"body": "as alice"}, sender=alice.user_id))
    moved = dict(message(other, "moved"))
    nowhere = dict(message(copy, "nowhere"), room_id=f"!nowhere:{remote.name}")
    deep = message(copy, "deep", depth=2**53)
    no_room = {k: v for k, v in message(copy, "x").items() if k != "room_id"}
    huge = message(copy, "x" * 70000)
    good.append(message(copy, "last"))
    copy.add(good[-1])
    bad = [forged, unsigned, as_ours, nowhere, deep]
    told = results(remote, ours, good[0], *bad, moved, no_room, huge, 7, {}, None, [], good[1])
    for pdu in (*good, moved):
        assert told[event_id("11", pdu)] == {}
    for pdu in bad:
        assert "error" in told.get(event_id("11", pdu), {"error": 1})
    wait_for(lambda: heard(alice, copy.room_id) == ["first", "last"])
    wait_for(lambda: heard(alice, other.room_id) == ["moved"])


def test_an_event_with_another_content_than_its_hash_is_taken_redacted(ours, remote, alice):
    copy = joined(remote, ours, alice)
    pdu = message(copy, "as it was signed")
    name = event_id("11", pdu)
    assert results(remote, ours, dict(pdu, content={"body": "changed on the way"})) == {name: {}}
    wait_for(lambda: alice.get_(f"/rooms/{q(copy.room_id)}/event/{q(name)}").status == 200)
    assert alice.get_(f"/rooms/{q(copy.room_id)}/event/{q(name)}").ok()["content"] == {}


def test_what_is_not_allowed_is_not_shown(ours, remote, alice):
    copy = joined(remote, ours, alice)
    name = copy.make("m.room.name", {"name": "Taken over"}, "")
    stranger = copy.make("m.room.message", {"body": "from nobody"}, sender=f"@nobody:{remote.name}")
    after = message(copy, "after")
    assert all(r == {} for r in results(remote, ours, name, stranger, after).values())
    wait_for(lambda: heard(alice, copy.room_id) == ["after"])
    assert alice.state(copy.room_id, "m.room.name").status == 404
    assert alice.get_(f"/rooms/{q(copy.room_id)}/event/{q(event_id('11', name))}").status == 404


def test_what_a_banned_user_said_before_hearing_of_it_soft_fails(ours, remote, alice):
    copy = joined(remote, ours, alice)
    late = message(copy, "too late")
    alice.post(f"/rooms/{q(copy.room_id)}/ban", {"user_id": copy.creator}).ok()
    assert results(remote, ours, late) == {event_id("11", late): {}}
    event = say(alice, copy.room_id, "he is banned")
    assert heard(alice, copy.room_id) == ["he is banned"] and event


def test_servers_that_the_acl_names_push_nothing(ours, remote, alice):
    copy = joined(remote, ours, alice)
    pdu = message(copy, "kept out")
    alice.state(copy.room_id, "m.room.server_acl", content={"allow": ["*"], "deny": ["localhost"]})
    assert "error" in results(remote, ours, pdu)[event_id("11", pdu)]
    alice.state(copy.room_id, "m.room.server_acl", content={"allow": ["*"]})
    assert results(remote, ours, pdu) == {event_id("11", pdu): {}}
    wait_for(lambda: heard(alice, copy.room_id) == ["kept out"])


def test_events_that_come_again_change_nothing(ours, remote, alice):
    copy = joined(remote, ours, alice)
    pdu = message(copy, "once")
    for txn in ("again", "again", "another"):
        assert results(remote, ours, pdu, pdu, txn=f"{txn}{copy.room_id[1:9]}") == {event_id("11", pdu): {}}
    wait_for(lambda: heard(alice, copy.room_id) == ["once"])
    time.sleep(0.1)
    assert heard(alice, copy.room_id) == ["once"]


def test_a_thousand_events_in_one_transaction_are_refused_as_a_whole(ours, remote, alice):
    copy = joined(remote, ours, alice)
    push(remote, ours, *[message(copy, f"{n}") for n in range(5)] * 200).refused(400, "M_BAD_JSON")
    assert heard(alice, copy.room_id) == []


def test_more_events_than_may_wait_are_refused_one_by_one(ours, remote, alice):
    copy = joined(remote, ours, alice)
    missing = message(copy, "missing")
    copy.add(missing)
    errors, pushed = [], 0

    def overflow():
        nonlocal pushed
        pushed += 30
        told = results(remote, ours, *[message(copy, f"w{next(numbers)}") for _ in range(30)])
        errors.extend(r["error"] for r in told.values() if r)
        return errors

    wait_for(overflow)
    assert pushed >= 120 and "wait" in errors[0]
    results(remote, ours, missing)
    wait_for(lambda: len(heard(alice, copy.room_id, 1000)) == min(100, pushed - len(errors) + 1))


# What lies, and what does not end


def test_a_depth_that_lies_neither_hides_nor_stops_anything(ours, remote, alice):
    copy = joined(remote, ours, alice)
    for text, depth in (("deep", 2**53 - 1), ("shallow", 1), ("plain", 9)):
        pdu = message(copy, text, depth=depth)
        copy.add(pdu)
        assert results(remote, ours, pdu) == {event_id("11", pdu): {}}
    wait_for(lambda: heard(alice, copy.room_id).count("plain"))
    own = say(alice, copy.room_id, "mine")
    assert sorted(heard(alice, copy.room_id)) == ["deep", "mine", "plain", "shallow"]
    timeline = [e["content"].get("body") for e in alice.sync()["rooms"]["join"][copy.room_id]["timeline"]["events"]]
    assert [t for t in timeline if t] == ["deep", "shallow", "plain", "mine"], "those who were there see it as it came"
    wait_for(lambda: any(event_id("11", p) == own for r in remote.asked(f"{V1}/send/") for p in r.json.get("pdus", [])))
    sent = [p for r in remote.asked(f"{V1}/send/") for p in r.json.get("pdus", []) if event_id("11", p) == own]
    assert sent[0]["depth"] <= 2**53 - 1
    for wrong in (-1, 2**53, 1.5, "9", None):
        pdu = message(copy, "wrong")
        pdu = signed(remote, "11", dict({k: v for k, v in pdu.items() if k not in ("hashes", "signatures")}, depth=wrong))
        assert all("error" in r for r in results(remote, ours, pdu).values())


def test_a_key_signs_events_as_long_as_it_was_valid(authority, ours, alice):
    mine = Remote(authority)
    old = {"key_id": mine.key_id, "key": mine.key}
    mine.rotate("ed25519:r2")
    copy = joined(mine, ours, alice)
    expired = mine.old_keys[old["key_id"]]["expired_ts"]

    def by_old_key(text, ts):
        event = copy.template("m.room.message", {"msgtype": "m.text", "body": text}, origin_server_ts=ts)
        return signed(mine, "11", event, **old)

    before, after = by_old_key("before", expired - 1000), by_old_key("after", expired + 60000)
    told = results(mine, ours, before, after)
    assert told[event_id("11", before)] == {} and "error" in told[event_id("11", after)]
    wait_for(lambda: heard(alice, copy.room_id) == ["before"])
    mine.close()


def test_a_transaction_that_does_not_end_is_ended(ours, remote):
    context = ssl.create_default_context(cafile=remote.authority.file)
    raw = socket.create_connection(("localhost", ours.federation_port), timeout=30)
    head = remote.header("PUT", f"{V1}/send/endless", ours.server_name, {})
    before, sent = ours.rss_mb(), 0
    with context.wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(f"PUT {V1}/send/endless HTTP/1.1\r\nHost: localhost\r\nAuthorization: {head}\r\n"
                    "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
        with pytest.raises(OSError):
            while sent < 1 << 30:
                tls.sendall(piece)
                sent += len(piece)
    assert ours.rss_mb() < before + 48
