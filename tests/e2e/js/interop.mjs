// Alice of Greenroom and Rita of Synapse talk in an encrypted room with the real cryptography of matrix-js-sdk (rust).
// Run by tests/interop, which has started both servers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { register, seen, started, texts } from "./people.mjs";
import { until } from "./server.mjs";

const LIMIT = { timeout: 240000 };
let alice, rita, room;

async function person(base, name) {
    const client = await register(base, `js${name}${Date.now().toString(36)}`);
    await client.initRustCrypto({ useIndexedDB: false });
    return started(client);
}

before(async () => {
    alice = await person(process.env.GREENROOM_BASE, "alice");
    rita = await person(process.env.SYNAPSE_BASE, "rita");
    ({ room_id: room } = await alice.createRoom({
        preset: "public_chat", name: "Talk", room_version: "10",
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    }));
    await rita.joinRoom(room, { viaServers: [process.env.GREENROOM_NAME] });
    await until("Rita", () => alice.getRoom(room)?.getMember(rita.getUserId())?.membership === "join");
    for (const client of [alice, rita]) {
        await until("encryption", () => client.getCrypto().isEncryptionEnabledInRoom(room));
    }
}, LIMIT);

after(() => {
    for (const client of [alice, rita]) client?.stopClient();
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

test("what Alice writes Rita reads", LIMIT, async () => {
    for (let n = 0; n < 5; n++) await whisper(alice, rita, `to Rita ${n}`);
});

test("what Rita writes Alice reads", LIMIT, async () => {
    for (let n = 0; n < 5; n++) await whisper(rita, alice, `to Alice ${n}`);
});

test("each finds the device of the other", LIMIT, async () => {
    for (const [one, other] of [[alice, rita], [rita, alice]]) {
        const devices = await one.getCrypto().getUserDeviceInfo([other.getUserId()], true);
        assert.deepEqual([...devices.get(other.getUserId()).keys()], [other.getDeviceId()]);
    }
});

test("nothing was undecryptable", LIMIT, () => {
    for (const client of [alice, rita]) {
        const events = client.getRoom(room).getLiveTimeline().getEvents();
        assert.deepEqual(events.filter((event) => event.isDecryptionFailure()), []);
    }
    assert.deepEqual(texts(alice, room), texts(rita, room));
});
