"""What a cluster does when a node is away, stopped, doubled, cut off, of another file, of another time or of another
version.  Three real nodes of one cluster file on loopback.
"""

import contextlib
import itertools
import json
import os
import selectors
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import harness
from conftest import KIND

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="nodes are Greenroom's")
AWAY_S = 5  # within which a request that needs a node that is away is answered
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def whole(request):
    """Each test leaves a whole cluster behind, also when it fails."""
    yield
    if "cluster" in request.fixturenames:
        running = request.getfixturevalue("cluster")
        for node in running.nodes:
            if node.process:
                node.resume()
            if node.environment:
                node.stop()
                node.environment.clear()
            if node.process is None:
                node.start()
        for node in running.nodes:
            node.wait_linked()


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    """Nobody is online, as that would be news to who waits."""
    sync = harness.User.sync
    monkeypatch.setattr(harness.User, "sync", lambda *args, **more: sync(*args, **{"set_presence": "offline", **more}))


def user_on(cluster, number, edge=1, name="user"):
    """A new user whose account is on that node, registered by another one's edge."""
    while True:
        localpart = f"{name}{next(numbers)}"
        if cluster.owner(f"@{localpart}:{harness.SERVER_NAME}").number == number:
            return cluster.register(localpart, edge)


def room_on(cluster, number, maker, *members):
    """A new public room on that node, with all members joined."""
    while True:
        room = maker.create()
        if cluster.owner(room).number == number:
            for member in members:
                member.join(room).ok()
            return room


def no_room_on(cluster, number):
    """The id of no room, but of one that would be there."""
    return next(f"!x{n}:h" for n in itertools.count() if cluster.owner(f"!x{n}:h").number == number)


def at(user, node):
    """The same device, served by another node."""
    return harness.User(node.base, user.user_id, user.token, user.device_id)


def timed(work):
    begun = time.monotonic()
    result = work()
    return result, time.monotonic() - begun


def away(work):
    """The request is refused in time and says why."""
    reply, took = timed(work)
    reply.refused(503)
    assert "out of reach" in reply["error"], reply
    assert took < AWAY_S, f"answered after {took:.1f} s"


def bodies(answer, room):
    events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def read_until(user, room, since, last, limit_s=20):
    """All messages of the room from a token on, until that one was seen."""
    seen = []

    def wanted(answer):
        seen.extend(bodies(answer, room))
        return last in seen

    user.sync_until(wanted, since, limit_s, filter={"room": {"timeline": {"limit": 1000}}})
    return seen


def history(user, room):
    """All messages of the room, the oldest first."""
    found, start = [], None
    while True:
        page = user.get_(user.room(room, "messages"), dir="b", limit=100, **{"from": start}).ok()
        found += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
        start = page.get("end")
        if not start:
            return found[::-1]


class Background:
    """A request in a thread of its own."""

    def __init__(self, work):
        self.result = None
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()

    def run(self, work):
        self.result = work()

    def wait(self, limit_s):
        self.thread.join(limit_s)
        assert not self.thread.is_alive(), "no answer came"
        return self.result


def wait_until(true, what, limit_s=20):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# A node that is away


def test_a_node_that_is_down_fails_what_needs_it_and_nothing_else(cluster):
    alice, bob, carol = (user_on(cluster, number) for number in (1, 2, 3))
    here = room_on(cluster, 1, alice, bob, carol)
    there = room_on(cluster, 3, carol, alice, bob)
    carol_since, bob_since = carol.sync()["next_batch"], bob.sync()["next_batch"]
    cluster.node(3).kill9()
    away(lambda: alice.put_event(there, {"body": "lost"}))
    away(lambda: at(carol, cluster.node(2)).get_("/account/whoami"))
    away(lambda: alice.get_(alice.room(there, "messages"), dir="b"))
    for number in range(20):
        _, took = timed(lambda: alice.say(here, f"while away {number}"))
        assert took < 2
    assert read_until(at(bob, cluster.node(2)), here, bob_since, "while away 19") == [f"while away {n}" for n in range(20)]
    harness.login(cluster.node(2).base, alice.localpart)
    dave = user_on(cluster, 2)
    for _ in range(5):
        dave.create()
    cluster.node(3).start()
    for node in cluster.nodes:
        node.wait_linked()
    seen = read_until(carol, here, carol_since, "while away 19")
    assert seen == [f"while away {n}" for n in range(20)]
    alice.say(there, "back")
    assert "lost" not in read_until(carol, there, carol_since, "back")


