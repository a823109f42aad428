/* routes_room_read.c - reading rooms: history, events, state, members, relations. Client-server API,
 * "Getting events for a room".
 *
 * The room decides what may be seen and answers JSON that is passed on.  Where a place in history is given
 * as a sync token, the user actor is asked first where that stands in the room.  Where history is missing that other servers
 * may have, they are asked before a page is answered.
 */
#include "actors/gap/gap.h"
#include "edge/pages.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

enum {
    BACK_MS = 8000,                    /* a page may wait so long for history of other servers */
    BACK_ROUNDS = 4,                   /* and for so many answers of theirs */
    MOMENT_ASKS = 4                    /* whose turn it is not, waits so often */
};
enum { PAGE_DEFAULT = 10, PAGE_MAX = 100, CONTEXT_DEFAULT = 10, RELATIONS_DEFAULT = 5, THREADS_DEFAULT = 20 };

/* --- what the routes share ------------------------------------------------------------------------------ */
static gr_str room_address(gr_call *c) { return gr_call_address(c, GR_KIND_ROOM, gr_call_param(c, "roomId")); }

/* Is the room id of the path valid?  false: the call was answered. */
static bool room_is_valid(gr_call *c)
{
    if (gr_ident_room(gr_call_param(c, "roomId"))) return true;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
    return false;
}

static gr_str query(gr_call *c, const char *name)
{
    gr_str value;
    return gr_call_query(c, name, &value) ? value : (gr_str){0};
}

static void ask_room(gr_call *c, const gr_type *type, const void *body)
{
    gr_call_pass(c, room_address(c), type, body);
}

static bool query_limit(gr_call *c, uint64_t otherwise, uint64_t *limit)
{
    if (!gr_call_query_u64(c, "limit", otherwise, limit)) return false;
    if (*limit > PAGE_MAX) *limit = PAGE_MAX;
    return true;
}

/* Where the specification allows no page of nothing. */
static bool query_limit_above_zero(gr_call *c, uint64_t otherwise, uint64_t *limit)
{
    if (!query_limit(c, otherwise, limit)) return false;
    if (*limit == 0) gr_call_fail_with(c, GR_INVALID_PARAM, "'limit' must be greater than zero");
    return *limit > 0;
}

/* dir; needed unless otherwise is 'f' or 'b'. */
static bool query_backward(gr_call *c, char otherwise, bool *backward)
{
    gr_str dir = query(c, "dir");
    *backward = dir.size ? gr_str_is(dir, "b") : otherwise == 'b';
    if (dir.size == 0 && !otherwise) gr_call_fail_with(c, GR_MISSING_PARAM, "'dir' is missing: it is \"b\" or \"f\"");
    else if (dir.size && !*backward && !gr_str_is(dir, "f"))
        gr_call_fail_with(c, GR_INVALID_PARAM, "'dir' must be \"b\" or \"f\"");
    else return true;
    return false;
}

static bool is_sync_token(gr_str token) { return gr_str_starts(token, GR_STR("s1_")); }

/* --- places given as sync tokens ------------------------------------------------------------------------ */
/* Asks where a sync token stands; number tells the answers apart. */
static void ask_place(gr_call *c, gr_str token, gr_call_then *then, uint64_t number)
{
    gr_user_room_at m = {.room_id = gr_call_param(c, "roomId"), .token = token};
    gr_call_ask_more(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_room_at, &m, then, number,
                     GR_CALL_TIMEOUT_MS, false);
}

static bool place_of(gr_call *c, const gr_answer *a, uint64_t *pos)
{
    if (gr_failed(a->err)) gr_call_fail(c, a->err);
    else *pos = ((const gr_user_room_pos *)a->body)->room_pos;
    return !gr_failed(a->err);
}

/* --- whom the user ignores ------------------------------------------------------------------------------ */
static void ask_ignored(gr_call *c, gr_call_then *then)
{
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_ignored, &(gr_user_ignored){0}, then);
}

