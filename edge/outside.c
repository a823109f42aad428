/* outside.c - memberships of the user of a call in rooms of other servers. See outside.h. */
#include "edge/outside.h"
#include "edge/edge.h"
#include "edge/remote.h"
#include "edge/stripped.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/uri.h"

#include <sodium.h>

enum { EVENT_ID_RANDOM = 18 };

struct gr_outside_knock { gr_stripped state; gr_signed_event member; };

/* --- servers -------------------------------------------------------------------------------------------- */
void gr_outside_add(gr_call *call, gr_outside *o, gr_str server)
{
    if (!gr_ident_server_name(server) || gr_str_eq(server, gr_call_server_name(call))) return;
    if (!o->servers.at) o->servers.at = gr_arena_alloc(call->arena, GR_OUTSIDE_SERVERS_MAX * sizeof(gr_str));
    for (size_t i = 0; i < o->servers.count; i++)
        if (gr_str_eq(o->servers.at[i], server)) return;
    if (o->servers.count < GR_OUTSIDE_SERVERS_MAX) o->servers.at[o->servers.count++] = gr_call_keep(call, server);
}

void gr_outside_add_queried(gr_call *call, gr_outside *o)
{
    static const char *const names[] = {"via", "server_name"};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (size_t i = 0; i < GR_OUTSIDE_SERVERS_MAX; i++) {
            gr_str given = gr_route_query_nth(&call->query, names[k], i);
            if (!given.ptr) break;
            gr_outside_add(call, o, given);
        }
}

static void finish(gr_call *call, gr_err err)
{
    gr_outside *o = call->state;
    call->state = o->state;
    o->then(call, err);
}

static gr_outside *begin(gr_call *call, gr_outside *o, const char *membership)
{
    o->state = call->state;
    o->membership = membership;
    o->next = 0;
    o->err = gr_fail(GR_NOT_FOUND, "No server is known that could be asked about that room");
    call->state = o;
    return o;
}

/* --- joins ---------------------------------------------------------------------------------------------- */
static void on_joined(gr_call *call, const gr_answer *a)
{
    const gr_room_joined *joined = a->body;
    if (a->err.code == GR_TIMEOUT)
        finish(call, gr_fail(GR_TIMEOUT, "The room is still being joined, and will be there when that is done"));
    else if (gr_failed(a->err)) finish(call, gr_call_keep_err(call, a->err));
    else if (gr_str_eq(joined->user, call->user)) finish(call, gr_ok());
    else finish(call, gr_fail(GR_ROOM_IN_USE, "Somebody else of this server has joined the room"));
}

void gr_outside_join(gr_call *call, gr_outside *o)
{
    begin(call, o, "join");
    gr_join_room m = {.user = call->user, .content = o->content, .servers = o->servers, .is_here = o->is_here,
                      .guest = call->guest};
    if (o->servers.count == 0) finish(call, o->err);
    else gr_call_ask_more(call, gr_call_address(call, GR_KIND_JOIN, o->room_id), &gr_type_join_room, &m, on_joined, 0,
                          GR_OUTSIDE_JOIN_MS, false);
}

/* --- knocks and leaves: one server after the other ------------------------------------------------------ */
static void try_next(gr_call *call);

static void next_server(gr_call *call, gr_err err)
{
    gr_outside *o = call->state;
    bool says_more = err.code != GR_BAD_GATEWAY && err.code != GR_TIMEOUT;
    if (says_more || o->next == 0) o->err = gr_call_keep_err(call, err);
    o->next++;
    try_next(call);
}

static void put_user(gr_call *call, const gr_user_outside *m, gr_call_then *then)
{
    gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_outside, m, then);
}

static void on_put(gr_call *call, const gr_answer *a)
{
    finish(call, gr_failed(a->err) ? gr_call_keep_err(call, a->err) : gr_ok());
}

static void put_left(gr_call *call)
{
    const gr_outside *o = call->state;
    put_user(call, &(gr_user_outside){.room_id = o->room_id, .membership = GR_STR("leave"), .sender = call->user}, on_put);
}

static void put_knock(gr_call *call)
{
    gr_outside *o = call->state;
    struct gr_outside_knock *k = o->knock;
    gr_str stripped;
    gr_err err = gr_stripped_write(call, &k->state, &k->member.event, &stripped);
    if (gr_failed(err)) {
        next_server(call, gr_fail(GR_BAD_GATEWAY, "The other server does not tell what the room is"));
        return;
    }
    put_user(call, &(gr_user_outside){.room_id = o->room_id, .room_version = gr_str_c(o->version->id), .stripped = stripped,
                                      .membership = GR_STR("knock"), .event_id = k->member.event.event_id, .sender = call->user,
                                      .encrypted = k->state.encrypted}, on_put);
}

static void on_sent(gr_call *call, const gr_answer *a)
{
    gr_outside *o = call->state;
    const gr_json *body = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &body);
    if (gr_failed(err)) {
        next_server(call, err);
        return;
    }
    if (gr_str_is(gr_str_c(o->membership), "leave")) {
        put_left(call);
        return;
    }
    o->knock = gr_arena_alloc(call->arena, sizeof *o->knock);
    err = gr_event_from_json(call->arena, o->version, o->event, &o->knock->member.event);
    gr_assert(!gr_failed(err));
    gr_stripped_read(call, o->room_id, o->version, gr_json_get(body, "knock_room_state"), &o->knock->state);
    gr_signed_events_check(call, o->knock->state.events, o->knock->state.count, put_knock);
}

