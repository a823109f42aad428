// Rooms as web clients see them, through matrix-js-sdk: upgrades, spaces, threads, knocking, restricted joins, redactions
// and history visibility.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { friends, seen, texts } from "./people.mjs";
import { Server, until } from "./server.mjs";

const LIMIT = { timeout: 60000 };
const { EventType, KnownMembership, NotificationCountType, Preset, RelationType } = sdk;
let server, alice, bob;

before(async () => {
    server = await Server.start();
    [alice, bob] = await friends(server.base, "rooms", undefined, { threadSupport: true });
}, LIMIT);

after(async () => {
    for (const client of [alice, bob]) client?.stopClient();
    await server?.stop();
});

const state = (type, content, state_key = "") => ({ type, state_key, content });

async function create(options = {}) {
    return (await alice.createRoom({ preset: Preset.PublicChat, ...options })).room_id;
}

async function enter(room) {
    await bob.joinRoom(room);
    await until("the room", () => bob.getRoom(room)?.getMyMembership() === KnownMembership.Join);
}

const membership = (client, room, of) => client.getRoom(room)?.getMember(of.getUserId())?.membership;

const refused = (promise, code) => assert.rejects(promise, (error) => error.errcode === code);

// Bodies of the messages that a client may page through, oldest first; null when there is nothing to see.
async function readable(client, room) {
    try {
        const { chunk } = await client.createMessagesRequest(room, null, 100, sdk.Direction.Forward);
        return chunk.filter((e) => e.type === EventType.RoomMessage && e.content.body).map((e) => e.content.body);
    } catch (error) {
        assert.equal(error.errcode, "M_FORBIDDEN");
        return null;
    }
}

test("an upgraded room names the one that follows it, and tags go along", LIMIT, async () => {
    const old = await create({ room_version: "10", name: "Kitchen" });
    await enter(old);
    await bob.setRoomTag(old, "m.favourite", { order: 0.25 });
    await until("the tag", () => bob.getRoom(old).tags["m.favourite"]);
    const { replacement_room: next } = await alice.upgradeRoom(old, "12");
    const tombstone = () => bob.getRoom(old).currentState.getStateEvents(EventType.RoomTombstone, "");
    await until("the tombstone", tombstone);
    assert.equal(tombstone().getContent().replacement_room, next);
    await enter(next);
    const room = bob.getRoom(next);
    assert.equal(room.findPredecessor().roomId, old);
    assert.equal(room.name, "Kitchen");
    assert.equal(room.getVersion(), "12");
    await until("the tag in the new room", () => bob.getRoom(next).tags["m.favourite"]?.order === 0.25);
});

test("a space is walked page by page, and a room of it summarised", LIMIT, async () => {
    const space = await create({ creation_content: { type: "m.space" }, name: "House" });
    const rooms = [];
    for (const name of ["Attic", "Bath", "Cellar", "Den"]) rooms.push(await create({ name }));
    for (const [order, room] of rooms.entries()) {
        await alice.sendStateEvent(space, EventType.SpaceChild, { via: ["e2e.test"], order: `${order}` }, room);
    }
    const found = [];
    for (let from; ;) {
        const page = await bob.getRoomHierarchy(space, 2, undefined, false, from);
        found.push(...page.rooms.map((room) => room.name));
        from = page.next_batch;
        if (!from) break;
    }
    assert.deepEqual(found, ["House", "Attic", "Bath", "Cellar", "Den"]);
    const summary = await bob.getRoomSummary(rooms[1]);
    assert.equal(summary.name, "Bath");
    assert.equal(summary.num_joined_members, 1);
    await enter(space);
    assert.equal(bob.getRoom(space).isSpaceRoom(), true);
});

test("threads are counted, listed and read apart from the room", LIMIT, async () => {
    const room = await create();
    await enter(room);
    const { event_id: root } = await alice.sendTextMessage(room, "root");
    await seen(bob, room, "root");
    let last;
    for (let n = 0; n < 3; n++) {
        ({ event_id: last } = await alice.sendMessage(room, root, { msgtype: "m.text", body: `reply ${n}` }));
    }
    const unread = () => bob.getRoom(room).getThreadUnreadNotificationCount(root, NotificationCountType.Total);
    await until("three unread replies", () => unread() === 3);
    assert.equal(bob.getRoom(room).getRoomUnreadNotificationCount(NotificationCountType.Total), 1);
    await until("the thread", () => bob.getRoom(room).getThread(root)?.length === 3);
    const { events } = await bob.relations(room, root, RelationType.Thread, EventType.RoomMessage);
    assert.deepEqual(events.map((e) => e.getContent().body), ["reply 2", "reply 1", "reply 0"]);
    const { chunk } = await bob.createThreadListMessagesRequest(room, null);
    assert.deepEqual(chunk.map((e) => e.event_id), [root]);
    assert.equal(chunk[0].unsigned["m.relations"]["m.thread"].count, 3);
    const event = await until("the last reply", () =>
        bob.getRoom(room).getThread(root).events.find((e) => e.getId() === last));
    await bob.sendReadReceipt(event);
    await until("no unread reply", () => unread() === 0);
    assert.equal(bob.getRoom(room).getRoomUnreadNotificationCount(NotificationCountType.Total), 1);
});