static bool ignored_of(gr_call *c, const gr_answer *a, gr_strs *ignored)
{
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return false;
    }
    const gr_strs *users = &((const gr_user_ignored *)a->body)->users;
    *ignored = (gr_strs){gr_arena_alloc(c->arena, (users->count + 1) * sizeof(gr_str)), users->count};
    for (size_t i = 0; i < users->count; i++) ignored->at[i] = gr_call_keep(c, users->at[i]);
    return true;
}

/* --- GET /messages -------------------------------------------------------------------------------------- */
typedef struct {
    gr_room_messages m;
    unsigned waiting, rounds;
    uint64_t sought_at;                /* depth at which history was looked for last */
    uint64_t until_ms;
} page;

static void ask_page(gr_call *c);

/* Whatever came of it: the room shows whether anything did. */
static void on_history(gr_call *c, const gr_answer *a)
{
    (void)a;
    ask_page(c);
}

static void ask_history(gr_call *c, gr_gap_back *m, uint64_t wait_ms, gr_call_then *then)
{
    m->room_id = gr_call_param(c, "roomId");
    gr_str name = m->dir.size ? GR_STR("/flow/" GR_GAP_MOMENT) : GR_STR("/flow/" GR_GAP_HISTORY);
    gr_str flow = gr_arena_cat(c->arena, 2, (gr_str[]){m->room_id, name});
    gr_call_ask_more(c, gr_call_address(c, GR_KIND_GAP, flow), &gr_type_gap_back, m, then, 0, wait_ms, false);
}

static void seek_history(gr_call *c, uint64_t depth)
{
    page *p = c->state;
    p->sought_at = depth;
    p->rounds++;
    ask_history(c, &(gr_gap_back){.depth = depth}, p->until_ms - c->now_ms, on_history);
}

/* The page ends where history is missing.  What others have of it is waited for; if nobody has it, or who has it takes too
 * long, and there is nothing else to tell, paging goes on behind it. */
static void on_gap(gr_call *c, const gr_room_messages_gap *gap)
{
    page *p = c->state;
    bool is_new = gap->depth != p->sought_at, in_time = c->now_ms < p->until_ms && p->rounds < BACK_ROUNDS;
    if (is_new && in_time) {
        seek_history(c, gap->depth);
    } else if (gap->count && (is_new || !in_time)) {
        gr_call_json(c, 200, gap->body);
    } else {
        p->m.over_gaps = true;
        ask_page(c);
    }
}

static void on_page(gr_call *c, const gr_answer *a)
{
    if (!gr_failed(a->err) && a->type == &gr_type_room_messages_gap) on_gap(c, a->body);
    else gr_call_passed(c, a);
}

static void ask_page(gr_call *c)
{
    gr_call_ask(c, room_address(c), &gr_type_room_messages, &((const page *)c->state)->m, on_page);
}

static void messages_ready(gr_call *c)
{
    page *p = c->state;
    p->until_ms = c->now_ms + BACK_MS;
    if (--p->waiting == 0 && !c->answered) ask_page(c);
}

static void on_place(gr_call *c, const gr_answer *a)
{
    page *p = c->state;
    if (place_of(c, a, a->number ? &p->m.to_pos : &p->m.from_pos)) messages_ready(c);
}

static void on_messages_ignored(gr_call *c, const gr_answer *a)
{
    page *p = c->state;
    if (ignored_of(c, a, &p->m.ignored)) messages_ready(c);
}

static void serve_messages(gr_call *c)
{
    page *p = c->state = gr_arena_alloc(c->arena, sizeof *p);
    gr_str from = query(c, "from"), to = query(c, "to");
    p->m = (gr_room_messages){.user = c->user, .device = c->device, .start = from, .filter = query(c, "filter")};
    if (!room_is_valid(c) || !query_backward(c, 0, &p->m.backward)) return;
    if (!query_limit(c, PAGE_DEFAULT, &p->m.limit)) return;
    p->m.has_from_pos = is_sync_token(from);
    p->m.has_to_pos = is_sync_token(to);
    p->waiting = 1 + p->m.has_from_pos + p->m.has_to_pos;
    ask_ignored(c, on_messages_ignored);
    if (p->m.has_from_pos) ask_place(c, from, on_place, 0);
    else p->m.from = from;
    if (p->m.has_to_pos) ask_place(c, to, on_place, 1);
    else p->m.to = to;
}

