// A real identity provider, oidc-provider, on loopback: node provider.mjs PORT CALLBACK BACKCHANNEL.  Its pages for logging
// in are its own for development; any name is let in.  Whoever logs out at /session/end is logged out by BACKCHANNEL, too.
import Provider from "oidc-provider";

const [port, callback, backchannel] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
    clients: [{
        client_id: "greenroom", client_secret: "secret", redirect_uris: [callback], grant_types: ["authorization_code"],
        response_types: ["code"], backchannel_logout_uri: backchannel, backchannel_logout_session_required: true,
    }],
    claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email"] },
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
    // Its own dispatcher connects to no loopback address, which is right anywhere but here.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    cookies: { keys: ["of a test"] },
    findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({ sub: id, name: `The ${id}`, preferred_username: id, email: `${id}@example.org` }),
    }),
});
provider.on("backchannel.error", (_, error) => console.error(error));
provider.on("server_error", (_, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
