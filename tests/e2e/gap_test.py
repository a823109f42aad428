"""Gaps in what another server pushes: they are closed by asking it for the events between, or for a state; others go on."""

import threading
import time

import pytest

import harness
from federating import alice  # noqa: F401
from fetch_test import wait_for
from harness import q
from incoming_test import heard, joined, message, results
from pdus import event_id, history
from remote import Remote

pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1 = "/_matrix/federation/v1"


@pytest.fixture
def remote(authority):
    running = Remote(authority)
    running.routes[f"PUT {V1}/send/"] = (200, {"pdus": {}})
    running.copies = {}
    history(running, running.copies)
    yield running
    running.close()


def enter(remote, ours, alice, version="11"):
    copy = joined(remote, ours, alice, version)
    remote.copies[copy.room_id] = copy
    return copy


def said(copy, *texts):
    pdus = []
    for text in texts:
        pdus.append(message(copy, text))
        copy.add(pdus[-1])
    return pdus


def counter(ours, name):
    return int(ours.metrics()[f"greenroom_{name}"])


@pytest.mark.parametrize("version", ["6", "11", "12"])
def test_a_short_gap_is_filled_with_the_events_between(ours, remote, alice, version):
    copy = enter(remote, ours, alice, version)
    pdus = said(copy, *[f"m{n}" for n in range(6)])
    results(remote, ours, pdus[5])
    wait_for(lambda: len(heard(alice, copy.room_id)) == 6)
    assert heard(alice, copy.room_id) == [f"m{n}" for n in range(6)]
    assert len(remote.asked(f"{V1}/get_missing_events/")) == 1 and not remote.asked(f"{V1}/state_ids/")


@pytest.mark.parametrize("version", ["6", "11", "12"])
def test_a_long_gap_is_jumped_with_the_state_before_what_is_missing(ours, remote, alice, version):
    copy = enter(remote, ours, alice, version)
    said(copy, "lost")
    for n in range(5):
        copy.put("m.room.member", {"membership": "join", "displayname": f"Rita {n}"}, copy.creator)
        user = f"@guest{n}:{remote.name}"
        copy.put("m.room.member", {"membership": "join"}, user, sender=user)
    said(copy, *[f"between{n}" for n in range(20)])
    last = said(copy, "last")
    since = alice.sync()["next_batch"]
    results(remote, ours, last[0])
    wait_for(lambda: "last" in heard(alice, copy.room_id))
    wait_for(lambda: alice.state(copy.room_id, "m.room.member", copy.creator).json.get("displayname") == "Rita 4")
    assert alice.state(copy.room_id, "m.room.member", f"@guest3:{remote.name}").ok()["membership"] == "join"
    timeline = alice.sync(since)["rooms"]["join"][copy.room_id]["timeline"]
    bodies = [event["content"].get("body") for event in timeline["events"]]
    assert timeline["limited"] and bodies[-2:] == ["between19", "last"] and "lost" not in bodies
    assert len(remote.asked(f"{V1}/state_ids/")) == 1
    event = alice.say(copy.room_id, "and on")
    wait_for(lambda: any(event_id(version, p) == event for r in remote.asked(f"{V1}/send/") for p in r.json["pdus"]))


def test_a_state_of_which_most_is_missing_is_fetched_at_once(ours, remote, alice):
    copy = enter(remote, ours, alice)
    for n in range(150):
        user = f"@member{n}:{remote.name}"
        copy.put("m.room.member", {"membership": "join"}, user, sender=user)
    said(copy, *[f"between{n}" for n in range(12)])
    results(remote, ours, said(copy, "last")[0])
    wait_for(lambda: "last" in heard(alice, copy.room_id))
    wait_for(lambda: alice.state(copy.room_id, "m.room.member", f"@member149:{remote.name}").status == 200)
    assert len(remote.asked(f"{V1}/state/")) == 1 and len(remote.asked(f"{V1}/event/")) < 10


