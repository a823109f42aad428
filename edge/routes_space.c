/* routes_space.c - what may be told of rooms one is not in: /room_summary, and /hierarchy of spaces.
 *
 * Client-server API, "Spaces" and "GET /room_summary"; server-server API, "GET /hierarchy".  The tree is walked depth first, one
 * room at a time (space.h), each room once, up to bounds.  A page token says how many rooms were shown: the walk begins anew
 * and leaves those out, so nothing is kept between pages and a token can do no harm.
 */
#include "edge/outside.h"
#include "edge/remote.h"
#include "edge/routes.h"
#include "edge/space.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

enum {
    PAGE_DEFAULT = 50,
    PAGE_MAX = 100,
    DEPTH_MAX = 50,
    ROOMS_MAX = 1000,      /* looked at in one walk */
    PLACES_MAX = 4096,     /* rooms that wait to be looked at */
    SEEN_SLOTS = 4096,
    SERVER_CHILDREN_MAX = 100,     /* told to another server */
    OUTSIDE_MAX = 50       /* rooms of one walk that other servers are asked about */
};

/* --- GET /room_summary --------------------------------------------------------------------------------- */
typedef struct { gr_space_look look; gr_outside servers; } summary;

static void tell_summary(gr_call *c)
{
    const summary *s = c->state;
    if (gr_failed(s->look.err)) gr_call_fail(c, s->look.err);
    else gr_call_json(c, 200, s->look.summary);
}

static void look_at(gr_call *c, gr_str room_id)
{
    summary *s = c->state;
    gr_outside_add(c, &s->servers, gr_ident_domain(room_id));
    s->look = (gr_space_look){.room_id = room_id, .via = s->servers.servers, .then = tell_summary};
    if (s->look.via.count > GR_SPACE_VIA_MAX) s->look.via.count = GR_SPACE_VIA_MAX;
    gr_space_look_at(c);
}

static void on_alias(gr_call *c, const gr_answer *a)
{
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    if (gr_failed(err)) gr_call_fail(c, err);
    else look_at(c, gr_json_text(value, "room_id"));
}

static void on_remote_alias(gr_call *c, const gr_answer *a)
{
    summary *s = c->state;
    const gr_json *object = gr_remote_object(c, a), *servers = gr_json_get(object, "servers");
    gr_str room_id = gr_call_keep(c, gr_json_text(object, "room_id"));
    if (!object) return;
    for (uint32_t i = 0; gr_json_is(servers, GR_JSON_ARRAY) && i < servers->count; i++)
        gr_outside_add(c, &s->servers, gr_json_string(&servers->items[i]));
    if (gr_ident_room(room_id)) look_at(c, room_id);
    else gr_call_fail_with(c, GR_BAD_GATEWAY, "The other server's answer makes no sense");
}

static void ask_alias(gr_call *c, gr_str alias)
{
    gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/query/directory?room_alias="),
                                                      gr_uri_encode(c->arena, alias)});
    if (gr_ident_is_local(alias, gr_call_server_name(c)))
        gr_call_ask(c, gr_call_address(c, GR_KIND_NAME, alias), &gr_type_name_look, &(gr_name_look){0}, on_alias);
    else gr_remote_ask(c, gr_ident_domain(alias), "GET", uri, (gr_str){0}, on_remote_alias, 0);
}

static void serve_summary(gr_call *c)
{
    gr_str id = gr_call_param(c, "roomIdOrAlias");
    summary *s = c->state = gr_arena_alloc(c->arena, sizeof *s);
    gr_outside_add_queried(c, &s->servers);
    if (gr_ident_room(id)) look_at(c, id);
    else if (gr_ident_alias(id)) ask_alias(c, id);
    else gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds neither a room id nor an alias");
}

/* --- GET /hierarchy ------------------------------------------------------------------------------------ */
typedef struct {
    gr_str room_id;
    uint64_t depth;
    const gr_json *via, *known;        /* of its parent; see space.h */
    bool is_closed;                    /* its parent's server says that no other one will tell of it either */
} place;

