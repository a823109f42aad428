// A real identity provider, oidc-provider, on loopback: node provider.mjs PORT CALLBACK.  Its pages for logging
// in are its own for development; any name is let in.
import Provider from "oidc-provider";

const [port, callback] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
    clients: [{
        client_id: "greenroom", client_secret: "secret", redirect_uris: [callback], grant_types: ["authorization_code"],
        response_types: ["code"],
    }],
    claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email"] },
    features: { devInteractions: { enabled: true } },
    cookies: { keys: ["of a test"] },
    findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({ sub: id, name: `The ${id}`, preferred_username: id, email: `${id}@example.org` }),
    }),
});
provider.on("server_error", (_, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
