/* routes_space.c - what may be told of rooms one is not in: /room_summary, and /hierarchy of spaces.
 *
 * Client-server API, "Spaces" and "GET /room_summary".  Each room decides who may know of it; for a restricted room it
 * needs to be told in which of the rooms it lets in the user is, and so it is asked once more with that.  The tree
 * is walked depth first, one ask at a time, each room once, up to bounds.  A page token says how many rooms were
 * shown: the walk begins anew and leaves those out, so nothing is kept between pages and a token can do no harm.
 */
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

#include <stdlib.h>

enum {
    PAGE_DEFAULT = 50,
    PAGE_MAX = 100,
    DEPTH_MAX = 50,
    ROOMS_MAX = 1000,      /* looked at in one walk */
    PLACES_MAX = 4096,     /* rooms that wait to be looked at */
    SEEN_SLOTS = 4096,
    CHILDREN_MAX = 2000,   /* of one space */
    ORDER_MAX = 50
};

/* --- the summary of one room --------------------------------------------------------------------------- */
/* The state of a call begins with it.  then gets the summary, or GR_NOT_FOUND. */
typedef struct {
    gr_str room_id;
    gr_strs member_of;
    gr_call_then *then;
} look;

static void ask_summary(gr_call *c, gr_call_then *then)
{
    const look *l = c->state;
    gr_room_summary m = {.user = c->user, .member_of = l->member_of};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, l->room_id), &gr_type_room_summary, &m, then);
}

static void tell_unknown(gr_call *c)
{
    gr_answer a = {.type = &gr_type_error,
                   .err = gr_fail(GR_NOT_FOUND, "There is no such room, or you may not know of it")};
    ((const look *)c->state)->then(c, &a);
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    look *l = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err) || in->rooms.count == 0) {
        tell_unknown(c);
        return;
    }
    l->member_of = (gr_strs){gr_arena_alloc(c->arena, in->rooms.count * sizeof(gr_str)), in->rooms.count};
    for (size_t i = 0; i < in->rooms.count; i++) l->member_of.at[i] = gr_call_keep(c, in->rooms.at[i]);
    ask_summary(c, l->then);
}

static void on_allows(gr_call *c, const gr_answer *a)
{
    const gr_room_allows_rooms *allows = a->body;
    if (gr_failed(a->err) || allows->rooms.count == 0) {
        tell_unknown(c);
        return;
    }
    gr_user_in_rooms body = {.rooms = allows->rooms};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &body, on_in_rooms);
}

static void on_summary(gr_call *c, const gr_answer *a)
{
    const look *l = c->state;
    if (a->err.code != GR_NOT_FOUND || c->user.size == 0) {
        l->then(c, a);
        return;
    }
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, l->room_id), &gr_type_room_allows,
                &(gr_room_allows){.user = c->user}, on_allows);
}

static void look_at(gr_call *c, gr_str room_id, gr_call_then *then)
{
    *(look *)c->state = (look){.room_id = room_id, .then = then};
    ask_summary(c, on_summary);
}

/* --- GET /room_summary --------------------------------------------------------------------------------- */
static void on_alias(gr_call *c, const gr_answer *a)
{
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    if (gr_failed(err)) gr_call_fail(c, err);
    else look_at(c, gr_json_text(value, "room_id"), gr_call_passed);
}

static void serve_summary(gr_call *c)
{
    gr_str id = gr_call_param(c, "roomIdOrAlias");
    c->state = gr_arena_alloc(c->arena, sizeof(look));
    if (gr_ident_room(id)) look_at(c, id, gr_call_passed);
    else if (gr_ident_alias(id) && gr_ident_is_local(id, gr_call_server_name(c)))
        gr_call_ask(c, gr_call_address(c, GR_KIND_NAME, id), &gr_type_name_look, &(gr_name_look){0}, on_alias);
    else if (gr_ident_alias(id)) gr_call_fail_with(c, GR_NOT_FOUND, "The alias belongs to another server");
    else gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds neither a room id nor an alias");
}

/* --- GET /hierarchy ------------------------------------------------------------------------------------ */
typedef struct {
    gr_str room_id;
    uint64_t depth;
} place;

typedef struct {
    gr_str room_id, order, text; /* order: empty when it has no valid one */
    bool ordered;
    int64_t ts;
} child;

typedef struct {
    look look;
    uint64_t limit, max_depth, skip;   /* skip: rooms that earlier pages showed */
    bool suggested;
    place *places;                     /* a stack: the next one is the last */
    size_t place_count;
    gr_str *seen;                      /* open addressing by hash */
    size_t looked_at;
    uint64_t shown;                    /* on all pages up to now */
    gr_buf out;                        /* rooms of this page */
    uint64_t depth;                    /* of the present room */
    gr_str summary;                    /* of the present room */
    child *children;
    size_t child_count;
} walk;