def test_sync_tells_everything_else_while_rooms_are_away_and_those_once_they_are_back(cluster):
    alice, bob = user_on(cluster, 1), user_on(cluster, 2)
    here, there = room_on(cluster, 1, alice, bob), room_on(cluster, 3, alice, bob)
    since = bob.sync()["next_batch"]
    alice.say(there, "before")
    wait_until(lambda: bodies(bob.sync(since), there) == ["before"], "the room does not reach bob's feed")
    cluster.node(3).kill9()
    wait_until(lambda: at(alice, cluster.node(1)).get_(alice.room(there, "state")).status == 503, "n3 is not missed")
    bob = at(bob, cluster.node(2))
    alice.say(here, "meanwhile")
    answer, took = timed(lambda: bob.sync(since))
    assert bodies(answer, here) == ["meanwhile"] and there not in answer["rooms"]["join"] and took < AWAY_S
    owing = answer["next_batch"]
    first, took = timed(bob.sync)
    assert here in first["rooms"]["join"] and there not in first["rooms"]["join"] and took < AWAY_S
    first_owing = first["next_batch"]
    # There is nothing to tell but what can't be had: a poll waits for its time, and for anything else.
    idle, took = timed(lambda: bob.sync(owing, timeout=2500))
    assert "rooms" not in idle and 2 < took < AWAY_S
    poll = Background(lambda: bob.sync(idle["next_batch"], timeout=20000))
    alice.say(here, "news")
    answer = poll.wait(10)
    assert bodies(answer, here) == ["news"] and there not in answer["rooms"]["join"]
    # The parked poll goes on by itself once the room is back.
    poll = Background(lambda: bob.sync(answer["next_batch"], timeout=25000))
    cluster.node(3).start()
    answer = poll.wait(20)
    assert bodies(answer, there) == ["before"] and here not in answer["rooms"]["join"]
    assert not answer["rooms"]["join"][there]["timeline"]["limited"]
    alice.say(there, "after")
    assert read_until(bob, there, answer["next_batch"], "after") == ["after"]
    whole = bob.sync(first_owing, timeout=5000)["rooms"]["join"][there]
    assert [event["type"] for event in whole["state"]["events"] + whole["timeline"]["events"]].count("m.room.create") == 1
    assert bodies(bob.sync(first_owing), there)[-2:] == ["before", "after"]


def test_what_a_node_that_is_down_must_be_told_of_is_refused_in_time_and_done_later(cluster):
    alice, carol = user_on(cluster, 1), user_on(cluster, 3)
    room = room_on(cluster, 1, alice, carol)
    since, here = carol.sync()["next_batch"], at(carol, cluster.node(1))
    here.get_("/account/whoami").ok()  # so that n1 knows the token for some seconds
    cluster.node(3).kill9()
    reply, took = timed(lambda: here.post(here.room(room, "leave")))
    assert "will be done when it is back" in reply.refused(503)["error"]
    assert took < AWAY_S
    cluster.node(3).start()
    at(carol, cluster.node(3)).sync_until(lambda answer: room in answer.get("rooms", {}).get("leave", {}), since)


def test_a_long_poll_goes_on_over_the_death_of_the_node_it_waits_for(cluster):
    alice, bob = user_on(cluster, 1), user_on(cluster, 2)
    room = room_on(cluster, 3, alice, bob)
    since = bob.sync()["next_batch"]
    there = at(bob, cluster.node(2))
    poll = Background(lambda: there.sync(since, timeout=25000))
    wait_until(lambda: cluster.node(2).metrics()["greenroom_http_requests_total"] > 0, "the poll is on its way")
    cluster.node(3).kill9()
    cluster.node(3).start()
    cluster.node(1).wait_linked()
    alice.say(room, "it is back")
    answer = poll.wait(20)  # n2 may hear of it before its own link to n3 is there: then the room is owed
    told = bodies(answer, room) or read_until(there, room, answer["next_batch"], "it is back")
    assert told == ["it is back"]


