/* routes_login.c - registration, login, logout, refresh. Client-Server API, "Account registration" and "Login". */
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/password.h"
#include "proto/ident.h"
#include "proto/token.h"

#define V3 "/_matrix/client/(r0|v3)"

enum { LOGIN_TIMEOUT_MS = 30000 };

/* --- registration ------------------------------------------------------------------------------------------ */
/* The login actor reads the fields; here only their types are judged, before a session is made. */
static bool fits_register(gr_call *call)
{
    gr_str text;
    bool yes;
    return gr_call_may_str(call, "username", &text) && gr_call_may_str(call, "password", &text)
        && gr_call_may_str(call, "device_id", &text) && gr_call_may_str(call, "initial_device_display_name", &text)
        && gr_call_may_bool(call, "inhibit_login", false, &yes) && gr_call_may_bool(call, "refresh_token", false, &yes);
}

/* Of what the client sends only the name of the device counts. */
static void register_guest(gr_call *call)
{
    gr_login_guest m = {.display_name = gr_json_text(call->json, "initial_device_display_name"), .ip = call->peer,
                        .agent = call->user_agent};
    if (gr_call_config(call)->guests)
        gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_guest, &m, gr_uia_passed_on, 0, LOGIN_TIMEOUT_MS, false);
    else gr_call_fail_with(call, GR_GUEST_ACCESS_FORBIDDEN, "This server has no guest accounts");
}

/* A guest makes their account one of a user: who asks is the guest that the token names. */
static void told_guest(gr_call *call, const gr_answer *answer)
{
    const gr_token_owner *owner = answer->body;
    if (gr_failed(answer->err) || !owner->guest) {
        gr_call_fail_with(call, GR_FORBIDDEN, "'guest_access_token' is not the access token of a guest");
        return;
    }
    call->user = gr_call_keep(call, owner->user);
    gr_uia_run(call, "register");
}

static void register_user(gr_call *call)
{
    gr_str token;
    uint8_t shard = 0;
    unsigned char hash[GR_TOKEN_HASH];
    if (!gr_call_may_str(call, "guest_access_token", &token)) return;
    if (token.size == 0) {
        gr_uia_run(call, "register");
        return;
    }
    if (!gr_token_read(token, GR_TOKEN_ACCESS, &shard)) {
        told_guest(call, &(gr_answer){.type = &gr_type_error, .err = gr_fail(GR_UNKNOWN_TOKEN, "")});
        return;
    }
    gr_token_hash(token, hash);
    gr_token_check check = {.hash = gr_str_of(hash, sizeof hash), .ip = call->peer, .agent = call->user_agent};
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard), &gr_type_token_check, &check, told_guest);
}

static void serve_register(gr_call *call)
{
    gr_str kind = GR_STR("user");
    gr_call_query(call, "kind", &kind);
    if (!fits_register(call)) return;
    if (gr_str_is(kind, "guest")) register_guest(call);
    else if (kind.size && !gr_str_is(kind, "user")) gr_call_fail_with(call, GR_INVALID_PARAM, "'kind' must be user or guest");
    else register_user(call);
}

static void told_available(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (((const gr_user_auth_is *)answer->body)->exists)
        gr_call_fail_with(call, GR_USER_IN_USE, "This user name is taken: choose another");
    else gr_call_json(call, 200, GR_STR("{\"available\":true}"));
}

static void serve_available(gr_call *call)
{
    gr_str name = {0};
    gr_call_query(call, "username", &name);
    gr_str id = gr_call_whole_id(call, name), to = gr_call_address(call, GR_KIND_USER, id);
    if (name.size == 0) gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'username'");
    else if (!gr_ident_localpart_new(name) || id.size > GR_IDENT_MAX)
        gr_call_fail_with(call, GR_INVALID_USERNAME, "A user name has only a-z 0-9 . _ = - / +");
    else gr_call_ask(call, to, &gr_type_user_auth_info, &(gr_user_auth_info){0}, told_available);
}

static void told_validity(gr_call *call, const gr_answer *answer)
{
    bool valid = !gr_failed(answer->err);
    if (!valid && answer->err.code != GR_NOT_FOUND && answer->err.code != GR_FORBIDDEN) gr_call_fail(call, answer->err);
    else gr_call_json(call, 200, valid ? GR_STR("{\"valid\":true}") : GR_STR("{\"valid\":false}"));
}

static void serve_validity(gr_call *call)
{
    gr_str token = {0};
    if (!gr_call_query(call, "token", &token)) {
        gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'token'");
        return;
    }
    if (!gr_ident_opaque(token) || token.size > 64) {
        gr_call_json(call, 200, GR_STR("{\"valid\":false}"));
        return;
    }
    gr_str name = gr_arena_cat(call->arena, 2, (gr_str[]){GR_STR("regtoken/"), token});
    gr_name_use use = {.look_only = true};
    gr_call_ask(call, gr_call_address(call, GR_KIND_NAME, name), &gr_type_name_use, &use, told_validity);
}

/* --- login ------------------------------------------------------------------------------------------------- */
static void serve_flows(gr_call *call)
{
    gr_call_json(call, 200, GR_STR("{\"flows\":[{\"type\":\"m.login.password\"},"
                                   "{\"type\":\"m.login.token\",\"get_login_token\":true}]}"));
}

typedef struct { gr_str device, display_name; bool refreshable; } login_common;

