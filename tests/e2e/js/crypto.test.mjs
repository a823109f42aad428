// Two people chat in an encrypted room with the real cryptography of matrix-js-sdk (rust), across a restart.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { friends, meet, seen, texts } from "./people.mjs";
import { Server, until } from "./server.mjs";

const LIMIT = { timeout: 300000 };
let server, alice, bob, room;

before(async () => {
    server = await Server.start();
    const prepare = (client) => client.initRustCrypto({ useIndexedDB: false });
    [alice, bob] = await friends(server.base, "crypto", prepare);
    room = await meet(alice, bob, {
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    });
    for (const client of [alice, bob]) {
        await until("encryption", () => client.getCrypto().isEncryptionEnabledInRoom(room));
    }
}, LIMIT);

after(async () => {
    for (const client of [alice, bob]) client?.stopClient();
    await server?.stop();
});

// Sends from one to the other, and makes sure that it went over the wire encrypted and was decrypted.
async function whisper(from, to, text) {
    const { event_id: sent } = await from.sendTextMessage(room, text);
    await seen(to, room, text);
    assert.equal(to.getRoom(room).findEventById(sent).isEncrypted(), true);
    const wire = await to.fetchRoomEvent(room, sent);
    assert.equal(wire.type, "m.room.encrypted");
    assert.ok(!JSON.stringify(wire).includes(text));
}

function undecryptable(client) {
    return client.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.isDecryptionFailure());
}

test("messages go both ways encrypted", LIMIT, async () => {
    for (let n = 0; n < 5; n++) {
        await whisper(alice, bob, `to Bob ${n}`);
        await whisper(bob, alice, `to Alice ${n}`);
    }
});

test("after a restart of the server they go on", LIMIT, async () => {
    await server.command("restart");
    for (let n = 0; n < 5; n++) {
        await whisper(alice, bob, `to Bob again ${n}`);
        await whisper(bob, alice, `to Alice again ${n}`);
    }
});

test("after a kill they go on with new sessions", LIMIT, async () => {
    await server.command("kill9");
    for (const client of [alice, bob]) await client.getCrypto().forceDiscardSession(room);
    for (let n = 0; n < 3; n++) {
        await whisper(alice, bob, `new session ${n}`);
        await whisper(bob, alice, `new session back ${n}`);
    }
});

test("each finds the device of the other", LIMIT, async () => {
    const devices = await alice.getCrypto().getUserDeviceInfo([bob.getUserId()], true);
    assert.deepEqual([...devices.get(bob.getUserId()).keys()], [bob.getDeviceId()]);
});

test("no message was undecryptable", LIMIT, () => {
    assert.deepEqual(undecryptable(alice), []);
    assert.deepEqual(undecryptable(bob), []);
    assert.equal(texts(alice, room).length, 26);
    assert.deepEqual(texts(alice, room), texts(bob, room));
});
