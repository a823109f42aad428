// Two people chat through matrix-js-sdk on nodes 1 and 3 of a cluster, in a room that lies on node 2.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { register, seen, started, texts } from "./people.mjs";
import { Server, until } from "./server.mjs";

const LIMIT = { timeout: 120000 };
let cluster, alice, bob, room;
const said = [];

before(async () => {
    cluster = await Server.start("cluster");
    const tag = Date.now().toString(36);
    [alice, bob] = [await register(cluster.bases[0], "jsalice" + tag), await register(cluster.bases[2], "jsbob" + tag)];
    for (let tries = 0; tries < 100; tries++) {
        room = (await alice.createRoom({ preset: "public_chat" })).room_id;
        if ((await cluster.command(`owner ${room}`)).owner === 2) break;
    }
    await bob.joinRoom(room);
    for (const client of [alice, bob]) await started(client);
}, LIMIT);

after(async () => {
    for (const client of [alice, bob]) client?.stopClient();
    await cluster?.stop();
});

async function say(client, text) {
    said.push(text);
    await client.sendTextMessage(room, text);
}

test("they see what the other says on another node", LIMIT, async () => {
    await say(alice, "Hello Bob");
    await seen(bob, room, "Hello Bob");
    await say(bob, "Hello Alice");
    await seen(alice, room, "Hello Alice");
});

test("typing crosses the nodes", LIMIT, async () => {
    await alice.sendTyping(room, true, 20000);
    await until("typing", () => bob.getRoom(room).getMember(alice.getUserId())?.typing);
});

test("what is said while the room's node is killed arrives once it is back", LIMIT, async () => {
    await cluster.command("kill9 2");
    const sending = say(alice, "is anybody there?");
    await assert.rejects(bob.roomState(room), (error) => error.httpStatus === 503);
    await cluster.command("start 2");
    await sending;
    await seen(bob, room, "is anybody there?");
    await say(bob, "again");
    await seen(alice, room, "again");
});

test("a client whose own node is killed goes on when that is back", LIMIT, async () => {
    await cluster.command("kill9 3");
    await say(alice, "while you were away");
    await cluster.command("start 3");
    await seen(bob, room, "while you were away");
    await say(bob, "here I am");
    await seen(alice, room, "here I am");
});

test("both have seen everything once, in the same order", LIMIT, () => {
    assert.deepEqual(texts(alice, room), said);
    assert.deepEqual(texts(bob, room), said);
});
