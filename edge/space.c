/* space.c - what may be told of one room. See space.h. */
#include "edge/space.h"
#include "edge/edge.h"
#include "edge/remote.h"

#include "proto/ident.h"
#include "proto/uri.h"

#include <stdlib.h>

enum { ORDER_MAX = 50, CONDITIONS_MAX = 64 };

static void finish(gr_call *c, gr_err err)
{
    gr_space_look *l = c->state;
    l->err = gr_failed(err) ? gr_call_keep_err(c, err) : err;
    l->then(c);
}

static void tell_unknown(gr_call *c)
{
    finish(c, gr_fail(GR_NOT_FOUND, "There is no such room, or you may not know of it"));
}

static gr_str room_address(gr_call *c, gr_str room_id) { return gr_call_address(c, GR_KIND_ROOM, room_id); }

/* --- children ------------------------------------------------------------------------------------------ */
/* Those with an order first, then by time, then by id. */
static int by_order(const void *x, const void *y)
{
    const gr_space_child *a = x, *b = y;
    if (a->is_ordered != b->is_ordered) return a->is_ordered ? -1 : 1;
    int order = a->is_ordered ? gr_str_cmp(a->order, b->order) : 0;
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

static gr_str stripped(gr_call *c, const gr_json *event)
{
    static const char *const kept[] = {"content", "origin_server_ts", "sender", "state_key", "type"};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (gr_json_get(event, kept[i])) gr_jw_kjson(&w, kept[i], gr_json_get(event, kept[i]));
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(c->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* Without servers to join through it is no child. */
static void take_child(gr_call *c, const gr_json *event)
{
    gr_space_look *l = c->state;
    const gr_json *content = gr_json_get(event, "content"), *via = gr_json_get(content, "via");
    const gr_json *order = gr_json_get(content, "order");
    gr_str id = gr_json_text(event, "state_key");
    if (!gr_json_is(via, GR_JSON_ARRAY) || via->count == 0 || !gr_ident_room(id)) return;
    if (!gr_str_is(gr_json_text(event, "type"), "m.space.child") || gr_json_text(event, "sender").size == 0) return;
    if (l->suggested && !gr_json_boolean(gr_json_get(content, "suggested"), false)) return;
    if (l->child_count == GR_SPACE_CHILDREN_MAX) return;
    if (!l->children) l->children = gr_arena_alloc(c->arena, GR_SPACE_CHILDREN_MAX * sizeof *l->children);
    gr_space_child *k = &l->children[l->child_count++];
    *k = (gr_space_child){.room_id = id, .text = stripped(c, event), .via = via, .is_ordered = is_order(order),
                          .ts = gr_json_integer(gr_json_get(event, "origin_server_ts"), 0)};
    if (k->is_ordered) k->order = gr_json_string(order);
}

static void take_children(gr_call *c, const gr_json *events)
{
    for (uint32_t i = 0; gr_json_is(events, GR_JSON_ARRAY) && i < events->count; i++) take_child(c, &events->items[i]);
}

static void end_children(gr_call *c)
{
    gr_space_look *l = c->state;
    if (l->child_count) qsort(l->children, l->child_count, sizeof *l->children, by_order);
    finish(c, gr_ok());
}

static void on_children(gr_call *c, const gr_answer *a);

static void ask_children(gr_call *c, gr_str after)
{
    gr_call_ask(c, room_address(c, ((const gr_space_look *)c->state)->room_id), &gr_type_room_children,
                &(gr_room_children){.after = after}, on_children);
}

static void on_children(gr_call *c, const gr_answer *a)
{
    const gr_room_children_page *page = a->body;
    const gr_json *events = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(c->arena, page->children, GR_JSON_LAX, &events);
    if (gr_failed(err)) {
        finish(c, err);
        return;
    }
    take_children(c, events);
    if (page->next.size) ask_children(c, page->next);
    else end_children(c);
}

/* --- rooms of other servers ------------------------------------------------------------------------------ */
bool gr_space_is_open(const gr_json *told)
{
    gr_str rule = gr_json_text(told, "join_rule");
    return gr_json_boolean(gr_json_get(told, "world_readable"), false) || gr_str_is(rule, "public") || rule.size == 0
        || gr_str_is(rule, "knock") || gr_str_is(rule, "knock_restricted");
}

gr_str gr_space_summary(gr_call *c, gr_str room_id, const gr_json *told)
{
    static const struct { const char *key; gr_json_kind kind; } kept[] = {
        {"allowed_room_ids", GR_JSON_ARRAY}, {"avatar_url", GR_JSON_STRING}, {"canonical_alias", GR_JSON_STRING},
        {"encryption", GR_JSON_STRING}, {"guest_can_join", GR_JSON_BOOL}, {"join_rule", GR_JSON_STRING},
        {"name", GR_JSON_STRING}, {"num_joined_members", GR_JSON_INT}, {"room_type", GR_JSON_STRING},
        {"room_version", GR_JSON_STRING}, {"topic", GR_JSON_STRING}, {"world_readable", GR_JSON_BOOL}};
    if (!gr_str_eq(gr_json_text(told, "room_id"), room_id)) return (gr_str){0};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", room_id);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const gr_json *value = gr_json_get(told, kept[i].key);
        if (gr_json_is(value, kept[i].kind)) gr_jw_kjson(&w, kept[i].key, value);
    }
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(c->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void add_via(gr_call *c, gr_strs *out, gr_str server)
{
    if (!gr_ident_server_name(server) || gr_str_eq(server, gr_call_server_name(c)) || out->count == GR_SPACE_VIA_MAX) return;
    for (size_t i = 0; i < out->count; i++)
        if (gr_str_eq(out->at[i], server)) return;
    out->at[out->count++] = gr_call_keep(c, server);
}

gr_strs gr_space_via(gr_call *c, gr_str room_id, const gr_json *via)
{
    gr_strs out = {gr_arena_alloc(c->arena, GR_SPACE_VIA_MAX * sizeof(gr_str)), 0};
    for (uint32_t i = 0; gr_json_is(via, GR_JSON_ARRAY) && i < via->count; i++) add_via(c, &out, gr_json_string(&via->items[i]));
    add_via(c, &out, gr_ident_domain(room_id));
    return out;
}

static void take_told(gr_call *c)
{
    gr_space_look *l = c->state;
    l->summary = gr_space_summary(c, l->room_id, l->known);
    if (l->with_children && l->told) take_children(c, gr_json_get(l->known, "children_state"));
    end_children(c);
}

static void on_told_in_rooms(gr_call *c, const gr_answer *a)
{
    if (gr_failed(a->err) || ((const gr_user_in_rooms *)a->body)->rooms.count == 0) tell_unknown(c);
    else take_told(c);
}

/* The other server has judged by what is known of this one, which other users of it may have made so. */
static void judge_told(gr_call *c)
{
    gr_space_look *l = c->state;
    const gr_json *allowed = gr_json_get(l->known, "allowed_room_ids");
    bool may_be_in = c->user.size && gr_json_is(allowed, GR_JSON_ARRAY);
    if (gr_space_is_open(l->known)) {
        take_told(c);
        return;
    }
    gr_user_in_rooms m = {.rooms = {gr_arena_alloc(c->arena, (CONDITIONS_MAX + 1) * sizeof(gr_str)), 0}};
    for (uint32_t i = 0; may_be_in && i < allowed->count && i < CONDITIONS_MAX; i++)
        if (gr_ident_room(gr_json_string(&allowed->items[i]))) m.rooms.at[m.rooms.count++] = gr_json_string(&allowed->items[i]);
    if (m.rooms.count == 0) tell_unknown(c);
    else gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &m, on_told_in_rooms);
}

static void ask_next_server(gr_call *c);

/* body: in the arena. */
static bool is_told(gr_call *c, gr_str body)
{
    gr_space_look *l = c->state;
    const gr_json *told = NULL;
    bool good = !gr_failed(gr_json_parse(c->arena, body, GR_JSON_LAX, &told))
        && gr_str_eq(gr_json_text(gr_json_get(told, "room"), "room_id"), l->room_id);
    if (!good) return false;
    l->told = told;
    l->known = gr_json_get(told, "room");
    judge_told(c);
    return true;
}

static void on_told(gr_call *c, const gr_answer *a)
{
    const gr_space_look *l = c->state;
    bool good = !gr_failed(a->err) && a->type == &gr_type_result;
    gr_told_room asked = {l->via.at[l->next - 1], l->room_id, l->suggested};
    gr_str body = good ? gr_call_keep(c, ((const gr_result *)a->body)->body) : (gr_str){0};
    if (good && is_told(c, body)) gr_told_rooms_keep(c->edge->told_rooms, &asked, c->now_ms, body);
    else ask_next_server(c);
}

static void ask_next_server(gr_call *c)
{
    gr_space_look *l = c->state;
    if (l->next == l->via.count) {
        tell_unknown(c);
        return;
    }
    gr_told_room asked = {l->via.at[l->next++], l->room_id, l->suggested};
    gr_str kept = gr_told_rooms_find(c->edge->told_rooms, &asked, c->now_ms, c->arena);
    l->was_outside = true;
    if (kept.size && is_told(c, kept)) return;
    gr_str uri = gr_arena_printf(c->arena, "/_matrix/federation/v1/hierarchy/%" GR_FMT "?suggested_only=%s",
                                 GR_ARG(gr_uri_encode(c->arena, l->room_id)), l->suggested ? "true" : "false");
    gr_remote_ask(c, asked.server, "GET", uri, (gr_str){0}, on_told, 0);
}

/* --- rooms that are here ----------------------------------------------------------------------------------- */
static void ask_summary(gr_call *c, gr_call_then *then)
{
    const gr_space_look *l = c->state;
    gr_room_summary m = {.user = l->server.size ? (gr_str){0} : c->user, .member_of = l->member_of, .server = l->server};
    gr_call_ask(c, room_address(c, l->room_id), &gr_type_room_summary, &m, then);
}

static void on_final(gr_call *c, const gr_answer *a)
{
    gr_space_look *l = c->state;
    const gr_json *summary = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) {
        l->summary = gr_call_keep(c, ((const gr_result *)a->body)->body);
        err = gr_json_parse(c->arena, l->summary, GR_JSON_LAX, &summary);
    }
    l->is_here = true;
    if (gr_failed(err)) finish(c, err);
    else if (l->with_children && gr_str_is(gr_json_text(summary, "room_type"), "m.space")) ask_children(c, (gr_str){0});
    else finish(c, gr_ok());
}

/* It does not tell, or nobody here is in it and others may.  For whom nobody knows no other server is asked. */
static void on_presence(gr_call *c, const gr_answer *a)
{
    gr_space_look *l = c->state;
    bool is_enough = l->known && !(l->with_children && gr_str_is(gr_json_text(l->known, "room_type"), "m.space"));
    l->is_here = a->err.code != GR_NOT_FOUND;
    if (l->is_here || l->server.size || c->user.size == 0) tell_unknown(c);
    else if (is_enough) judge_told(c);
    else ask_next_server(c);
}

static void look_elsewhere(gr_call *c)
{
    const gr_space_look *l = c->state;
    gr_call_ask(c, room_address(c, l->room_id), &gr_type_room_has_member, &(gr_room_has_member){.user = c->user}, on_presence);
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    gr_space_look *l = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err) || in->rooms.count == 0) {
        look_elsewhere(c);
        return;
    }
    l->member_of = (gr_strs){gr_arena_alloc(c->arena, in->rooms.count * sizeof(gr_str)), in->rooms.count};
    for (size_t i = 0; i < in->rooms.count; i++) l->member_of.at[i] = gr_call_keep(c, in->rooms.at[i]);
    ask_summary(c, on_final);
}