static bool is_template(gr_call *call, const gr_outside *o, const gr_json *event)
{
    return gr_str_is(gr_json_text(event, "type"), "m.room.member") && gr_str_eq(gr_json_text(event, "room_id"), o->room_id)
        && gr_str_eq(gr_json_text(event, "sender"), call->user) && gr_str_eq(gr_json_text(event, "state_key"), call->user)
        && gr_str_is(gr_json_string(gr_json_path(event, "content/membership")), o->membership);
}

static void write_content(gr_call *call, gr_jw *w, const gr_outside *o)
{
    const gr_json *own = NULL;
    if (gr_failed(gr_json_parse(call->arena, o->content, GR_JSON_LAX, &own))) own = NULL;
    gr_jw_object(w);
    for (uint32_t i = 0; gr_json_is(own, GR_JSON_OBJECT) && i < own->count; i++) {
        gr_jw_key_str(w, own->members[i].key);
        gr_jw_json(w, &own->members[i].value);
    }
    gr_jw_kc(w, "membership", o->membership);
    gr_jw_end_object(w);
}

static gr_err sign_template(gr_call *call, const gr_json *event, gr_event_built *built)
{
    static const char *const taken[] = {"auth_events", "prev_events", "depth", "room_id", "sender", "state_key", "type"};
    const gr_outside *o = call->state;
    const gr_json *whole = NULL;
    unsigned char bytes[EVENT_ID_RANDOM];
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (gr_json_get(event, taken[i])) gr_jw_kjson(&w, taken[i], gr_json_get(event, taken[i]));
    gr_jw_key(&w, "content");
    write_content(call, &w, o);
    gr_jw_kint(&w, "origin_server_ts", (int64_t)call->now_ms);
    if (o->version->event_id == GR_EVENT_ID_CHOSEN) {
        randombytes_buf(bytes, sizeof bytes);
        gr_jw_kstr(&w, "event_id", gr_arena_printf(call->arena, "$%" GR_FMT ":%" GR_FMT,
                                                   GR_ARG(gr_base64_url(call->arena, gr_str_of(bytes, sizeof bytes))),
                                                   GR_ARG(gr_call_server_name(call))));
    }
    gr_jw_end_object(&w);
    gr_err err = gr_json_parse(call->arena, gr_buf_view(&out), GR_JSON_LAX, &whole);
    gr_buf_free(&out);
    return gr_failed(err) ? err : gr_event_sign(call->arena, o->version, whole, call->edge->env->signer, built);
}

static void on_made(gr_call *call, const gr_answer *a)
{
    gr_outside *o = call->state;
    const gr_json *body = NULL;
    gr_event_built built;
    gr_event checked;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &body);
    const gr_json *event = gr_json_get(body, "event");
    gr_str named = gr_json_text(body, "room_version");
    o->version = gr_room_version_find(named.size ? named : GR_STR("1"));
    if (!gr_failed(err) && !o->version)
        err = gr_fail(GR_INCOMPATIBLE_ROOM_VERSION, "This server does not know the version of that room");
    if (!gr_failed(err) && !is_template(call, o, event))
        err = gr_fail(GR_BAD_GATEWAY, "The other server's template is not what it was asked for");
    if (!gr_failed(err)) err = sign_template(call, event, &built);
    if (!gr_failed(err)) err = gr_event_parse(call->arena, o->version, built.text, &checked);
    if (gr_failed(err)) {
        next_server(call, err);
        return;
    }
    o->event = checked.json;
    gr_str uri = gr_arena_printf(call->arena, "/_matrix/federation/%s/send_%s/%" GR_FMT "/%" GR_FMT,
                                 gr_str_is(gr_str_c(o->membership), "leave") ? "v2" : "v1", o->membership,
                                 GR_ARG(gr_uri_encode(call->arena, o->room_id)),
                                 GR_ARG(gr_uri_encode(call->arena, built.event_id)));
    gr_remote_ask(call, o->servers.at[o->next], "PUT", uri, built.text, on_sent, 0);
}

static void try_next(gr_call *call)
{
    const gr_outside *o = call->state;
    bool leaves = gr_str_is(gr_str_c(o->membership), "leave");
    gr_buf uri = {0};
    if (o->next == o->servers.count) {
        if (leaves) put_left(call);
        else finish(call, o->err);
        return;
    }
    gr_buf_printf(&uri, "/_matrix/federation/v1/make_%s/%" GR_FMT "/%" GR_FMT, o->membership,
                  GR_ARG(gr_uri_encode(call->arena, o->room_id)), GR_ARG(gr_uri_encode(call->arena, call->user)));
    for (size_t i = 0; !leaves && i < GR_ROOM_VERSION_COUNT; i++)
        gr_buf_printf(&uri, "%cver=%s", i ? '&' : '?', gr_room_version_at(i)->id);
    gr_remote_ask(call, o->servers.at[o->next], "GET", gr_buf_view(&uri), (gr_str){0}, on_made, 0);
    gr_buf_free(&uri);
}

void gr_outside_knock(gr_call *call, gr_outside *o)
{
    begin(call, o, "knock");
    try_next(call);
}

void gr_outside_leave(gr_call *call, gr_outside *o)
{
    begin(call, o, "leave");
    try_next(call);
}
