"""Running a node: what its owner does by the command line, and what no log may contain.  Greenroom only."""

import json
import re
import signal
import subprocess
import threading
import time
from urllib.parse import quote

import pytest

import harness
from conftest import KIND
from harness import command

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="the command line is Greenroom's")
SECRET = "a password that nobody may read"


@pytest.fixture(scope="module")
def node():
    options = {"message_log": "full", "log.level": "debug", "presence.enabled": "off"}  # polls end by messages only
    running = harness.make_server(KIND, **options).start()
    yield running
    running.stop()
    running.remove()


def data(server):
    return str(server.directory / "data")


def test_a_mistake_in_the_configuration_is_named_with_its_line(node):
    folder = node.directory / "mistaken"
    command(node, "init", str(folder), "--server-name", harness.SERVER_NAME)
    assert "is good" in command(node, "check-config", str(folder))
    file = folder / "greenroom.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines + ["workers: many"]) + "\n")
    said = command(node, "check-config", str(folder), code=1)
    assert f"greenroom.yaml:{len(lines) + 1}:" in said
    assert "whole number" in said


def test_commands_explain_themselves_and_refuse_what_they_do_not_know(node):
    names = re.findall(r"^  ([a-z-]+(?: add)?)  +\S", command(node, "help"), re.M)
    expected = {"top", "user add", "backup", "restore", "fsck", "dead", "schema", "updates", "trace"}
    assert expected <= set(names)
    for name in names:
        if name == "help":
            continue
        assert command(node, *name.split(), "--help").startswith(f"usage: greenroom {name}")
        assert "--help" in command(node, *name.split(), "--no-such-option", code=2)


def test_without_a_running_node_a_command_says_what_to_do(node):
    folder = node.directory / "resting"
    command(node, "init", str(folder), "--server-name", harness.SERVER_NAME)
    for words in (["top", "--once"], ["actors"], ["dead", "list"], ["updates"]):
        assert "greenroom run" in command(node, *words, "--dir", str(folder), code=1)
    assert "greenroom run" in command(node, "fsck", str(folder), code=1)


def test_an_account_made_by_the_owner_can_log_in(node):
    said = json.loads(command(node, "user", "add", "owner", "--admin", "--json", stdin=SECRET + "\n"))
    assert said == {"user_id": f"@owner:{harness.SERVER_NAME}", "admin": True}
    user = harness.login(node.base, "owner", SECRET)
    assert user.get_("/account/whoami").ok()["user_id"] == said["user_id"]
    assert "M_USER_IN_USE" in command(node, "user", "add", "owner", stdin=SECRET + "\n", code=1)
    assert "M_INVALID_USERNAME" in command(node, "user", "add", "Not A Name", stdin=SECRET + "\n", code=1)
    assert "M_WEAK_PASSWORD" in command(node, "user", "add", "weak", stdin="x\n", code=1)
    assert "standard input" in command(node, "user", "add", "none", stdin="", code=1)


