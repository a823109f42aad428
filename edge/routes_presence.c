/* routes_presence.c - presence: what users set and ask, and what their requests tell of them. See presence.h; client-server
 * API, "Presence".
 */
#include "edge/edge.h"
#include "edge/presence.h"

#include "actors/presence/presence.h"
#include "proto/ident.h"

enum { TOLD_MS = 60 * 1000 };

static gr_str presence_address(gr_call *call, gr_str user) { return gr_call_address(call, GR_KIND_PRESENCE, user); }
static bool is_on(const gr_call *call) { return call->edge->env->presence.is_on; }

/* --- told by the way ---------------------------------------------------------------------------------------- */
static void tell(gr_call *call, const gr_presence_seen *m)
{
    gr_port_tell(call->edge->port, presence_address(call, call->user), &gr_type_presence_seen, m, call->trace);
}

void gr_presence_polls(gr_call *call, gr_str shown, uint64_t wait_ms)
{
    gr_presence_seen m = {.device = call->device, .presence = shown.size ? shown : GR_STR("online"), .wait_ms = wait_ms,
                          .is_default = shown.size == 0};
    if (is_on(call) && !gr_str_is(shown, "offline")) tell(call, &m);
}

void gr_presence_acted(gr_call *call)
{
    uint64_t user = gr_str_hash(call->user);
    gr_edge_acted *last = &call->edge->acted[user % GR_EDGE_ACTED];
    if (!is_on(call) || (last->user == user && call->now_ms - last->told_ms < TOLD_MS)) return;
    *last = (gr_edge_acted){user, call->now_ms};
    tell(call, &(gr_presence_seen){.device = call->device});
}

/* --- GET and PUT -------------------------------------------------------------------------------------------- */
static bool user_of_path(gr_call *call, gr_str *user)
{
    *user = gr_call_param(call, "userId");
    if (gr_ident_user(*user)) return true;
    gr_call_fail_with(call, GR_INVALID_PARAM, "The path holds no valid user id");
    return false;
}

static void get(gr_call *call)
{
    gr_call_pass(call, presence_address(call, gr_call_param(call, "userId")), &gr_type_presence_get, &(gr_presence_get){0});
}

static void on_shared(gr_call *call, const gr_answer *a)
{
    bool shares = !gr_failed(a->err) && ((const gr_user_in_rooms *)a->body)->rooms.count > 0;
    if (shares) get(call);
    else gr_call_fail_with(call, GR_FORBIDDEN, "You share no room with this user");
}

static void on_own_rooms(gr_call *call, const gr_answer *a)
{
    const gr_json *body = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &body);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    const gr_json *rooms = gr_json_get(body, "joined_rooms");
    gr_user_in_rooms m = {0};
    m.rooms.count = gr_json_is(rooms, GR_JSON_ARRAY) ? rooms->count : 0;
    m.rooms.at = gr_arena_alloc(call->arena, (m.rooms.count + 1) * sizeof(gr_str));
    for (size_t i = 0; i < m.rooms.count; i++) m.rooms.at[i] = gr_json_string(&rooms->items[i]);
    gr_call_ask(call, gr_call_user_address(call, gr_call_param(call, "userId")), &gr_type_user_in_rooms, &m, on_shared);
}

static void serve_get(gr_call *call)
{
    gr_str user;
    if (!user_of_path(call, &user)) return;
    if (gr_str_eq(user, call->user)) get(call);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_joined_rooms,
                     &(gr_user_joined_rooms){0}, on_own_rooms);
}

static void serve_put(gr_call *call)
{
    gr_presence_put m = {.device = call->device};
    const gr_json *status = gr_json_get(call->json, "status_msg");
    gr_presence_state state;
    gr_str user;
    if (!user_of_path(call, &user) || !gr_call_want_str(call, "presence", &m.presence)) return;
    m.has_status = status != NULL;
    m.status_msg = gr_json_string(status);
    if (!gr_str_eq(user, call->user)) gr_call_fail_with(call, GR_FORBIDDEN, "You can set only your own presence");
    else if (!gr_presence_read(m.presence, &state))
        gr_call_fail_with(call, GR_INVALID_PARAM, "'presence' must be online, offline or unavailable");
    else if (status && !gr_json_is(status, GR_JSON_STRING) && !gr_json_is(status, GR_JSON_NULL))
        gr_call_fail_with(call, GR_BAD_JSON, "'status_msg' must be a string");
    else if (is_on(call)) gr_call_pass(call, presence_address(call, user), &gr_type_presence_put, &m);
    else gr_call_empty(call);
}

#define STATUS "/_matrix/client/(r0|v3)/presence/{userId}/status"

const gr_call_route gr_routes_presence[] = {
    {GR_HTTP_GET, STATUS, GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_get, .guest_ok = true},
    {GR_HTTP_PUT, STATUS, GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_RECEIPT, serve_put, .guest_ok = true},
    {.pattern = NULL}};
