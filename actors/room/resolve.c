/* resolve.c - the state before an event, from the states after its predecessors. See graph.h.
 *
 * What the states share is never read: their tries are compared, and state resolution (proto/stateres.h)
 * gets the keys that differ.  Auth chains are compared by the chain cover (chain.h).  Events are stored after
 * their auth events, so that numbers are an order of the auth graph.  Little is resolved in the handler at
 * once, and may read more than the bounds of one while the room remembers nothing of its auth graph yet
 * (gr_room_fact); anything else is work for the pool (resolving.h), which has the same functions with higher
 * limits.
 */
#include "actors/room/chain.h"
#include "actors/room/graph.h"
#include "actors/room/record.h"
#include "actors/room/resolving.h"
#include "proto/stateres.h"

#include <stdlib.h>

/* Events in the full conflicted set (a parsed one takes one to two kilobytes until the end), events read, keys in conflict
 * times states; keys of a state that is walked whole, events looked through instead. */
typedef struct { size_t conflicted, reads, cells; uint64_t keys, newer; } limits;
static const limits few = {24, 48, 64, 256, 48}, many = {150000, 300000, 1000000, UINT64_MAX, 48};

_Static_assert((int)GR_ROOM_EXTREMITIES_MAX <= (int)GR_STATERES_STATES_MAX, "a state per extremity");
_Static_assert((int)GR_EVENT_PREV_MAX <= (int)GR_STATERES_STATES_MAX, "a state per predecessor");

/* A key whose event in the first state is not that in another. */
typedef struct { uint64_t key; size_t state; uint64_t before, after; } cell;

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    const gr_trie *trie;
    limits limits;
    gr_u64s roots; /* different ones */
    size_t state;  /* that is compared with the first */
    cell *cells;
    size_t cell_count, cell_room;
    gr_u64s keys;  /* in conflict, ascending */
    uint64_t *rows;
    uint64_t above; /* while the rest is listed */
    gr_u64s listed;
    size_t listed_room;
    bool over;     /* a limit was met */
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
        gr_room_number_cited(r->room, r->ctx, e->auth_events.at[i], &out->auth.at[i]);
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
    return key && !in_conflict(r, key) ? gr_trie_get(r->trie, r->roots.at[0], key) : 0;
}

static void list_if_common(resolver *r, uint64_t key, uint64_t event)
{
    if (event > r->above && !in_conflict(r, key))
        add_number(gr_ctx_arena(r->ctx), &r->listed, &r->listed_room, event);
}

static bool list_leaf(void *arg, uint64_t key, uint64_t event)
{
    list_if_common(arg, key, event);
    return true;
}

static bool list_record(void *arg, gr_str key, gr_str value)
{
    resolver *r = arg;
    gr_room_record record;
    (void)key;
    if (gr_room_record_read(value, &record) && record.key
        && gr_trie_get(r->trie, r->roots.at[0], record.key) == record.number)
        list_if_common(r, record.key, record.number);
    return true;
}

/* Mostly just the newest events are in question: they are looked through, and not the whole state. */
static gr_u64s unconflicted_above(void *arg, uint64_t number)
{
    resolver *r = arg;
    uint64_t newer = r->room->next_number - number;
    r->listed = (gr_u64s){0};
    r->listed_room = 0;
    r->above = number;
    if (newer <= r->limits.newer)
        gr_ctx_scan(r->ctx, gr_room_key_number(r->ctx, 'e', number + 1), GR_STR("f"), false, 0, list_record, r);
    else if (r->room->next_key <= r->limits.keys) gr_trie_each(r->trie, r->roots.at[0], list_leaf, r);
    else r->over = true;
    return r->listed;
}

static bool difference(void *arg, gr_u64s *out)
{
    resolver *r = arg;
    gr_arena *a = gr_ctx_arena(r->ctx);
    size_t count = r->roots.count, keys = r->keys.count;
    gr_room_nodes nodes;
    gr_chain chain = gr_room_chain_known(&nodes, r->room, r->ctx);
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
    gr_room_nodes nodes;
    gr_chain chain = gr_room_chain_known(&nodes, r->room, r->ctx);
    return gr_chain_subgraph(&chain, gr_ctx_arena(r->ctx), events, out);
}

/* --- keys in conflict --- */
static bool collect_cell(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    resolver *r = arg;
    if (r->cell_count == r->cell_room) {
        r->cell_room = r->cell_room ? r->cell_room * 2 : 64;
        cell *at = gr_arena_alloc(gr_ctx_arena(r->ctx), r->cell_room * sizeof *at);
        if (r->cell_count) memcpy(at, r->cells, r->cell_count * sizeof *at);
        r->cells = at;
    }
    r->cells[r->cell_count++] = (cell){key, r->state, before, after};
    return r->cell_count <= r->limits.cells;
}

static int by_key(const void *a, const void *b) { return ascending(&((const cell *)a)->key, &((const cell *)b)->key); }