static bool seen_before(walk *w, gr_str room_id)
{
    size_t at = gr_str_hash(room_id) % SEEN_SLOTS;
    while (w->seen[at].size && !gr_str_eq(w->seen[at], room_id)) at = (at + 1) % SEEN_SLOTS;
    if (w->seen[at].size) return true;
    w->seen[at] = room_id;
    return false;
}

static void finish(gr_call *c)
{
    walk *w = c->state;
    gr_buf body = {0};
    gr_buf_c(&body, "{\"rooms\":[");
    gr_buf_str(&body, gr_buf_view(&w->out));
    gr_buf_c(&body, "]");
    if (w->place_count && w->looked_at < ROOMS_MAX)
        gr_buf_printf(&body, ",\"next_batch\":\"h%llu_%llu_%d\"", (unsigned long long)w->shown,
                      (unsigned long long)w->max_depth, w->suggested);
    gr_buf_c(&body, "}");
    gr_buf_free(&w->out);
    gr_call_json_take(c, 200, &body);
}

static void drop_walk(gr_call *c) { gr_buf_free(&((walk *)c->state)->out); }

static void on_room(gr_call *c, const gr_answer *a);

static void next(gr_call *c)
{
    walk *w = c->state;
    while (w->place_count && w->shown < w->skip + w->limit && w->looked_at < ROOMS_MAX) {
        place p = w->places[--w->place_count];
        if (seen_before(w, p.room_id)) continue;
        w->looked_at++;
        w->depth = p.depth;
        look_at(c, p.room_id, on_room);
        return;
    }
    finish(c);
}

/* Those with an order first, then by time, then by id. */
static int by_order(const void *x, const void *y)
{
    const child *a = x, *b = y;
    if (a->ordered != b->ordered) return a->ordered ? -1 : 1;
    int order = a->ordered ? gr_str_cmp(a->order, b->order) : 0;
    if (order) return order;
    if (a->ts != b->ts) return a->ts < b->ts ? -1 : 1;
    return gr_str_cmp(a->room_id, b->room_id);
}

static bool is_order(const gr_json *order)
{
    gr_str text = gr_json_string(order);
    if (!gr_json_is(order, GR_JSON_STRING) || text.size > ORDER_MAX) return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e) return false;
    return true;
}

/* Without servers to join through it is no child. */
static void take_child(gr_call *c, const gr_json *event)
{
    walk *w = c->state;
    const gr_json *content = gr_json_get(event, "content"), *via = gr_json_get(content, "via");
    const gr_json *order = gr_json_get(content, "order");
    gr_str id = gr_json_text(event, "state_key");
    if (!gr_json_is(via, GR_JSON_ARRAY) || via->count == 0 || !gr_ident_room(id)) return;
    if (w->suggested && !gr_json_boolean(gr_json_get(content, "suggested"), false)) return;
    if (w->child_count == CHILDREN_MAX) return;
    if (!w->children) w->children = gr_arena_alloc(c->arena, CHILDREN_MAX * sizeof *w->children);
    child *k = &w->children[w->child_count++];
    *k = (child){.room_id = id,
                 .text = gr_json_printed(c->arena, event),
                 .ordered = is_order(order),
                 .ts = gr_json_integer(gr_json_get(event, "origin_server_ts"), 0)};
    if (k->ordered) k->order = gr_json_string(order);
}

/* The present room with all its children is known: it goes onto the page, and they onto the stack. */
static void show(gr_call *c)
{
    walk *w = c->state;
    if (w->child_count) qsort(w->children, w->child_count, sizeof *w->children, by_order);
    if (w->shown++ >= w->skip) {
        if (w->out.size) gr_buf_char(&w->out, ',');
        gr_buf_str(&w->out, gr_str_head(w->summary, w->summary.size - 1));
        gr_buf_c(&w->out, ",\"children_state\":[");
        for (size_t i = 0; i < w->child_count; i++) {
            if (i) gr_buf_char(&w->out, ',');
            gr_buf_str(&w->out, w->children[i].text);
        }
        gr_buf_c(&w->out, "]}");
    }
    for (size_t i = w->child_count; i-- > 0 && w->depth < w->max_depth && w->place_count < PLACES_MAX;)
        w->places[w->place_count++] = (place){w->children[i].room_id, w->depth + 1};
    w->child_count = 0;
    next(c);
}

static void on_children(gr_call *c, const gr_answer *a);

static void ask_children(gr_call *c, gr_str after)
{
    const walk *w = c->state;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, w->look.room_id), &gr_type_room_children,
                &(gr_room_children){.after = after}, on_children);
}

static void on_children(gr_call *c, const gr_answer *a)
{
    const gr_room_children_page *page = a->body;
    const gr_json *events = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(c->arena, page->children, GR_JSON_LAX, &events);
    if (gr_failed(err)) {
        drop_walk(c);
        gr_call_fail(c, err);
        return;
    }
    for (uint32_t i = 0; i < events->count; i++) take_child(c, &events->items[i]);
    if (page->next.size) ask_children(c, page->next);
    else show(c);
}

