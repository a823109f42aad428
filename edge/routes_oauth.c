/* routes_oauth.c - the OAuth 2.0 API for clients: metadata, registration, tokens, revocation.
 *
 * Client-Server API, "OAuth 2.0 API"; RFC 6749, 7009, 7591, 8414, 8628.
 */
#include "edge/auth_count.h"
#include "edge/oauth.h"
#include "edge/routes.h"

#include "actors/oauth/grant.h"
#include "proto/base64.h"
#include "proto/sha256.h"
#include "proto/token.h"

#include <sodium.h>

#define OAUTH "/_greenroom/oauth2"

enum { TOKENS_TIMEOUT_MS = 30000, CLIENT_ID_BYTES = 18, USER_CODES_TRIED = 4, LOGS_IN = 1 };

/* --- metadata ---------------------------------------------------------------------------------------------- */
static void write_texts(gr_jw *w, const char *key, const char *const *texts)
{
    gr_jw_key(w, key);
    gr_jw_array(w);
    for (size_t i = 0; texts[i]; i++) gr_jw_str(w, gr_str_c(texts[i]));
    gr_jw_end_array(w);
}

static void write_address(gr_jw *w, gr_call *call, const char *key, const char *path)
{
    gr_jw_kstr(w, key, gr_arena_cat(call->arena, 2, (gr_str[]){gr_call_base_url(call), gr_str_c(path)}));
}

/* With the names that actions had before they were stable. */
static const char *const actions[] = {
    "org.matrix.profile", "org.matrix.devices_list", "org.matrix.device_view", "org.matrix.device_delete",
    "org.matrix.account_deactivate", "org.matrix.cross_signing_reset", "org.matrix.sessions_list", "org.matrix.session_view",
    "org.matrix.session_end", NULL};

/* Not under the name it had before it was stable: clients that ask there insist on an id_token, and do without this API
 * when there is nothing. */
static void serve_metadata(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    write_address(&w, call, "issuer", "/");
    write_address(&w, call, "authorization_endpoint", GR_OAUTH_AUTHORIZE);
    write_address(&w, call, "token_endpoint", OAUTH "/token");
    write_address(&w, call, "revocation_endpoint", OAUTH "/revoke");
    write_address(&w, call, "registration_endpoint", OAUTH "/register");
    write_address(&w, call, "device_authorization_endpoint", OAUTH "/device");
    write_address(&w, call, "account_management_uri", GR_OAUTH_ACCOUNT);
    write_texts(&w, "account_management_actions_supported", actions);
    write_texts(&w, "response_types_supported", (const char *const[]){"code", NULL});
    write_texts(&w, "response_modes_supported", (const char *const[]){"query", "fragment", NULL});
    write_texts(&w, "grant_types_supported",
                (const char *const[]){"authorization_code", "refresh_token", GR_OAUTH_DEVICE_GRANT, NULL});
    write_texts(&w, "code_challenge_methods_supported", (const char *const[]){"S256", NULL});
    write_texts(&w, "token_endpoint_auth_methods_supported", (const char *const[]){"none", NULL});
    write_texts(&w, "revocation_endpoint_auth_methods_supported", (const char *const[]){"none", NULL});
    if (gr_call_config(call)->registration != GR_CONFIG_REGISTRATION_CLOSED)
        write_texts(&w, "prompt_values_supported", (const char *const[]){"create", NULL});
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* --- registration ------------------------------------------------------------------------------------------ */
static void told_registered(gr_call *call, const gr_answer *answer)
{
    const gr_json *metadata = NULL;
    const gr_str *state = call->state;             /* the client id, the metadata */
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_err err = gr_json_parse(call->arena, state[1], GR_JSON_LAX, &metadata);
    gr_assert(!gr_failed(err));
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "client_id", state[0]);
    gr_jw_kint(&w, "client_id_issued_at", (int64_t)(call->now_ms / 1000));
    for (uint32_t i = 0; i < metadata->count; i++) {
        gr_jw_key_str(&w, metadata->members[i].key);
        gr_jw_json(&w, &metadata->members[i].value);
    }
    gr_jw_end_object(&w);
    gr_oauth_answer(call, 201, &out);
}

/* The id is made of the metadata: who registers the same again gets the same. */
static void serve_register(gr_call *call)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_str metadata;
    if (!gr_oauth_is_on(call)) return;
    gr_oauth_refusal refusal = call->text.size > GR_OAUTH_METADATA_MAX
        ? (gr_oauth_refusal){"invalid_client_metadata", "This is too much to register"}
        : gr_oauth_client_read(call->arena, call->json, &metadata);
    if (refusal.error) {
        gr_oauth_fail(call, 400, refusal.error, refusal.text);
        return;
    }
    gr_sha256(metadata.ptr, metadata.size, hash);
    gr_str *state = call->state = gr_arena_alloc(call->arena, 2 * sizeof *state);
    state[0] = gr_base64_url(call->arena, gr_str_of(hash, CLIENT_ID_BYTES));
    state[1] = metadata;
    gr_call_ask(call, gr_call_address(call, GR_KIND_CLIENT, state[0]), &gr_type_client_register,
                &(gr_client_register){.metadata = metadata}, told_registered);
}

