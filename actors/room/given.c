/* given.c - from the event ids of a state to a root, and to the current state. See given.h. */
#include "actors/room/given.h"

#include "actors/room/graph.h"

#include <stdlib.h>

/* --- what differs --------------------------------------------------------------------------------------- */
typedef struct { uint64_t key, event; size_t place; } pair;

static int by_key(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

typedef struct {
    const gr_trie *trie;
    pair *pairs;                       /* by key, each once */
    size_t count;
    pair *leaves;                      /* of the base, by event */
    size_t leaf_count, leaf_room;
    gr_room_given *out;
    size_t room;
    gr_arena *arena;
} finder;

static void add_change(finder *f, uint64_t key, uint64_t event)
{
    gr_room_given *out = f->out;
    if (out->count == f->room) {
        f->room = f->room ? f->room * 2 : 64;
        uint64_t *keys = gr_arena_alloc(f->arena, f->room * sizeof *keys);
        uint64_t *events = gr_arena_alloc(f->arena, f->room * sizeof *events);
        if (out->count) memcpy(keys, out->keys, out->count * sizeof *keys);
        if (out->count) memcpy(events, out->events, out->count * sizeof *events);
        out->keys = keys;
        out->events = events;
    }
    out->keys[out->count] = key;
    out->events[out->count++] = event;
}

static bool on_base_key(void *arg, uint64_t key, uint64_t event)
{
    finder *f = arg;
    pair wanted = {.key = key};
    (void)event;
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_key(&f->pairs[middle], &wanted) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == f->count || f->pairs[low].key != key) add_change(f, key, 0);
    return true;
}

/* --- leaves of the base: an event that is among them needs no look at its header ------------------------- */
static bool on_leaf(void *arg, uint64_t key, uint64_t event)
{
    finder *f = arg;
    if (f->leaf_count == f->leaf_room) {
        pair *old = f->leaves;
        f->leaf_room = f->leaf_room ? f->leaf_room * 2 : 256;
        f->leaves = gr_arena_alloc(f->arena, f->leaf_room * sizeof *f->leaves);
        if (old) memcpy(f->leaves, old, f->leaf_count * sizeof *f->leaves);
    }
    f->leaves[f->leaf_count++] = (pair){.key = event, .event = key};   /* sorted by event */
    return true;
}

/* The key that an event of the base has in it, or 0. */
static uint64_t leaf_key(const finder *f, uint64_t event)
{
    pair wanted = {.key = event};
    const pair *leaf = f->leaf_count ? bsearch(&wanted, f->leaves, f->leaf_count, sizeof *f->leaves, by_key) : NULL;
    return leaf ? leaf->event : 0;
}

static void add_id(finder *f, gr_ctx *ctx, gr_str id, size_t place)
{
    uint64_t number, key;
    gr_room_record r;
    if (!gr_room_number_of(ctx, id, &number)) {
        f->out->missing.at[f->out->missing.count++] = id;
        return;
    }
    key = leaf_key(f, number);
    if (!key) {
        f->out->headers++;
        if (gr_room_record_at(ctx, number, &r) && !(r.flags & GR_ROOM_REJECTED)) key = r.key;
    }
    if (key) f->pairs[f->count++] = (pair){key, number, place};
}

static size_t each_once(pair *pairs, size_t count)
{
    size_t kept = 0;
    if (count) qsort(pairs, count, sizeof *pairs, by_key);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || pairs[kept - 1].key != pairs[i].key) pairs[kept++] = pairs[i];
    return kept;
}

void gr_room_given_find(gr_room *room, gr_ctx *ctx, uint64_t base, gr_strs ids, gr_room_given *out)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    finder f = {.trie = &trie, .pairs = gr_arena_alloc(a, (ids.count + 1) * sizeof(pair)), .out = out, .arena = a};
    *out = (gr_room_given){.missing = {gr_arena_alloc(a, (ids.count + 1) * sizeof(gr_str)), 0}};
    gr_trie_each(&trie, base, on_leaf, &f);
    if (f.leaf_count) qsort(f.leaves, f.leaf_count, sizeof *f.leaves, by_key);
    for (size_t i = 0; i < ids.count; i++) add_id(&f, ctx, ids.at[i], i);
    f.count = each_once(f.pairs, f.count);
    for (size_t i = 0; i < f.count; i++)
        if (gr_trie_get(&trie, base, f.pairs[i].key) != f.pairs[i].event)
            add_change(&f, f.pairs[i].key, f.pairs[i].event);
    gr_trie_each(&trie, base, on_base_key, &f);
}

uint64_t gr_room_given_root(gr_room *room, gr_ctx *ctx, uint64_t base, const gr_room_given *given, size_t from,
                            size_t most)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    uint64_t root = base, first = room->next_node;
    for (size_t i = from; i < given->count && i - from < most; i++)
        root = gr_trie_set(&trie, root, given->keys[i], given->events[i]);
    gr_room_loosen(room, ctx, room->next_node - first);
    return root;
}

/* --- roots that no event has ---------------------------------------------------------------------------- */
enum { NAME_MAX_SIZE = 64 };

void gr_room_root_keep(gr_ctx *ctx, gr_str name, uint64_t root)
{
    gr_assert(name.size <= NAME_MAX_SIZE);
    gr_str key = gr_room_key(ctx, 'Q', name);
    if (root) gr_ctx_put(ctx, key, gr_str_from(gr_room_key_number(ctx, ' ', root), 1));
    else gr_ctx_del(ctx, key);
}

uint64_t gr_room_root_kept(gr_ctx *ctx, gr_str name)
{
    gr_str value;
    bool known = name.size <= NAME_MAX_SIZE && gr_ctx_get(ctx, gr_room_key(ctx, 'Q', name), &value);
    return known && value.size == 8 ? gr_u64be(value.ptr) : 0;
}