/* --- events --------------------------------------------------------------------------------------------- */
static void on_event_ignored(gr_call *c, const gr_answer *a)
{
    gr_room_event *m = c->state;
    if (ignored_of(c, a, &m->ignored)) ask_room(c, &gr_type_room_event, m);
}

static void serve_event(gr_call *c)
{
    gr_room_event *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_room_event){.user = c->user, .device = c->device, .event_id = gr_call_param(c, "eventId")};
    if (room_is_valid(c)) ask_ignored(c, on_event_ignored);
}

static void on_context_ignored(gr_call *c, const gr_answer *a)
{
    gr_room_context *m = c->state;
    if (ignored_of(c, a, &m->ignored)) gr_pages_pass(c, room_address(c), &gr_type_room_context, m, &m->page);
}

static void serve_context(gr_call *c)
{
    gr_room_context *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_room_context){.user = c->user, .device = c->device, .event_id = gr_call_param(c, "eventId"),
                           .filter = query(c, "filter")};
    if (room_is_valid(c) && query_limit(c, CONTEXT_DEFAULT, &m->limit)) ask_ignored(c, on_context_ignored);
}

/* --- by time ----------------------------------------------------------------------------------------------
 * Where the nearest event here is next to history that is missing, others are asked which is the nearest that they have, and
 * that one is fetched.  If none of them knows, the history that is missing is looked for from here. */
typedef struct {
    gr_room_timestamp m;
    unsigned rounds;
    bool was_asked;                    /* others, by the time */
    unsigned asks;                     /* how often */
    uint64_t nearest;                  /* here, before that */
    uint64_t sought_at, until_ms;
} moment;

static void ask_moment(gr_call *c);

static void on_earlier(gr_call *c, const gr_answer *a)
{
    (void)a;
    ask_moment(c);
}

/* It was another time that others were asked for: the question is put again. */
static void on_asked(gr_call *c, const gr_answer *a)
{
    moment *t = c->state;
    if (a->err.code == GR_LIMIT_EXCEEDED && t->asks < MOMENT_ASKS && c->now_ms < t->until_ms) t->was_asked = false;
    ask_moment(c);
}

static uint64_t time_of(gr_call *c, gr_str body)
{
    const gr_json *json = NULL;
    if (gr_failed(gr_json_parse(c->arena, body, GR_JSON_LAX, &json))) return 0;
    int64_t ts = gr_json_integer(gr_json_get(json, "origin_server_ts"), 0);
    return ts > 0 ? (uint64_t)ts : 0;
}

static void on_moment(gr_call *c, const gr_answer *a)
{
    moment *t = c->state;
    const gr_room_messages_gap *gap = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_room_messages_gap) {
        gr_call_passed(c, a);
        return;
    }
    uint64_t nearest = time_of(c, gap->body);
    if (!t->was_asked) {
        gr_gap_back m = {.depth = UINT64_MAX, .ts = t->m.ts, .nearest = nearest};
        m.dir = t->m.backward ? GR_STR("b") : GR_STR("f");
        t->was_asked = true;
        t->asks++;
        t->nearest = nearest;
        ask_history(c, &m, t->until_ms - c->now_ms, on_asked);
    } else if (t->rounds == 0 && gap->count && nearest != t->nearest) {
        gr_call_json(c, 200, gap->body);
    } else if (gap->depth != t->sought_at && t->rounds < BACK_ROUNDS && c->now_ms < t->until_ms) {
        t->sought_at = gap->depth;
        t->rounds++;
        ask_history(c, &(gr_gap_back){.depth = gap->depth}, t->until_ms - c->now_ms, on_earlier);
    } else if (gap->count) {
        gr_call_json(c, 200, gap->body);
    } else {
        gr_call_fail_with(c, GR_NOT_FOUND, "There is no event in that direction that you may see");
    }
}

