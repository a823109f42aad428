"""The server is killed while people write, read, come and go.  Whatever it acknowledged is there afterwards, once, and its
store is sound.

GREENROOM_KILLS sets how often it is killed (20), GREENROOM_SEED repeats the pauses of an earlier run.
"""

import http.client
import json
import os
import random
import subprocess
import threading
import time

import pytest

import harness

KILLS = int(os.environ.get("GREENROOM_KILLS", "20"))
SEED = int(os.environ.get("GREENROOM_SEED") or random.randrange(1 << 32))
ROOMS, WRITERS = 3, 6
PAUSE_S = (0.2, 1.5)
WRITE_PAUSE_S = 0.005
CATCH_UP_S = 60
FILTER = {"room": {"timeline": {"limit": 100}}}
LOST = (OSError, http.client.HTTPException)


class Worker(threading.Thread):
    """A thread that repeats one act until it is told to stop; its first error is kept for the test to
    raise.
    """

    def __init__(self, stopping):
        super().__init__(daemon=True)
        self.stopping, self.problem = stopping, None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.act()
        except BaseException as problem:
            self.problem = problem

    def insist(self, request):
        """Repeats a request unchanged until the server answers it."""
        end = time.monotonic() + 2 * harness.START_LIMIT_S
        while time.monotonic() < end:
            try:
                reply = request()
                if reply.status < 500:
                    return reply
            except ConnectionRefusedError:
                pass
            except LOST:
                self.lost += 1
            time.sleep(0.02)
        raise AssertionError("the server did not come back")


class Writer(Worker):
    def __init__(self, stopping, user, room, number):
        super().__init__(stopping)
        self.user, self.room, self.number = user, room, number
        self.lost, self.acknowledged = 0, {}

    def act(self):
        text = f"{self.number}:{len(self.acknowledged)}"
        reply = self.insist(lambda: self.user.put_event(self.room, {"body": text}, txn="kill" + text))
        self.acknowledged[text] = reply.ok()["event_id"]
        time.sleep(WRITE_PAUSE_S)


class Visitor(Worker):
    """Joins and leaves one room, so that state is written while the server dies."""

    def __init__(self, stopping, user, room):
        super().__init__(stopping)
        self.user, self.room, self.lost, self.visits = user, room, 0, 0

    def act(self):
        self.insist(lambda: self.user.join(self.room)).ok()
        self.insist(lambda: self.user.member(self.room, "leave"))
        self.visits += 1
        time.sleep(WRITE_PAUSE_S)


class Reader(Worker):
    """Follows one room by /sync and takes a new token only when the whole answer has come."""

    def __init__(self, stopping, user, room):
        super().__init__(stopping)
        self.user, self.room = user, room
        self.lost, self.gaps, self.events = 0, 0, []
        self.token = user.sync(filter=FILTER)["next_batch"]

    def act(self):
        query = {"since": self.token, "timeout": 500, "filter": json.dumps(FILTER)}
        answer = self.insist(lambda: self.user.request("GET", "/sync", query=query)).ok()
        timeline = answer.get("rooms", {}).get("join", {}).get(self.room, {}).get("timeline", {})
        if timeline.get("limited"):
            self.events += self.gap(timeline["prev_batch"])
        self.events += timeline.get("events", [])
        self.token = answer["next_batch"]

    def gap(self, token):
        """What a limited timeline left out, oldest first."""
        self.gaps += 1
        known, missed = {event["event_id"] for event in self.events}, []
        while token:
            query = {"dir": "b", "from": token, "limit": 100}
            page = self.insist(
                lambda: self.user.request("GET", self.user.room(self.room, "messages"), query=query)
            ).ok()
            for event in page["chunk"]:
                if event["event_id"] in known:
                    return missed[::-1]
                missed.append(event)
            token = page.get("end")
        return missed[::-1]


def messages(events):
    return [(e["content"]["body"], e["event_id"]) for e in events if e["type"] == "m.room.message"]


