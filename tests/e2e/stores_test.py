"""Stores that earlier versions wrote (tests/data/stores, made by tests/data/make_store) are upgraded and say what they said."""

import json
import shutil
import tarfile

import pytest

import harness
from conftest import KIND
from harness import q
from ops_test import command, data
from updates_test import wait_finished

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="these are Greenroom's stores")
STORES = sorted((harness.ROOT / "tests" / "data" / "stores").glob("*.tar.xz"))


def schema_of(server):
    return json.loads(command(server, "schema", data(server), "--json"))["version"]


def seen_by(user):
    """All that a client reads of its rooms, without what time changes."""
    rooms = {}
    for room, joined in user.sync()["rooms"]["join"].items():
        page = user.get_(f"/rooms/{q(room)}/messages", dir="f", limit=100).ok()
        state = user.get_(f"/rooms/{q(room)}/state").ok()
        rooms[room] = {
            "timeline": [[e["event_id"], e["type"], e["sender"], e["content"]] for e in page["chunk"]],
            "state": sorted([e["event_id"], e["type"], e["state_key"], e["content"]] for e in state),
            "members": sorted(user.get_(f"/rooms/{q(room)}/joined_members").ok()["joined"]),
            "unread": joined["unread_notifications"]["notification_count"],
        }
    kept = user.get_(f"/user/{q(user.user_id)}/account_data/org.example.kept").ok()
    return {"rooms": rooms, "account_data": {"kept": kept["kept"]}}


def test_there_are_stores():
    assert STORES


@pytest.mark.parametrize("archive", STORES, ids=lambda path: path.name.split(".")[0])
def test_a_store_of_an_earlier_version_is_upgraded_and_says_what_it_said(archive):
    server = harness.make_server(KIND)
    try:
        folder = server.directory / "data"
        shutil.rmtree(folder / "store", ignore_errors=True)
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        server.start()
        alice = harness.login(server.base, "alice")
        wanted = json.loads((archive.parent / (archive.name.split(".")[0] + ".json")).read_text())
        assert seen_by(alice) == wanted
        wait_finished(server)
        room = next(iter(wanted["rooms"]))
        said = alice.say(room, "And it goes on")
        assert alice.get_(f"/rooms/{q(room)}/event/{q(said)}").ok()["content"]["body"] == "And it goes on"
        server.stop()
        assert " 0 problems" in command(server, "fsck", data(server))
    finally:
        server.stop()
        server.remove()
