/* cover.c - the chain cover of a room: chain.h over the rows of its keyspace. See graph.h.
 *
 * Every state event has a place from when it is stored, rejected ones and outliers too.  One that cites what
 * is not here has none, nor has what cites that one: then resolution walks the events.
 */
#include "actors/room/graph.h"

static bool get_row(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    return gr_ctx_get(arg, gr_room_key_number(arg, letter, number), bytes);
}

static void put_row(void *arg, char letter, uint64_t number, gr_str bytes)
{
    gr_ctx_put(arg, gr_room_key_number(arg, letter, number), bytes);
}

typedef struct { gr_chain_row_fn *row; void *arg; } scan;

static bool on_row(void *arg, gr_str key, gr_str value)
{
    const scan *s = arg;
    if (key.size == 9) s->row(s->arg, gr_u64be(key.ptr + 1), value);
    return true;
}

static void scan_rows(void *arg, uint64_t first, uint64_t last, gr_chain_row_fn *row, void *row_arg)
{
    scan s = {row, row_arg};
    gr_ctx_scan(arg, gr_room_key_number(arg, 'c', first), gr_room_key_number(arg, 'c', last + 1), false, 0, on_row, &s);
}

gr_chain gr_room_chain(gr_ctx *ctx) { return (gr_chain){get_row, put_row, ctx, scan_rows}; }

/* A chain goes on only behind the event that this one replaces and cites, so that it stays one user's, or that of
 * power levels.  Just these two cite what they replace. */
static uint64_t replaced(gr_room *room, gr_ctx *ctx, const gr_room_record *r, gr_u64s auth)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    uint64_t newest = 0;
    if (!gr_str_is(r->type, "m.room.member") && !gr_str_is(r->type, "m.room.power_levels")) return 0;
    if (!(r->flags & GR_ROOM_OUTLIER)) return gr_trie_get(&trie, r->state_before, r->key);
    for (size_t i = 0; i < auth.count; i++) {
        gr_room_record a;
        if (auth.at[i] > newest && gr_room_record_at(ctx, auth.at[i], &a) && a.key == r->key) newest = auth.at[i];
    }
    return newest;
}

void gr_room_cover(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_room_record *r)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_u64s auth = {gr_arena_alloc(a, (e->auth_events.count + 1) * sizeof(uint64_t)), e->auth_events.count};
    if (!r->is_state || auth.count > GR_CHAIN_AUTH_MAX) return;
    for (size_t i = 0; i < auth.count; i++) gr_room_number_of(ctx, e->auth_events.at[i], &auth.at[i]);
    gr_chain chain = gr_room_chain(ctx);
    gr_chain_place place = gr_chain_assign(&chain, a, r->number, auth, replaced(room, ctx, r, auth));
    r->chain = place.chain;
    r->chain_seq = place.seq;
}
