/* order.c - which of the staged events comes before which, and what becomes of those that could not be checked. See join.h. */
#include "actors/join/join_private.h"

#include "proto/ident.h"

#include <stdlib.h>
#include <uthash.h>

typedef struct node node;
struct node {
    UT_hash_handle hh;
    gr_str id;
    gr_strs auth;
    bool is_state, is_create;
    enum { NODE_NEW, NODE_OPEN, NODE_DONE } mark;
    size_t next;                           /* of auth, while it is open */
};
typedef struct {
    gr_arena *arena, *passing;
    const gr_room_version *version;
    node *table, *all;
    size_t count, room;
    gr_buf *out;
} graph;

static bool add_node(void *arg, gr_str key, gr_str value)
{
    graph *g = arg;
    gr_event e;
    gr_arena_reset(g->passing);
    if (gr_failed(gr_event_parse(g->passing, g->version, value, &e))) return true;
    node *n = &g->all[g->count++];
    n->id = gr_arena_str(g->arena, gr_str_from(key, 1));
    n->is_create = gr_event_is(&e, "m.room.create", "");
    n->auth = (gr_strs){gr_arena_alloc(g->arena, (e.auth_events.count + 1) * sizeof(gr_str)), e.auth_events.count};
    for (size_t i = 0; i < e.auth_events.count; i++) n->auth.at[i] = gr_arena_str(g->arena, e.auth_events.at[i]);
    HASH_ADD_KEYPTR(hh, g->table, n->id.ptr, n->id.size, n);
    return g->count < g->room;
}

static bool mark_state(void *arg, gr_str key, gr_str value)
{
    graph *g = arg;
    node *n = NULL;
    (void)value;
    HASH_FIND(hh, g->table, key.ptr + 1, key.size - 1, n);
    if (n) n->is_state = true;
    return true;
}

static void write_node(graph *g, node *n)
{
    n->mark = NODE_DONE;
    gr_buf_char(g->out, n->is_state);
    gr_buf_char(g->out, (char)(n->id.size >> 8));
    gr_buf_char(g->out, (char)n->id.size);
    gr_buf_str(g->out, n->id);
}

/* Depth first, without recursion.  An event that is open is cited by itself on some way: a cycle, which no server can have
 * made but one that chooses its event ids; whoever is left over is not held by the room. */
static void write_below(graph *g, node *first, node **stack)
{
    size_t depth = 0;
    if (first->mark != NODE_NEW) return;
    first->mark = NODE_OPEN;
    stack[depth++] = first;
    while (depth) {
        node *n = stack[depth - 1], *cited = NULL;
        if (n->next == n->auth.count) {
            write_node(g, n);
            depth--;
            continue;
        }
        gr_str id = n->auth.at[n->next++];
        HASH_FIND(hh, g->table, id.ptr, id.size, cited);
        if (!cited || cited->mark != NODE_NEW) continue;
        cited->mark = NODE_OPEN;
        stack[depth++] = cited;
    }
}

/* --- events that could not be checked ---------------------------------------------------------------------------- */
typedef struct unchecked unchecked;
struct unchecked {
    UT_hash_handle hh;
    gr_str id, server;                     /* server: of its sender */
    bool is_state, is_cited, can_come_later;
};
typedef struct { graph *g; gr_ctx *ctx; unchecked *table; } apart;

/* What somebody has done about their own membership can be put in its place later, when nobody builds on it. */
static bool add_unchecked(void *arg, gr_str key, gr_str text)
{
    apart *u = arg;
    gr_arena *a = u->g->arena;
    gr_event e;
    gr_str none;
    gr_arena_reset(u->g->passing);
    if (gr_failed(gr_event_parse(u->g->passing, u->g->version, text, &e))) return true;
    unchecked *n = gr_arena_alloc(a, sizeof *n);
    *n = (unchecked){.id = gr_arena_str(a, gr_str_from(key, 1)), .server = gr_arena_str(a, gr_ident_domain(e.sender)),
                     .can_come_later = e.has_state_key && gr_str_is(e.type, "m.room.member")
                         && gr_str_eq(e.sender, e.state_key)};
    n->is_state = gr_ctx_get(u->ctx, gr_arena_cat(u->g->passing, 2, (gr_str[]){GR_STR("s"), n->id}), &none);
    HASH_ADD_KEYPTR(hh, u->table, n->id.ptr, n->id.size, n);
    return true;
}

