/* routes_shared_secret.c - accounts made by who knows registration_shared_secret, at the path and in the form of Synapse's
 * admin API, because tools know it: GET gives a nonce, POST proves with it that the secret is known.
 *
 * A nonce says until when it is good and carries a proof that a node of this server made it, so it is kept nowhere.  A request
 * that is repeated with its nonce, because the answer was lost, is answered again; another can't be made of it.
 */
#include "edge/edge.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/password.h"
#include "proto/base64.h"
#include "proto/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>

enum { NONCE_RANDOM = 16, PROOF = 16, NONCE_MS = 60 * 1000, MAC_SHA1 = 20, LOGIN_TIMEOUT_MS = 60000, NAME_MAX_SIZE = 255 };

static bool is_on(gr_call *call)
{
    if (gr_call_config(call)->registration_shared_secret[0]) return true;
    gr_call_fail_with(call, GR_REFUSED, "Registration by shared secret is not enabled on this server");
    return false;
}

/* --- nonces ------------------------------------------------------------------------------------------------ */
/* "<until>.<random>.<proof>": proof of what stands before it. */
static gr_str proof_of(gr_call *call, gr_str text)
{
    unsigned char proof[PROOF];
    crypto_generichash_state state;
    crypto_generichash_init(&state, call->edge->openid_key, 32, PROOF);
    crypto_generichash_update(&state, (const unsigned char *)"registration nonce", sizeof "registration nonce");
    crypto_generichash_update(&state, (const unsigned char *)text.ptr, text.size);
    crypto_generichash_final(&state, proof, PROOF);
    return gr_base64_url(call->arena, gr_str_of(proof, PROOF));
}

static bool nonce_good(gr_call *call, gr_str nonce)
{
    size_t dot = nonce.size;
    uint64_t until_ms = 0;
    while (dot > 0 && nonce.ptr[dot - 1] != '.') dot--;
    if (dot < 2) return false;
    gr_str text = gr_str_head(nonce, dot - 1), proof = gr_str_from(nonce, dot), wanted = proof_of(call, text);
    ptrdiff_t first = gr_str_find(text, '.');
    return proof.size == wanted.size && sodium_memcmp(proof.ptr, wanted.ptr, proof.size) == 0 && first > 0
        && gr_str_u64(gr_str_head(text, (size_t)first), &until_ms) && until_ms > call->now_ms;
}

static void serve_nonce(gr_call *call)
{
    unsigned char random[NONCE_RANDOM];
    gr_buf out = {0};
    if (!is_on(call)) return;
    randombytes_buf(random, sizeof random);
    gr_str random_text = gr_base64_url(call->arena, gr_str_of(random, sizeof random));
    gr_str text = gr_arena_printf(call->arena, "%llu.%" GR_FMT, (unsigned long long)call->now_ms + NONCE_MS, GR_ARG(random_text));
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "nonce", gr_arena_cat(call->arena, 3, (gr_str[]){text, GR_STR("."), proof_of(call, text)}));
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* --- making the account ------------------------------------------------------------------------------------ */
typedef struct { gr_str nonce, username, password, user_type, mac, display_name; bool admin; } request;

/* nonce NUL username NUL password NUL admin|notadmin, and NUL user_type if there is one. */
static bool mac_good(gr_call *call, const request *r)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char hex[2 * MAC_SHA1 + 1];
    const char *secret = gr_call_config(call)->registration_shared_secret;
    gr_str nul = {"", 1}, role = r->admin ? GR_STR("admin") : GR_STR("notadmin");
    gr_str text = gr_arena_cat(call->arena, r->user_type.size ? 9 : 7,
                               (gr_str[]){r->nonce, nul, r->username, nul, r->password, nul, role, nul, r->user_type});
    if (!HMAC(EVP_sha1(), secret, (int)strlen(secret), (const unsigned char *)text.ptr, text.size, raw, &size)) return false;
    explicit_bzero((char *)text.ptr, text.size);
    sodium_bin2hex(hex, sizeof hex, raw, MAC_SHA1);
    return r->mac.size == 2 * MAC_SHA1 && sodium_memcmp(r->mac.ptr, hex, 2 * MAC_SHA1) == 0;
}

static bool read_request(gr_call *call, request *r)
{
    return gr_call_want_str(call, "nonce", &r->nonce) && gr_call_want_str(call, "username", &r->username)
        && gr_call_want_str(call, "password", &r->password) && gr_call_want_str(call, "mac", &r->mac)
        && gr_call_may_bool(call, "admin", false, &r->admin) && gr_call_may_str(call, "user_type", &r->user_type)
        && gr_call_may_str(call, "displayname", &r->display_name);
}

/* The login is answered when the display name is set; one that does not fit is no reason to fail. */
static void named(gr_call *call, const gr_answer *answer)
{
    (void)answer;
    gr_call_json(call, 200, *(gr_str *)call->state);
}

static void made(gr_call *call, const gr_answer *answer)
{
    const gr_json *body = NULL;
    gr_str name = gr_json_text(call->json, "displayname"), *state = gr_arena_alloc(call->arena, sizeof *state);
    if (gr_failed(answer->err) || name.size == 0) {
        gr_uia_passed_on(call, answer);
        return;
    }
    *state = gr_call_keep(call, ((const gr_login_answer *)answer->body)->body);
    call->state = state;
    if (gr_failed(gr_json_parse(call->arena, *state, GR_JSON_LAX, &body))) {
        named(call, answer);
        return;
    }
    gr_user_profile_put put = {.field = GR_STR("displayname"),
                               .value = gr_json_printed(call->arena, gr_json_get(call->json, "displayname"))};
    gr_call_ask(call, gr_call_address(call, GR_KIND_USER, gr_json_text(body, "user_id")), &gr_type_user_profile_put, &put, named);
}

static void serve_make(gr_call *call)
{
    request r = {0};
    unsigned char hash[GR_SHA256_SIZE];
    if (!is_on(call) || !read_request(call, &r)) return;
    if (!nonce_good(call, r.nonce)) {
        gr_call_fail_with(call, GR_REFUSED, "This nonce is unknown or too old: get a new one");
        return;
    }
    if (r.username.size > NAME_MAX_SIZE || r.password.size > GR_PASSWORD_SIZE_MAX || !mac_good(call, &r)) {
        gr_call_fail_with(call, GR_FORBIDDEN, "HMAC incorrect");
        return;
    }
    gr_sha256(r.mac.ptr, r.mac.size, hash);        /* who repeats the request comes to the same login actor */
    gr_str to = gr_call_address(call, GR_KIND_LOGIN, gr_base64_url(call->arena, gr_str_of(hash, sizeof hash)));
    gr_login_account account = {.name = r.username, .password = r.password, .admin = r.admin, .log_in = true, .ip = call->peer,
                                .agent = call->user_agent};
    gr_call_ask_more(call, to, &gr_type_login_account, &account, made, 0, LOGIN_TIMEOUT_MS, false);
}

const gr_call_route gr_routes_shared_secret[] = {
    {GR_HTTP_GET, "/_synapse/admin/v1/register", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_nonce},
    {GR_HTTP_POST, "/_synapse/admin/v1/register", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_make},
    {.pattern = NULL}};
