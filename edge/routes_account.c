/* routes_account.c - the own account: whoami, password, deactivation, devices; and profiles. */
#include "edge/edge.h"
#include "edge/remote.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "proto/ident.h"
#include "proto/uri.h"

#define V3 "/_matrix/client/(r0|v3)"

static gr_str own_address(gr_call *call) { return gr_call_address(call, GR_KIND_USER, call->user); }

/* --- account ----------------------------------------------------------------------------------------------- */
static void serve_whoami(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "user_id", call->user);
    if (call->device.size) gr_jw_kstr(&w, "device_id", call->device);
    gr_jw_kbool(&w, "is_guest", call->guest);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void serve_password(gr_call *call)
{
    gr_str password;
    bool yes, is_known = call->user.size > 0;
    if (call->guest) {
        gr_call_fail_with(call, GR_GUEST_ACCESS_FORBIDDEN, "Guests have no password");
        return;
    }
    if (!is_known && call->edge->env->email.from.size == 0) {      /* who is not logged in shows by mail who they are */
        gr_call_fail_with(call, GR_MISSING_TOKEN, "Missing access token");
        return;
    }
    if (gr_call_may_str(call, "new_password", &password) && gr_call_may_bool(call, "logout_devices", true, &yes))
        gr_uia_run(call, "password");
}

static void told_deactivated(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else gr_call_json(call, 200, GR_STR("{\"id_server_unbind_result\":\"success\"}"));
}

static void deactivate(gr_call *call)
{
    gr_user_deactivate m = {.erase = gr_json_boolean(gr_json_get(call->json, "erase"), false)};
    gr_call_ask(call, own_address(call), &gr_type_user_deactivate, &m, told_deactivated);
}

static void serve_deactivate(gr_call *call)
{
    bool erase;
    if (gr_call_may_bool(call, "erase", false, &erase)) gr_uia_check(call, deactivate);
}

/* --- devices ----------------------------------------------------------------------------------------------- */
static void serve_devices(gr_call *call)
{
    gr_call_pass(call, own_address(call), &gr_type_user_devices, &(gr_user_devices){0});
}

static void serve_device(gr_call *call)
{
    gr_user_devices m = {.device = gr_call_param(call, "deviceId")};
    gr_call_pass(call, own_address(call), &gr_type_user_devices, &m);
}

static void serve_device_put(gr_call *call)
{
    gr_user_device_put m = {.device = gr_call_param(call, "deviceId")};
    if (!gr_call_may_str(call, "display_name", &m.display_name)) return;
    m.named = gr_json_get(call->json, "display_name") != NULL;
    gr_call_pass(call, own_address(call), &gr_type_user_device_put, &m);
}

static void delete_device(gr_call *call)
{
    gr_str device = gr_call_param(call, "deviceId");
    gr_user_logout m = {.devices = {&device, 1}};
    gr_call_pass(call, own_address(call), &gr_type_user_logout, &m);
}

static void serve_device_delete(gr_call *call) { gr_uia_check(call, delete_device); }

static void delete_devices(gr_call *call)
{
    const gr_json *list = gr_json_get(call->json, "devices");
    gr_strs devices = {gr_arena_alloc(call->arena, list->count * sizeof(gr_str)), list->count};
    for (uint32_t i = 0; i < list->count; i++) devices.at[i] = gr_json_string(&list->items[i]);
    gr_user_logout m = {.devices = devices};
    if (devices.count) gr_call_pass(call, own_address(call), &gr_type_user_logout, &m);
    else gr_call_empty(call);
}

enum { DELETED_DEVICES_MAX = 1000 };

static void serve_devices_delete(gr_call *call)
{
    const gr_json *list = NULL;
    if (!gr_call_want(call, "devices", GR_JSON_ARRAY, &list)) return;
    for (uint32_t i = 0; i < list->count; i++)
        if (!gr_ident_device(gr_json_string(&list->items[i]))) {
            gr_call_fail_with(call, GR_BAD_JSON, "'devices' must be an array of device ids");
            return;
        }
    if (list->count > DELETED_DEVICES_MAX) gr_call_fail_with(call, GR_TOO_LARGE, "At most 1000 devices at once");
    else gr_uia_check(call, delete_devices);
}

/* --- profiles ---------------------------------------------------------------------------------------------- */
/* The user actor of the profile in the path; answers the call and returns false when there can be none here. */
static bool profile_address(gr_call *call, gr_str *to)
{
    gr_str user = gr_call_param(call, "userId");
    gr_err err = gr_ok();
    if (!gr_ident_user_strict(user)) err = gr_fail(GR_INVALID_PARAM, "This is not a user id");
    else if (!gr_ident_is_local(user, gr_call_server_name(call))) err = gr_fail(GR_NOT_FOUND, "There is no such user here");
    *to = gr_call_address(call, GR_KIND_USER, user);
    if (gr_failed(err)) gr_call_fail(call, err);
    return !gr_failed(err);
}