def all_messages(user, room):
    found, token = [], None
    for _ in range(10000):
        page = user.get_(user.room(room, "messages"), dir="f", limit=100, **{"from": token}).ok()
        found += page["chunk"]
        token = page.get("end")
        if not token:
            return messages(found)
    raise AssertionError("paging never ends")


def check(where, found, wanted):
    """Every acknowledged message is found once, under the event id that was acknowledged, in its writer's
    order.
    """
    texts = [text for text, _ in found]
    assert len(texts) == len(
        set(texts)
    ), f"{where}: repeated {sorted({t for t in texts if texts.count(t) > 1})[:10]}"
    assert not set(wanted) - set(texts), f"{where}: lost {sorted(set(wanted) - set(texts))[:10]}"
    assert not set(texts) - set(wanted), f"{where}: unknown {sorted(set(texts) - set(wanted))[:10]}"
    assert {t: e for t, e in found} == wanted, f"{where}: other event ids than those acknowledged"
    for number in {text.split(":")[0] for text in texts}:
        numbers = [int(text.split(":")[1]) for text in texts if text.split(":")[0] == number]
        assert numbers == sorted(numbers), f"{where}: messages of writer {number} out of order"


def check_store(server):
    """Every row, and all that follows from the events of rooms, as `greenroom fsck` finds it."""
    command = [server.binary, "fsck", str(server.directory / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["problems"] == 0 and found["unknown"] == 0, found["listed"]
    return found["records"]


@pytest.fixture
def victim():
    server = harness.make_server().start()
    yield server
    server.stop()
    server.remove()


@pytest.mark.covers(
    "PUT /rooms/{roomId}/send/{eventType}/{txnId}", "GET /sync", "GET /rooms/{roomId}/messages"
)
def test_what_was_acknowledged_survives_kills_exactly_once(victim):
    chance = random.Random(SEED)
    print(f"GREENROOM_SEED={SEED}")
    users = [victim.register(f"writer{n}") for n in range(WRITERS)]
    readers = [victim.register(f"reader{n}") for n in range(ROOMS)]
    visitors = [victim.register(f"visitor{n}") for n in range(ROOMS)]
    rooms = [users[n].create() for n in range(ROOMS)]
    for n, user in enumerate(users + readers):
        user.join(rooms[n % ROOMS]).ok()
    writing, reading = threading.Event(), threading.Event()
    writers = [Writer(writing, user, rooms[n % ROOMS], n) for n, user in enumerate(users)]
    followers = [Reader(reading, user, rooms[n]) for n, user in enumerate(readers)]
    guests = [Visitor(writing, user, rooms[n]) for n, user in enumerate(visitors)]
    for worker in writers + followers + guests:
        worker.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(*PAUSE_S))
        victim.kill9()
        victim.start()
    time.sleep(1)
    writing.set()
    for worker in writers + guests:
        worker.join(2 * harness.START_LIMIT_S)
    wanted = [{t: e for w in writers if w.room == room for t, e in w.acknowledged.items()} for room in rooms]
    end = time.monotonic() + CATCH_UP_S
    while time.monotonic() < end and any(
        len(messages(f.events)) < len(wanted[n]) for n, f in enumerate(followers)
    ):
        time.sleep(0.1)
    time.sleep(1)  # What would come twice has time to come.
    reading.set()
    for worker in followers:
        worker.join(2 * harness.START_LIMIT_S)
    for worker in writers + followers + guests:
        if worker.problem:
            raise worker.problem
    print(
        f"{sum(map(len, wanted))} messages, {KILLS} kills, {sum(w.lost for w in writers)} sends and "
        f"{sum(f.lost for f in followers)} syncs cut off, {sum(f.gaps for f in followers)} gaps"
    )
    for n, room in enumerate(rooms):
        assert len(wanted[n]) > KILLS, "the writers hardly wrote"
        check(f"/messages of room {n}", all_messages(readers[n], room), wanted[n])
        check(f"/sync of room {n}", messages(followers[n].events), wanted[n])
    assert all(guest.visits > 0 for guest in guests)
    if isinstance(victim, harness.Greenroom):
        assert victim.stop() == 0
        print(f"{check_store(victim)} records are sound")