static void on_condition(gr_call *c, const gr_answer *a)
{
    gr_space_look *l = c->state;
    bool is_in = !gr_failed(a->err) && gr_str_is(((const gr_room_membership_is *)a->body)->membership, "join");
    if (is_in) l->member_of.at[l->member_of.count++] = l->conditions.at[a->number];
    gr_fan_answered(&l->fan, c);
}

static void ask_condition(gr_call *c, size_t number)
{
    const gr_space_look *l = c->state;
    gr_call_ask_more(c, room_address(c, l->conditions.at[number]), &gr_type_room_has_member,
                     &(gr_room_has_member){.server = l->server}, on_condition, number, GR_CALL_TIMEOUT_MS, false);
}

static void on_conditions(gr_call *c)
{
    if (((const gr_space_look *)c->state)->member_of.count) ask_summary(c, on_final);
    else look_elsewhere(c);
}

/* In which of these rooms is the server that asks? */
static void ask_conditions(gr_call *c, gr_strs rooms)
{
    gr_space_look *l = c->state;
    size_t count = rooms.count < CONDITIONS_MAX ? rooms.count : CONDITIONS_MAX;
    l->conditions = (gr_strs){gr_arena_alloc(c->arena, (count + 1) * sizeof(gr_str)), count};
    l->member_of = (gr_strs){gr_arena_alloc(c->arena, (count + 1) * sizeof(gr_str)), 0};
    for (size_t i = 0; i < count; i++) l->conditions.at[i] = gr_call_keep(c, rooms.at[i]);
    l->fan = (gr_fan){.count = count, .ask = ask_condition, .finish = on_conditions};
    gr_fan_go(&l->fan, c);
}

static void on_allows(gr_call *c, const gr_answer *a)
{
    const gr_space_look *l = c->state;
    const gr_room_allows_rooms *allows = a->body;
    if (gr_failed(a->err) || allows->rooms.count == 0) {
        look_elsewhere(c);
    } else if (l->server.size) {
        ask_conditions(c, allows->rooms);
    } else {
        gr_user_in_rooms body = {.rooms = allows->rooms};
        gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &body, on_in_rooms);
    }
}

static void on_summary(gr_call *c, const gr_answer *a)
{
    const gr_space_look *l = c->state;
    if (a->err.code != GR_NOT_FOUND) on_final(c, a);
    else if (c->user.size == 0 && l->server.size == 0) look_elsewhere(c);
    else gr_call_ask(c, room_address(c, l->room_id), &gr_type_room_allows, &(gr_room_allows){.user = c->user}, on_allows);
}

void gr_space_look_at(gr_call *c)
{
    gr_space_look *l = c->state;
    l->err = gr_ok();
    l->is_here = l->was_outside = false;
    l->summary = (gr_str){0};
    l->child_count = l->next = 0;
    l->told = NULL;
    l->member_of = (gr_strs){0};
    ask_summary(c, on_summary);
}