typedef struct {
    gr_space_look look;                /* at the present room */
    uint64_t limit, max_depth, skip;   /* skip: rooms that earlier pages showed */
    bool suggested;
    place *places;                     /* a stack: the next one is the last */
    size_t place_count;
    gr_str *seen;                      /* open addressing by hash */
    size_t looked_at, outside;
    uint64_t shown;                    /* on all pages up to now */
    gr_buf out;                        /* rooms of this page */
    uint64_t depth;                    /* of the present room */
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

static void on_room(gr_call *c);

static void next(gr_call *c)
{
    walk *w = c->state;
    while (w->place_count && w->shown < w->skip + w->limit && w->looked_at < ROOMS_MAX) {
        place p = w->places[--w->place_count];
        if (seen_before(w, p.room_id)) continue;
        w->looked_at++;
        w->depth = p.depth;
        w->look = (gr_space_look){.room_id = p.room_id, .known = p.known, .with_children = true, .suggested = w->suggested,
                                  .then = on_room, .children = w->look.children};
        if (w->outside < OUTSIDE_MAX && !p.is_closed) w->look.via = gr_space_via(c, p.room_id, p.via);
        gr_space_look_at(c);
        return;
    }
    finish(c);
}

/* What another server told of a child along with its parent. */
static const gr_json *known_of(const gr_json *told, gr_str room_id)
{
    const gr_json *children = gr_json_get(told, "children");
    for (uint32_t i = 0; gr_json_is(children, GR_JSON_ARRAY) && i < children->count; i++)
        if (gr_str_eq(gr_json_text(&children->items[i], "room_id"), room_id)) return &children->items[i];
    return NULL;
}

static bool is_closed(const gr_json *told, gr_str room_id)
{
    const gr_json *closed = gr_json_get(told, "inaccessible_children");
    for (uint32_t i = 0; gr_json_is(closed, GR_JSON_ARRAY) && i < closed->count; i++)
        if (gr_str_eq(gr_json_string(&closed->items[i]), room_id)) return true;
    return false;
}

/* The present room with all its children is known: it goes onto the page, and they onto the stack. */
static void show(gr_call *c)
{
    walk *w = c->state;
    const gr_space_look *l = &w->look;
    if (w->shown++ >= w->skip) {
        if (w->out.size) gr_buf_char(&w->out, ',');
        gr_buf_str(&w->out, gr_str_head(l->summary, l->summary.size - 1));
        gr_buf_c(&w->out, ",\"children_state\":[");
        for (size_t i = 0; i < l->child_count; i++) {
            if (i) gr_buf_char(&w->out, ',');
            gr_buf_str(&w->out, l->children[i].text);
        }
        gr_buf_c(&w->out, "]}");
    }
    for (size_t i = l->child_count; i-- > 0 && w->depth < w->max_depth && w->place_count < PLACES_MAX;) {
        const gr_space_child *k = &l->children[i];
        w->places[w->place_count++] = (place){k->room_id, w->depth + 1, k->via, known_of(l->told, k->room_id),
                                               is_closed(l->told, k->room_id)};
    }
    next(c);
}

static void on_room(gr_call *c)
{
    walk *w = c->state;
    gr_err err = w->look.err;
    bool hidden = err.code == GR_NOT_FOUND;
    w->outside += w->look.was_outside;
    if (hidden && w->depth == 0) err = gr_fail(GR_FORBIDDEN, "There is no such room, or you may not see it");
    else if (hidden) err = gr_ok();
    if (gr_failed(err)) {
        drop_walk(c);
        gr_call_fail(c, err);
    } else if (hidden) next(c);
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
    w->places[w->place_count++] = (place){.room_id = root};
    c->on_gone = drop_walk;
    next(c);
}

/* --- for other servers --------------------------------------------------------------------------------- */
/* The room and its children, not theirs. */
typedef struct {
    gr_space_look look;
    gr_str room;                       /* the summary of the room itself, once it is known */
    gr_space_child *children;
    size_t child_count, next;
    gr_buf shown, hidden;              /* children, with commas between */
} answer;

static void drop_answer(gr_call *c)
{
    answer *s = c->state;
    gr_buf_free(&s->shown);
    gr_buf_free(&s->hidden);
}

static void tell_server(gr_call *c)
{
    const answer *s = c->state;
    gr_buf out = {0};
    gr_buf_str(&out, GR_STR("{\"room\":"));
    gr_buf_str(&out, gr_str_head(s->room, s->room.size - 1));
    gr_buf_str(&out, GR_STR(",\"children_state\":["));
    for (size_t i = 0; i < s->child_count; i++) {
        if (i) gr_buf_char(&out, ',');
        gr_buf_str(&out, s->children[i].text);
    }
    gr_buf_printf(&out, "]},\"children\":[%" GR_FMT "],\"inaccessible_children\":[%" GR_FMT "]}", GR_ARG(gr_buf_view(&s->shown)),
                  GR_ARG(gr_buf_view(&s->hidden)));
    drop_answer(c);
    gr_call_json_take(c, 200, &out);
}

static void on_child(gr_call *c);

static void next_child(gr_call *c)
{
    answer *s = c->state;
    if (s->next == s->child_count || s->next == SERVER_CHILDREN_MAX) {
        tell_server(c);
        return;
    }
    s->look = (gr_space_look){.room_id = s->children[s->next++].room_id, .server = c->origin, .then = on_child};
    gr_space_look_at(c);
}

/* What is not here is left out: others may know of it. */
static void on_child(gr_call *c)
{
    answer *s = c->state;
    bool is_shown = !gr_failed(s->look.err);
    gr_buf *out = is_shown ? &s->shown : &s->hidden;
    if (is_shown || s->look.is_here) {
        gr_jw w = gr_jw_begin(out);
        if (out->size) gr_buf_char(out, ',');
        if (is_shown) gr_jw_raw(&w, s->look.summary);
        else gr_jw_str(&w, s->look.room_id);
    }
    next_child(c);
}

static void on_server_room(gr_call *c)
{
    answer *s = c->state;
    if (gr_failed(s->look.err)) {
        gr_call_fail(c, s->look.err);
        return;
    }
    s->room = s->look.summary;
    s->children = s->look.children;
    s->child_count = s->look.child_count;
    c->on_gone = drop_answer;
    next_child(c);
}

static void serve_server_hierarchy(gr_call *c)
{
    answer *s = c->state = gr_arena_alloc(c->arena, sizeof *s);
    *s = (answer){.look = {.room_id = gr_call_param(c, "roomId"), .server = c->origin, .with_children = true,
                           .then = on_server_room}};
    if (!gr_call_query_bool(c, "suggested_only", false, &s->look.suggested)) return;
    if (gr_ident_room(s->look.room_id)) gr_space_look_at(c);
    else gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
}

const gr_call_route gr_routes_server_space[] = {
    {GR_HTTP_GET, "/_matrix/federation/v1/hierarchy/{roomId}", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER,
     serve_server_hierarchy},
    {.pattern = NULL}};

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