def test_what_is_sent_by_hand_can_be_traced(node):
    said = json.loads(command(node, "send", "echo/ops", "echo", '{"text":"hello there"}'))
    assert said["body"]["text"] == "hello there"
    for _ in range(50):  # The message log is written by a thread of its own.
        tree = subprocess.run(
            [node.binary, "trace", said["trace"], "--dir", data(node)],
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        if "echo/ops" in tree:
            break
        time.sleep(0.1)
    assert "echo/ops" in tree
    assert "M_FORBIDDEN" in command(node, "send", "user/@x:y", "user_create", code=1)
    assert "no message type" in command(node, "send", "room/!x", "nonsense", code=1)


def trace_of(node, wanted, until):
    """The messages of the newest trace of an id, once one of type `until` is among them."""
    for _ in range(50):
        done = subprocess.run(
            [node.binary, "trace", wanted, "--dir", data(node), "--json"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        messages = json.loads(done.stdout)["traces"][-1]["messages"] if done.returncode == 0 else []
        if any(m["type"] == until for m in messages):
            return messages
        time.sleep(0.1)
    raise AssertionError(f"no {until} in the trace of {wanted}")


def test_the_owner_reads_what_users_reported(node):
    reporter = node.register("reporter")
    room = reporter.create()
    reporter.post(reporter.room(room, "report"), {"reason": "too loud"}).ok()
    said = json.loads(command(node, "send", "directory/reports", "report_list", "{}"))
    newest = said["body"]["reports"][0]
    assert newest["reason"] == "too loud"
    assert newest["room_id"] == room
    assert newest["user_id"] == reporter.user_id


def commits_of_a_message(node, one, two, room):
    """How many lie on the way from the PUT to the answer of the other's /sync."""
    since = two.sync()["next_batch"]
    poll = threading.Thread(target=two.sync, args=(since,), kwargs={"timeout": 10000})
    poll.start()
    time.sleep(0.3)
    sent = one.say(room, "how many commits")
    poll.join(15)
    messages = {m["span"]: m for m in trace_of(node, sent, "room_part")}
    step = next(m for m in messages.values() if m["type"] == "room_part")
    path = [step]
    while path[-1]["parent"] in messages:
        path.append(messages[path[-1]["parent"]])
    assert path[-1]["type"] == "room_send"
    return sum(1 for m in path if m.get("committed_us"))


def test_two_commits_lie_between_a_send_and_the_other_readers_answer(node):
    one, two = node.register("teller"), node.register("listener")
    room = one.create()
    two.post(f"/join/{quote(room)}").ok()
    # A step that writes nothing waits for a commit when something else was written just before.
    assert min(commits_of_a_message(node, one, two, room) for _ in range(3)) == 2


def test_actors_inspect_and_top_show_the_living_node(node):
    user = node.register("watched")
    room = user.create()
    user.say(room, "look at me")
    listed = json.loads(command(node, "actors", "room/", "--json"))
    assert f"room/{room}" in [actor["address"] for actor in listed]
    assert f"room/{room}"[:40] in command(node, "actors")
    assert json.loads(command(node, "inspect", f"room/{room}"))
    shown = json.loads(command(node, "top", "--once", "--json"))
    assert shown["counters"]["node"]["messages"] > 0
    assert shown["counters"]["store"]["writable"] is True
    assert shown["counters"]["edge"]["requests"] > 0
    assert shown["busiest"] and all(actor["messages"] > 0 for actor in shown["busiest"])
    assert "requests/s" in command(node, "top", "--once")
    assert json.loads(command(node, "dead", "list", "--json")) == []
    assert "no such dead letter" in command(node, "dead", "drop", "17/3", code=1)
    assert "no such dead letter" in command(node, "dead", "retry", "17/3", code=1)
    assert "17/3" in command(node, "dead", "retry", "many", code=2)
    assert "suspended" in command(node, "actors", "--resume", f"room/{room}", code=1)
    assert json.loads(command(node, "schema", data(node), "--json"))["version"] >= 1
    assert command(node, "updates").startswith("UPDATE")


def test_the_admin_socket_is_the_owners_alone(node):
    mode = (node.directory / "data" / "admin.sock").stat().st_mode
    assert mode & 0o777 == 0o600


def test_metrics_are_text_that_prometheus_reads(node):
    connection = harness.http.client.HTTPConnection("127.0.0.1", node.metrics_port, timeout=5)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'^(greenroom_[a-z_]+)(\{[a-z_]+="[^"]+"(,[a-z_]+="[^"]+")*\})? (-?[0-9.e+-]+)$')
    typed = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in typed and kind in ("counter", "gauge", "histogram")
            typed.add(name)
        elif not line.startswith("# HELP "):
            match = sample.match(line)
            assert match, line
            assert re.sub(r"_(bucket|sum|count)$", "", match[1]) in typed or match[1] in typed, line
    assert "greenroom_messages_total" in typed
    connection.request("GET", "/actors")
    assert connection.getresponse().status == 404


class Writing(threading.Thread):
    def __init__(self, user, room):
        super().__init__(daemon=True)
        self.user, self.room, self.stopping, self.events = user, room, threading.Event(), []

    def run(self):
        while not self.stopping.is_set():
            self.events.append(self.user.say(self.room, f"number {len(self.events)}"))


def test_a_backup_taken_while_people_write_runs_and_holds_what_was_acknowledged_before(node):
    user = node.register("keeper")
    room = user.create()
    upload = user.request(
        "POST", "/_matrix/media/v3/upload", raw=b"some bytes" * 1000, headers={"Content-Type": "text/plain"}
    )
    writing = Writing(user, room)
    writing.start()
    while len(writing.events) < 20:
        time.sleep(0.01)
    before = len(writing.events)
    target, fresh = node.directory / "backup", node.directory / "restored"
    report = json.loads(command(node, "backup", str(target), "--json"))
    assert report["keys"] > 0 and "error" not in report
    assert "not an empty folder" in command(node, "backup", str(target), code=1)
    writing.stopping.set()
    writing.join(30)
    assert len(writing.events) > before
    for name in ("greenroom.yaml", "signing.key", "secrets"):
        assert (target / name).stat().st_mode & 0o777 == 0o600
    assert "greenroom run" in command(node, "restore", str(target), str(fresh))
    assert "0 problems" in command(node, "fsck", str(fresh))
    other = harness.Greenroom(node.binary)
    try:
        other.command = lambda: [node.binary, "run", str(fresh)]
        file = fresh / "greenroom.yaml"
        file.write_text(
            file.read_text()
            .replace(f"127.0.0.1:{node.port}", f"127.0.0.1:{other.port}")
            .replace(f"127.0.0.1:{node.metrics_port}", f"127.0.0.1:{other.metrics_port}")
        )
        other.start()
        same = harness.login(other.base, "keeper")
        for event in writing.events[:before]:
            assert same.get_(same.room(room, f"event/{quote(event)}")).ok()["event_id"] == event
        media = upload["content_uri"].removeprefix("mxc://")
        got = same.get_(f"/_matrix/client/v1/media/download/{media}")
        assert got.status == 200 and got.raw == b"some bytes" * 1000
        same.say(room, "life goes on")
    finally:
        assert other.stop() == 0
        other.remove()
    assert "0 problems" in command(node, "fsck", str(fresh))


def test_fsck_leaves_a_store_in_use_alone_and_finds_the_stopped_one_clean():
    server = harness.make_server(KIND).start()
    try:
        users = [server.register(f"user{n}") for n in range(3)]
        room = users[0].create()
        for user in users[1:]:
            user.join(room).ok()
        for n in range(30):
            users[n % 3].say(room, f"message {n}")
        users[0].state(room, "m.room.topic", content={"topic": "checks"}).ok()
        assert "in use" in command(server, "fsck", data(server), code=1)
        assert server.stop() == 0
        found = json.loads(command(server, "fsck", data(server), "--json"))
        assert found["records"] > 100
        assert found["problems"] == 0 and found["unknown"] == 0, found["listed"]
        assert json.loads(command(server, "schema", data(server), "--json"))["version"] >= 1
    finally:
        server.stop()
        server.remove()


def test_a_room_that_all_have_forgotten_is_purged_and_the_store_is_clean_after_it():
    server = harness.make_server(KIND).start()
    try:
        ann, bob = server.register("ann"), server.register("bob")
        room, other = ann.create(room_alias_name="old"), ann.create()
        bob.join(room).ok()
        for n in range(30):
            bob.say(room, f"message {n}")
        assert "There are users of this server" in command(server, "purge", "room", room, code=1)
        kept = json.loads(command(server, "purge", "history", room, "--before", "2999-01-01", "--json"))
        assert kept == {"room": room, "done": True, "events": 0}  # all of it is younger than a day
        for user in (bob, ann):
            user.member(room, "leave").ok()
        bob.member(room, "forget").ok()
        assert ann.user_id + " has not forgotten" in command(server, "purge", "room", room, code=1)
        done = json.loads(command(server, "purge", "room", room, "--force", "--json"))
        assert done["done"] and done["room"] == room
        ann.get_(ann.room(room, "messages"), dir="b").refused(403)
        assert room not in ann.get_("/joined_rooms").ok()["joined_rooms"]
        assert room not in ann.sync()["rooms"].get("leave", {})
        alias = f"#old:{harness.SERVER_NAME}"
        ann.get_("/directory/room/" + harness.q(alias)).refused(404)
        assert "no room" in command(server, "purge", "room", room, code=1)
        ann.say(other, "goes on")
        assert server.stop() == 0
        found = json.loads(command(server, "fsck", data(server), "--json"))
        assert found["problems"] == 0 and found["unknown"] == 0, found["listed"]
    finally:
        server.stop()
        server.remove()


def test_the_first_signal_stops_within_ten_seconds_and_the_second_at_once():
    server = harness.make_server(KIND).start()
    try:
        user = server.register("waiting")
        since = user.sync()["next_batch"]
        answered = []
        poll = threading.Thread(target=lambda: answered.append(user.sync(since, timeout=60000)), daemon=True)
        poll.start()
        time.sleep(0.5)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(12) == 0
        assert time.monotonic() - begun < 10
        poll.join(5)
        assert answered and answered[0]["next_batch"]
        server.start()
        # A request whose body never comes keeps the first stop busy.
        slow = harness.socket.create_connection(("127.0.0.1", server.port), timeout=5)
        slow.sendall(b"POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        begun = time.monotonic()
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(5)
        assert time.monotonic() - begun < 1
        slow.close()
    finally:
        server.kill9()
        server.remove()


def test_no_log_contains_a_password_or_a_token(node):
    """The message log is full and the log at its finest: the secrets of all requests stay out of both."""
    user = node.register("discreet", password=SECRET + " 1", refresh_token=True)
    again = harness.login(node.base, "discreet", SECRET + " 1")
    fresh = harness.Client(node.base).post("/refresh", {"refresh_token": user.refresh_token}).ok()
    harness.Client(node.base).post(
        "/login",
        {
            "type": "m.login.password",
            "password": SECRET + " 2",
            "identifier": {"type": "m.id.user", "user": "discreet"},
        },
    ).refused(403)
    command(node, "user", "add", "quiet", "--password", SECRET + " 3")
    again.say(again.create(), "words that are content")
    secrets = [SECRET, user.token, again.token, user.refresh_token]
    secrets += [fresh["access_token"], fresh["refresh_token"]]
    bare = [token.split("_", 2)[2][:43] for token in secrets[1:]]  # without kind, shard and check
    assert all(len(part) == 43 for part in bare)
    secrets += bare
    command(node, "send", "echo/flush", "echo", '{"text":"mark of the end"}')
    folder = node.directory / "data" / "messages"
    for _ in range(100):  # The message log is written by a thread of its own.
        written = b"".join(path.read_bytes() for path in folder.iterdir())
        if b"mark of the end" in written:
            break
        time.sleep(0.1)
    assert b"mark of the end" in written, "the message log keeps bodies"
    written += (node.directory / "output.log").read_bytes()
    for secret in secrets:
        assert secret.encode() not in written, f"a log contains {secret[:12]}..."
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
