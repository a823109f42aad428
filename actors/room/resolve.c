/* resolve.c - the state before an event, from the states after its predecessors. See graph.h.
 *
 * What the states share is never read: their tries are compared, and state resolution (proto/stateres.h)
 * gets the keys that differ.  Auth chains are compared by the chain cover (chain.h).  Events are stored after
 * their auth events, so that numbers are an order of the auth graph.  It runs in the handler, and reads more
 * than the bounds of one when much is in conflict: the limits below hold it to some tens of milliseconds,
 * past them the event is refused as unavailable.
 */
#include "actors/room/chain.h"
#include "actors/room/graph.h"
#include "proto/stateres.h"

#include <stdlib.h>

enum {
    CONFLICTED_MAX = 1000, /* events in the full conflicted set */
    READS_MAX = 10000,     /* events read */
    CELLS_MAX = 20000      /* keys in conflict, times states */
};
_Static_assert((int)GR_ROOM_EXTREMITIES_MAX <= (int)GR_STATERES_STATES_MAX, "a state per extremity");
_Static_assert((int)GR_EVENT_PREV_MAX <= (int)GR_STATERES_STATES_MAX, "a state per predecessor");

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_trie trie;
    gr_u64s roots; /* different ones */
    gr_u64s keys;  /* in conflict, ascending */
    size_t keys_room;
    const uint64_t *rows;
    uint64_t above; /* while the rest is listed */
    gr_u64s listed;
    size_t listed_room;
} resolver;

static void add_number(gr_arena *a, gr_u64s *list, size_t *room, uint64_t number)
{
    if (list->count == *room) {
        *room = *room ? *room * 2 : 64;
        uint64_t *at = gr_arena_alloc(a, *room * sizeof *at);
        if (list->count) memcpy(at, list->at, list->count * sizeof *at);
        list->at = at;
    }
    list->at[list->count++] = number;
}

/* --- what resolution asks --- */
static bool read_event(void *arg, uint64_t number, gr_stateres_event *out)
{
    resolver *r = arg;
    gr_arena *a = gr_ctx_arena(r->ctx);
    gr_room_record record;
    gr_event *e = gr_arena_alloc(a, sizeof *e);
    if (!gr_room_record_at(r->ctx, number, &record)) return false;
    if (!gr_room_event_of(r->room, a, &record, e)) return false;
    out->event = e;
    out->rejected = record.flags & GR_ROOM_REJECTED;
    out->auth.at = gr_arena_alloc(a, (e->auth_events.count + 1) * sizeof(uint64_t));
    out->auth.count = e->auth_events.count;
    for (size_t i = 0; i < e->auth_events.count; i++)
        gr_room_number_of(r->ctx, e->auth_events.at[i], &out->auth.at[i]);
    return true;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool in_conflict(const resolver *r, uint64_t key)
{
    return r->keys.count && bsearch(&key, r->keys.at, r->keys.count, sizeof key, ascending);
}

static uint64_t unconflicted(void *arg, gr_str type, gr_str state_key)
{
    resolver *r = arg;
    uint64_t key = gr_room_key_of(r->room, r->ctx, type, state_key);
    return key && !in_conflict(r, key) ? gr_trie_get(&r->trie, r->roots.at[0], key) : 0;
}

static bool list_above(void *arg, uint64_t key, uint64_t event)
{
    resolver *r = arg;
    if (event > r->above && !in_conflict(r, key))
        add_number(gr_ctx_arena(r->ctx), &r->listed, &r->listed_room, event);
    return true;
}

static gr_u64s unconflicted_above(void *arg, uint64_t number)
{
    resolver *r = arg;
    r->listed = (gr_u64s){0};
    r->listed_room = 0;
    r->above = number;
    gr_trie_each(&r->trie, r->roots.at[0], list_above, r);
    return r->listed;
}

static bool difference(void *arg, gr_u64s *out)
{
    resolver *r = arg;
    gr_arena *a = gr_ctx_arena(r->ctx);
    size_t count = r->roots.count, keys = r->keys.count;
    gr_chain chain = gr_room_chain(r->ctx);
    gr_u64s *states = gr_arena_alloc(a, count * sizeof *states);
    for (size_t i = 0; i < count; i++) {
        states[i] = (gr_u64s){gr_arena_alloc(a, (keys + 1) * sizeof(uint64_t)), keys};
        for (size_t k = 0; k < keys; k++) states[i].at[k] = r->rows[k * count + i];
    }
    return gr_chain_difference(&chain, a, &(gr_chain_states){states, count, unconflicted_above, r}, out);
}

static bool subgraph(void *arg, gr_u64s events, gr_u64s *out)
{
    resolver *r = arg;
    gr_chain chain = gr_room_chain(r->ctx);
    return gr_chain_subgraph(&chain, gr_ctx_arena(r->ctx), events, out);
}

/* --- keys in conflict --- */
static bool collect_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    resolver *r = arg;
    (void)before;
    (void)after;
    add_number(gr_ctx_arena(r->ctx), &r->keys, &r->keys_room, key);
    return r->keys.count <= CELLS_MAX;
}

/* Keys that differ from the first state in any other.  False: too many. */
static bool find_keys(resolver *r)
{
    for (size_t i = 1; i < r->roots.count && r->keys.count <= CELLS_MAX; i++)
        gr_trie_diff(&r->trie, r->roots.at[0], r->roots.at[i], collect_key, r);
    size_t kept = 0;
    if (r->keys.count) qsort(r->keys.at, r->keys.count, sizeof *r->keys.at, ascending);
    for (size_t i = 0; i < r->keys.count; i++)
        if (kept == 0 || r->keys.at[kept - 1] != r->keys.at[i]) r->keys.at[kept++] = r->keys.at[i];
    r->keys.count = kept;
    return kept * r->roots.count <= CELLS_MAX;
}

