/* routes_server.c - what other servers ask of this one that concerns no room's history. Server-server API. */
#include "edge/edge.h"
#include "edge/routes.h"

#include "proto/ident.h"

#define V1 "/_matrix/federation/v1"

static void serve_version(gr_call *call)
{
    gr_call_json(call, 200, GR_STR("{\"server\":{\"name\":\"Greenroom\",\"version\":\"" GR_VERSION "\"}}"));
}

void gr_routes_serve_well_known_server(gr_call *call)
{
    const char *name = gr_call_config(call)->federation_well_known;
    gr_buf out = {0};
    if (!name[0]) {
        gr_call_fail_with(call, GR_NOT_FOUND, "This server is where its name says");
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "m.server", name);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* --- queries ----------------------------------------------------------------------------------------------- */
/* A user of this server; answers the call and returns false when it is none. */
static bool want_local_user(gr_call *call, gr_str user)
{
    gr_err err = gr_ok();
    if (!gr_ident_user(user)) err = gr_fail(GR_INVALID_PARAM, "This is not a user id");
    else if (!gr_ident_is_local(user, gr_call_server_name(call)))
        err = gr_fail(GR_INVALID_PARAM, "The user is of another server");
    if (gr_failed(err)) gr_call_fail(call, err);
    return !gr_failed(err);
}

static void serve_profile(gr_call *call)
{
    gr_str user = {0};
    gr_user_profile_get m = {0};
    if (!gr_call_query(call, "user_id", &user)) {
        gr_call_fail_with(call, GR_MISSING_PARAM, "'user_id' is needed");
        return;
    }
    gr_call_query(call, "field", &m.field);
    if (want_local_user(call, user)) gr_call_pass(call, gr_call_address(call, GR_KIND_USER, user), &gr_type_user_profile_get, &m);
}

static void serve_alias(gr_call *call)
{
    gr_str alias = {0};
    if (!gr_call_query(call, "room_alias", &alias)) gr_call_fail_with(call, GR_MISSING_PARAM, "'room_alias' is needed");
    else if (!gr_ident_alias(alias)) gr_call_fail_with(call, GR_INVALID_PARAM, "This is not a room alias");
    else if (!gr_ident_is_local(alias, gr_call_server_name(call)))
        gr_call_fail_with(call, GR_NOT_FOUND, "The alias is of another server");
    else gr_call_ask(call, gr_call_address(call, GR_KIND_NAME, alias), &gr_type_name_look, &(gr_name_look){0},
                     gr_routes_alias_known);
}

/* --- devices ----------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str user, next, master, self_signing;
    gr_buf devices;                    /* objects separated by commas */
    uint64_t changed_at;
} listing;

static void ask_devices(gr_call *call);

static void forget_devices(gr_call *call) { gr_buf_free(&((listing *)call->state)->devices); }

static void write_device(gr_buf *out, gr_str device, const gr_json *keys)
{
    if (out->size) gr_buf_char(out, ',');
    gr_jw w = gr_jw_begin(out);
    gr_str name = gr_json_string(gr_json_path(keys, "unsigned/device_display_name"));
    gr_jw_object(&w);
    if (name.size) gr_jw_kstr(&w, "device_display_name", name);
    gr_jw_kstr(&w, "device_id", device);
    gr_jw_kjson(&w, "keys", keys);
    gr_jw_end_object(&w);
}

static void answer_devices(gr_call *call)
{
    listing *s = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "devices", gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("["), gr_buf_view(&s->devices), GR_STR("]")}));
    if (s->master.size) gr_jw_kraw(&w, "master_key", s->master);
    if (s->self_signing.size) gr_jw_kraw(&w, "self_signing_key", s->self_signing);
    gr_jw_kint(&w, "stream_id", (int64_t)s->changed_at);
    gr_jw_kstr(&w, "user_id", s->user);
    gr_jw_end_object(&w);
    forget_devices(call);
    gr_call_json_take(call, 200, &out);
}

static void on_devices(gr_call *call, const gr_answer *a)
{
    listing *s = call->state;
    const gr_json *devices = NULL;
    const gr_user_keys *keys = a->body;
    gr_err err = gr_failed(a->err) ? a->err : gr_json_parse(call->arena, keys->device_keys, GR_JSON_LAX, &devices);
    if (gr_failed(err)) {
        forget_devices(call);
        gr_call_fail(call, err);
        return;
    }
    for (uint32_t i = 0; i < devices->count; i++)
        write_device(&s->devices, devices->members[i].key, &devices->members[i].value);
    if (s->next.size == 0) {
        s->master = gr_call_keep(call, keys->master);
        s->self_signing = gr_call_keep(call, keys->self_signing);
        s->changed_at = keys->changed_at;
    }
    s->next = gr_call_keep(call, keys->next);
    if (s->next.size) ask_devices(call);
    else answer_devices(call);
}

static void ask_devices(gr_call *call)
{
    const listing *s = call->state;
    gr_user_keys_query m = {.after = s->next};
    gr_call_ask(call, gr_call_address(call, GR_KIND_USER, s->user), &gr_type_user_keys_query, &m, on_devices);
}

static void serve_devices(gr_call *call)
{
    listing *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->user = gr_call_param(call, "userId");
    call->on_gone = forget_devices;
    if (want_local_user(call, s->user)) ask_devices(call);
}

const gr_call_route gr_routes_server[] = {
    {GR_HTTP_GET, V1 "/version", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_version},
    {GR_HTTP_GET, "/.well-known/matrix/server", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER,
     gr_routes_serve_well_known_server},
    {GR_HTTP_GET, V1 "/query/profile", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_profile},
    {GR_HTTP_GET, V1 "/query/directory", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_alias},
    {GR_HTTP_GET, V1 "/publicRooms", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, gr_routes_serve_rooms},
    {GR_HTTP_POST, V1 "/publicRooms", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, gr_routes_serve_rooms_post},
    {GR_HTTP_GET, V1 "/user/devices/{userId}", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_devices},
    {GR_HTTP_POST, V1 "/user/keys/query", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, gr_routes_serve_keys_query},
    {GR_HTTP_POST, V1 "/user/keys/claim", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, gr_routes_serve_keys_claim},
    {GR_HTTP_GET, V1 "/openid/userinfo", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER, gr_routes_serve_userinfo},
    {.pattern = NULL}};
