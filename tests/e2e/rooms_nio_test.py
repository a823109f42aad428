"""Rooms as a client library sees them that knows nothing of this server: matrix-nio upgrades rooms, walks spaces, follows
threads, knocks, enters restricted rooms, redacts, and reads as much history as each visibility allows.
"""

import asyncio
import json
import uuid

import nio
import pytest
from nio.api import RelationshipType, ThreadInclusion

from nio_test import LIMIT_S, Person

covers = pytest.mark.covers

KNOCK = "POST /knock/{roomIdOrAlias}"
MESSAGES = "GET /rooms/{roomId}/messages"


def good(answer, kind):
    assert isinstance(answer, kind), answer
    return answer


def people(scene):
    """Runs a scene with Alice and Bob, who have just registered, and closes their clients whatever happens."""

    async def run(server, *more):
        tag = uuid.uuid4().hex[:8]
        alice, bob = Person(server, "roomalice" + tag), Person(server, "roombob" + tag)
        try:
            await alice.register()
            await bob.register()
            await asyncio.wait_for(scene(alice, bob, *more), LIMIT_S)
        finally:
            await alice.client.close()
            await bob.client.close()

    return lambda *arguments: asyncio.run(run(*arguments))


def state(kind, content, key=""):
    return {"type": kind, "state_key": key, "content": content}


async def create(person, **options):
    options.setdefault("preset", nio.RoomPreset.public_chat)
    return good(await person.client.room_create(**options), nio.RoomCreateResponse).room_id


async def join(person, room):
    good(await person.client.join(room), nio.JoinResponse)


async def set_state(person, room, kind, content, key=""):
    good(await person.client.room_put_state(room, kind, content, key), nio.RoomPutStateResponse)


async def request(person, method, path, body):
    """What nio has no method for."""
    headers = {"Authorization": "Bearer " + person.client.access_token, "Content-Type": "application/json"}
    answer = await person.client.send(method, "/_matrix/client/v3" + path, json.dumps(body), headers)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def texts(person, room):
    """Bodies of the messages that the person may read, oldest first; None when nothing may be read."""
    answer = await person.client.room_messages(room, "", direction=nio.MessageDirection.front, limit=100)
    if isinstance(answer, nio.RoomMessagesError):
        assert answer.status_code == "M_FORBIDDEN"
        return None
    return [event.body for event in answer.chunk if isinstance(event, nio.RoomMessageText)]


@covers("POST /rooms/{roomId}/upgrade")
def test_nio_follows_a_room_to_its_replacement(server):
    @people
    async def scene(alice, bob):
        old = await create(alice, room_version="10", name="Kitchen", topic="Tea")
        await join(bob, old)
        await alice.say(old, "before")
        await bob.sync()
        new = (await request(alice, "POST", f"/rooms/{old}/upgrade", {"new_version": "12"}))["replacement_room"]
        timeline = (await bob.sync()).rooms.join[old].timeline.events
        (tombstone,) = [e for e in timeline if isinstance(e, nio.RoomUpgradeEvent)]
        assert tombstone.replacement_room == new
        assert isinstance(await bob.client.room_send(old, "m.room.message", {"body": "x"}), nio.RoomSendError)
        await join(bob, new)
        await bob.sync()
        room = bob.client.rooms[new]
        assert (room.name, room.topic, room.room_version) == ("Kitchen", "Tea", "12")
        created = good(await bob.client.room_get_state_event(new, "m.room.create"), nio.RoomGetStateEventResponse)
        assert created.content["predecessor"]["room_id"] == old
        assert await texts(bob, old) == ["before"]

    scene(server)


@covers("GET /v1/rooms/{roomId}/hierarchy")
def test_nio_walks_a_space_page_by_page(server):
    @people
    async def scene(alice, bob):
        space, inner = await create(alice, space=True, name="House"), await create(alice, space=True, name="Cellar")
        rooms = [await create(alice, name=f"Room {n}") for n in range(5)]
        deep = await create(alice, name="Wine")
        for number, room in enumerate([rooms[0], inner, *rooms[1:]]):
            await set_state(alice, space, "m.space.child", {"via": ["e2e.test"], "order": str(number)}, room)
        await set_state(alice, inner, "m.space.child", {"via": ["e2e.test"]}, deep)
        found, token = [], None
        for _ in range(9):
            page = good(await bob.client.space_get_hierarchy(space, token, limit=3), nio.SpaceGetHierarchyResponse)
            assert len(page.rooms) <= 3
            found += [room["room_id"] for room in page.rooms]
            token = page.next_batch
            if not token:
                break
        assert found == [space, rooms[0], inner, deep, *rooms[1:]]
        await join(bob, space)
        await bob.sync()
        assert bob.client.rooms[space].room_type == "m.space" and bob.client.rooms[space].children == {inner, *rooms}

    scene(server)


