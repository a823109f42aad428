"""Greenroom and Synapse share rooms: joins, invites, rejections, kicks, bans, restricted joins and knocks, in rooms that either
has made, of versions 10, 11 and 12.
"""

import itertools
import time

import pytest

from harness import q
from remote import Authority, federating, federating_synapse

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def servers():
    """(Greenroom, Synapse), which trust the same authority."""
    authority = Authority()
    ours, theirs = federating(authority), federating_synapse(authority)
    ours.start()
    theirs.start()
    yield ours, theirs
    for server in (ours, theirs):
        server.stop()
        server.remove()


class Pair:
    """A user who has the room and a guest of the other server."""

    def __init__(self, home, away):
        self.home, self.away = home, away
        self.host, self.guest = home.register(f"host{next(numbers)}"), away.register(f"guest{next(numbers)}")

    def room(self, version="10", **more):
        return self.host.create(room_version=version, preset=more.pop("preset", "public_chat"), **more)

    def enter(self, room, user=None):
        return (user or self.guest).post(f"/join/{q(room)}?via={q(self.home.server_name)}&server_name={q(self.home.server_name)}", {})

    def membership(self, user, room, of):
        reply = user.get_(f"/rooms/{q(room)}/state/m.room.member/{q(of.user_id)}")
        return reply.json.get("membership") if reply.status == 200 else None


@pytest.fixture(params=["room of Greenroom", "room of Synapse"])
def pair(request, servers):
    return Pair(*(servers if request.param == "room of Greenroom" else reversed(servers)))


def until(true, limit_s=30):
    end = time.monotonic() + limit_s
    while not (value := true()):
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.2)
    return value


def section(user, name, room):
    return user.sync().get("rooms", {}).get(name, {}).get(room)


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_a_public_room_is_joined(pair, version):
    room = pair.room(version, name="Open", topic="To all")
    pair.enter(room).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")
    assert pair.membership(pair.guest, room, pair.host) == "join"
    for kind in ("m.room.name", "m.room.topic", "m.room.create", "m.room.power_levels"):
        here, there = (u.get_(f"/rooms/{q(room)}/state/{kind}").ok() for u in (pair.host, pair.guest))
        assert here == there


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_an_invite_is_told_and_accepted(pair, version):
    room = pair.room(version, preset="private_chat", name="Closed")
    pair.host.post(f"/rooms/{q(room)}/invite", {"user_id": pair.guest.user_id}).ok()
    told = until(lambda: section(pair.guest, "invite", room))
    names = [e["content"]["name"] for e in told["invite_state"]["events"] if e["type"] == "m.room.name"]
    assert names == ["Closed"]
    pair.guest.post(f"/rooms/{q(room)}/join", {}).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")


def test_an_invite_is_rejected(pair):
    room = pair.room("11", preset="private_chat")
    pair.host.post(f"/rooms/{q(room)}/invite", {"user_id": pair.guest.user_id}).ok()
    until(lambda: section(pair.guest, "invite", room))
    pair.guest.post(f"/rooms/{q(room)}/leave", {}).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "leave")
    assert not section(pair.guest, "invite", room)


def test_a_room_is_made_with_an_invite(pair):
    room = pair.room("12", preset="private_chat", invite=[pair.guest.user_id])
    until(lambda: section(pair.guest, "invite", room))
    assert pair.membership(pair.host, room, pair.guest) == "invite"


def test_a_user_of_the_other_server_leaves(pair):
    room = pair.room("10")
    pair.enter(room).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")
    pair.guest.post(f"/rooms/{q(room)}/leave", {}).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "leave")


@pytest.mark.parametrize("act, now", [("kick", "leave"), ("ban", "ban")])
def test_a_user_of_the_other_server_is_thrown_out(pair, act, now):
    room = pair.room("11")
    pair.enter(room).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")
    pair.host.post(f"/rooms/{q(room)}/{act}", {"user_id": pair.guest.user_id}).ok()
    until(lambda: room not in pair.guest.get_("/joined_rooms").ok()["joined_rooms"])
    if act == "ban":
        pair.enter(room).refused(403, "M_FORBIDDEN")
    else:
        pair.enter(room).ok()


def test_a_restricted_room_lets_members_of_a_space_in(pair):
    space = pair.room("10")
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room = pair.room("10", preset="private_chat",
                     initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}])
    assert pair.enter(room).status == 403
    pair.enter(space).ok()
    until(lambda: pair.membership(pair.host, space, pair.guest) == "join")
    pair.enter(room).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")


@pytest.mark.parametrize("version", ["10", "12"])
def test_a_knock_is_heard_and_answered(pair, version):
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = pair.room(version, preset="private_chat", name="Knock", initial_state=[rules])
    via = f"via={q(pair.home.server_name)}&server_name={q(pair.home.server_name)}"
    pair.guest.post(f"/knock/{q(room)}?{via}", {"reason": "Please"}).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "knock")
    assert section(pair.guest, "knock", room)
    pair.host.post(f"/rooms/{q(room)}/invite", {"user_id": pair.guest.user_id}).ok()
    until(lambda: section(pair.guest, "invite", room))
    pair.guest.post(f"/rooms/{q(room)}/join", {}).ok()
    until(lambda: pair.membership(pair.host, room, pair.guest) == "join")


def test_an_alias_leads_into_the_room(pair):
    name = f"#way{next(numbers)}:{pair.home.server_name}"
    room = pair.room("11", room_alias_name=name[1:].split(":")[0])
    assert pair.guest.post(f"/join/{q(name)}", {}).ok()["room_id"] == room
