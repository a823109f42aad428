"""A room with thousands of members: everybody is told, no handler reads more than it may, nobody else waits long."""

import functools
import http.client
import itertools
import json
import socket
import threading
import time

import pytest

import harness
from harness import q

MEMBERS = 3000
THREADS = 16
SHARDS = 16
covers = pytest.mark.covers

if harness.os.environ.get("GREENROOM_SERVER") == "synapse":
    pytest.skip("members are made over Greenroom's admin socket", allow_module_level=True)


class AdminSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("greenroom", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def send_message(self, to, kind, body):
        text = json.dumps({"to": to, "type": kind, "body": body})
        self.request("POST", "/send", text, {"Content-Type": "application/json"})
        answer = json.loads(self.getresponse().read())
        assert "errcode" not in answer, answer


def shard(user):
    number = 14695981039346656037
    for byte in user.encode():
        number = (number ^ byte) * 1099511628211 % 2**64
    number = (number ^ number >> 32) * 0x9E3779B97F4A7C15 % 2**64
    return (number ^ number >> 29) % 256


@functools.cache
def members(count):
    """Users of a few shards: a join costs a row in each shard that has members, and rows are not what is tested here."""
    users = (f"@m{n}:{harness.SERVER_NAME}" for n in itertools.count())
    return list(itertools.islice((user for user in users if shard(user) < SHARDS), count))


def join_all(server, room, users):
    """Accounts would cost a password hash each; a join of a user is all that a room needs."""
    failures = []

    def join(part):
        try:
            admin = AdminSocket(server.directory / "data" / "admin.sock")
            for user in part:
                admin.send_message(
                    f"room/{room}",
                    "room_member",
                    {"user": user, "target": user, "action": "join", "displayname": "Somebody"},
                )
        except Exception as problem:  # noqa: BLE001
            failures.append(problem)

    threads = [threading.Thread(target=join, args=(users[n::THREADS],)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


@pytest.fixture(scope="module")
def big():
    """A server of its own, whose counters nobody else moves; an encrypted room, and a token from before the joins."""
    server = harness.make_server(**{"password.memory": "8MB"}).start()
    alice, bob = server.register("alice"), server.register("bob")
    room = alice.create(
        initial_state=[{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    )
    bob.join(room).ok()
    before = alice.sync()["next_batch"]
    join_all(server, room, members(MEMBERS))
    yield server, alice, bob, room, before
    server.stop()
    server.remove()


def over_bounds(server):
    counters = [value for name, value in server.metrics().items() if name.endswith("over_bounds_total")]
    assert len(counters) == 1
    return counters[0]


def joined(events):
    return [e["state_key"] for e in events if e["type"] == "m.room.member" and e["content"]["membership"] == "join"]


def everybody(big):
    return sorted(members(MEMBERS) + [big[1].user_id, big[2].user_id])


def sync_filter(lazy):
    return json.dumps({"room": {"state": {"lazy_load_members": lazy}, "timeline": {"limit": 10}}})


@covers("GET /rooms/{roomId}/members", "GET /rooms/{roomId}/joined_members", "GET /rooms/{roomId}/state")
def test_all_members_are_told(big):
    server, alice, _, room, _ = big
    before = over_bounds(server)
    chunk = alice.get_(f"/rooms/{q(room)}/members").ok()["chunk"]
    assert sorted(joined(chunk)) == everybody(big)
    profiles = alice.get_(f"/rooms/{q(room)}/joined_members").ok()["joined"]
    assert sorted(profiles) == everybody(big)
    assert profiles[members(1)[0]]["display_name"] == "Somebody"
    state = alice.get_(f"/rooms/{q(room)}/state").ok()
    assert sorted(joined(state)) == everybody(big)
    assert "m.room.create" in [e["type"] for e in state]
    assert over_bounds(server) == before


@covers("GET /sync")
def test_a_first_sync_has_all_members_once(big):
    server, alice, _, room, _ = big
    before = over_bounds(server)
    part = alice.get_("/sync", filter=sync_filter(False)).ok()["rooms"]["join"][room]
    assert sorted(joined(part["state"]["events"]) + joined(part["timeline"]["events"])) == everybody(big)
    assert part["summary"]["m.joined_member_count"] == MEMBERS + 2
    assert over_bounds(server) == before


@covers("GET /sync")
def test_a_lazy_first_sync_is_small(big):
    server, alice, _, room, _ = big
    before = over_bounds(server)
    reply = alice.get_("/sync", filter=sync_filter(True))
    part = reply.ok()["rooms"]["join"][room]
    assert len(reply.raw) < 100_000 and len(joined(part["state"]["events"])) <= 20
    assert over_bounds(server) == before


@covers("GET /sync")
def test_a_sync_over_all_the_joins_names_everybodys_devices(big):
    server, alice, _, room, before_joins = big
    before = over_bounds(server)
    answer = alice.get_("/sync", since=before_joins, filter=sync_filter(False)).ok()
    part = answer["rooms"]["join"][room]
    assert part["timeline"]["limited"]
    told = joined(part["state"]["events"]) + joined(part["timeline"]["events"])
    assert len(told) == len(set(told)) and set(members(MEMBERS)) <= set(told)
    assert set(members(MEMBERS)) <= set(answer["device_lists"]["changed"])
    assert over_bounds(server) == before


@covers("GET /rooms/{roomId}/context/{eventId}", "GET /rooms/{roomId}/messages")
def test_history_of_a_big_room(big):
    server, alice, _, room, _ = big
    event = alice.say(room, "hello everybody")
    before = over_bounds(server)
    assert len(alice.get_(f"/rooms/{q(room)}/messages", dir="b", limit=100).ok()["chunk"]) == 100
    context = alice.get_(f"/rooms/{q(room)}/context/{q(event)}", limit=4).ok()
    assert sorted(joined(context["state"])) == everybody(big)
    assert over_bounds(server) == before


def test_others_wait_no_longer_while_the_state_is_read(big):
    _, alice, bob, room, _ = big
    reader = threading.Thread(target=lambda: [alice.get_(f"/rooms/{q(room)}/members").ok() for _ in range(2)])
    reader.start()
    longest = 0
    while reader.is_alive():
        begun = time.monotonic()
        bob.say(room, "still here")
        longest = max(longest, time.monotonic() - begun)
    assert longest < 2
