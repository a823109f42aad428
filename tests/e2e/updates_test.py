"""Background updates of a running server: rooms that an earlier version left without a chain cover get it, whatever happens
meanwhile; their owner sees it, and may pause it.  Greenroom only.
"""

import json
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import harness
from conftest import KIND
from ops_test import command, data

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="the command line is Greenroom's")
ROOMS, EVENTS = 12, 400
NO_COVER = "the room has no chain cover"


@pytest.fixture
def server():
    made = harness.make_server(KIND)
    yield made
    made.stop()
    made.remove()


def tool(server, *words):
    """gr_rooms on the store of the server, which does not run."""
    path = Path(server.binary).parent / "tests" / "bench" / "gr_rooms"
    store = server.directory / "data" / "store"
    done = subprocess.run([path, words[0], store, harness.SERVER_NAME, *words[1:]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def update(server, name="room-cover"):
    return next(u for u in json.loads(command(server, "updates", "--json")) if u["name"] == name)


def wait_finished(server, name="room-cover", limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        now = update(server, name)
        if now["shards_done"] == now["shards"]:
            return now
        time.sleep(0.05)
    raise AssertionError(f"{name} does not finish: {now}")


def fill(server):
    """A store in which rooms lie that have no cover: of a server that has run before, but never an update."""
    server.start().stop()
    tool(server, "uncovered", str(ROOMS), str(EVENTS))
    tool(server, "uncover")


def test_killed_at_random_moments_it_makes_what_an_undisturbed_run_makes(server):
    fill(server)
    store, kept = server.directory / "data" / "store", server.directory / "kept"
    shutil.copytree(store, kept)
    server.start()
    undisturbed = wait_finished(server)
    server.stop()
    wanted = tool(server, "covers")
    assert int(wanted.split()[1]) == ROOMS * EVENTS == undisturbed["worked"]
    shutil.rmtree(store)
    shutil.copytree(kept, store)
    for _ in range(8):
        server.start()
        time.sleep(random.uniform(0, 0.25))
        server.kill9()
    server.start()
    after = wait_finished(server)
    server.stop()
    assert tool(server, "covers") == wanted
    assert (after["worked"], after["skipped"]) == (undisturbed["worked"], 0)


def test_it_can_be_paused_and_stays_so_over_a_restart(server):
    fill(server)
    server.start()
    assert command(server, "updates", "pause", "room-cover") == "room-cover: paused.\n"
    server.restart()
    before = update(server)
    time.sleep(0.5)
    assert update(server)["worked"] == before["worked"] < ROOMS * EVENTS
    assert update(server)["state"] == "paused"
    assert "no background update" in command(server, "updates", "pause", "nonsense", code=1)
    assert command(server, "updates", "resume") == "All background updates: resumed.\n"
    assert update(server)["state"] == "paused"                   # it was paused by its name
    command(server, "updates", "resume", "room-cover")
    assert wait_finished(server)["state"] == "finished"
    assert "[####################] 100%" in command(server, "updates")
    assert "has skipped no record" in command(server, "updates", "room-cover")
    assert server.metrics()["greenroom_update_records_total"] >= ROOMS * EVENTS
    assert server.metrics()["greenroom_update_shards_left"] == 0


def test_work_by_timers_is_paused_too(server):
    server.start()
    names = [u["name"] for u in json.loads(command(server, "updates", "--json")) if u["state"] == "as needed"]
    assert len(names) > 3
    for name in names:
        if name != "message-log":
            command(server, "updates", "pause", name)
    assert "can't be paused" in command(server, "updates", "pause", "message-log", code=1)
    server.restart()
    for name in names:
        assert update(server, name)["state"] == ("as needed" if name == "message-log" else "paused")
        if name != "message-log":
            command(server, "updates", "resume", name)
            assert update(server, name)["state"] == "as needed"


def test_fsck_tells_of_rooms_without_a_cover_and_repairs_them(server):
    server.start()
    alice = server.register("alice")
    rooms = [alice.create() for _ in range(3)]
    wait_finished(server)
    server.stop()
    tool(server, "uncover", "missed")
    assert command(server, "fsck", data(server), code=1).count(NO_COVER) == 3
    server.start()
    alice.say(rooms[0], "A message has no need of a place")
    alice.state(rooms[1], "m.room.topic", content={"topic": "A state event has"}).ok()
    assert update(server)["state"] == "finished"
    time.sleep(1)
    server.stop()
    assert command(server, "fsck", data(server), code=1).count(NO_COVER) == 2
    assert "2 rooms are to be made anew" in command(server, "fsck", data(server), "--repair", code=1)
    server.start()
    wait_finished(server)
    server.stop()
    assert " 0 problems" in command(server, "fsck", data(server))


def test_a_cluster_shows_and_pauses_the_updates_of_all_nodes():
    cluster = harness.Cluster()
    try:
        cluster.start()
        node = cluster.node(1)
        node.wait_linked()
        shown = json.loads(node.tool("updates", "--json").stdout)
        of = {u["node"]: u for u in shown if u["name"] == "room-cover"}
        assert len(of) == 3 and sum(u["shards"] for u in of.values()) == 256
        node.tool("updates", "pause", "room-transactions")
        for number in (1, 2, 3):
            seen = json.loads(cluster.node(number).tool("updates", "--json").stdout)
            assert [u["state"] for u in seen if u["name"] == "room-transactions"] == ["paused"] * 3
        node.tool("updates", "resume", "room-transactions")
        end = time.monotonic() + 60
        while any(u["shards_done"] < u["shards"] for u in of.values()) and time.monotonic() < end:
            time.sleep(0.2)
            of = {u["node"]: u for u in json.loads(node.tool("updates", "--json").stdout) if u["name"] == "room-cover"}
        assert all(u["state"] == "finished" for u in of.values())
    finally:
        cluster.stop()
        cluster.remove()
