"""Two people chat through matrix-nio, a client library that knows nothing of this server."""

import asyncio
import uuid

import nio
import pytest

from harness import PASSWORD

MESSAGES = 500
LIMIT_S = 300

covers = pytest.mark.covers


class Person:
    """A nio client that keeps all text messages it got by /sync, in order."""

    def __init__(self, server, name):
        self.client = nio.AsyncClient(server.base, name)
        self.known = set()
        self.name, self.got, self.typing, self.receipts, self.redacted = name, [], [], [], []

    async def register(self):
        answer = await self.client.register(self.name, PASSWORD)
        assert isinstance(answer, nio.RegisterResponse), answer

    async def login(self):
        answer = await self.client.login(PASSWORD, device_name="nio")
        assert isinstance(answer, nio.LoginResponse), answer

    async def sync(self, timeout=0):
        answer = await self.client.sync(
            timeout=timeout,
            since=self.client.next_batch or None,
            sync_filter={"room": {"timeline": {"limit": 1000}}},
        )
        assert isinstance(answer, nio.SyncResponse), answer
        for room_id, room in answer.rooms.join.items():
            assert room_id not in self.known or not room.timeline.limited
            self.known.add(room_id)
            for event in room.timeline.events:
                if isinstance(event, nio.RoomMessageText):
                    self.got.append(event.body)
                elif isinstance(event, nio.RedactionEvent):
                    self.redacted.append(event.redacts)
            for event in room.ephemeral:
                if isinstance(event, nio.TypingNoticeEvent):
                    self.typing.append(event.users)
                elif isinstance(event, nio.ReceiptEvent):
                    self.receipts += [(r.event_id, r.user_id) for r in event.receipts]
        return answer

    async def sync_until(self, wanted):
        for _ in range(60):
            if wanted():
                return
            await self.sync(500)
        raise AssertionError("what was waited for never came by /sync")

    async def say(self, room, text):
        answer = await self.client.room_send(room, "m.room.message", {"msgtype": "m.text", "body": text})
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    async def page(self, room, start, direction, limit):
        found = []
        for _ in range(1000):
            answer = await self.client.room_messages(room, start, direction=direction, limit=limit)
            assert isinstance(answer, nio.RoomMessagesResponse), answer
            found += answer.chunk
            if not answer.end or answer.end == start:
                return found
            start = answer.end
        raise AssertionError("paging never ends")


async def befriend(alice, bob):
    await alice.register()
    await bob.register()
    await bob.login()
    made = await alice.client.room_create(name="Talk", invite=[bob.client.user_id])
    assert isinstance(made, nio.RoomCreateResponse), made
    await bob.sync()
    assert made.room_id in bob.client.invited_rooms
    assert isinstance(await bob.client.join(made.room_id), nio.JoinResponse)
    await alice.sync()
    await bob.sync()
    return made.room_id


def story(scene):
    """Runs one scene with fresh clients, which are closed whatever happens."""

    async def run(server):
        tag = uuid.uuid4().hex[:8]
        alice, bob = Person(server, "nioalice" + tag), Person(server, "niobob" + tag)
        try:
            room = await befriend(alice, bob)
            await asyncio.wait_for(scene(server, alice, bob, room), LIMIT_S)
        finally:
            await alice.client.close()
            await bob.client.close()

    return lambda server: asyncio.run(run(server))


@covers(
    "POST /register",
    "POST /login",
    "POST /createRoom",
    "PUT /rooms/{roomId}/send/{eventType}/{txnId}",
    "GET /sync",
)
def test_nio_two_people_talk(server):
    async def scene(server, alice, bob, room):
        await alice.say(room, "Hello Bob")
        await bob.sync_until(lambda: "Hello Bob" in bob.got)
        await bob.say(room, "Hello Alice")
        await alice.sync_until(lambda: "Hello Alice" in alice.got)
        await bob.sync_until(lambda: len(bob.got) == 2)
        assert bob.got == ["Hello Bob", "Hello Alice"]

    story(scene)(server)


@covers("GET /rooms/{roomId}/messages")
def test_nio_pages_through_500_messages_both_ways(server):
    async def scene(server, alice, bob, room):
        for n in range(MESSAGES):
            await (alice, bob)[n % 2].say(room, f"message {n}")
            if n % 50 == 0:
                # Servers bound the timeline of one answer, so that a longer absence is a gap.
                await bob.sync()
        end = (await bob.sync()).next_batch
        backwards = await bob.page(room, end, nio.MessageDirection.back, 37)
        forwards = await bob.page(room, "", nio.MessageDirection.front, 50)
        wanted = [f"message {n}" for n in range(MESSAGES)]
        assert [e.body for e in forwards if isinstance(e, nio.RoomMessageText)] == wanted
        assert [e.body for e in backwards if isinstance(e, nio.RoomMessageText)] == wanted[::-1]
        assert bob.got == wanted

    story(scene)(server)


@covers(
    "PUT /rooms/{roomId}/typing/{userId}",
    "POST /rooms/{roomId}/receipt/{receiptType}/{eventId}",
    "PUT /rooms/{roomId}/redact/{eventId}/{txnId}",
)
def test_nio_sees_typing_receipts_and_redactions(server):
    async def scene(server, alice, bob, room):
        await alice.client.room_typing(room, True)
        await bob.sync_until(lambda: [alice.client.user_id] in bob.typing)
        sent = await alice.say(room, "a word too many")
        await bob.client.room_read_markers(room, sent, sent)
        await alice.sync_until(lambda: (sent, bob.client.user_id) in alice.receipts)
        await alice.client.room_redact(room, sent, "regret")
        await bob.sync_until(lambda: sent in bob.redacted)
        event = (await bob.client.room_get_event(room, sent)).event
        assert isinstance(event, nio.RedactedEvent)

    story(scene)(server)


@covers("GET /sync")
def test_nio_comes_back_after_a_restart_and_misses_nothing(server):
    async def scene(server, alice, bob, room):
        await alice.say(room, "before")
        await bob.sync()
        for n in range(10):
            await alice.say(room, f"while away {n}")
        server.restart()
        for n in range(10, 20):
            await alice.say(room, f"while away {n}")
        await bob.sync_until(lambda: len(bob.got) >= 21)
        assert bob.got == ["before"] + [f"while away {n}" for n in range(20)]

    story(scene)(server)