def test_a_gap_that_nobody_fills_blocks_nobody(ours, remote, alice):
    copy, other = enter(remote, ours, alice), enter(remote, ours, alice)
    waiting = threading.Event()
    remote.routes[f"POST {V1}/get_missing_events/"] = lambda r: (waiting.wait(20), (200, {"events": []}))[1]
    remote.routes[f"GET {V1}/event/"] = (404, {"errcode": "M_NOT_FOUND", "error": "no"})
    before = said(copy, "before")
    tip = list(copy.heads)
    said(copy, "lost")
    late = said(copy, "late")
    copy.heads = list(tip)
    beside = said(copy, "beside")
    assert all(r == {} for r in results(remote, ours, before[0], late[0], beside[0], said(other, "elsewhere")[0]).values())
    wait_for(lambda: heard(alice, copy.room_id) == ["before", "beside"])
    wait_for(lambda: heard(alice, other.room_id) == ["elsewhere"])
    waiting.set()
    wait_for(lambda: remote.asked(f"{V1}/event/"))
    assert heard(alice, copy.room_id) == ["before", "beside"]


def test_a_gap_flow_goes_on_after_a_kill(ours, remote, alice):
    copy = enter(remote, ours, alice)
    pdus = said(copy, *[f"m{n}" for n in range(4)])
    good, killed = remote.routes[f"POST {V1}/get_missing_events/"], threading.Event()
    remote.routes[f"POST {V1}/get_missing_events/"] = lambda r: (killed.wait(20), good(r))[1]
    results(remote, ours, pdus[3])
    wait_for(lambda: remote.asked(f"{V1}/get_missing_events/"))
    ours.kill9()
    killed.set()
    ours.start()
    wait_for(lambda: heard(alice, copy.room_id) == ["m0", "m1", "m2", "m3"])


def test_events_that_the_server_makes_up_close_no_gap(ours, remote, alice):
    copy, other = enter(remote, ours, alice), enter(remote, ours, alice)
    foreign = said(other, "of another room")[0]
    said(copy, "lost")
    last = said(copy, "last")[0]
    forged = dict(message(copy, "forged"), signatures={remote.name: {remote.key_id: remote.sign_bytes(b"x")}})
    remote.routes[f"POST {V1}/get_missing_events/"] = (200, {"events": [forged, foreign, {}, 7, None]})
    remote.routes[f"GET {V1}/event/"] = (200, {"pdus": [foreign]})
    remote.routes[f"GET {V1}/state_ids/"] = (200, {"pdu_ids": ["$" + "A" * 43, 7, "x"], "auth_chain_ids": {}})
    results(remote, ours, last)
    wait_for(lambda: remote.asked(f"{V1}/state_ids/"))
    time.sleep(0.3)
    assert heard(alice, copy.room_id) == []
    results(remote, ours, foreign)
    wait_for(lambda: heard(alice, other.room_id) == ["of another room"])


def test_a_state_is_taken_without_what_nobody_gives_and_that_is_counted(ours, remote, alice):
    copy = enter(remote, ours, alice)
    before, good = counter(ours, "gap_states_incomplete_total"), remote.routes[f"GET {V1}/event/"]
    guests = [f"@guest{n}:{remote.name}" for n in range(2)]
    lost, _ = [copy.put("m.room.member", {"membership": "join"}, guest, sender=guest) for guest in guests]
    missing = 404, {"errcode": "M_NOT_FOUND", "error": "no"}
    remote.routes[f"GET {V1}/event/"] = lambda r: missing if q(lost) in r.path else good(r)
    remote.routes[f"GET {V1}/backfill/"] = missing
    said(copy, *[f"between{n}" for n in range(12)])
    results(remote, ours, said(copy, "last")[0])
    wait_for(lambda: alice.state(copy.room_id, "m.room.member", guests[1]).status == 200)
    alice.state(copy.room_id, "m.room.member", guests[0]).refused(404, "M_NOT_FOUND")
    assert counter(ours, "gap_states_incomplete_total") > before       # flows of other tests may go on and count, too


def test_the_metrics_count_what_gaps_cost(ours, remote, alice):
    copy = enter(remote, ours, alice)
    remote.routes[f"GET {V1}/backfill/"] = (404, {"errcode": "M_NOT_FOUND", "error": "no"})
    fetched, loaded = counter(ours, "gap_events_fetched_total"), counter(ours, "gap_events_loaded_total")
    said(copy, *[f"between{n}" for n in range(14)])
    copy.put("m.room.member", {"membership": "join", "displayname": "Rita"}, copy.creator)
    said(copy, *[f"later{n}" for n in range(12)])
    results(remote, ours, said(copy, "last")[0])
    wait_for(lambda: "last" in heard(alice, copy.room_id))
    wait_for(lambda: counter(ours, "gap_events_fetched_total") > fetched)
    assert 11 <= counter(ours, "gap_events_fetched_total") - fetched <= 20
    assert 1 <= counter(ours, "gap_events_loaded_total") - loaded <= 40