static void mark_cited(apart *u)
{
    const graph *g = u->g;
    for (size_t i = 0; i < g->count; i++)
        for (size_t k = 0; k < g->all[i].auth.count; k++) {
            unchecked *n = NULL;
            HASH_FIND(hh, u->table, g->all[i].auth.at[k].ptr, g->all[i].auth.at[k].size, n);
            if (n) n->is_cited = true;
        }
}

/* Writes down what the room is entered without.  What is neither of the state nor cited is of no consequence.  The answer
 * names a server without whose keys the state would not be that of others; empty: there is none. */
static gr_str leave_out(apart *u)
{
    size_t left_out = 0;
    if (u->table) mark_cited(u);
    for (unchecked *n = u->table; n; n = n->hh.next) {
        if (!n->is_cited && !n->is_state) continue;
        if (n->is_cited || !n->can_come_later || left_out++ == GR_JOIN_LEFT_OUT_MAX) return n->server;
        gr_ctx_put(u->ctx, gr_arena_cat(u->g->arena, 2, (gr_str[]){GR_STR("x"), n->id}), (gr_str){0});
    }
    return (gr_str){0};
}

/* Output: size of the name of a server whose keys are needed (2), it, size of the order (8), it, what is to be written. */
static bool run_order(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    gr_buf out = {0};
    graph g = {.arena = arena, .passing = gr_arena_new(0), .version = gr_room_version_find(gr_str_from(input, 8)),
               .out = &out};
    gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, gr_ctx_count_row, &g.room);
    g.all = gr_arena_alloc(arena, (g.room + 1) * sizeof *g.all);
    node **stack = gr_arena_alloc(arena, (g.room + 1) * sizeof *stack);
    apart u = {.g = &g, .ctx = ctx};
    if (g.room) gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, add_node, &g);
    gr_work_scan(reader, GR_STR("s"), GR_STR("t"), false, 0, mark_state, &g);
    gr_work_scan(reader, GR_STR("l"), GR_STR("m"), false, 0, add_unchecked, &u);
    gr_str needed_of = leave_out(&u);
    for (size_t i = 0; i < g.count; i++)
        if (g.all[i].is_create && g.all[i].auth.count == 0) write_below(&g, &g.all[i], stack);
    for (size_t i = 0; i < g.count; i++) write_below(&g, &g.all[i], stack);
    gr_buf_char(output, (char)(needed_of.size >> 8));
    gr_buf_char(output, (char)needed_of.size);
    gr_buf_str(output, needed_of);
    gr_buf_u64be(output, out.size);
    gr_buf_str(output, gr_buf_view(&out));
    gr_work_written(reader, output);
    gr_buf_free(&out);
    HASH_CLEAR(hh, g.table);
    HASH_CLEAR(hh, u.table);
    gr_arena_free(&g.passing);
    return !gr_work_failed(reader);
}

static const gr_work order_work = {.name = "join_order", .run = run_order, .is_long = true};

void gr_join_order_begin(gr_join *j, gr_ctx *ctx)
{
    gr_buf input = {0};
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    gr_buf_str(&input, j->flow->version);
    gr_join_work(j, ctx, &order_work, gr_buf_view(&input), 0);
    gr_buf_free(&input);
}

void gr_join_on_ordered(gr_join *j, gr_str output, gr_ctx *ctx)
{
    size_t name = (size_t)((unsigned char)output.ptr[0] << 8 | (unsigned char)output.ptr[1]);
    gr_str needed_of = gr_str_of(output.ptr + 2, name), rest = gr_str_from(output, 2 + name);
    size_t size = (size_t)gr_u64be(rest.ptr);
    gr_err err = gr_ok();
    gr_buf_clear(&j->order);
    gr_buf_str(&j->order, gr_str_of(rest.ptr + 8, size));
    j->ordered = size;
    gr_ctx_write_again(ctx, gr_str_from(rest, 8 + size));
    if (needed_of.size)
        err = gr_failf(gr_ctx_arena(ctx), GR_BAD_GATEWAY, "The keys of %" GR_FMT
                       ", which has signed some of the room's state, cannot be had now", GR_ARG(needed_of));
    else if (!size) err = gr_fail(GR_BAD_GATEWAY, "The other server gave no state of the room that can be believed");
    if (gr_failed(err)) gr_join_next_server(j, ctx, err);
    else gr_join_go(j, ctx, GR_JOIN_FEED);
}