test("who knocks is let in", LIMIT, async () => {
    const room = await create({
        preset: Preset.PrivateChat, initial_state: [state("m.room.join_rules", { join_rule: "knock" })],
    });
    await refused(bob.joinRoom(room), "M_FORBIDDEN");
    await bob.knockRoom(room, { reason: "please" });
    await until("the knock", () => membership(alice, room, bob) === KnownMembership.Knock);
    await until("the own knock", () => bob.getRoom(room)?.getMyMembership() === KnownMembership.Knock);
    await alice.invite(room, bob.getUserId());
    await until("the invite", () => bob.getRoom(room).getMyMembership() === KnownMembership.Invite);
    await enter(room);
    await until("the join", () => membership(alice, room, bob) === KnownMembership.Join);
});

test("members of a space enter its restricted rooms", LIMIT, async () => {
    const space = await create({ creation_content: { type: "m.space" } });
    const allow = [{ type: "m.room_membership", room_id: space }];
    const room = await create({
        preset: Preset.PrivateChat,
        initial_state: [state("m.room.join_rules", { join_rule: "restricted", allow })],
    });
    await refused(bob.joinRoom(room), "M_FORBIDDEN");
    await refused(bob.getRoomSummary(room), "M_NOT_FOUND");
    await enter(space);
    assert.deepEqual((await bob.getRoomSummary(room)).allowed_room_ids, [space]);
    await enter(room);
    await until("the join", () => membership(alice, room, bob) === KnownMembership.Join);
});

test("what is redacted is gone, sent as redaction or as event", LIMIT, async () => {
    const room = await create({ room_version: "10" });
    await enter(room);
    const { event_id: one } = await bob.sendTextMessage(room, "one");
    const { event_id: two } = await bob.sendTextMessage(room, "two");
    await seen(alice, room, "two");
    await alice.redactEvent(room, one, undefined, { reason: "off topic" });
    await alice.sendEvent(room, EventType.RoomRedaction, { redacts: two });
    for (const event of [one, two]) {
        await until("the redaction", () => bob.getRoom(room).findEventById(event)?.isRedacted());
        assert.deepEqual((await bob.fetchRoomEvent(room, event)).content, {});
    }
    const { event_id: mine } = await alice.sendTextMessage(room, "mine");
    await refused(bob.redactEvent(room, mine), "M_FORBIDDEN");
    assert.deepEqual(await readable(bob, room), ["mine"]);
});

// What Bob reads as a stranger, invited, joined, and after he left.
const HISTORY = {
    world_readable: [["before"], ["before", "invited"], ["before", "invited", "joined"], ["before", "invited", "joined", "after"]],
    shared: [null, null, ["before", "invited", "joined"], ["before", "invited", "joined"]],
    invited: [null, null, ["invited", "joined"], ["invited", "joined"]],
    joined: [null, null, ["joined"], ["joined"]],
};

for (const [visibility, [stranger, invited, joined, left]] of Object.entries(HISTORY)) {
    test(`history that is ${visibility} is read as that says`, LIMIT, async () => {
        const room = await create({
            preset: Preset.PrivateChat,
            initial_state: [state("m.room.history_visibility", { history_visibility: visibility })],
        });
        await alice.sendTextMessage(room, "before");
        assert.deepEqual(await readable(bob, room), stranger);
        await alice.invite(room, bob.getUserId());
        await alice.sendTextMessage(room, "invited");
        assert.deepEqual(await readable(bob, room), invited);
        await enter(room);
        await alice.sendTextMessage(room, "joined");
        await seen(bob, room, "joined");
        assert.deepEqual(texts(bob, room), joined);
        assert.deepEqual(await readable(bob, room), joined);
        await bob.leave(room);
        await alice.sendTextMessage(room, "after");
        assert.deepEqual(await readable(bob, room), left);
    });
}