static bool read_common(gr_call *call, login_common *out)
{
    return gr_call_may_str(call, "device_id", &out->device)
        && gr_call_may_str(call, "initial_device_display_name", &out->display_name)
        && gr_call_may_bool(call, "refresh_token", false, &out->refreshable);
}

static void by_password(gr_call *call)
{
    const gr_json *identifier = NULL;
    gr_str user = {0}, password = {0};
    login_common common;
    if (!gr_call_may(call, "identifier", GR_JSON_OBJECT, &identifier) || !gr_call_want_str(call, "password", &password)
        || !read_common(call, &common)) return;
    if (identifier && !gr_str_is(gr_json_text(identifier, "type"), "m.id.user")) {
        gr_call_fail_with(call, GR_REFUSED, "Log in with an identifier of type m.id.user");
        return;
    }
    user = identifier ? gr_json_text(identifier, "user") : user;
    if (!identifier && !gr_call_want_str(call, "user", &user)) return;
    if (user.size == 0) {
        gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'user' in the identifier");
        return;
    }
    /* What is longer than it may be is nobody's, and is not carried around. */
    password = gr_str_head(password, GR_PASSWORD_SIZE_MAX + 1);
    gr_login_password login = {.user = gr_call_whole_id(call, gr_str_head(user, GR_IDENT_MAX + 1)), .password = password,
                               .device = common.device, .display_name = common.display_name,
                               .refreshable = common.refreshable, .ip = call->peer, .agent = call->user_agent};
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_password, &login, gr_uia_passed_on, 0,
                     LOGIN_TIMEOUT_MS, false);
}

static void by_token(gr_call *call)
{
    gr_str token;
    login_common common;
    if (!gr_call_want_str(call, "token", &token) || !read_common(call, &common)) return;
    gr_login_token login = {.token = token, .device = common.device, .display_name = common.display_name,
                            .refreshable = common.refreshable, .ip = call->peer, .agent = call->user_agent};
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_token, &login, gr_uia_passed_on, 0,
                     LOGIN_TIMEOUT_MS, false);
}

static void serve_login(gr_call *call)
{
    gr_str type;
    if (!gr_call_want_str(call, "type", &type)) return;
    if (gr_str_is(type, "m.login.password")) by_password(call);
    else if (gr_str_is(type, "m.login.token")) by_token(call);
    else gr_call_fail_with(call, GR_REFUSED, "This login type is not known: see GET /login");
}

/* A login token lets another device of the same person in: Client-Server API, "POST /login/get_token". */
static void told_token(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_token_pair *pair = answer->body;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "login_token", pair->access);
    gr_jw_kint(&w, "expires_in_ms", (int64_t)pair->expires_in_ms);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void make_token(gr_call *call)
{
    gr_token_once once = {.user = call->user, .lifetime_ms = 120 * 1000};
    gr_str index = gr_address_of_shard(call->arena, GR_KIND_TOKEN, gr_id_shard(call->user));
    gr_call_ask(call, index, &gr_type_token_once, &once, told_token);
}

static void serve_get_token(gr_call *call) { gr_uia_check(call, make_token); }

/* --- logout, refresh --------------------------------------------------------------------------------------- */
static void serve_logout(gr_call *call)
{
    gr_user_logout logout = {.devices = {&call->device, 1}};
    gr_call_pass(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_logout, &logout);
}

static void serve_logout_all(gr_call *call)
{
    gr_user_logout logout = {.keep = GR_STR("")};
    gr_call_pass(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_logout, &logout);
}

static void told_refreshed(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_token_pair *pair = answer->body;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "access_token", pair->access);
    gr_jw_kstr(&w, "refresh_token", pair->refresh);
    gr_jw_kint(&w, "expires_in_ms", (int64_t)pair->expires_in_ms);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void serve_refresh(gr_call *call)
{
    gr_str token;
    uint8_t shard = 0;
    unsigned char hash[GR_TOKEN_HASH];
    if (!gr_call_want_str(call, "refresh_token", &token)) return;
    if (!gr_token_read(token, GR_TOKEN_REFRESH, &shard)) {
        gr_call_fail_with(call, GR_UNKNOWN_TOKEN, "Unrecognised refresh token: log in again");
        return;
    }
    gr_token_hash(token, hash);
    gr_token_refresh refresh = {.hash = gr_str_of(hash, sizeof hash)};
    gr_str index = gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard);
    gr_call_ask(call, index, &gr_type_token_refresh, &refresh, told_refreshed);
}

const gr_call_route gr_routes_login[] = {
    {GR_HTTP_POST, V3 "/register", GR_CALL_NO_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_REGISTER, serve_register},
    {GR_HTTP_GET, V3 "/register/available", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_available},
    {GR_HTTP_GET, "/_matrix/client/v1/register/m.login.registration_token/validity", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY,
     GR_RATE_LOGIN, serve_validity},
    {GR_HTTP_GET, V3 "/login", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_flows},
    {GR_HTTP_POST, V3 "/login", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_login},
    {GR_HTTP_POST, "/_matrix/client/v1/login/get_token", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_LOGIN, serve_get_token},
    {GR_HTTP_POST, V3 "/logout", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_logout, .guest_ok = true},
    {GR_HTTP_POST, V3 "/logout/all", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_logout_all, .guest_ok = true},
    {GR_HTTP_POST, V3 "/refresh", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_refresh},
    {.pattern = NULL}};
