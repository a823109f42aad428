// Users of the tests, by matrix-js-sdk.
import * as sdk from "matrix-js-sdk";
import { until } from "./server.mjs";

// The library and its cryptography tell the console everything they do.
if (!process.env.GREENROOM_E2E_VERBOSE) {
    for (const level of ["trace", "debug", "log", "info", "warn"]) console[level] = () => {};
}

const PASSWORD = "correct horse battery staple";

// Registers through user-interactive authentication, as a client's registration form does.
export async function register(base, name, options = {}) {
    const visitor = sdk.createClient({ baseUrl: base });
    let session;
    try {
        await visitor.registerRequest({ username: name, password: PASSWORD });
    } catch (error) {
        if (error.httpStatus !== 401) throw error;
        session = error.data.session;
    }
    const made = await visitor.registerRequest({
        username: name, password: PASSWORD, auth: { type: "m.login.dummy", session },
    });
    return sdk.createClient({
        baseUrl: base, userId: made.user_id, deviceId: made.device_id, accessToken: made.access_token,
        ...options,
    });
}

export async function started(client, options = {}) {
    const prepared = new Promise((done) => client.on("sync", (state) => state === "PREPARED" && done()));
    await client.startClient({ initialSyncLimit: 20, ...options });
    await prepared;
    return client;
}

export async function friends(base, tag, prepare = async () => {}, options = {}) {
    const people = [];
    for (const name of ["alice", "bob"]) {
        const client = await register(base, `js${name}${tag}${Date.now().toString(36)}`);
        await prepare(client);
        people.push(await started(client, options));
    }
    return people;
}

export async function meet(alice, bob, options = {}) {
    const { room_id: room } = await alice.createRoom({
        preset: "private_chat", invite: [bob.getUserId()], name: "Talk", ...options,
    });
    await until("the invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
    await bob.joinRoom(room);
    await until("the join", () => alice.getRoom(room)?.getMember(bob.getUserId())?.membership === "join");
    await until("the room", () => bob.getRoom(room)?.getMyMembership() === "join");
    return room;
}

// Text of the messages that a client shows, oldest first, without local echoes that are still being sent.
export function texts(client, room) {
    return client.getRoom(room).getLiveTimeline().getEvents()
        .filter((event) => event.getType() === "m.room.message" && !event.status && !event.isRedacted())
        .map((event) => event.getContent().body);
}

export const seen = (client, room, text) =>
    until(`"${text}"`, () => texts(client, room).includes(text));
