/* routes_login.c - registration, login, logout, refresh. Client-Server API, "Account registration" and "Login". */
#include "edge/auth_count.h"
#include "edge/edge.h"
#include "edge/email.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/password.h"
#include "actors/login/login_token.h"
#include "proto/ident.h"
#include "proto/token.h"

#include <sodium.h>

#define V3 "/_matrix/client/(r0|v3)"

enum { LOGIN_TIMEOUT_MS = 60000 };

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
static void told_guest_made(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err)) gr_auth_count_registration(call->edge, GR_AUTH_COUNT_GUEST);
    gr_uia_passed_on(call, answer);
}

static void register_guest(gr_call *call)
{
    gr_login_guest m = {.display_name = gr_json_text(call->json, "initial_device_display_name"), .ip = call->peer,
                        .agent = call->user_agent};
    if (gr_call_config(call)->guests)
        gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_guest, &m, told_guest_made, 0, LOGIN_TIMEOUT_MS, false);
    else gr_call_fail_with(call, GR_GUEST_ACCESS_FORBIDDEN, "This server has no guest accounts");
}

static void told_registered(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err) && answer->type == &gr_type_login_answer)
        gr_auth_count_registration(call->edge, GR_AUTH_COUNT_PASSWORD);
    gr_uia_passed_on(call, answer);
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
    gr_uia_run_then(call, "register", told_registered);
}

/* The application service whose token came with the request, and the user it names; else answers the call. */
static const gr_appservice *appservice_of(gr_call *call, gr_str user)
{
    const gr_appservice *a = gr_appservices_find(call->edge->appservices, call->token);
    gr_err err = gr_ok();
    if (call->token.size == 0) err = gr_fail(GR_MISSING_TOKEN, "Missing the token of the application service");
    else if (!a) err = gr_fail(GR_UNKNOWN_TOKEN, "This is not the token of an application service");
    else if (!gr_ident_user_strict(user) || !gr_ident_is_local(user, gr_call_server_name(call))
             || !gr_ident_localpart_new(gr_ident_localpart(user)) || user.size > GR_IDENT_MAX)
        err = gr_fail(GR_INVALID_USERNAME, "This is not a user id of this server");
    else if (!gr_appservice_owns(a, user)) err = gr_fail(GR_EXCLUSIVE, "This user is not the application service's own");
    if (gr_failed(err)) gr_call_fail(call, err);
    return gr_failed(err) ? NULL : a;
}

static void ask_appservice(gr_call *call, gr_str user, bool make)
{
    const gr_appservice *a = appservice_of(call, user);
    if (!a) return;
    gr_login_appservice m = {.appservice = a->id, .user = user, .make = make, .ip = call->peer, .agent = call->user_agent,
                             .device = gr_json_text(call->json, "device_id"),
                             .display_name = gr_json_text(call->json, "initial_device_display_name"),
                             .refreshable = gr_json_boolean(gr_json_get(call->json, "refresh_token"), false),
                             .inhibit_login = gr_json_boolean(gr_json_get(call->json, "inhibit_login"), false)};
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_appservice, &m, gr_uia_passed_on, 0, LOGIN_TIMEOUT_MS, false);
}