def test_a_node_that_is_stopped_for_half_a_minute_costs_the_others_nothing(cluster):
    alice, bob, carol = (user_on(cluster, number) for number in (1, 2, 3))
    room = room_on(cluster, 1, alice, bob, carol)
    bob_since, carol_since = bob.sync()["next_batch"], carol.sync()["next_batch"]
    for number in range(50):  # so that what is made once is there before memory is looked at
        alice.say(room, f"before {number}")
    before = [cluster.node(number).rss_mb() for number in (1, 2)]
    cluster.node(3).pause()
    begun, sent, slowest = time.monotonic(), 0, 0
    while time.monotonic() < begun + 30:
        _, took = timed(lambda: alice.say(room, f"during {sent}"))
        sent, slowest = sent + 1, max(slowest, took)
        time.sleep(0.08)
    away(lambda: at(carol, cluster.node(1)).get_("/account/whoami"))
    after = [cluster.node(number).rss_mb() for number in (1, 2)]
    assert slowest < 2, f"one of {sent} messages took {slowest:.1f} s"
    grown = max(now - then for now, then in zip(after, before))
    assert grown < 12, f"{grown:.1f} MB more for {sent} messages"
    cluster.node(3).resume()
    wait_until(lambda: carol.get_("/sync", timeout=0).status == 200, "node 3 has its links again")
    wanted = [f"before {n}" for n in range(50)] + [f"during {n}" for n in range(sent)]
    for user, since in ((bob, bob_since), (carol, carol_since)):
        read_until(user, room, since, wanted[-1])
        assert history(user, room) == wanted


# Nodes that do not belong


def run_briefly(node, data, **environment):
    """Runs a node that must not come up; gives what it said."""
    done = subprocess.run(
        [node.binary, "run", str(data)],
        capture_output=True,
        text=True,
        timeout=30,
        env=dict(os.environ, **environment),
        preexec_fn=harness.die_with_parent,
    )
    assert done.returncode == 1, done
    return done.stderr


def test_a_node_that_runs_already_is_refused(cluster):
    node = cluster.node(2)
    assert "store" in run_briefly(node, node.data)
    copy = cluster.directory / "second"
    shutil.copytree(node.data, copy, ignore=shutil.ignore_patterns("store", "messages", "media", "*.sock"))
    said = run_briefly(node, copy, GREENROOM_CLUSTER_LISTEN=f"127.0.0.1:{harness.free_port()}")
    assert "node n2 runs already" in said, said
    assert cluster.node(1).peers()["n2"]["link"] == "up"


def test_nodes_with_different_files_refuse_each_other_and_say_what_differs(cluster):
    node, text = cluster.node(3), cluster.file.read_text()
    other = cluster.directory / "other.yaml"
    wrong = f"127.0.0.1:{harness.free_port()}"
    right = f"127.0.0.1:{cluster.node(2).port + harness.CLUSTER_NODE_DISTANCE}"
    other.write_text(text.replace(right, wrong))
    node.stop()
    node.environment["GREENROOM_CLUSTER_FILE"] = str(other)
    node.start()
    why = f"the address of node n2: here {right}, there {wrong}"
    wait_until(lambda: why in cluster.node(1).peers()["n3"].get("why", ""), "n1 does not say what differs")
    assert cluster.node(1).peers()["n3"]["link"] == "refused"
    assert f"the address of node n2: here {wrong}, there {right}" in node.peers()["n1"]["why"]
    assert why in cluster.node(1).log_tail()
    alice = user_on(cluster, 1)
    away(lambda: alice.put_event(no_room_on(cluster, 3), {"body": "x"}))
    node.stop()