/* --- device codes ------------------------------------------------------------------------------------------ */
typedef struct { gr_oauth_scope scope; gr_str client, client_name, user_code; } device_request;

static void answer_device(gr_call *call, gr_str device_code)
{
    const device_request *r = call->state;
    gr_str base = gr_call_base_url(call), shown = gr_grant_user_code_shown(call->arena, r->user_code);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "device_code", device_code);
    gr_jw_kstr(&w, "user_code", shown);
    gr_jw_kstr(&w, "verification_uri", gr_arena_cat(call->arena, 2, (gr_str[]){base, GR_STR(GR_OAUTH_LINK)}));
    gr_jw_kstr(&w, "verification_uri_complete",
               gr_arena_cat(call->arena, 3, (gr_str[]){base, GR_STR(GR_OAUTH_LINK "?user_code="), shown}));
    gr_jw_kint(&w, "expires_in", GR_GRANT_DEVICE_MS / 1000);
    gr_jw_kint(&w, "interval", GR_GRANT_POLL_MS / 1000);
    gr_jw_end_object(&w);
    gr_oauth_answer(call, 200, &out);
}

static void ask_device(gr_call *call, uint64_t tries);

static void told_device(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err)) answer_device(call, ((const gr_grant_made *)answer->body)->code);
    else if (answer->err.code == GR_USER_IN_USE && answer->number) ask_device(call, answer->number);
    else gr_call_fail(call, answer->err);
}

/* Draws a user code; one that is taken already is drawn again. */
static void ask_device(gr_call *call, uint64_t tries)
{
    unsigned char random[GR_GRANT_USER_CODE];
    device_request *r = call->state;
    randombytes_buf(random, sizeof random);
    r->user_code = gr_grant_user_code(call->arena, random);
    gr_grant_device m = {.client = r->client, .client_name = r->client_name, .scope = r->scope.granted,
                         .device = r->scope.device};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_GRANT, r->user_code), &gr_type_grant_device, &m, told_device, tries - 1,
                     GR_CALL_TIMEOUT_MS, false);
}

static void device_client(gr_call *call, const gr_answer *answer)
{
    const gr_json *metadata = NULL;
    device_request *r = call->state;
    if (!gr_oauth_client_told(call, answer, &metadata)) return;
    if (!metadata) gr_oauth_fail(call, 401, "invalid_client", "This client has not registered");
    else if (!gr_oauth_client_may(metadata, GR_OAUTH_DEVICE_GRANT))
        gr_oauth_fail(call, 400, "unauthorized_client", "This client has not registered for the device authorisation grant");
    else {
        r->client_name = gr_oauth_client_name(metadata);
        ask_device(call, USER_CODES_TRIED);
    }
}

static void serve_device(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    device_request *r = call->state = gr_arena_alloc(call->arena, sizeof *r);
    r->client = gr_oauth_field(&call->form, "client_id");
    const char *bad = gr_oauth_scope_read(call->arena, gr_oauth_field(&call->form, "scope"), &r->scope);
    if (gr_oauth_twice(&call->form)) gr_oauth_fail(call, 400, "invalid_request", "A parameter is there twice");
    else if (bad) gr_oauth_fail(call, 400, "invalid_scope", bad);
    else if (!gr_oauth_ask_client(call, r->client, device_client))
        gr_oauth_fail(call, 401, "invalid_client", "This client has not registered");
}

/* --- tokens ------------------------------------------------------------------------------------------------ */
static void answer_tokens(gr_call *call, const gr_token_pair *pair, bool logs_in)
{
    if (logs_in) gr_auth_count_login(call->edge, pair->provider.size ? pair->provider : GR_AUTH_COUNT_PASSWORD);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "access_token", pair->access);
    gr_jw_kc(&w, "token_type", "Bearer");
    gr_jw_kint(&w, "expires_in", (int64_t)(pair->expires_in_ms / 1000));
    gr_jw_kstr(&w, "refresh_token", pair->refresh);
    gr_jw_kstr(&w, "scope", pair->scope);
    gr_jw_end_object(&w);
    gr_oauth_answer(call, 200, &out);
}

/* What is wrong with the token or the account is wrong with the grant; anything else may be tried again. */
static void told_tokens(gr_call *call, const gr_answer *answer)
{
    gr_errcode code = answer->err.code;
    if (!gr_failed(answer->err) && answer->type == &gr_type_grant_refused) {
        const gr_grant_refused *refused = answer->body;
        gr_oauth_fail(call, 400, gr_call_keep(call, refused->error).ptr, gr_call_keep(call, refused->text).ptr);
    } else if (!gr_failed(answer->err)) answer_tokens(call, answer->body, answer->number == LOGS_IN);
    else if (code == GR_FORBIDDEN || code == GR_UNKNOWN_TOKEN || code == GR_INVALID_PARAM)
        gr_oauth_fail(call, 400, "invalid_grant", answer->err.text);
    else gr_call_fail(call, answer->err);
}