static void on_room(gr_call *c, const gr_answer *a)
{
    walk *w = c->state;
    const gr_json *summary = NULL;
    bool hidden = a->err.code == GR_NOT_FOUND;
    gr_err err = hidden ? gr_ok() : a->err;
    if (hidden && w->depth == 0) err = gr_fail(GR_FORBIDDEN, "There is no such room, or you may not see it");
    if (!gr_failed(err) && !hidden) {
        w->summary = gr_call_keep(c, ((const gr_result *)a->body)->body);
        err = gr_json_parse(c->arena, w->summary, GR_JSON_LAX, &summary);
    }
    if (gr_failed(err)) {
        drop_walk(c);
        gr_call_fail(c, err);
    } else if (hidden) next(c);
    else if (gr_str_is(gr_json_text(summary, "room_type"), "m.space")) ask_children(c, (gr_str){0});
    else show(c);
}

/* "h<rooms shown>_<max_depth>_<suggested_only>" */
static bool read_token(gr_str token, uint64_t *shown, uint64_t *max_depth, uint64_t *suggested)
{
    if (token.size == 0 || token.ptr[0] != 'h') return false;
    token = gr_str_from(token, 1);
    ptrdiff_t first = gr_str_find(token, '_');
    if (first < 0) return false;
    gr_str rest = gr_str_from(token, (size_t)first + 1);
    ptrdiff_t second = gr_str_find(rest, '_');
    return second >= 0 && gr_str_u64(gr_str_head(token, (size_t)first), shown)
           && gr_str_u64(gr_str_head(rest, (size_t)second), max_depth)
           && gr_str_u64(gr_str_from(rest, (size_t)second + 1), suggested) && *suggested <= 1
           && *shown <= ROOMS_MAX && *max_depth <= DEPTH_MAX;
}

/* What the token says must be what the request says, if it says it. */
static bool take_token(gr_call *c, walk *w)
{
    gr_str token, given;
    uint64_t max_depth, suggested;
    if (!gr_call_query(c, "from", &token)) return true;
    if (!read_token(token, &w->skip, &max_depth, &suggested)) {
        gr_call_fail_with(c, GR_INVALID_PARAM, "'from' is not a token that this server gave");
        return false;
    }
    bool differs = (gr_call_query(c, "max_depth", &given) && w->max_depth != max_depth)
                   || (gr_call_query(c, "suggested_only", &given) && w->suggested != (suggested == 1));
    if (differs) {
        gr_call_fail_with(c, GR_INVALID_PARAM, "'max_depth' and 'suggested_only' must stay the same from page to page");
        return false;
    }
    w->max_depth = max_depth;
    w->suggested = suggested == 1;
    return true;
}

static void serve_hierarchy(gr_call *c)
{
    gr_str root = gr_call_param(c, "roomId");
    walk *w = c->state = gr_arena_alloc(c->arena, sizeof *w);
    *w = (walk){0};
    if (!gr_ident_room(root)) {
        gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
        return;
    }
    if (!gr_call_query_u64(c, "limit", PAGE_DEFAULT, &w->limit)
        || !gr_call_query_u64(c, "max_depth", DEPTH_MAX, &w->max_depth)
        || !gr_call_query_bool(c, "suggested_only", false, &w->suggested)) return;
    if (w->limit == 0) {
        gr_call_fail_with(c, GR_INVALID_PARAM, "'limit' must be greater than zero");
        return;
    }
    if (w->limit > PAGE_MAX) w->limit = PAGE_MAX;
    if (w->max_depth > DEPTH_MAX) w->max_depth = DEPTH_MAX;
    if (!take_token(c, w)) return;
    w->places = gr_arena_alloc(c->arena, PLACES_MAX * sizeof *w->places);
    w->seen = gr_arena_alloc(c->arena, SEEN_SLOTS * sizeof *w->seen);
    for (size_t i = 0; i < SEEN_SLOTS; i++) w->seen[i] = (gr_str){0};
    w->places[w->place_count++] = (place){root, 0};
    c->on_gone = drop_walk;
    next(c);
}

const gr_call_route gr_routes_space[] = {
    {GR_HTTP_GET, "/_matrix/client/v1/room_summary/{roomIdOrAlias}", GR_CALL_TOKEN_OPTIONAL, GR_CALL_NO_BODY,
     GR_RATE_READ, serve_summary, .guest_ok = true},
    /* Where clients still look for it: MSC3266, before it became part of the specification. */
    {GR_HTTP_GET, "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}", GR_CALL_TOKEN_OPTIONAL,
     GR_CALL_NO_BODY, GR_RATE_READ, serve_summary, .guest_ok = true},
    {GR_HTTP_GET, "/_matrix/client/v1/rooms/{roomId}/hierarchy", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     serve_hierarchy},
    {.pattern = NULL},
};