@covers("GET /v1/rooms/{roomId}/threads", "GET /v1/rooms/{roomId}/relations/{eventId}/{relType}")
def test_nio_follows_threads(server):
    @people
    async def scene(alice, bob):
        room = await create(alice)
        await join(bob, room)
        roots = [await alice.say(room, f"root {n}") for n in range(3)]

        async def reply(person, root, text):
            relates = {"rel_type": "m.thread", "event_id": root}
            content = {"msgtype": "m.text", "body": text, "m.relates_to": relates}
            return good(await person.client.room_send(room, "m.room.message", content), nio.RoomSendResponse).event_id

        for root in roots:
            await reply(bob, root, "first")
        replies = [await reply(alice, roots[0], f"reply {n}") for n in range(7)]
        related = bob.client.room_get_event_relations(room, roots[0], RelationshipType.thread, limit=3)
        listed = [event async for event in related]
        assert [e.body for e in listed] == [f"reply {n}" for n in range(6, -1, -1)] + ["first"]
        threads = [e async for e in alice.client.room_get_threads(room, limit=2)]
        assert [e.event_id for e in threads] == [roots[0], roots[2], roots[1]]
        summary = threads[0].source["unsigned"]["m.relations"]["m.thread"]
        assert summary["count"] == 8 and summary["latest_event"]["event_id"] == replies[-1]
        good(await alice.client.room_redact(room, replies[-1]), nio.RoomRedactResponse)
        again = [e async for e in alice.client.room_get_threads(room, ThreadInclusion.participated)]
        summary = again[0].source["unsigned"]["m.relations"]["m.thread"]
        assert summary["count"] == 7 and summary["latest_event"]["event_id"] == replies[-2]

    scene(server)


@covers(KNOCK)
def test_nio_knocks_and_is_let_in(server):
    @people
    async def scene(alice, bob):
        rules = [state("m.room.join_rules", {"join_rule": "knock"})]
        room = await create(alice, preset=nio.RoomPreset.private_chat, initial_state=rules)
        assert good(await bob.client.join(room), nio.JoinError).status_code == "M_FORBIDDEN"
        await alice.sync()
        assert good(await bob.client.room_knock(room, "let me in"), nio.RoomKnockResponse).room_id == room
        timeline = (await alice.sync()).rooms.join[room].timeline.events
        assert (timeline[-1].membership, timeline[-1].content["reason"]) == ("knock", "let me in")
        good(await alice.client.room_kick(room, bob.client.user_id, "no"), nio.RoomKickResponse)
        assert await texts(bob, room) is None
        good(await bob.client.room_knock(room), nio.RoomKnockResponse)
        good(await alice.client.room_invite(room, bob.client.user_id), nio.RoomInviteResponse)
        await bob.sync()
        assert room in bob.client.invited_rooms
        await join(bob, room)
        await bob.sync()
        assert room in bob.client.rooms and room not in bob.client.invited_rooms
        locked = await create(alice, preset=nio.RoomPreset.private_chat)
        assert good(await bob.client.room_knock(locked), nio.RoomKnockError).status_code == "M_FORBIDDEN"

    scene(server)