static void register_user(gr_call *call)
{
    gr_str token, name = gr_json_text(call->json, "username");
    uint8_t shard = 0;
    unsigned char hash[GR_TOKEN_HASH];
    if (gr_str_is(gr_json_text(call->json, "type"), "m.login.application_service")) {
        ask_appservice(call, gr_call_whole_id(call, name), true);
        return;
    }
    if (name.size && gr_appservices_exclusive(call->edge->appservices, gr_call_whole_id(call, name))) {
        gr_call_fail_with(call, GR_EXCLUSIVE, "This user name is kept for an application service: choose another");
        return;
    }
    if (!gr_call_may_str(call, "guest_access_token", &token)) return;
    if (token.size == 0) {
        gr_uia_run_then(call, "register", told_registered);
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
    else if (gr_appservices_exclusive(call->edge->appservices, id))
        gr_call_fail_with(call, GR_EXCLUSIVE, "This user name is kept for an application service: choose another");
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
    gr_name_use use = {.look_only = true};
    gr_call_ask(call, gr_token_name(call->arena, token), &gr_type_name_use, &use, told_validity);
}

/* --- login ------------------------------------------------------------------------------------------------- */
static void write_flow(gr_jw *w, const char *type)
{
    gr_jw_object(w);
    gr_jw_kc(w, "type", type);
    if (strcmp(type, "m.login.token") == 0) gr_jw_kbool(w, "get_login_token", true);
    gr_jw_end_object(w);
}

static void write_provider(gr_jw *w, const gr_config_provider *p)
{
    gr_jw_object(w);
    gr_jw_kc(w, "id", p->id);
    gr_jw_kc(w, "name", p->name);
    if (p->icon[0]) gr_jw_kc(w, "icon", p->icon);
    if (p->brand[0]) gr_jw_kc(w, "brand", p->brand);
    gr_jw_end_object(w);
}

static void write_sso(gr_jw *w, const gr_config *config)
{
    const gr_config_providers *all = &config->sso_providers;
    gr_jw_object(w);
    gr_jw_kc(w, "type", "m.login.sso");
    if (config->sso_preferred) gr_jw_kbool(w, "oauth_aware_preferred", true);
    gr_jw_key(w, "identity_providers");
    gr_jw_array(w);
    for (size_t i = 0; i < all->count; i++) write_provider(w, &all->at[i]);
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

static void serve_flows(gr_call *call)
{
    const gr_config *config = gr_call_config(call);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "flows");
    gr_jw_array(&w);
    write_flow(&w, "m.login.password");
    if (config->sso_providers.count) write_sso(&w, config);
    write_flow(&w, "m.login.token");
    write_flow(&w, "m.login.application_service");
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

typedef struct { gr_str device, display_name; bool refreshable; } login_common;

static bool read_common(gr_call *call, login_common *out)
{
    return gr_call_may_str(call, "device_id", &out->device)
        && gr_call_may_str(call, "initial_device_display_name", &out->display_name)
        && gr_call_may_bool(call, "refresh_token", false, &out->refreshable);
}

static void told_by_password(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err)) gr_auth_count_login(call->edge, GR_AUTH_COUNT_PASSWORD);
    gr_uia_passed_on(call, answer);
}

static void ask_password(gr_call *call, gr_login_password *login, gr_str password, const login_common *common)
{
    login->password = gr_str_head(password, GR_PASSWORD_SIZE_MAX + 1);     /* a longer one is nobody's, and not carried around */
    login->device = common->device;
    login->display_name = common->display_name;
    login->refreshable = common->refreshable;
    login->ip = call->peer;
    login->agent = call->user_agent;
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_password, login, told_by_password, 0, LOGIN_TIMEOUT_MS,
                     false);
}

/* identifier: or the whole request, whose medium and address are what it was once. */
static void by_email(gr_call *call, const gr_json *identifier, gr_str password, const login_common *common)
{
    gr_str address = gr_json_text(identifier, "address");
    gr_login_password login = {.email = gr_arena_lower(call->arena, address)};
    if (gr_str_is(gr_json_text(identifier, "medium"), "email") && gr_ident_email(address))
        ask_password(call, &login, password, common);
    else gr_call_fail_with(call, GR_FORBIDDEN, "Wrong user name or password");
}

static void by_password(gr_call *call)
{
    const gr_json *identifier = NULL;
    gr_str user = {0}, password = {0};
    login_common common;
    if (!gr_call_may(call, "identifier", GR_JSON_OBJECT, &identifier) || !gr_call_want_str(call, "password", &password)
        || !read_common(call, &common)) return;
    bool is_email = identifier ? gr_str_is(gr_json_text(identifier, "type"), "m.id.thirdparty")
        : gr_json_get(call->json, "medium") != NULL;
    if (identifier && !is_email && !gr_str_is(gr_json_text(identifier, "type"), "m.id.user")) {
        gr_call_fail_with(call, GR_REFUSED, "Log in with an identifier of type m.id.user or m.id.thirdparty");
        return;
    }
    if (is_email) {
        by_email(call, identifier ? identifier : call->json, password, &common);
        return;
    }
    user = identifier ? gr_json_text(identifier, "user") : user;
    if (!identifier && !gr_call_want_str(call, "user", &user)) return;
    if (user.size == 0) {
        gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'user' in the identifier");
        return;
    }
    gr_login_password login = {.user = gr_call_whole_id(call, gr_str_head(user, GR_IDENT_MAX + 1))};
    ask_password(call, &login, password, &common);
}

