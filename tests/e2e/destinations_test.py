"""Other servers that answer badly: what waits for them is kept, sent again, or set aside; and the admin sees it."""

import itertools
import json
import subprocess
import time

import pytest

import harness
from remote import Raw, Remote, federating

pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own destinations")
numbers = itertools.count(1)
SEND = "PUT /_matrix/federation/v1/send"


@pytest.fixture(scope="module")
def bob(ours):
    return ours.register("bob")


@pytest.fixture
def remote(authority):
    running = Remote(authority)
    yield running
    running.close()


def until(holds, limit_s=20):
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def write_to(user, remote, text):
    body = {"messages": {f"@rita:{remote.name}": {"RITA": {"text": text}}}}
    return user.put(f"/sendToDevice/x.note/w{next(numbers)}", body).ok()


def texts(bodies, remote):
    return [edu["content"]["messages"][f"@rita:{remote.name}"]["RITA"]["text"] for body in bodies for edu in body["edus"]]


def tool(server, *words):
    done = subprocess.run([str(server.binary), "destinations", *words, "--dir", str(server.directory / "data")], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def facts(server, remote):
    return next((d for d in json.loads(tool(server, "--json")) if d["server"] == remote.name), {"state": "unknown"})


def first_fails_then_works(ours, bob, remote, answer):
    """The remote gives that answer, then takes what comes; what it was sent, as (target, body)."""
    sent, taken = [], []
    remote.routes[SEND] = lambda r: sent.append((r.target, r.body)) or answer
    write_to(bob, remote, "one")
    assert until(lambda: sent)
    assert until(lambda: facts(ours, remote)["state"] == "backing off")
    write_to(bob, remote, "two")

    def take(request):
        sent.append((request.target, request.body))
        taken.append(request.json)
        return 200, {}

    remote.routes[SEND] = take
    assert until(lambda: texts(taken, remote) == ["one", "two"])
    assert until(lambda: facts(ours, remote)["state"] == "live")
    return sent


@pytest.mark.parametrize("answer", [
    (200, b"<html>Welcome to our captive portal</html>"),
    (200, b"[]"),
    (302, b""),
    (401, {"errcode": "M_UNAUTHORIZED"}),
    (403, {"errcode": "M_FORBIDDEN"}),
    (500, b"rubbish"),
    Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"pdus\":"]),
    Raw([b"HTTP/1.1 302 Found\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n\r\n"]),
    Raw([b"rubbish\r\n\r\n"]),
    Raw([]),
], ids=["portal", "array", "redirect", "401", "403", "500", "mid-body", "location", "no-http", "closes"])
def test_a_bad_answer_makes_the_same_transaction_come_again(ours, bob, remote, answer):
    sent = first_fails_then_works(ours, bob, remote, answer)
    assert sent[1] == sent[0]
    assert len({target for target, _ in sent}) == 2


def test_years_of_retry_after_are_cut(ours, bob, remote):
    sent = []
    remote.routes[SEND] = lambda r: sent.append(r) or (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10**15})
    write_to(bob, remote, "one")
    assert until(lambda: sent)
    assert until(lambda: facts(ours, remote)["state"] == "backing off")
    assert 50 * 60 < facts(ours, remote)["next_try_us"] / 1e6 <= 3600


def test_the_admin_can_end_a_wait(ours, bob, remote):
    taken = []
    remote.routes[SEND] = (429, {"retry_after_ms": 10**9})
    write_to(bob, remote, "one")
    assert until(lambda: facts(ours, remote)["state"] == "backing off")
    assert remote.name in tool(ours, "--failing")
    remote.routes[SEND] = lambda r: taken.append(r.json) or (200, {})
    assert "tried again now" in tool(ours, "reset", remote.name)
    assert until(lambda: texts(taken, remote) == ["one"])
    assert until(lambda: remote.name not in tool(ours, "--failing"))


def test_what_is_refused_for_good_is_set_aside_and_the_rest_arrives(ours, bob, remote):
    taken = []

    def judge(request):
        if b'"poison"' in request.body:
            return 400, {"errcode": "M_BAD_JSON"}
        taken.append(request.json)
        return 200, {}

    remote.routes[SEND] = judge
    write_to(bob, remote, "poison")
    for n in range(3):
        write_to(bob, remote, str(n))
    assert until(lambda: sorted(texts(taken, remote)) == ["0", "1", "2"], 60)
    assert until(lambda: facts(ours, remote).get("set_aside") == 1)
    assert facts(ours, remote)["state"] == "live"


def test_errors_for_single_events_are_counted(ours, bob, remote):
    remote.routes[SEND] = (200, {"pdus": {"$a": {"error": "no"}, "$b": {}, "$c": 7}})
    write_to(bob, remote, "one")
    assert until(lambda: facts(ours, remote).get("refused_events") == 1)
    assert facts(ours, remote)["state"] == "live"
    assert ours.metrics()["greenroom_destination_refused_events_total"] >= 1


def test_endless_slowness_delays_nobody_else(ours, bob, remote, authority):
    over = []

    def drip():
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        while not over:
            time.sleep(0.05)
            yield b" "

    remote.routes[SEND] = Raw(drip())
    write_to(bob, remote, "slow")
    assert until(lambda: remote.asked("/_matrix/federation/v1/send"))
    quick = Remote(authority)
    taken = []
    quick.routes[SEND] = lambda r: taken.append(r.json) or (200, {})
    began = time.monotonic()
    for n in range(5):
        write_to(bob, quick, str(n))
    assert until(lambda: texts(taken, quick) == [str(n) for n in range(5)])
    assert time.monotonic() - began < 10
    over.append(True)
    quick.close()


def test_metrics_tell_what_waits(ours, bob, remote):
    before = ours.metrics()
    remote.routes[SEND] = (500, {})
    write_to(bob, remote, "one")
    assert until(lambda: facts(ours, remote)["state"] == "backing off")
    after = ours.metrics()
    assert after["greenroom_destinations"] == before["greenroom_destinations"] + 1
    assert after["greenroom_destination_edus"] == before["greenroom_destination_edus"] + 1


def test_when_nobody_can_be_reached_nobody_is_blamed_for_it(authority):
    ours = federating(authority).start()
    bob = ours.register("bob")
    remotes = [Remote(authority) for _ in range(7)]
    for remote in remotes:
        remote.routes[SEND] = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])       # and closes
        write_to(bob, remote, "one")
        assert until(lambda: remote.asked("/_matrix/federation/v1/send"))
    assert until(lambda: all(facts(ours, remote).get("edus") == 0 for remote in remotes))
    for remote in remotes:
        remote.close()
    for number, remote in enumerate(remotes):
        write_to(bob, remote, "two")
        if number < 4:
            assert until(lambda: facts(ours, remote)["state"] == "backing off")
    assert until(lambda: all(facts(ours, remote)["edus"] == 1 for remote in remotes))
    time.sleep(1)                      # each of the others was given to the network, or not, by then
    failing = [remote for remote in remotes[4:] if facts(ours, remote)["state"] != "live"]
    assert len(failing) <= 1           # one is the try that finds out when it is over
    ours.stop()
    ours.remove()