static void ask_moment(gr_call *c)
{
    gr_call_ask(c, room_address(c), &gr_type_room_timestamp, &((const moment *)c->state)->m, on_moment);
}

static void serve_timestamp(gr_call *c)
{
    moment *t = c->state = gr_arena_alloc(c->arena, sizeof *t);
    *t = (moment){.m = {.user = c->user}, .until_ms = c->now_ms + BACK_MS};
    if (!room_is_valid(c) || !query_backward(c, 0, &t->m.backward)) return;
    if (query(c, "ts").size == 0) {
        gr_call_fail_with(c, GR_MISSING_PARAM, "'ts' is missing: milliseconds since 1970");
        return;
    }
    if (gr_call_query_u64(c, "ts", 0, &t->m.ts)) ask_moment(c);
}

/* --- state and members ---------------------------------------------------------------------------------- */
static void ask_state(gr_call *c, gr_str state_key)
{
    gr_str format = query(c, "format");
    gr_room_state_get m = {.user = c->user, .type = gr_call_param(c, "eventType"), .state_key = state_key,
                           .whole = gr_str_is(format, "event")};
    if (format.size && !m.whole && !gr_str_is(format, "content"))
        gr_call_fail_with(c, GR_INVALID_PARAM, "'format' must be \"content\" or \"event\"");
    else if (room_is_valid(c)) ask_room(c, &gr_type_room_state_get, &m);
}

static void serve_state_of_type(gr_call *c) { ask_state(c, (gr_str){0}); }
static void serve_state_of_key(gr_call *c) { ask_state(c, gr_call_param(c, "stateKey")); }

static void serve_state(gr_call *c)
{
    gr_room_state_all *m = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_room_state_all){.user = c->user};
    if (room_is_valid(c)) gr_pages_pass(c, room_address(c), &gr_type_room_state_all, m, &m->page);
}

static void on_members_place(gr_call *c, const gr_answer *a)
{
    gr_room_members *m = c->state;
    if (place_of(c, a, &m->at_pos)) gr_pages_pass(c, room_address(c), &gr_type_room_members, m, &m->page);
}

static void serve_members(gr_call *c)
{
    gr_room_members *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    gr_str at = query(c, "at");
    *m = (gr_room_members){.user = c->user, .membership = query(c, "membership"),
                           .not_membership = query(c, "not_membership"), .has_at_pos = is_sync_token(at)};
    if (!room_is_valid(c)) return;
    if (m->has_at_pos) {
        ask_place(c, at, on_members_place, 0);
        return;
    }
    m->at = at;
    gr_pages_pass(c, room_address(c), &gr_type_room_members, m, &m->page);
}

static void serve_joined_members(gr_call *c)
{
    gr_room_joined_members *m = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_room_joined_members){.user = c->user};
    if (room_is_valid(c)) gr_pages_pass(c, room_address(c), &gr_type_room_joined_members, m, &m->page);
}

/* --- relations and threads ------------------------------------------------------------------------------ */
typedef struct { gr_room_relations m; unsigned waiting; } listing;

static void relations_ready(gr_call *c)
{
    listing *l = c->state;
    if (--l->waiting == 0 && !c->answered) ask_room(c, &gr_type_room_relations, &l->m);
}

/* "t<position>" is the room's own token of the place. */
static void on_relations_place(gr_call *c, const gr_answer *a)
{
    listing *l = c->state;
    uint64_t pos = 0;
    if (!place_of(c, a, &pos)) return;
    *(a->number ? &l->m.to : &l->m.from) = gr_arena_printf(c->arena, "t%llu", (unsigned long long)pos);
    relations_ready(c);
}

