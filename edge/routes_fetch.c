/* routes_fetch.c - what other servers fetch of rooms: events, history, states. Server-server API, "Backfilling and retrieving
 * missing events", "Retrieving events".
 *
 * Each is for a server that is in the room, and the room says whether it is (actors/room/serve.h).  An event that is asked for
 * by its id alone is looked for in the rooms that the server is in: whether there is one elsewhere is none of its business.
 * First in those that it spoke of last, since whoever lacks an event has just been told of its room; then in all others, by a
 * look into their rows, which needs one message for many rooms and loads none of them.
 */
#include "edge/edge.h"
#include "edge/event_list.h"
#include "edge/fan.h"
#include "edge/routes.h"

#include "actors/servers/servers.h"
#include "proto/ident.h"

#include <stdlib.h>

enum { BACKFILL_FROM_MAX = 50, EDGES_MAX = 100, MISSING_DEFAULT = 10, ROOMS_MAX = 16384 };

/* The room of the path, as an address; empty: the call was answered. */
static gr_str want_room(gr_call *call)
{
    gr_str id = gr_call_param(call, "roomId");
    if (!gr_call_fits(call, gr_ident_room(id), "The path holds no valid room id")) return (gr_str){0};
    gr_recent_rooms_note(call->edge->recent_rooms, call->origin, id);
    return gr_call_address(call, GR_KIND_ROOM, id);
}

/* A list that the room has answered. */
static bool want_pdus(gr_call *call, const gr_answer *a, gr_str *pdus)
{
    gr_err err = a->err;
    if (!gr_failed(err) && a->type != &gr_type_result) err = gr_fail(GR_UNKNOWN, "No answer");
    if (gr_failed(err)) gr_call_fail(call, err);
    else *pdus = ((const gr_result *)a->body)->body;
    return !gr_failed(err);
}

/* PDUs as a transaction of this server. */
static void answer_transaction(gr_call *call, gr_str pdus)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "origin", gr_call_server_name(call));
    gr_jw_kint(&w, "origin_server_ts", (int64_t)call->now_ms);
    gr_jw_kraw(&w, "pdus", pdus);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* --- backfill and missing events ---------------------------------------------------------------------------- */
static void on_backfill(gr_call *call, const gr_answer *a)
{
    gr_str pdus;
    if (want_pdus(call, a, &pdus)) answer_transaction(call, pdus);
}

static void serve_backfill(gr_call *call)
{
    gr_room_backfill m = {.server = call->origin, .from = {gr_arena_alloc(call->arena, BACKFILL_FROM_MAX * sizeof(gr_str)), 0}};
    gr_str room = want_room(call);
    if (!room.size || !gr_call_query_u64(call, "limit", MISSING_DEFAULT, &m.limit)) return;
    for (gr_str id; m.from.count < BACKFILL_FROM_MAX && (id = gr_route_query_nth(&call->query, "v", m.from.count)).ptr;)
        m.from.at[m.from.count++] = id;
    if (m.from.count == 0) gr_call_fail_with(call, GR_MISSING_PARAM, "'v' is missing: the events from which to go back");
    else gr_call_ask(call, room, &gr_type_room_backfill, &m, on_backfill);
}

static void on_missing(gr_call *call, const gr_answer *a)
{
    gr_str pdus;
    if (!want_pdus(call, a, &pdus)) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "events", pdus);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static bool want_ids(gr_call *call, const char *key, gr_strs *out)
{
    const gr_json *list;
    if (!gr_call_want(call, key, GR_JSON_ARRAY, &list)) return false;
    *out = (gr_strs){gr_arena_alloc(call->arena, (list->count + 1) * sizeof(gr_str)), 0};
    for (uint32_t i = 0; i < list->count && i < EDGES_MAX; i++) {
        gr_str id = gr_json_string(&list->items[i]);
        if (gr_ident_event(id)) out->at[out->count++] = id;
    }
    return true;
}

static void serve_missing(gr_call *call)
{
    int64_t limit, min_depth;
    gr_room_missing_events m = {.server = call->origin};
    gr_str room = want_room(call);
    if (!room.size || !want_ids(call, "earliest_events", &m.earliest) || !want_ids(call, "latest_events", &m.latest)
        || !gr_call_may_int(call, "limit", MISSING_DEFAULT, &limit) || !gr_call_may_int(call, "min_depth", 0, &min_depth))
        return;
    m.limit = limit > 0 ? (uint64_t)limit : 0;
    m.min_depth = min_depth > 0 ? (uint64_t)min_depth : 0;
    gr_call_ask(call, room, &gr_type_room_missing_events, &m, on_missing);
}