/* The whole profile, or the field asked for: a server may tell more than it was asked. */
static void remote_profile(gr_call *call, const gr_answer *answer)
{
    const gr_str *field = call->state;
    const gr_json *profile = gr_remote_object(call, answer), *value = gr_json_get_str(profile, *field);
    if (!profile) return;
    if (field->size == 0) {
        gr_call_json(call, 200, gr_json_printed(call->arena, profile));
        return;
    }
    if (!value) {
        gr_call_fail_with(call, GR_NOT_FOUND, "The profile has no such field");
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key_str(&w, *field);
    gr_jw_json(&w, value);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void ask_remote_profile(gr_call *call, gr_str user, gr_str field)
{
    gr_str *state = call->state = gr_arena_alloc(call->arena, sizeof *state);
    gr_arena *a = call->arena;
    *state = field;
    gr_str uri = gr_arena_cat(a, 4, (gr_str[]){GR_STR("/_matrix/federation/v1/query/profile?user_id="), gr_uri_encode(a, user),
                                               field.size ? GR_STR("&field=") : GR_STR(""), gr_uri_encode(a, field)});
    gr_remote_ask(call, gr_ident_domain(user), "GET", uri, (gr_str){0}, remote_profile, 0);
}

static void get_profile(gr_call *call, gr_str field)
{
    gr_str user = gr_call_param(call, "userId"), to;
    gr_user_profile_get m = {.field = field};
    if (gr_ident_user_strict(user) && !gr_ident_is_local(user, gr_call_server_name(call))) ask_remote_profile(call, user, field);
    else if (profile_address(call, &to)) gr_call_pass(call, to, &gr_type_user_profile_get, &m);
}

static void serve_profile(gr_call *call) { get_profile(call, (gr_str){0}); }
static void serve_profile_field(gr_call *call) { get_profile(call, gr_call_param(call, "keyName")); }

static void change_profile(gr_call *call, gr_str value)
{
    gr_str to;
    gr_user_profile_put m = {.field = gr_call_param(call, "keyName"), .value = value};
    if (!profile_address(call, &to)) return;
    if (call->guest && !gr_str_is(m.field, "displayname"))
        gr_call_fail_with(call, GR_GUEST_ACCESS_FORBIDDEN, "Guests have no profile but a display name");
    else if (gr_str_eq(gr_call_param(call, "userId"), call->user)) gr_call_pass(call, to, &gr_type_user_profile_put, &m);
    else gr_call_fail_with(call, GR_FORBIDDEN, "The profile of another can't be changed");
}

static void serve_profile_put(gr_call *call)
{
    const gr_json *value = gr_json_get_str(call->json, gr_call_param(call, "keyName"));
    if (value && !gr_json_is(value, GR_JSON_NULL)) change_profile(call, gr_json_printed(call->arena, value));
    else gr_call_fail_with(call, GR_MISSING_PARAM, "The body must have the field that the path names");
}

static void serve_profile_delete(gr_call *call) { change_profile(call, (gr_str){0}); }

const gr_call_route gr_routes_account[] = {
    {GR_HTTP_GET, V3 "/account/whoami", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_whoami, .guest_ok = true},
    {GR_HTTP_POST, V3 "/account/password", GR_CALL_TOKEN_OPTIONAL, GR_CALL_JSON, GR_RATE_LOGIN, serve_password},
    {GR_HTTP_POST, V3 "/account/deactivate", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_LOGIN, serve_deactivate},
    {GR_HTTP_GET, V3 "/devices", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_devices, .guest_ok = true},
    {GR_HTTP_GET, V3 "/devices/{deviceId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_device, .guest_ok = true},
    {GR_HTTP_PUT, V3 "/devices/{deviceId}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_READ, serve_device_put, .guest_ok = true},
    {GR_HTTP_DELETE, V3 "/devices/{deviceId}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_READ, serve_device_delete},
    {GR_HTTP_POST, V3 "/delete_devices", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_READ, serve_devices_delete},
    {GR_HTTP_GET, V3 "/profile/{userId}", GR_CALL_TOKEN_OPTIONAL, GR_CALL_NO_BODY, GR_RATE_READ, serve_profile, .guest_ok = true},
    {GR_HTTP_GET, V3 "/profile/{userId}/{keyName}", GR_CALL_TOKEN_OPTIONAL, GR_CALL_NO_BODY, GR_RATE_READ, serve_profile_field,
     .guest_ok = true},
    {GR_HTTP_PUT, V3 "/profile/{userId}/{keyName}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE, serve_profile_put,
     .guest_ok = true},
    {GR_HTTP_DELETE, V3 "/profile/{userId}/{keyName}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_MESSAGE,
     serve_profile_delete, .guest_ok = true},
    {.pattern = NULL}};