CLOCK_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int got = next(id, t);
    if (got == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += atoi(getenv("CLOCK_OFF_S"));
    return got;
}
"""


def test_clocks_a_minute_apart_change_nothing_but_timestamps(cluster):
    source, shim = cluster.directory / "clock.c", cluster.directory / "clock.so"
    source.write_text(CLOCK_SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True, timeout=60)
    for number, off_s in ((2, 60), (3, -60)):
        node = cluster.node(number)
        node.stop()
        node.environment.update(LD_PRELOAD=str(shim), CLOCK_OFF_S=str(off_s))
        node.start()
    for node in cluster.nodes:
        node.wait_linked()
    wait_until(lambda: cluster.node(1).peers()["n2"]["clock_offset_us"] > 55e6, "n1 has not seen n2's clock")
    wait_until(lambda: cluster.node(1).peers()["n3"]["clock_offset_us"] < -55e6, "n1 has not seen n3's clock")
    users = [user_on(cluster, number, edge=number) for number in (1, 2, 3)]
    stamps = {}
    for number in (1, 2, 3):
        room = room_on(cluster, number, users[0], *users[1:])
        tokens = [user.sync()["next_batch"] for user in users]
        for user in users:
            user.say(room, f"by {user.user_id}")
        for user, token in zip(users, tokens):
            assert read_until(user, room, token, f"by {users[2].user_id}") == [f"by {u.user_id}" for u in users]
        stamps[number] = users[0].get_(users[0].room(room, "messages"), dir="b", limit=1)["chunk"][0]["origin_server_ts"]
    assert 55e3 < stamps[2] - stamps[1] < 65e3 and -65e3 < stamps[3] - stamps[1] < -55e3
    for user in users:
        since = user.sync_until(lambda answer: not bodies(answer, room), user.sync()["next_batch"])[1]["next_batch"]
        for _ in range(10):  # Presence of the others may come meanwhile.
            answer, took = timed(lambda: user.sync(since, timeout=1500))
            since = answer["next_batch"]
            if took > 1:
                break
        assert 1 < took < 4, f"a long poll of 1.5 s took {took:.1f} s"
    refused_everywhere_once_logged_out(cluster, users[1])
    for number in (2, 3):
        cluster.node(number).stop()


# Two versions


def test_a_cluster_is_upgraded_node_by_node(request):
    old = harness.Cluster()
    request.addfinalizer(old.remove)
    binary = old.node(1).binary
    newer = Path(binary).parent / "tests" / "greenroom_next"
    old.start()
    actor = {n: next(f"echo/x{i}" for i in itertools.count() if old.owner(f"x{i}").number == n) for n in (1, 2, 3)}
    alice, bob = user_on(old, 1), user_on(old, 3)
    room = room_on(old, 2, alice, bob)
    since = bob.sync()["next_batch"]

    def chat(text):
        alice.say(room, text)
        return read_until(at(bob, old.node(3)), room, since, text)[-1]

    def change(number, program):
        old.node(number).stop()
        old.node(number).binary = str(program)
        old.node(number).start()
        for node in old.nodes:
            node.wait_linked()

    def send(to, check=True, **body):
        return old.node(1).tool("send", to, "echo", json.dumps(body), check=check)

    def shown(number):
        return json.loads(old.node(1).tool("inspect", actor[number]).stdout)["body"]

    chat("all old")
    for number in (1, 2):
        change(number, newer)
        chat(f"n{number} is new")
    # A field, a type and a meaning that came with the newer version are not used yet.
    send(actor[1], text="note " + actor[2], number=7, mark="red")
    send(actor[1], text="note " + actor[3], number=7, mark="red")
    wait_until(lambda: "text" in shown(2), "no post came to n2")
    assert (shown(2)["text"], shown(2)["number"], shown(2)["mark"]) == ("post", 7, "")
    row = shown(2)["row"]
    assert "being upgraded" in send(actor[1], check=False, text="blind " + actor[3]).stderr
    assert "being upgraded" in old.node(1).tool("send", actor[3], "echo_note", "{}", check=False).stderr
    assert "no dead letters" in old.node(3).tool("dead", "list").stdout
    assert "An upgrade is under way" in old.node(1).tool("cluster", "status").stdout
    assert "node n3 runs an older version" in old.node(1).tool("upgrade", "finish", check=False).stderr
    change(2, binary)  # and back
    chat("n2 is old again")
    change(2, newer)
    old.node(3).stop()
    send(actor[1], text="note " + actor[3], number=8)  # waits in an outbox until n3 is back
    assert "node n3 is out of reach" in old.node(1).tool("upgrade", "finish", check=False).stderr
    change(3, newer)
    chat("all new")
    assert "feature level 2 now" in old.node(2).tool("upgrade", "finish").stdout
    assert "nothing to finish" in old.node(2).tool("upgrade", "finish").stdout
    wait_until(lambda: all(node.metrics()["greenroom_feature_level"] == 2 for node in old.nodes), "not all have followed")
    send(actor[1], text="note " + actor[2], number=9)
    wait_until(lambda: shown(2)["number"] == 9, "no post came to n2")
    assert shown(2)["text"] == "note"
    send(actor[1], text=actor[2], number=10, mark="red")
    wait_until(lambda: shown(2)["number"] == 10, "no post came to n2")
    assert shown(2)["mark"] == "red" and shown(2)["row"] > row
    assert shown(3)["number"] == 8
    chat("finished")
    old.node(3).stop()
    old.node(3).binary = binary
    assert "this greenroom understands levels up to 1" in run_briefly(old.node(3), old.node(3).data)


# Tokens that are ended


def refused_everywhere_once_logged_out(cluster, user, limit_s=3):
    devices = [at(user, node) for node in cluster.nodes]
    for device in devices:
        device.get_("/account/whoami").ok()
    reply, took = timed(lambda: user.post("/logout"))
    reply.ok()
    for device in devices:
        device.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    assert took < limit_s, f"the logout took {took:.1f} s"


def test_a_token_is_refused_on_every_node_once_the_logout_is_answered(cluster):
    for number in (1, 2, 3):
        refused_everywhere_once_logged_out(cluster, user_on(cluster, number, edge=number))


def test_a_node_that_was_stopped_while_a_token_was_ended_refuses_it_at_once(cluster):
    user = user_on(cluster, 1)
    late = at(user, cluster.node(3))
    late.get_("/account/whoami").ok()
    cluster.node(3).pause()
    asked = Background(lambda: late.get_("/account/whoami"))  # waits in the kernel until the node goes on
    reply, took = timed(lambda: user.post("/logout"))
    reply.ok()
    assert took < 8
    cluster.node(3).resume()
    asked.wait(10).refused((401, 503))


class Wires:
    """Stands between the nodes: listens at their addresses of the cluster file and passes bytes on to where they listen
    really.  A node that is cut off hears nothing from the others and they nothing from it, and no connection breaks; or two
    nodes hear nothing of each other.
    """

    def __init__(self, cluster):
        self.nodes, self.off, self.ended = cluster.nodes, set(), False
        self.selector, self.pairs = selectors.DefaultSelector(), []
        for node in cluster.nodes:
            real = harness.free_port()
            node.environment["GREENROOM_CLUSTER_LISTEN"] = f"127.0.0.1:{real}"
            door = socket.create_server(("127.0.0.1", node.port + harness.CLUSTER_NODE_DISTANCE))
            self.selector.register(door, selectors.EVENT_READ, lambda door, to=node, real=real: self.accept(door, to, real))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def accept(self, door, to, real):
        near, address = door.accept()
        try:
            far = socket.create_connection(("127.0.0.1", real), timeout=5)
        except OSError:
            near.close()
            return
        ends = {to, self.node_of(address[1])}
        for here, there in ((near, far), (far, near)):
            here.setblocking(True)
            self.selector.register(here, selectors.EVENT_READ, lambda a, b=there, ends=ends: self.carry(a, b, ends))

    def node_of(self, port):
        """Which node has the connection that comes from that port."""
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rsplit(":", 1)[1], 16) != port:
                    continue
                for node in self.nodes:
                    with contextlib.suppress(OSError):
                        for link in Path(f"/proc/{node.process.pid}/fd").iterdir():
                            if os.readlink(link) == f"socket:[{fields[9]}]":
                                return node
        return None

    def carry(self, here, there, ends):
        if self.off and self.off <= ends:
            time.sleep(0.01)
            return
        try:
            data = here.recv(65536)
            there.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (here, there):
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(end)
                end.close()

    def run(self):
        while not self.ended:
            for key, _ in self.selector.select(0.1):
                if key.fileobj.fileno() >= 0:
                    key.data(key.fileobj)

    def end(self):
        self.ended = True
        self.thread.join(5)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


def test_who_cannot_hear_the_node_that_owes_the_answer_is_refused_in_time(request):
    cut = harness.Cluster()
    request.addfinalizer(cut.remove)
    wires = Wires(cut)
    request.addfinalizer(wires.end)
    cut.start()
    alice, carol = user_on(cut, 1), user_on(cut, 3, edge=3)
    room = room_on(cut, 2, alice, carol)
    since, here = carol.sync()["next_batch"], at(carol, cut.node(1))
    here.get_("/account/whoami").ok()  # so that n1 knows the token for some seconds
    wires.off = {cut.node(1), cut.node(3)}  # both go on hearing n2, which has the room
    away(lambda: here.post(here.room(room, "leave")))
    carol.sync_until(lambda answer: room in answer.get("rooms", {}).get("leave", {}), since)  # n2 told n3 all the same
    wires.off = set()
    for node in cut.nodes:
        node.wait_linked()
    here.join(room).ok()


def test_a_node_that_is_cut_off_takes_no_token_that_was_ended_elsewhere(request):
    cut = harness.Cluster()
    request.addfinalizer(cut.remove)
    wires = Wires(cut)
    request.addfinalizer(wires.end)
    cut.start()
    user = user_on(cut, 1)
    late, answers, ended = at(user, cut.node(3)), [], threading.Event()
    late.get_("/account/whoami").ok()

    def use():
        while not ended.is_set():
            begun = time.monotonic()
            answers.append((begun, late.get_("/account/whoami").status))

    wires.off = {cut.node(3)}
    user_of_it = Background(use)
    reply, took = timed(lambda: user.post("/logout"))
    answered = time.monotonic()
    reply.ok()
    wait_until(lambda: answers[-1][0] > answered + 0.3, "n3 does not answer")
    ended.set()
    user_of_it.wait(10)
    assert took < 8, f"the logout took {took:.1f} s"
    assert answers[0][1] == 200  # it did serve while it was cut off
    after = {status for begun, status in answers if begun > answered}
    assert after and after <= {401, 503}, after
    wires.off = set()
    for node in cut.nodes:
        node.wait_linked()
    late.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