/* --- states ------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str room, event_id;
    bool ids_only, chain_alone;
    const char *state_name, *chain_name;
    gr_event_list state, chain;
} states;

static void end_states(gr_call *call)
{
    gr_stream_write(call, GR_STR("]}"));
    gr_stream_end(call);
}

/* The auth chain comes first: what cites it can be taken as it comes. */
static void get_state(gr_call *call)
{
    states *s = call->state;
    s->state = (gr_event_list){.room = s->room, .ids_only = s->ids_only, .then = end_states, .list = {.event_id = s->event_id},
                               .head = gr_arena_printf(call->arena, "],\"%s\":[", s->state_name)};
    gr_event_list_get(call, &s->state);
}

static void on_may_fetch(gr_call *call, const gr_answer *a)
{
    states *s = call->state;
    s->chain = (gr_event_list){.room = s->room, .ids_only = s->ids_only, .then = s->chain_alone ? end_states : get_state,
                               .list = {.event_id = s->event_id, .chain = true, .without_before = s->chain_alone},
                               .head = gr_arena_printf(call->arena, "{\"%s\":[", s->chain_name)};
    if (gr_failed(a->err)) gr_call_fail(call, a->err);
    else gr_event_list_get(call, &s->chain);
}

static states *begin_states(gr_call *call, gr_str event_id)
{
    states *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    *s = (states){.room = want_room(call), .event_id = event_id, .state_name = "pdus", .chain_name = "auth_chain"};
    return s;
}

static void check_states(gr_call *call)
{
    const states *s = call->state;
    if (s->room.size && gr_call_fits(call, gr_ident_event(s->event_id), "'event_id' is missing, or no valid event id"))
        gr_call_ask(call, s->room, &gr_type_room_may_fetch, &(gr_room_may_fetch){.server = call->origin}, on_may_fetch);
}

static gr_str queried_event(gr_call *call)
{
    gr_str id = {0};
    gr_call_query(call, "event_id", &id);
    return id;
}

static void serve_state(gr_call *call)
{
    begin_states(call, queried_event(call));
    check_states(call);
}

static void serve_state_ids(gr_call *call)
{
    states *s = begin_states(call, queried_event(call));
    s->ids_only = true;
    s->state_name = "pdu_ids";
    s->chain_name = "auth_chain_ids";
    check_states(call);
}

static void serve_event_auth(gr_call *call)
{
    begin_states(call, gr_call_param(call, "eventId"))->chain_alone = true;
    check_states(call);
}

/* --- one event ---------------------------------------------------------------------------------------------- */
/* Rooms of one shard. */
typedef struct { uint8_t shard; gr_strs rooms; } group;

typedef struct {
    gr_fan fan;
    gr_str event_id, found;            /* found: the PDU, or, as long as rooms are looked through, their id */
    gr_strs rooms;
    group *groups;
} search;

static void not_found(gr_call *call)
{
    gr_call_fail_with(call, GR_NOT_FOUND, "There is no such event in a room that your server is in");
}

static bool is_first(search *s, const gr_answer *a, const gr_type *type)
{
    if (gr_failed(a->err) || a->type != type || s->found.size) return false;
    s->fan.count = s->fan.asked;       /* the others need not be asked */
    return true;
}

static void ask_room(gr_call *call, gr_str room_id, gr_call_then *then)
{
    gr_room_fetch_event m = {.server = call->origin, .event_id = ((const search *)call->state)->event_id};
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, room_id), &gr_type_room_fetch_event, &m, then);
}

/* A room that keeps the server out is one that it is not in. */
static void on_event(gr_call *call, const gr_answer *a)
{
    if (gr_failed(a->err) || a->type != &gr_type_result) not_found(call);
    else answer_transaction(call, ((const gr_result *)a->body)->body);
}

/* --- in all rooms that the server is in, a shard at a time --- */
static void on_found(gr_call *call, const gr_answer *a)
{
    search *s = call->state;
    gr_str room_id = gr_failed(a->err) ? (gr_str){0} : ((const gr_servers_found *)a->body)->room_id;
    if (room_id.size && is_first(s, a, &gr_type_servers_found)) s->found = gr_call_keep(call, room_id);
    gr_fan_answered(&s->fan, call);
}

static void ask_group(gr_call *call, size_t number)
{
    const search *s = call->state;
    const group *g = &s->groups[number];
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_SERVERS, g->shard), &gr_type_servers_find,
                &(gr_servers_find){.event_id = s->event_id, .rooms = g->rooms}, on_found);
}

static void on_groups(gr_call *call)
{
    const search *s = call->state;
    if (s->found.size) ask_room(call, s->found, on_event);
    else not_found(call);
}

static int by_shard(const void *a, const void *b)
{
    uint8_t x = gr_id_shard(*(const gr_str *)a), y = gr_id_shard(*(const gr_str *)b);
    return (x > y) - (x < y);
}