/* Keys that differ from the first state in any other, and their events in each.  False: too many. */
static bool find_rows(resolver *r)
{
    size_t states = r->roots.count;
    gr_arena *a = gr_ctx_arena(r->ctx);
    for (r->state = 1; r->state < states && r->cell_count <= r->limits.cells; r->state++)
        gr_trie_diff(r->trie, r->roots.at[0], r->roots.at[r->state], collect_cell, r);
    if (r->cell_count > r->limits.cells) return false;
    if (r->cell_count) qsort(r->cells, r->cell_count, sizeof *r->cells, by_key);
    r->keys.at = gr_arena_alloc(a, (r->cell_count + 1) * sizeof(uint64_t));
    for (size_t i = 0; i < r->cell_count; i++)
        if (i == 0 || r->cells[i].key != r->cells[i - 1].key) r->keys.at[r->keys.count++] = r->cells[i].key;
    if (r->keys.count * states > r->limits.cells) return false;
    r->rows = gr_arena_alloc(a, (r->keys.count * states + 1) * sizeof *r->rows);
    for (size_t i = 0, k = 0; i < r->cell_count; i++) {
        const cell *c = &r->cells[i];
        if (c->key != r->keys.at[k]) k++;
        uint64_t *row = &r->rows[k * states];
        bool is_first = i == 0 || r->cells[i - 1].key != c->key;
        for (size_t state = 0; is_first && state < states; state++) row[state] = c->before;
        row[c->state] = c->after;
    }
    return true;
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
static uint64_t root_of(resolver *r, const winners *w)
{
    size_t states = r->roots.count, nearest = 0, least = SIZE_MAX, count = 0;
    for (size_t i = 0; i < states; i++) {
        size_t wrong = 0;
        for (size_t k = 0; k < r->keys.count; k++) wrong += r->rows[k * states + i] != w->events[k];
        if (wrong >= least) continue;
        least = wrong;
        nearest = i;
    }
    gr_trie_change *changes = gr_arena_alloc(gr_ctx_arena(r->ctx), (w->count + 1) * sizeof *changes);
    for (size_t k = 0; k < w->count; k++)
        if (w->keys[k]) changes[count++] = (gr_trie_change){w->keys[k], w->events[k]};
    return gr_trie_set_all(r->trie, r->roots.at[nearest], changes, count);
}

gr_err gr_room_resolve_with(gr_room *room, gr_ctx *ctx, const gr_trie *trie, gr_u64s roots, bool whole, uint64_t *root)
{
    gr_stateres_result result;
    resolver r = {.room = room, .ctx = ctx, .trie = trie, .limits = whole ? many : few, .roots = roots};
    gr_assert(roots.count >= 2);
    *root = 0;
    if (roots.count > GR_STATERES_STATES_MAX || !find_rows(&r)) return gr_room_too_far_apart();
    gr_stateres_input in = {.version = room->version,
                            .states = roots.count,
                            .rows = r.rows,
                            .row_count = r.keys.count,
                            .conflicted_max = r.limits.conflicted,
                            .reads_max = r.limits.reads};
    in.create = gr_room_state_number(room, ctx, roots.at[0], GR_STR("m.room.create"), (gr_str){0});
    gr_stateres_source source = {read_event, unconflicted, unconflicted_above, true, &r, difference, subgraph};
    gr_err err = gr_stateres_resolve(gr_ctx_arena(ctx), &in, &source, &result);
    if (gr_failed(err) || r.over) return gr_room_too_far_apart();
    winners w = winners_of(&r, &result);
    *root = root_of(&r, &w);
    return gr_ok();
}

/* Each once, ascending: so the same states are known again. */
static gr_u64s distinct(gr_arena *a, gr_u64s roots)
{
    gr_u64s out = {gr_arena_alloc(a, (roots.count + 1) * sizeof(uint64_t)), 0};
    if (roots.count) memcpy(out.at, roots.at, roots.count * sizeof(uint64_t));
    if (roots.count) qsort(out.at, roots.count, sizeof *out.at, ascending);
    for (size_t i = 0; i < roots.count; i++)
        if (out.count == 0 || out.at[out.count - 1] != out.at[i]) out.at[out.count++] = out.at[i];
    return out;
}

gr_err gr_room_resolve(gr_room *room, gr_ctx *ctx, gr_u64s all, uint64_t *root)
{
    gr_room_nodes nodes;
    gr_err err;
    gr_u64s roots = distinct(gr_ctx_arena(ctx), all);
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    *root = roots.count ? roots.at[0] : 0;
    if (roots.count < 2) return gr_ok();
    if (gr_room_resolved(room, roots, root, &err)) return err;
    uint64_t first = room->next_node;
    err = gr_room_resolve_with(room, ctx, &trie, roots, room->unbounded, root);
    gr_room_loosen(room, ctx, room->next_node - first);
    return gr_failed(err) ? gr_room_want_state(room, roots) : err;
}

gr_err gr_room_state_before(gr_room *room, gr_ctx *ctx, gr_strs prevs, uint64_t *root)
{
    uint64_t *roots = gr_arena_alloc(gr_ctx_arena(ctx), (prevs.count + 1) * sizeof *roots);
    *root = 0;
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record record;
        const gr_room_extremity *extremity = gr_room_extremity_of(room, prevs.at[i]);
        if (extremity) {
            roots[i] = extremity->root;
            continue;
        }
        if (!gr_room_number_of(ctx, prevs.at[i], &number) || !gr_room_record_at(ctx, number, &record)
            || (record.flags & GR_ROOM_OUTLIER))
            return gr_failf(gr_ctx_arena(ctx), GR_UNAVAILABLE,
                            "The event %.*s, which this one follows, is not known here", GR_ARG(prevs.at[i]));
        roots[i] = record.state_after;
    }
    return gr_room_resolve(room, ctx, (gr_u64s){roots, prevs.count}, root);
}
