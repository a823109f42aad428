// People of several servers talk in an encrypted room with the real cryptography of matrix-js-sdk (rust). Run by
// tests/interop, which has started the servers: BASES are theirs, the first one's name is VIA.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { register, seen, started, texts } from "./people.mjs";
import { until } from "./server.mjs";

const LIMIT = { timeout: 240000 };
const people = [];
let room;

async function person(base, n) {
    const client = await register(base, `js${n}x${Date.now().toString(36)}`);
    await client.initRustCrypto({ useIndexedDB: false });
    return started(client);
}

const others = (one) => people.filter((client) => client !== one);

before(async () => {
    for (const [n, base] of process.env.BASES.split(" ").entries()) people.push(await person(base, n));
    ({ room_id: room } = await people[0].createRoom({
        preset: "public_chat", name: "Talk", room_version: "10",
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    }));
    for (const client of others(people[0])) await client.joinRoom(room, { viaServers: [process.env.VIA] });
    for (const one of people) {
        for (const other of people) {
            await until("all members", () => one.getRoom(room)?.getMember(other.getUserId())?.membership === "join");
        }
        await until("encryption", () => one.getCrypto().isEncryptionEnabledInRoom(room));
    }
}, LIMIT);

after(() => {
    for (const client of people) client.stopClient();
});

// Sends to all others, and makes sure that it went over the wire encrypted and was decrypted.
async function whisper(from, text) {
    const { event_id: sent } = await from.sendTextMessage(room, text);
    for (const to of others(from)) {
        await seen(to, room, text);
        assert.equal(to.getRoom(room).findEventById(sent).isEncrypted(), true);
        const wire = await to.fetchRoomEvent(room, sent);
        assert.equal(wire.type, "m.room.encrypted");
        assert.ok(!JSON.stringify(wire).includes(text));
    }
}

test("what one writes all others read", LIMIT, async () => {
    for (let n = 0; n < 3; n++) {
        for (const client of people) await whisper(client, `${n} of ${client.getUserId()}`);
    }
});

test("each finds the devices of the others", LIMIT, async () => {
    for (const one of people) {
        for (const other of others(one)) {
            const devices = await one.getCrypto().getUserDeviceInfo([other.getUserId()], true);
            assert.deepEqual([...devices.get(other.getUserId()).keys()], [other.getDeviceId()]);
        }
    }
});

test("nothing was undecryptable", LIMIT, () => {
    for (const client of people) {
        const events = client.getRoom(room).getLiveTimeline().getEvents();
        assert.deepEqual(events.filter((event) => event.isDecryptionFailure()), []);
        assert.deepEqual(texts(client, room), texts(people[0], room));
    }
});