static void look_into_groups(gr_call *call)
{
    search *s = call->state;
    size_t count = 0;
    s->groups = gr_arena_alloc(call->arena, (s->rooms.count + 1) * sizeof *s->groups);
    if (s->rooms.count) qsort(s->rooms.at, s->rooms.count, sizeof *s->rooms.at, by_shard);
    for (size_t i = 0; i < s->rooms.count; i++) {
        uint8_t shard = gr_id_shard(s->rooms.at[i]);
        group *g = count ? &s->groups[count - 1] : NULL;
        if (g && g->shard == shard && g->rooms.count < GR_SERVERS_FIND) g->rooms.count++;
        else s->groups[count++] = (group){shard, {&s->rooms.at[i], 1}};
    }
    s->fan = (gr_fan){.count = count, .ask = ask_group, .finish = on_groups};
    gr_fan_go(&s->fan, call);
}

static void ask_rooms(gr_call *call, gr_str after);

static void on_rooms(gr_call *call, const gr_answer *a)
{
    search *s = call->state;
    const gr_servers_rooms_page *page = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_servers_rooms_page) {
        gr_call_fail(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    for (size_t i = 0; i < page->rooms.count && s->rooms.count < ROOMS_MAX; i++)
        s->rooms.at[s->rooms.count++] = gr_call_keep(call, page->rooms.at[i]);
    if (page->next.size && s->rooms.count < ROOMS_MAX) ask_rooms(call, gr_call_keep(call, page->next));
    else look_into_groups(call);
}

static void ask_rooms(gr_call *call, gr_str after)
{
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_SERVERS, gr_id_shard(call->origin)), &gr_type_servers_rooms,
                &(gr_servers_rooms){.server = call->origin, .after = after}, on_rooms);
}

/* --- in those that it spoke of last --- */
static void on_recent(gr_call *call, const gr_answer *a)
{
    search *s = call->state;
    if (is_first(s, a, &gr_type_result)) s->found = gr_call_keep(call, ((const gr_result *)a->body)->body);
    gr_fan_answered(&s->fan, call);
}

static void ask_recent(gr_call *call, size_t number)
{
    ask_room(call, ((const search *)call->state)->rooms.at[number], on_recent);
}

static void on_recents(gr_call *call)
{
    search *s = call->state;
    if (s->found.size) {
        answer_transaction(call, s->found);
        return;
    }
    s->rooms = (gr_strs){gr_arena_alloc(call->arena, ROOMS_MAX * sizeof(gr_str)), 0};
    ask_rooms(call, (gr_str){0});
}

static void serve_event(gr_call *call)
{
    search *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->event_id = gr_call_param(call, "eventId");
    if (!gr_call_fits(call, gr_ident_event(s->event_id), "The path holds no valid event id")) return;
    s->rooms = gr_recent_rooms_of(call->edge->recent_rooms, call->origin, call->arena);
    s->fan = (gr_fan){.count = s->rooms.count, .ask = ask_recent, .finish = on_recents};
    gr_fan_go(&s->fan, call);
}

/* --- by time ------------------------------------------------------------------------------------------------ */
static void serve_timestamp(gr_call *call)
{
    gr_str dir = {0}, ts = {0}, room = want_room(call);
    gr_room_timestamp m = {.server = call->origin};
    gr_call_query(call, "dir", &dir);
    m.backward = gr_str_is(dir, "b");
    if (!room.size || !gr_call_fits(call, m.backward || gr_str_is(dir, "f"), "'dir' must be \"b\" or \"f\"")
        || !gr_call_fits(call, gr_call_query(call, "ts", &ts) && ts.size, "'ts' is missing: milliseconds since 1970"))
        return;
    if (gr_call_query_u64(call, "ts", 0, &m.ts)) gr_call_pass(call, room, &gr_type_room_timestamp, &m);
}

#define V1 "/_matrix/federation/v1"
#define SERVER GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER

const gr_call_route gr_routes_fetch[] = {
    {GR_HTTP_GET, V1 "/backfill/{roomId}", SERVER, serve_backfill},
    {GR_HTTP_POST, V1 "/get_missing_events/{roomId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_missing},
    {GR_HTTP_GET, V1 "/event/{eventId}", SERVER, serve_event},
    {GR_HTTP_GET, V1 "/state/{roomId}", SERVER, serve_state},
    {GR_HTTP_GET, V1 "/state_ids/{roomId}", SERVER, serve_state_ids},
    {GR_HTTP_GET, V1 "/event_auth/{roomId}/{eventId}", SERVER, serve_event_auth},
    {GR_HTTP_GET, V1 "/timestamp_to_event/{roomId}", SERVER, serve_timestamp},
    {.pattern = NULL}};