static void write_pair(gr_jw *w, const gr_token_pair *pair)
{
    gr_jw_kstr(w, "access_token", pair->access);
    if (pair->refresh.size == 0) return;
    gr_jw_kstr(w, "refresh_token", pair->refresh);
    gr_jw_kint(w, "expires_in_ms", (int64_t)pair->expires_in_ms);
}

static void refuse_token(gr_call *call, gr_login_refusal why)
{
    static const char *const text[GR_LOGIN_REFUSALS] = {
        "This is not a login token of this server", "This login token has expired", "This login token was used already"};
    gr_assert(why < GR_LOGIN_REFUSALS);
    call->edge->counters.login_tokens_refused[why]++;
    gr_call_fail_with(call, GR_FORBIDDEN, text[why]);
}

static void told_by_token(gr_call *call, const gr_answer *answer)
{
    gr_buf out = {0};
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    if (answer->type == &gr_type_login_refused) {
        refuse_token(call, (gr_login_refusal)((const gr_login_refused *)answer->body)->why);
        return;
    }
    const gr_token_pair *pair = answer->body;
    gr_auth_count_login(call->edge, pair->provider.size ? pair->provider : GR_AUTH_COUNT_TOKEN);
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "user_id", pair->user);
    gr_jw_kstr(&w, "device_id", pair->device);
    gr_jw_kstr(&w, "home_server", gr_call_server_name(call));
    write_pair(&w, pair);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void by_token(gr_call *call)
{
    gr_str token;
    uint8_t shard;
    login_common common;
    if (!gr_call_want_str(call, "token", &token) || !read_common(call, &common)) return;
    if (!gr_token_read(token, GR_TOKEN_LOGIN, &shard)) {
        refuse_token(call, GR_LOGIN_TOKEN_UNKNOWN);
        return;
    }
    gr_login_token login = {.device = common.device, .display_name = common.display_name, .refreshable = common.refreshable,
                            .ip = call->peer, .agent = call->user_agent};
    gr_call_ask_more(call, gr_login_token_address(call->arena, token), &gr_type_login_token, &login, told_by_token, 0,
                     LOGIN_TIMEOUT_MS, false);
}

static void by_appservice(gr_call *call)
{
    login_common common;
    gr_str user = gr_json_string(gr_json_path(call->json, "identifier/user"));
    if (user.size == 0) user = gr_json_text(call->json, "user");
    if (!read_common(call, &common)) return;
    if (user.size) ask_appservice(call, gr_call_whole_id(call, gr_str_head(user, GR_IDENT_MAX + 1)), false);
    else gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'user' in the identifier");
}

static void serve_login(gr_call *call)
{
    gr_str type;
    if (!gr_call_want_str(call, "type", &type)) return;
    if (gr_str_is(type, "m.login.password")) by_password(call);
    else if (gr_str_is(type, "m.login.token")) by_token(call);
    else if (gr_str_is(type, "m.login.application_service")) by_appservice(call);
    else gr_call_fail_with(call, GR_REFUSED, "This login type is not known: see GET /login");
}

/* A login token lets another device of the same person in: Client-Server API, "POST /login/get_token". */
static void told_token(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "login_token", *(const gr_str *)call->state);
    gr_jw_kint(&w, "expires_in_ms", (int64_t)gr_call_config(call)->tokens_login_lifetime_ms);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void make_token(gr_call *call)
{
    unsigned char random[GR_TOKEN_RANDOM];
    gr_str *token = call->state = gr_arena_alloc(call->arena, sizeof *token);
    randombytes_buf(random, sizeof random);
    *token = gr_token_make(call->arena, GR_TOKEN_LOGIN, gr_id_shard(call->user), random);
    gr_login_token_make make = {.user = call->user, .lifetime_ms = gr_call_config(call)->tokens_login_lifetime_ms};
    gr_call_ask(call, gr_login_token_address(call->arena, *token), &gr_type_login_token_make, &make, told_token);
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
    write_pair(&w, pair);
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
