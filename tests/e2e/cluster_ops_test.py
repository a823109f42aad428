"""Running a cluster: what its owner does by the command line reaches all nodes, each of which serves everything."""

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

import harness
from conftest import KIND
from harness import Client, q

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="nodes and the command line are Greenroom's")
NODES = (1, 2, 3)
LIMIT_S = 20
PART = 256 * 1024  # Answers of a node to another above this go in parts.


@pytest.fixture(scope="module")
def people(cluster):
    """Alice lives on node 1 and Bob on node 3, each connected there; their room lies on node 2."""
    alice, bob = cluster.register_at(1, "alice"), cluster.register_at(3, "bob")
    room = cluster.create_at(2, alice)
    bob.join(room).ok()
    return alice, bob, room


def told(node, *words, code=0):
    """What a command printed, on both ways together when it has to fail."""
    done = node.tool(*words, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


def until(look, wanted, limit_s=LIMIT_S):
    """The message log is written by a thread of its own, and links take their time: looks until it is there."""
    end = time.monotonic() + limit_s
    while True:
        seen = look()
        if wanted(seen):
            return seen
        assert time.monotonic() < end, f"it never came: {str(seen)[:2000]}"
        time.sleep(0.1)


def traced(node, *words):
    done = node.tool("trace", *words, "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"traces": [], "missing": []}


def messages(answer):
    return [message for trace in answer["traces"] for message in trace["messages"]]


def types(answer):
    return sorted(message["type"] for message in messages(answer))


def is_whole(answer):
    """All that a message in the room causes while nobody waits; now and then the edge asks for the token first."""
    return [t for t in types(answer) if t.startswith(("room_", "feed_"))] == SEND


SEND = ["feed_event", "feed_event", "room_send", "room_sent"]


class AdminSocket(http.client.HTTPConnection):
    """Requests as the command line makes them."""

    def __init__(self, node):
        super().__init__("localhost", timeout=LIMIT_S)
        self.path = str(node.data / "admin.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(self.path)

    def ask(self, path, body=None):
        self.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        answer = self.getresponse()
        return answer.status, answer.read()


# Clients


def test_clients_on_nodes_1_and_3_chat_in_a_room_on_node_2(cluster, people):
    alice, bob, room = people
    since = {user: user.sync()["next_batch"] for user in (alice, bob)}
    for n in range(5):
        for one, other in ((alice, bob), (bob, alice)):
            event = one.say(room, f"round {n}")
            joined = lambda answer: answer.get("rooms", {}).get("join", {}).get(room, {})
            timeline = lambda answer: joined(answer).get("timeline", {}).get("events", [])
            _, answer = other.sync_until(lambda a: any(e["event_id"] == event for e in timeline(a)), since[other])
            since[other] = answer["next_batch"]


def at_base(base, user):
    return harness.User(base, user.user_id, user.token, user.device_id)


def at(cluster, user, number):
    """The same device, over another node."""
    return at_base(cluster.node(number).base, user)


@pytest.mark.parametrize("number", NODES)
def test_a_node_serves_each_kind_of_route_for_users_and_rooms_of_others(cluster, people, number):
    """One of each family of routes; `tests/e2e/run --server cluster` does all of them so."""
    alice, bob, room = (at(cluster, people[0], number), at(cluster, people[1], number), people[2])
    anyone, name = Client(cluster.node(number).base), harness.SERVER_NAME
    assert anyone.get_("/versions").ok()["versions"]
    assert anyone.get_("/login").ok()["flows"]
    assert alice.get_("/account/whoami").ok()["user_id"] == alice.user_id
    again = harness.login(cluster.node(number).base, bob.localpart)
    assert {bob.device_id, again.device_id} <= {d["device_id"] for d in bob.get_("/devices").ok()["devices"]}
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": f"Alice {number}"}).ok()
    assert bob.get_(f"/profile/{q(alice.user_id)}").ok()["displayname"] == f"Alice {number}"
    alice.put(f"/user/{q(alice.user_id)}/account_data/x.y", {"node": number}).ok()
    assert alice.get_(f"/user/{q(alice.user_id)}/account_data/x.y").ok() == {"node": number}
    own = alice.create(name="of its own", invite=[bob.user_id], room_alias_name=f"here{number}")
    assert bob.join(f"#here{number}:{name}").ok()["room_id"] == own
    event = alice.say(room, f"by node {number}")
    assert bob.get_(bob.room(room, f"event/{q(event)}")).ok()["content"]["body"] == f"by node {number}"
    assert bob.get_(bob.room(room, "messages"), dir="b", limit=5).ok()["chunk"][0]["event_id"] == event
    bob.post(bob.room(room, f"receipt/m.read/{q(event)}")).ok()
    bob.put(bob.room(room, f"typing/{q(bob.user_id)}"), {"typing": True, "timeout": 1000}).ok()
    alice.state(room, "m.room.topic", content={"topic": f"node {number}"}).ok()
    assert bob.state(room, "m.room.topic").ok()["topic"] == f"node {number}"
    assert set(bob.get_(bob.room(room, "joined_members")).ok()["joined"]) == {alice.user_id, bob.user_id}
    alice.put(alice.room(room, f"redact/{q(event)}/r{number}"), {}).ok()
    alice.put(f"/sendToDevice/x.y/t{number}", {"messages": {bob.user_id: {bob.device_id: {"node": number}}}}).ok()
    bob.sync_until(lambda answer: [e for e in answer.get("to_device", {}).get("events", []) if e["content"] == {"node": number}])
    assert alice.post("/keys/query", {"device_keys": {bob.user_id: []}}).ok()["failures"] == {}
    assert alice.post("/user_directory/search", {"search_term": bob.localpart}).ok()["results"]
    alice.put(f"/directory/list/room/{q(own)}", {"visibility": "public"}).ok()
    until(lambda: anyone.get_("/publicRooms").ok()["chunk"], lambda rooms: own in [r["room_id"] for r in rooms])
    again.post("/logout").ok()
    for other in NODES:
        Client(cluster.node(other).base, again.token).get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


def test_a_message_is_committed_once_for_its_room_and_once_on_each_node_with_members(cluster):
    users = [cluster.register_at(number, "member") for number in NODES]
    sends = 40

    def counted(what):
        return sum(node.metrics()[what] for node in cluster.nodes)

    for count in NODES:
        room = cluster.create_at(1, users[0])
        for user in users[1:count]:
            user.join(room).ok()
        until(lambda: counted("greenroom_outbox_posts"), lambda waiting: waiting == 0)
        before = counted("greenroom_commits_total")
        for number in range(sends):
            users[0].say(room, f"{number}")
        until(lambda: counted("greenroom_outbox_posts"), lambda waiting: waiting == 0)
        each = (counted("greenroom_commits_total") - before) / sends
        assert each < 1 + count + 0.5, f"{each} commits a message with members on {count} nodes"


def test_media_uploaded_at_one_node_is_served_by_all(cluster, people):
    alice = people[0]
    for number in NODES:
        bytes_ = os.urandom(300_000)
        headers = {"Content-Type": "image/png"}
        upload = at(cluster, alice, number).request("POST", "/_matrix/media/v3/upload", raw=bytes_, headers=headers)
        place = upload.ok()["content_uri"].removeprefix("mxc://")
        for other in NODES:
            got = at(cluster, people[1], other).get_(f"/v1/media/download/{place}")
            assert (got.status, got.raw, got.headers["Content-Type"]) == (200, bytes_, "image/png")


def test_a_node_whose_folder_of_media_is_its_own_says_so(cluster, people):
    alice = people[0]
    upload = at(cluster, alice, 1).request("POST", "/_matrix/media/v3/upload", raw=b"bytes", headers={"Content-Type": "x/y"})
    place = upload.ok()["content_uri"].removeprefix("mxc://")
    media = cluster.node(2).data / "media"
    target = os.readlink(media)
    media.unlink()
    media.mkdir(0o700)
    try:
        at(cluster, alice, 2).get_(f"/v1/media/download/{place}").refused(404, "M_NOT_FOUND")
        assert "all nodes of a cluster have to see one folder" in cluster.node(2).log_tail()
    finally:
        shutil.rmtree(media)
        media.symlink_to(target)
    assert at(cluster, alice, 2).get_(f"/v1/media/download/{place}").raw == b"bytes"


# The bus by hand


def test_send_and_inspect_reach_actors_on_any_node_from_any_node(cluster, people):
    for number, other in itertools.product(NODES, NODES):
        name = next(n for n in (f"hand{i}" for i in itertools.count()) if cluster.owner(n) is cluster.node(other))
        said = json.loads(told(cluster.node(number), "send", f"echo/{name}", "echo", f'{{"number":{number}}}'))
        assert (said["node"], said["body"]["number"]) == (f"n{other}", number)
    for number in NODES:
        seen = json.loads(told(cluster.node(number), "inspect", f"room/{people[2]}"))
        assert (seen["node"], seen["body"]["kind"], seen["body"]["joined"]) == ("n2", "room", 2)


def test_a_trace_is_one_tree_over_all_nodes(cluster, people):
    alice, bob, room = people
    since = bob.sync()["next_batch"]
    poll = threading.Thread(target=bob.sync, args=(since,), kwargs={"timeout": 10000})
    poll.start()
    time.sleep(0.3)
    event = alice.say(room, "follow this")
    poll.join(LIMIT_S)
    whole = SEND + ["room_part", "room_sync", "user_changes", "user_wake"]
    for number in NODES:
        seen = until(
            lambda: traced(cluster.node(number), event),
            lambda answer: set(types(answer)) >= set(whole) and types(answer).count("feed_event") == 2,
        )
        assert seen["missing"] == [] and seen["clock"] == f"n{number}"
        assert {clock["node"] for clock in seen["clocks"]} == {"n1", "n2", "n3"} - {f"n{number}"}
        rows = {message["span"]: message for message in messages(seen)}
        assert len([m for m in rows.values() if m["parent"] not in rows]) == 1
        send = next(m for m in rows.values() if m["type"] == "room_send")
        assert (send["node"], send["from"]) == ("n2", "edge/n1/0")
        for message in rows.values():
            cause = rows.get(message["parent"])
            sender = cause["node"] if cause else "n1"
            assert (message["wire_us"] is not None) == (sender != message["node"]), message
            if message["wire_us"] is not None:
                assert message["wire_us"] < 5_000_000
            slack = 0 if sender == message["node"] else 20_000  # Clocks are known to about a round trip.
            assert not cause or message["queued_us"] >= cause["queued_us"] - slack
            times = [message[t] for t in ("queued_us", "started_us", "handled_us", "committed_us", "released_us")]
            assert sorted(t for t in times if t) == [t for t in times if t]
        feeds = {m["node"]: m for m in rows.values() if m["type"] == "feed_event"}
        assert set(feeds) == {"n1", "n3"} and all(m["committed_us"] for m in feeds.values())
    text = told(cluster.node(1), "trace", event)
    assert re.search(r"^  the clock of n2 is [0-9.]+ ms (ahead of|behind) that of n1: corrected$", text, re.M)
    assert re.search(r"^ +at +wire +queued +handled +committed +released +node +actor", text, re.M)


def test_a_trace_is_found_by_trace_id_transaction_and_room(cluster, people):
    alice, _, room = people
    event = alice.put_event(room, {"body": "by hand"}, txn="bycluster17").ok()["event_id"]
    by_event = until(lambda: traced(cluster.node(3), event), is_whole)
    number = by_event["traces"][0]["trace"]
    for wanted in (number, "bycluster17"):
        seen = traced(cluster.node(2), wanted)
        assert [m["span"] for m in messages(seen)] == [m["span"] for m in messages(by_event)]
    assert number in [trace["trace"] for trace in traced(cluster.node(1), room, "--last", "100")["traces"]]
    assert len(traced(cluster.node(1), room, "--last", "2")["traces"]) == 2


def test_filters_choose_by_actor_type_and_time(cluster, people):
    alice, _, room = people
    event = alice.say(room, "filtered")
    until(lambda: traced(cluster.node(1), event), is_whole)
    assert types(traced(cluster.node(1), event, "--actor", "feed/")) == ["feed_event", "feed_event"]
    assert types(traced(cluster.node(1), event, "--type", "room_sent")) == ["room_sent"]
    assert set(types(traced(cluster.node(1), "--since", "10m", "--type", "room_sent"))) == {"room_sent"}
    assert messages(traced(cluster.node(1), event, "--since", "10s"))
    assert not messages(traced(cluster.node(1), event, "--until", "1h"))
    assert not messages(traced(cluster.node(1), event, "--since", "2099-01-01"))


def test_follow_prints_what_comes_on_any_node(cluster, people):
    alice, _, room = people
    command = [cluster.node(3).binary, "trace", room, "--follow", "--json", "--dir", str(cluster.node(3).data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent)
    try:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reader.start()
        rows = lambda: [message for line in list(lines) for message in messages(json.loads(line))]
        sent = []

        def say():
            sent.append(alice.say(room, "is anybody there"))
            return [m for m in rows() if m.get("tag") in sent]

        until(say, lambda found: {m["type"] for m in found} >= {"room_sent", "feed_event"}
              and {m["node"] for m in rows()} == {"n1", "n2", "n3"})
        spans = [m["span"] for m in rows()]
        assert len(spans) == len(set(spans))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)


def test_actors_top_dead_letters_and_status_show_all_nodes(cluster, people):
    alice, bob, room = people
    alice.say(room, "be busy")
    for node in cluster.nodes:
        listed = {actor["address"]: actor["node"] for actor in json.loads(told(node, "actors", "--json"))}
        assert (listed[f"room/{room}"], listed[f"user/{alice.user_id}"], listed[f"user/{bob.user_id}"]) == ("n2", "n1", "n3")
        only = json.loads(told(node, "actors", "--node", "n2", "--json"))
        assert {actor["node"] for actor in only} == {"n2"}
        shown = json.loads(told(node, "top", "--once", "--json"))["nodes"]
        assert sorted(n["node"] for n in shown) == ["n1", "n2", "n3"]
        assert all(n["counters"]["node"]["messages"] > 0 and n["busiest"] for n in shown)
        assert json.loads(told(node, "dead", "list", "--json")) == []
        status = json.loads(told(node, "cluster", "status", "--json"))
        assert status["node"] == node.name and sum(n["shards"] for n in status["nodes"]) == harness.SHARDS
        for one in status["nodes"]:
            assert [peer["link"] for peer in one["peers"]] == ["up", "up"]
            assert all(peer["lag_ms"] < 5000 and abs(peer["clock_offset_us"]) < 1_000_000 for peer in one["peers"])
    for text in (told(cluster.node(1), "top", "--once"), told(cluster.node(1), "cluster", "status")):
        assert all(re.search(rf"^n{number} ", text, re.M) for number in NODES)
    assert "requests/s" in told(cluster.node(1), "top", "--once", "--node", "n3")


def test_dead_letters_and_suspended_actors_are_acted_on_where_they_are(cluster):
    for number in NODES:
        letter = f"{harness.SHARDS // 2}/17"
        assert "no such dead letter" in told(cluster.node(number), "dead", "drop", letter, code=1)
        assert "No actor with this address is suspended" in told(cluster.node(number), "actors", "--resume", "echo/x", code=1)


def test_answers_of_other_nodes_may_be_large(cluster):
    names = ("x" * 400 + str(i) for i in itertools.count())
    wanted = list(itertools.islice((n for n in names if cluster.owner(n) is cluster.node(2)), 1500))
    near, far = AdminSocket(cluster.node(2)), AdminSocket(cluster.node(1))
    for name in wanted:
        status, answer = near.ask("/send", {"to": f"echo/{name}", "type": "echo", "body": {}})
        assert status == 200, answer
    status, answer = far.ask("/actors?prefix=echo/xxx&node=n2")
    near.close()
    far.close()
    assert status == 200 and len(answer) > 2 * PART
    assert {actor["address"] for actor in json.loads(answer)} >= {f"echo/{name}" for name in wanted[-100:]}


def test_commands_refuse_what_is_not_there(cluster):
    node = cluster.node(1)
    assert "no message in the log belongs to" in told(node, "trace", "$nothing", code=1)
    assert "there is no node n9" in told(node, "actors", "--node", "n9", code=1)
    assert "there is no node n9" in told(node, "top", "--once", "--node", "n9", code=1)
    for mistake in (["--since", "yesterday"], ["--last", "0"], ["--type", "nonsense"], []):
        told(node, "trace", *mistake, code=2)
    assert "can't read the message log" in told(node, "trace", "$x", "--log", "/nowhere", code=1)
    socket_of = AdminSocket(node)
    assert socket_of.ask("/counters?node=n9")[0] == 404
    socket_of.close()


# Strangers, and nodes that do not answer


def test_who_connects_to_a_nodes_port_and_says_nothing_is_sent_away(cluster):
    port = cluster.node(1).port + harness.CLUSTER_NODE_DISTANCE
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as silent:
        begun = time.monotonic()
        received = b""
        while piece := silent.recv(1000):
            received += piece
        assert len(received) <= 64  # The greeting of ZeroMQ, which says nothing of the server.
        assert 1 < time.monotonic() - begun < 10


def test_a_node_that_does_not_answer_is_named_and_what_others_know_is_shown(cluster, people):
    alice, _, room = people
    event = alice.say(room, "before the end")
    before = until(lambda: traced(cluster.node(3), event), is_whole)
    two = cluster.node(2)
    two.kill9()
    one = cluster.node(1)
    until(lambda: one.peers()["n2"]["link"], lambda link: link == "down")
    text = told(one, "trace", event)
    assert re.search(r"^n2 is missing: \S", text, re.M) and "feed/" in text
    assert [m["node"] for m in traced(one, event)["missing"]] == ["n2"]
    assert re.search(r"^n2 is missing: \S", told(one, "actors"), re.M)
    assert re.search(r"^n2 is missing: \S", told(one, "top", "--once"), re.M)
    assert re.search(r"^n2 is missing: \S", told(one, "cluster", "status"), re.M)
    assert "node n2 does not answer" in told(one, "inspect", f"room/{room}", code=1)
    # Copied folders need no node; what a killed node had written is there.
    copies = []
    for node in cluster.nodes:
        copies += ["--log", str(cluster.directory / f"copy-{node.name}")]
        shutil.copytree(node.data / "messages", copies[-1])
    bare = [one.binary, "trace", event, "--json", *copies]
    copied = json.loads(subprocess.run(bare, capture_output=True, text=True, timeout=60, cwd="/").stdout)
    # Clocks are not corrected there, so what happened on two nodes at once may stand the other way round.
    assert sorted(m["span"] for m in messages(copied)) == sorted(m["span"] for m in messages(before))
    assert copied["missing"] == []
    # A node that rests shows its own log, and names the others.
    assert [m["node"] for m in traced(two, room)["missing"]] == ["n1", "n3"]
    two.start()
    for node in cluster.nodes:
        node.wait_linked()
    seen = until(lambda: traced(one, event), is_whole)
    assert seen["missing"] == []


def test_a_stopped_node_holds_up_nobody_for_long(cluster):
    cluster.node(2).pause()
    try:
        begun = time.monotonic()
        text = told(cluster.node(1), "cluster", "status")
        assert time.monotonic() - begun < 6
        assert re.search(r"^n2 is missing: \S", text, re.M)
    finally:
        cluster.node(2).resume()
    for node in cluster.nodes:
        node.wait_linked()


def test_nodes_are_made_one_by_one_and_one_that_is_revoked_gets_nothing(tmp_path, monkeypatch):
    first = harness.cluster_ports(2)
    file = tmp_path / "cluster.yaml"
    place = SimpleNamespace(directory=tmp_path)
    one, two = (harness.ClusterNode(place, number, first + number - 1, None) for number in (1, 2))

    def make(node, *more):
        sets = (f"listen.client=127.0.0.1:{node.port}", "registration=open", "rate_limits=off")
        words = [word for pair in sets for word in ("--set", pair)]
        words += ["--server-name", harness.SERVER_NAME, "--cluster", str(file), "--node", node.name, *more]
        words += ["--address", f"127.0.0.1:{node.port + harness.CLUSTER_NODE_DISTANCE}"]
        done = subprocess.run([node.binary, "init", str(node.data), *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    make(one)
    file.write_text(file.read_text().replace("0-255", "0-127"))
    make(two, "--keys-of", str(one.data))
    assert re.findall("shards: (.*)", file.read_text()) == ["0-127", "128-255"]
    try:
        one.start()
        two.start()
        told(one, "cluster", "status", "--wait", str(LIMIT_S))
        names = (f"alice{n}" for n in itertools.count())
        alice = harness.register(one.base, next(n for n in names if harness.shard_of(f"@{n}:{harness.SERVER_NAME}") < 128))
        assert at_base(two.base, alice).get_("/account/whoami").ok()["user_id"] == alice.user_id
        one.stop()
        two.stop()
        old = tmp_path / "old.yaml"
        shutil.copy(file, old)
        text = file.read_text().replace("generation: 2", "generation: 3").replace("shards: 0-127", "shards: 0-255")
        file.write_text(text.replace("shards: 128-255", "shards: none\n    revoked: true"))
        one.start()
        monkeypatch.setenv("GREENROOM_CLUSTER_FILE", str(old))
        two.start()
        seen = until(lambda: two.peers()["n1"], lambda peer: "refuses this node's key" in peer.get("why", ""))
        assert seen["link"] != "up" and seen["frames_in"] == 0
        until(one.log_tail, lambda log: "refused a connection from 127.0.0.1: the key of node n2 is revoked" in log)
        Client(two.base, alice.token).get_("/account/whoami").refused(503)
    finally:
        one.kill9()
        two.kill9()


# Purging


def test_a_room_on_node_2_is_purged_over_node_1_though_node_2_dies_in_the_middle(cluster, people):
    alice, bob, other = people
    name = "purged"
    room = cluster.create_at(2, alice, preset="public_chat")
    bob.join(room).ok()
    alias = f"#{name}:{harness.SERVER_NAME}"
    alice.put("/directory/room/" + q(alias), {"room_id": room}).ok()
    for n in range(50):
        (alice, bob)[n % 2].say(room, f"message {n}")
    first, second = cluster.node(1), cluster.node(2)
    assert "There are users of this server" in told(first, "purge", "room", room, code=1)
    for user in (alice, bob):
        user.member(room, "leave").ok()
    assert "has not forgotten" in told(cluster.node(3), "purge", "room", room, code=1)
    told(first, "purge", "room", room, "--force", "--no-wait")
    second.kill9()
    second.start()
    for node in cluster.nodes:
        node.wait_linked()
    gone = lambda done: done.returncode == 1 and "no room" in done.stderr + done.stdout
    until(lambda: first.tool("purge", "room", room, "--force", check=False), gone)
    for user in (alice, bob):
        assert room not in user.get_("/joined_rooms").ok()["joined_rooms"]
        until(lambda u=user: u.sync().get("rooms", {}).get("leave", {}), lambda left: room not in left)
        user.get_(user.room(room, "messages"), dir="b").refused(403)
    alice.get_("/directory/room/" + q(alias)).refused(404)
    event = alice.say(other, "goes on")
    bob.sync_until(lambda a: event in json.dumps(a.get("rooms", {}).get("join", {})))
    assert "no dead letters" in told(second, "dead", "list")


def test_deploy_cluster_says_where_to_connect(tmp_path):
    port = harness.cluster_ports(3)
    binary = os.environ.get("GREENROOM_BINARY") or str(harness.ROOT / "build/release/greenroom")
    command = [str(harness.ROOT / "deploy/cluster"), "--data", str(tmp_path / "data"), "--port", str(port), "--program", binary]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent)
    try:
        printed = ""
        for line in process.stderr:
            printed += line
            if "press Ctrl-C" in line:
                break
        places = dict(re.findall(r"^  (n\d) +(http://\S+) ", printed, re.M))
        assert places == {f"n{n}": f"http://127.0.0.1:{port + n - 1}" for n in NODES}, printed
        user = harness.register(places["n1"], "first")
        room = user.create()
        other = harness.register(places["n3"], "second")
        other.join(room).ok()
        assert set(at_base(places["n2"], user).get_(user.room(room, "joined_members")).ok()["joined"]) == {
            user.user_id,
            other.user_id,
        }
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 0, rest
    assert "All nodes are stopped" in rest
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
