// A web client logs in by the OAuth 2.0 API as matrix-js-sdk has it, refreshes its tokens and logs out; a device by a code.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk-oauth";
import { Server } from "./server.mjs";

const LIMIT = { timeout: 300000 };
const PASSWORD = "correct horse battery staple";
const REDIRECT = "https://app.example.com/cb";
let server, metadata, client, name;

before(async () => {
    server = await Server.start("greenroom");
    name = "web" + Math.random().toString(36).slice(2);
    const guest = sdk.createClient({ baseUrl: server.base });
    const body = { username: name, password: PASSWORD, inhibit_login: true };
    const asked = await post(server.base + "/_matrix/client/v3/register", body);
    await post(server.base + "/_matrix/client/v3/register", { ...body, auth: { type: "m.login.dummy", session: asked.session } });
    metadata = await guest.getAuthMetadata();
    client = await sdk.OAuth2.registerClient(metadata, {
        client_name: "Web client",
        client_uri: "https://example.com/",
        redirect_uris: [REDIRECT],
        application_type: "web",
    });
}, LIMIT);

after(async () => {
    await server?.stop();
});

async function post(url, body) {
    const headers = { "Content-Type": "application/json" };
    return (await fetch(url, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// A browser of the pages: follows redirects with its cookies; answers where it left the server, or the page.
class Browser {
    cookies = new Map();

    async go(url, fields) {
        for (;;) {
            const headers = { Cookie: [...this.cookies].map(([k, v]) => `${k}=${v}`).join("; ") };
            const options = fields ? { method: "POST", body: new URLSearchParams(fields) } : {};
            const answer = await fetch(url, { ...options, headers, redirect: "manual" });
            for (const line of answer.headers.getSetCookie()) {
                const [, key, value] = /^([^=]+)=([^;]*)/.exec(line);
                this.cookies.set(key, value);
            }
            if (answer.status !== 303) return { url, html: await answer.text() };
            const target = new URL(answer.headers.get("Location"), url).href;
            if (!target.startsWith(server.base + "/")) return { left: target };
            [url, fields] = [target, undefined];
        }
    }

    submit(page, fields) {
        const action = /<form method="post" action="([^"]*)"/.exec(page.html)[1].replaceAll("&amp;", "&");
        const hidden = [...page.html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
        return this.go(new URL(action, page.url).href, { ...Object.fromEntries(hidden.map((m) => [m[1], m[2]])), ...fields });
    }

    async allow(url) {
        const consent = await this.submit(await this.go(url), { username: name, password: PASSWORD });
        return this.submit(consent, { decision: "allow" });
    }
}

test("a web client logs in, refreshes its tokens and logs out", LIMIT, async () => {
    const oauth = new sdk.OAuth2(metadata, { clientId: client });
    const url = await oauth.generateAuthorizationCodeGrantUrl("some state", REDIRECT);
    const { left } = await new Browser().allow(url);
    const got = new URLSearchParams(new URL(left).hash.slice(1));
    assert.equal(got.get("state"), "some state");
    const tokens = await oauth.completeAuthorizationCodeGrant(got.get("code"), REDIRECT);
    const user = (token) => sdk.createClient({ baseUrl: server.base, accessToken: token });
    const who = await user(tokens.access_token).whoami();
    assert.equal(who.user_id, `@${name}:e2e.test`);
    assert.equal(who.device_id, oauth.context.deviceId);
    const refreshed = await oauth.performRefreshTokenGrant(tokens.refresh_token);
    await user(refreshed.access_token).whoami();
    await assert.rejects(user(tokens.access_token).whoami(), (e) => e.errcode === "M_UNKNOWN_TOKEN");
    await oauth.revokeToken(refreshed.access_token, "access_token");
    await assert.rejects(user(refreshed.access_token).whoami(), (e) => e.errcode === "M_UNKNOWN_TOKEN");
    await assert.rejects(oauth.performRefreshTokenGrant(refreshed.refresh_token), sdk.OAuth2HTTPError);
});

test("a device without a browser logs in by a code", LIMIT, async () => {
    const oauth = new sdk.OAuth2(metadata, { clientId: client });
    const session = await oauth.startDeviceAuthorizationGrant();
    await new Browser().allow(session.verification_uri_complete);
    const tokens = await oauth.waitForDeviceAuthorizationGrant(session);
    const who = await sdk.createClient({ baseUrl: server.base, accessToken: tokens.access_token }).whoami();
    assert.equal(who.device_id, oauth.context.deviceId);
});
