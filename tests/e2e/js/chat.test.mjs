// Two people chat through matrix-js-sdk, as web clients do.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { friends, meet, seen, started, texts } from "./people.mjs";
import { Server, until } from "./server.mjs";

const MESSAGES = 500;
const LIMIT = { timeout: 300000 };
let server, alice, bob, room;

before(async () => {
    server = await Server.start();
    [alice, bob] = await friends(server.base, "chat");
    room = await meet(alice, bob);
}, LIMIT);

after(async () => {
    for (const client of [alice, bob]) client?.stopClient();
    await server?.stop();
});

test("two people talk", LIMIT, async () => {
    await alice.sendTextMessage(room, "Hello Bob");
    await seen(bob, room, "Hello Bob");
    await bob.sendTextMessage(room, "Hello Alice");
    await seen(alice, room, "Hello Alice");
    await seen(bob, room, "Hello Alice");
    assert.deepEqual(texts(bob, room), ["Hello Bob", "Hello Alice"]);
});

test("typing is shown", LIMIT, async () => {
    await alice.sendTyping(room, true, 20000);
    await until("typing", () => bob.getRoom(room).getMember(alice.getUserId())?.typing);
    await alice.sendTyping(room, false, 0);
    await until("the end of typing", () => !bob.getRoom(room).getMember(alice.getUserId()).typing);
});

test("a receipt is shown", LIMIT, async () => {
    const { event_id: sent } = await alice.sendTextMessage(room, "read me");
    const event = await until("the message", () => bob.getRoom(room).findEventById(sent));
    await bob.sendReadReceipt(event);
    await until("the receipt", () => alice.getRoom(room).hasUserReadEvent(bob.getUserId(), sent));
});

test("unread messages are counted", LIMIT, async () => {
    await alice.sendTextMessage(room, "count me");
    await until("the count", () => bob.getRoom(room).getUnreadNotificationCount("total") > 0);
});

test("a redaction empties the message", LIMIT, async () => {
    const { event_id: sent } = await alice.sendTextMessage(room, "a word too many");
    await until("the message", () => bob.getRoom(room).findEventById(sent));
    await alice.redactEvent(room, sent, undefined, { reason: "regret" });
    await until("the redaction", () => bob.getRoom(room).findEventById(sent).isRedacted());
    assert.deepEqual((await bob.fetchRoomEvent(room, sent)).content, {});
});

test("500 messages can be paged through in both directions", LIMIT, async () => {
    const { room_id: long } = await alice.createRoom({ preset: "public_chat" });
    await bob.joinRoom(long);
    for (let n = 0; n < MESSAGES; n++) await alice.sendTextMessage(long, `message ${n}`);
    const wanted = Array.from({ length: MESSAGES }, (_, n) => `message ${n}`);
    const bodies = (events) => events.filter((e) => e.type === "m.room.message").map((e) => e.content.body);
    for (const [direction, order] of [["b", [...wanted].reverse()], ["f", wanted]]) {
        const found = [];
        for (let from = null, pages = 0; pages < 200; pages++) {
            const page = await bob.createMessagesRequest(long, from, 37, direction);
            found.push(...page.chunk);
            if (!page.end) break;
            from = page.end;
        }
        assert.deepEqual(bodies(found), order);
    }
    await until("the last message", () => texts(bob, long).includes(`message ${MESSAGES - 1}`));
    const live = bob.getRoom(long).getLiveTimeline();
    for (let pages = 0; pages < 100; pages++) {
        if (!await bob.paginateEventTimeline(live, { backwards: true, limit: 50 })) break;
    }
    assert.deepEqual(texts(bob, long), wanted);
});

test("after a restart a client goes on from its old token and misses nothing", LIMIT, async () => {
    const token = bob.store.getSyncToken();
    bob.stopClient();
    const sent = [];
    for (let n = 0; n < 5; n++) sent.push(`while away ${n}`);
    for (const text of sent) await alice.sendTextMessage(room, text);
    await server.command("restart");
    await alice.sendTextMessage(room, "and after");
    const answer = await bob.http.authedRequest(sdk.Method.Get, "/sync", { since: token, timeout: "0" });
    const { timeline } = answer.rooms.join[room];
    assert.equal(timeline.limited ?? false, false);
    const bodies = timeline.events.filter((e) => e.type === "m.room.message").map((e) => e.content.body);
    assert.deepEqual(bodies, [...sent, "and after"]);
    await started(bob);
    await seen(bob, room, "and after");
    await seen(alice, room, "and after");
});