@covers("POST /join/{roomIdOrAlias}", KNOCK)
@pytest.mark.parametrize("rule", ["restricted", "knock_restricted"])
def test_nio_enters_a_restricted_room_through_a_space(server, rule):
    @people
    async def scene(alice, bob):
        space = await create(alice, space=True)
        allow = [{"type": "m.room_membership", "room_id": space}]
        rules = [state("m.room.join_rules", {"join_rule": rule, "allow": allow})]
        room = await create(alice, preset=nio.RoomPreset.private_chat, initial_state=rules)
        assert good(await bob.client.join(room), nio.JoinError).status_code == "M_FORBIDDEN"
        knocked = await bob.client.room_knock(room)
        assert isinstance(knocked, nio.RoomKnockResponse if rule == "knock_restricted" else nio.RoomKnockError)
        await join(bob, space)
        await join(bob, room)
        await alice.sync()
        member = good(
            await alice.client.room_get_state_event(room, "m.room.member", bob.client.user_id),
            nio.RoomGetStateEventResponse,
        )
        assert member.content["membership"] == "join"
        assert member.content["join_authorised_via_users_server"] == alice.client.user_id
        good(await bob.client.room_leave(space), nio.RoomLeaveResponse)
        await bob.say(room, "still here")

    scene(server)


@covers("PUT /rooms/{roomId}/redact/{eventId}/{txnId}", "PUT /rooms/{roomId}/send/{eventType}/{txnId}")
@pytest.mark.parametrize("version", ["6", "12"])
def test_nio_redacts_in_both_ways(server, version):
    @people
    async def scene(alice, bob):
        room = await create(alice, room_version=version)
        await join(bob, room)
        first, second, mine = await bob.say(room, "a"), await bob.say(room, "b"), await alice.say(room, "c")
        await bob.sync()
        good(await alice.client.room_redact(room, first, "spam"), nio.RoomRedactResponse)
        sent = await alice.client.room_send(room, "m.room.redaction", {"redacts": second, "reason": "spam"})
        good(sent, nio.RoomSendResponse)
        assert isinstance(await bob.client.room_redact(room, mine), nio.RoomRedactError)
        await bob.sync()
        assert bob.redacted == [first, second]
        for event_id in (first, second):
            event = (await bob.client.room_get_event(room, event_id)).event
            assert isinstance(event, nio.RedactedEvent)
            assert (event.redacter, event.reason) == (alice.client.user_id, "spam")
        assert await texts(alice, room) == ["c"]

    scene(server)


# What Bob reads of a room: a stranger, invited, joined, and after he was removed.
READ = {
    "world_readable": (["before"], ["before", "invited"], ["before", "invited", "joined"], ["before", "invited", "joined", "after"]),
    "shared": (None, None, ["before", "invited", "joined"], ["before", "invited", "joined"]),
    "invited": (None, None, ["invited", "joined"], ["invited", "joined"]),
    "joined": (None, None, ["joined"], ["joined"]),
}


@covers(MESSAGES, "GET /rooms/{roomId}/event/{eventId}", "GET /sync")
@pytest.mark.parametrize("visibility", READ)
def test_nio_reads_what_the_history_visibility_allows(server, visibility):
    @people
    async def scene(alice, bob):
        history = [state("m.room.history_visibility", {"history_visibility": visibility})]
        room = await create(alice, preset=nio.RoomPreset.private_chat, initial_state=history)
        stranger, invited, joined, left = READ[visibility]
        sent = {"before": await alice.say(room, "before")}
        assert await texts(bob, room) == stranger
        good(await alice.client.room_invite(room, bob.client.user_id), nio.RoomInviteResponse)
        sent["invited"] = await alice.say(room, "invited")
        assert await texts(bob, room) == invited
        await join(bob, room)
        sent["joined"] = await alice.say(room, "joined")
        assert await texts(bob, room) == joined
        await bob.sync()
        assert bob.got == joined
        good(await alice.client.room_kick(room, bob.client.user_id), nio.RoomKickResponse)
        sent["after"] = await alice.say(room, "after")
        assert await texts(bob, room) == left
        for text, event_id in sent.items():
            answer = await bob.client.room_get_event(room, event_id)
            assert isinstance(answer, nio.RoomGetEventResponse) == (text in left), text

    scene(server)


@covers(MESSAGES)
def test_nio_sees_each_message_by_the_visibility_of_its_time(server):
    @people
    async def scene(alice, bob):
        room = await create(alice)
        for visibility in ("joined", "shared", "invited", "world_readable", "joined"):
            await set_state(alice, room, "m.room.history_visibility", {"history_visibility": visibility})
            await alice.say(room, visibility)
        assert await texts(bob, room) is None
        await join(bob, room)
        await alice.say(room, "now")
        assert await texts(bob, room) == ["shared", "world_readable", "now"]

    scene(server)