static void on_relations_ignored(gr_call *c, const gr_answer *a)
{
    listing *l = c->state;
    if (ignored_of(c, a, &l->m.ignored)) relations_ready(c);
}

static void ask_relations(gr_call *c, gr_str rel_type, gr_str type)
{
    bool backward;
    listing *l = c->state = gr_arena_alloc(c->arena, sizeof *l);
    gr_str from = query(c, "from"), to = query(c, "to");
    l->m = (gr_room_relations){.user = c->user, .device = c->device, .event_id = gr_call_param(c, "eventId"),
                               .rel_type = rel_type, .type = type, .from = from, .to = to};
    if (!room_is_valid(c) || !query_backward(c, 'b', &backward)) return;
    if (!query_limit_above_zero(c, RELATIONS_DEFAULT, &l->m.limit)) return;
    if (!gr_call_query_bool(c, "recurse", false, &l->m.recurse)) return;
    l->m.forward = !backward;
    l->waiting = 1 + is_sync_token(from) + is_sync_token(to);
    ask_ignored(c, on_relations_ignored);
    if (is_sync_token(from)) ask_place(c, from, on_relations_place, 0);
    if (is_sync_token(to)) ask_place(c, to, on_relations_place, 1);
}

static void serve_relations(gr_call *c) { ask_relations(c, (gr_str){0}, (gr_str){0}); }
static void serve_relations_of(gr_call *c) { ask_relations(c, gr_call_param(c, "relType"), (gr_str){0}); }
static void serve_relations_of_type(gr_call *c)
{
    ask_relations(c, gr_call_param(c, "relType"), gr_call_param(c, "eventType"));
}

static void on_threads_ignored(gr_call *c, const gr_answer *a)
{
    gr_room_threads *m = c->state;
    if (ignored_of(c, a, &m->ignored)) ask_room(c, &gr_type_room_threads, m);
}

static void serve_threads(gr_call *c)
{
    gr_str include = query(c, "include");
    gr_room_threads *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_room_threads){.user = c->user, .device = c->device, .participated = gr_str_is(include, "participated"),
                           .from = query(c, "from")};
    if (include.size && !m->participated && !gr_str_is(include, "all"))
        gr_call_fail_with(c, GR_INVALID_PARAM, "'include' must be \"all\" or \"participated\"");
    else if (room_is_valid(c) && query_limit_above_zero(c, THREADS_DEFAULT, &m->limit)) ask_ignored(c, on_threads_ignored);
}

#define ROOMS "/_matrix/client/(r0|v3)/rooms/{roomId}"
#define ROOMS_V1 "/_matrix/client/v1/rooms/{roomId}"
#define READ GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ

const gr_call_route gr_routes_room_read[] = {
    {GR_HTTP_GET, ROOMS "/messages", READ, serve_messages, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/event/{eventId}", READ, serve_event, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/context/{eventId}", READ, serve_context, .guest_ok = true},
    {GR_HTTP_GET, ROOMS_V1 "/timestamp_to_event", READ, serve_timestamp},
    {GR_HTTP_GET, ROOMS "/state", READ, serve_state, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/state/{eventType}", READ, serve_state_of_type, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/state/{eventType}/{stateKey}", READ, serve_state_of_key, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/members", READ, serve_members, .guest_ok = true},
    {GR_HTTP_GET, ROOMS "/joined_members", READ, serve_joined_members, .guest_ok = true},
    {GR_HTTP_GET, ROOMS_V1 "/relations/{eventId}", READ, serve_relations, .guest_ok = true},
    {GR_HTTP_GET, ROOMS_V1 "/relations/{eventId}/{relType}", READ, serve_relations_of, .guest_ok = true},
    {GR_HTTP_GET, ROOMS_V1 "/relations/{eventId}/{relType}/{eventType}", READ, serve_relations_of_type,
     .guest_ok = true},
    {GR_HTTP_GET, ROOMS_V1 "/threads", READ, serve_threads, .guest_ok = true},
    {.pattern = NULL},
};