static uint64_t *rows_of(resolver *r)
{
    size_t states = r->roots.count;
    uint64_t *rows = gr_arena_alloc(gr_ctx_arena(r->ctx), (r->keys.count * states + 1) * sizeof *rows);
    for (size_t k = 0; k < r->keys.count; k++)
        for (size_t i = 0; i < states; i++)
            rows[k * states + i] = gr_trie_get(&r->trie, r->roots.at[i], r->keys.at[k]);
    return rows;
}

/* --- the state that comes out --- */
/* The winners by key: those in conflict in their order, then keys that no state had. */
typedef struct {
    uint64_t *keys, *events;
    size_t count;
} winners;

static winners winners_of(resolver *r, const gr_stateres_result *result)
{
    gr_arena *a = gr_ctx_arena(r->ctx);
    size_t space = r->keys.count + result->count + 1;
    winners w = {gr_arena_alloc(a, space * sizeof *w.keys), gr_arena_alloc(a, space * sizeof *w.events), 0};
    for (; w.count < r->keys.count; w.count++) w.keys[w.count] = r->keys.at[w.count];
    for (size_t i = 0; i < result->count; i++) {
        const gr_stateres_entry *e = &result->at[i];
        uint64_t key = gr_room_key_of(r->room, r->ctx, e->type, e->state_key);
        uint64_t *found = NULL;
        if (r->keys.count) found = bsearch(&key, r->keys.at, r->keys.count, sizeof key, ascending);
        size_t at = found ? (size_t)(found - r->keys.at) : w.count++;
        w.keys[at] = key;
        w.events[at] = e->number;
    }
    return w;
}

/* Starts from the state that needs the fewest new nodes. */
static uint64_t root_of(resolver *r, const winners *w, const uint64_t *rows)
{
    size_t states = r->roots.count, nearest = 0, least = SIZE_MAX;
    for (size_t i = 0; i < states; i++) {
        size_t wrong = 0;
        for (size_t k = 0; k < r->keys.count; k++) wrong += rows[k * states + i] != w->events[k];
        if (wrong >= least) continue;
        least = wrong;
        nearest = i;
    }
    uint64_t root = r->roots.at[nearest];
    for (size_t k = 0; k < w->count; k++)
        if (w->keys[k]) root = gr_trie_set(&r->trie, root, w->keys[k], w->events[k]);
    return root;
}

static gr_err resolve(resolver *r, uint64_t *root)
{
    gr_stateres_result result;
    if (r->roots.count > GR_STATERES_STATES_MAX || !find_keys(r))
        return gr_fail(GR_UNAVAILABLE, "The room's branches disagree about more state than this server "
                                       "resolves at once; try again when they have come closer");
    uint64_t *rows = rows_of(r);
    r->rows = rows;
    gr_stateres_input in = {.version = r->room->version,
                            .states = r->roots.count,
                            .rows = rows,
                            .row_count = r->keys.count,
                            .conflicted_max = CONFLICTED_MAX,
                            .reads_max = READS_MAX};
    in.create = gr_room_state_number(r->room, r->ctx, r->roots.at[0], GR_STR("m.room.create"), (gr_str){0});
    gr_stateres_source source = {read_event, unconflicted, unconflicted_above, true, r, difference, subgraph};
    gr_err err = gr_stateres_resolve(gr_ctx_arena(r->ctx), &in, &source, &result);
    if (gr_failed(err)) return err;
    winners w = winners_of(r, &result);
    *root = root_of(r, &w, rows);
    return gr_ok();
}

gr_err gr_room_resolve(gr_room *room, gr_ctx *ctx, gr_u64s roots, uint64_t *root)
{
    gr_room_nodes nodes;
    resolver r = {.room = room, .ctx = ctx, .trie = gr_room_trie(&nodes, room, ctx)};
    r.roots.at = gr_arena_alloc(gr_ctx_arena(ctx), (roots.count + 1) * sizeof(uint64_t));
    for (size_t i = 0; i < roots.count; i++) {
        bool known = false;
        for (size_t k = 0; k < r.roots.count; k++) known = known || r.roots.at[k] == roots.at[i];
        if (!known) r.roots.at[r.roots.count++] = roots.at[i];
    }
    *root = r.roots.count ? r.roots.at[0] : 0;
    if (r.roots.count < 2) return gr_ok();
    uint64_t first = room->next_node;
    gr_err err = resolve(&r, root);
    gr_room_loosen(room, ctx, room->next_node - first);
    return err;
}

gr_err gr_room_state_before(gr_room *room, gr_ctx *ctx, gr_strs prevs, uint64_t *root)
{
    uint64_t *roots = gr_arena_alloc(gr_ctx_arena(ctx), (prevs.count + 1) * sizeof *roots);
    *root = 0;
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record record;
        if (!gr_room_number_of(ctx, prevs.at[i], &number) || !gr_room_record_at(ctx, number, &record)
            || (record.flags & GR_ROOM_OUTLIER))
            return gr_failf(gr_ctx_arena(ctx), GR_UNAVAILABLE,
                            "The event %.*s, which this one follows, is not known here", GR_ARG(prevs.at[i]));
        roots[i] = record.state_after;
    }
    return gr_room_resolve(room, ctx, (gr_u64s){roots, prevs.count}, root);
}