static void by_code(gr_call *call)
{
    gr_str to, hash;
    if (!gr_grant_of_code(call->arena, gr_oauth_field(&call->form, "code"), &to, &hash)) {
        gr_oauth_fail(call, 400, "invalid_grant", "This is not a code of this server");
        return;
    }
    gr_grant_redeem m = {.hash = hash, .client = gr_oauth_field(&call->form, "client_id"), .ip = call->peer,
                         .redirect_uri = gr_oauth_field(&call->form, "redirect_uri"), .agent = call->user_agent,
                         .verifier = gr_oauth_field(&call->form, "code_verifier")};
    gr_call_ask_more(call, to, &gr_type_grant_redeem, &m, told_tokens, LOGS_IN, TOKENS_TIMEOUT_MS, false);
}

static void by_device_code(gr_call *call)
{
    gr_str to, hash;
    if (!gr_grant_of_code(call->arena, gr_oauth_field(&call->form, "device_code"), &to, &hash)) {
        gr_oauth_fail(call, 400, "invalid_grant", "This is not a device code of this server");
        return;
    }
    gr_grant_poll m = {.hash = hash, .client = gr_oauth_field(&call->form, "client_id"), .ip = call->peer,
                       .agent = call->user_agent};
    gr_call_ask_more(call, to, &gr_type_grant_poll, &m, told_tokens, LOGS_IN, TOKENS_TIMEOUT_MS, false);
}

static void by_refresh_token(gr_call *call)
{
    unsigned char hash[GR_TOKEN_HASH];
    uint8_t shard = 0;
    gr_str token = gr_oauth_field(&call->form, "refresh_token");
    if (!gr_token_read(token, GR_TOKEN_REFRESH, &shard)) {
        gr_oauth_fail(call, 400, "invalid_grant", "Unrecognised refresh token: log in again");
        return;
    }
    gr_token_hash(token, hash);
    gr_token_refresh m = {.hash = gr_str_of(hash, sizeof hash), .client = gr_oauth_field(&call->form, "client_id")};
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard), &gr_type_token_refresh, &m, told_tokens);
}

static void serve_token(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    gr_str type = gr_oauth_field(&call->form, "grant_type");
    if (gr_oauth_twice(&call->form)) gr_oauth_fail(call, 400, "invalid_request", "A parameter is there twice");
    else if (type.size == 0) gr_oauth_fail(call, 400, "invalid_request", "Missing 'grant_type'");
    else if (gr_oauth_field(&call->form, "client_id").size == 0)
        gr_oauth_fail(call, 400, "invalid_request", "Missing 'client_id'");
    else if (gr_str_is(type, "authorization_code")) by_code(call);
    else if (gr_str_is(type, "refresh_token")) by_refresh_token(call);
    else if (gr_str_is(type, GR_OAUTH_DEVICE_GRANT)) by_device_code(call);
    else gr_oauth_fail(call, 400, "unsupported_grant_type", "See grant_types_supported in the metadata");
}

/* --- revocation -------------------------------------------------------------------------------------------- */
static void told_token(gr_call *call, const gr_answer *answer)
{
    if (answer->err.code == GR_NOT_FOUND) gr_call_empty(call);
    else if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else {
        const gr_token_owner *owner = answer->body;
        gr_str device = owner->device;
        gr_user_logout m = {.devices = {&device, 1}};
        gr_call_pass(call, gr_call_address(call, GR_KIND_USER, owner->user), &gr_type_user_logout, &m);
    }
}

/* Whoever has a token may end it, also one that a program has found somewhere; its session ends. */
static void serve_revoke(gr_call *call)
{
    unsigned char hash[GR_TOKEN_HASH];
    uint8_t shard = 0;
    if (!gr_oauth_is_on(call)) return;
    gr_str token = gr_oauth_field(&call->form, "token");
    if (token.size == 0) gr_oauth_fail(call, 400, "invalid_request", "Missing 'token'");
    else if (!gr_token_read(token, GR_TOKEN_ACCESS, &shard) && !gr_token_read(token, GR_TOKEN_REFRESH, &shard))
        gr_call_empty(call);
    else {
        gr_token_hash(token, hash);
        gr_token_look m = {.hash = gr_str_of(hash, sizeof hash)};
        gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard), &gr_type_token_look, &m, told_token);
    }
}

#define OPEN GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ

const gr_call_route gr_routes_oauth[] = {
    {GR_HTTP_GET, "/_matrix/client/v1/auth_metadata", OPEN, serve_metadata},
    {GR_HTTP_GET, "/.well-known/oauth-authorization-server", OPEN, serve_metadata},
    {GR_HTTP_POST, OAUTH "/register", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_register},
    {GR_HTTP_POST, OAUTH "/device", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_device},
    {GR_HTTP_POST, OAUTH "/token", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_OAUTH, serve_token},
    {GR_HTTP_POST, OAUTH "/revoke", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_OAUTH, serve_revoke},
    {.pattern = NULL}};
