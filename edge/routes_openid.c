/* routes_openid.c - OpenID tokens: a user proves to a third party who they are. Client-server API, "OpenID"; server-server
 * API, "OpenID".
 *
 * A token says whose it is and until when, and carries a proof that only nodes of this server can make, so it is stored
 * nowhere and good at every node.
 */
#include "edge/edge.h"
#include "edge/routes.h"

#include "proto/base64.h"
#include "proto/ident.h"

#include <sodium.h>

enum { LIFETIME_S = 3600, PROOF = 32 };

static void prove(const gr_edge *e, gr_str text, unsigned char proof[PROOF])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, e->openid_key, 32, PROOF);
    crypto_generichash_update(&state, (const unsigned char *)"openid", sizeof "openid");
    crypto_generichash_update(&state, (const unsigned char *)text.ptr, text.size);
    crypto_generichash_final(&state, proof, PROOF);
}

/* "gro_<proof>_<until, in seconds>_<user id>", the last as base64. */
static gr_str token_of(gr_call *call, gr_str user, uint64_t until_s)
{
    unsigned char proof[PROOF];
    gr_str text = gr_arena_printf(call->arena, "%llu_%" GR_FMT, (unsigned long long)until_s,
                                  GR_ARG(gr_base64_url(call->arena, user)));
    prove(call->edge, text, proof);
    gr_str first = gr_base64_url(call->arena, gr_str_of(proof, PROOF));
    return gr_arena_printf(call->arena, "gro_%" GR_FMT ".%" GR_FMT, GR_ARG(first), GR_ARG(text));
}

/* The user whose token this is, while it holds; empty if it is none. */
static gr_str user_of(gr_call *call, gr_str token)
{
    unsigned char proof[PROOF];
    gr_str given, user;
    uint64_t until_s = 0;
    if (!gr_str_starts(token, GR_STR("gro_"))) return (gr_str){0};
    token = gr_str_from(token, 4);
    ptrdiff_t dot = gr_str_find(token, '.');
    if (dot < 0) return (gr_str){0};
    gr_str text = gr_str_from(token, (size_t)dot + 1);
    prove(call->edge, text, proof);
    bool good = gr_base64_decode(call->arena, gr_str_head(token, (size_t)dot), &given) && given.size == PROOF
        && sodium_memcmp(given.ptr, proof, PROOF) == 0;
    ptrdiff_t bar = good ? gr_str_find(text, '_') : -1;
    if (bar < 0 || !gr_str_u64(gr_str_head(text, (size_t)bar), &until_s) || until_s * 1000 <= call->now_ms) return (gr_str){0};
    return gr_base64_decode(call->arena, gr_str_from(text, (size_t)bar + 1), &user) ? user : (gr_str){0};
}

static void serve_request(gr_call *call)
{
    if (!gr_str_eq(gr_call_param(call, "userId"), call->user)) {
        gr_call_fail_with(call, GR_FORBIDDEN, "A token can be had for oneself only");
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "access_token", token_of(call, call->user, call->now_ms / 1000 + LIFETIME_S));
    gr_jw_kint(&w, "expires_in", LIFETIME_S);
    gr_jw_kstr(&w, "matrix_server_name", gr_call_server_name(call));
    gr_jw_kc(&w, "token_type", "Bearer");
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void on_profile(gr_call *call, const gr_answer *a)
{
    if (gr_failed(a->err)) {       /* the account is gone */
        gr_call_fail_with(call, GR_UNKNOWN_TOKEN, "Access token unknown or expired");
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "sub", *(const gr_str *)call->state);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

void gr_routes_serve_userinfo(gr_call *call)
{
    gr_str token = {0}, *user = call->state = gr_arena_alloc(call->arena, sizeof *user);
    if (!gr_call_query(call, "access_token", &token)) {
        gr_call_fail_with(call, GR_MISSING_TOKEN, "'access_token' is needed");
        return;
    }
    *user = user_of(call, token);
    if (user->size == 0) gr_call_fail_with(call, GR_UNKNOWN_TOKEN, "Access token unknown or expired");
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, *user), &gr_type_user_profile, &(gr_user_profile){0}, on_profile);
}

const gr_call_route gr_routes_openid[] = {
    {GR_HTTP_POST, "/_matrix/client/(r0|v3)/user/{userId}/openid/request_token", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL,
     GR_RATE_LOGIN, serve_request, .guest_ok = true},
    {.pattern = NULL}};
