/* cache.c - parsed current state, trie nodes and facts in memory. See cache.h. */
#include "actors/room/cache.h"

#include <stdlib.h>

typedef struct {
    uint64_t hash, used;
    gr_arena *arena; /* holds all views below */
    gr_str type, state_key;
    const gr_event *event; /* NULL: the state has none */
} entry;

typedef struct {
    uint64_t number;
    gr_buf bytes;
} kept_node;
typedef struct {
    uint64_t hash;
    size_t key_size;
    gr_buf bytes; /* key and value */
} fact;
typedef struct {
    uint64_t hash, key;
    char *text;
    size_t type_size, size;
} fresh_key;

struct gr_room_cache {
    entry *events;
    size_t count, room, bytes;
    uint64_t clock;
    gr_arena **stale; /* of moved entries: freed by the next trim */
    size_t stale_count, stale_room;
    kept_node nodes[GR_ROOM_CACHE_NODES];
    size_t node_bytes;
    fact *facts; /* NULL: none yet */
    size_t fact_bytes;
    bool fresh;
    fresh_key *keys;
    size_t key_count, key_room;
};

gr_room_cache *gr_room_cache_new(void) { return gr_alloc(sizeof(gr_room_cache)); }

static uint64_t hash_of(gr_str type, gr_str state_key)
{
    return gr_str_hash(type) * 31 + gr_str_hash(state_key);
}

static void forget_keys(gr_room_cache *c)
{
    for (size_t i = 0; i < c->key_count; i++) free(c->keys[i].text);
    free(c->keys);
    c->keys = NULL;
    c->key_count = c->key_room = 0;
}

static void free_stale(gr_room_cache *c)
{
    for (size_t i = 0; i < c->stale_count; i++) gr_arena_free(&c->stale[i]);
    c->stale_count = 0;
}

static void remove_at(gr_room_cache *c, size_t i)
{
    c->bytes -= gr_arena_used(c->events[i].arena);
    c->events[i] = c->events[--c->count];
}

void gr_room_cache_free(gr_room_cache **at)
{
    gr_room_cache *c = *at;
    if (!c) return;
    for (size_t i = 0; i < c->count; i++) gr_arena_free(&c->events[i].arena);
    for (size_t i = 0; i < GR_ROOM_CACHE_NODES; i++) gr_buf_free(&c->nodes[i].bytes);
    gr_room_cache_forget_facts(c);
    free_stale(c);
    forget_keys(c);
    free(c->stale);
    free(c->events);
    free(c);
    *at = NULL;
}

void gr_room_cache_trim(gr_room_cache *c)
{
    free_stale(c);
    while (c->count > GR_ROOM_CACHE_EVENTS || (c->bytes > GR_ROOM_CACHE_BYTES && c->count > 0)) {
        size_t oldest = 0;
        for (size_t i = 1; i < c->count; i++)
            if (c->events[i].used < c->events[oldest].used) oldest = i;
        gr_arena *arena = c->events[oldest].arena;
        remove_at(c, oldest);
        gr_arena_free(&arena);
    }
}

size_t gr_room_cache_memory(const gr_room_cache *c)
{
    return sizeof *c + c->room * sizeof *c->events + c->bytes + c->node_bytes
           + (c->facts ? GR_ROOM_CACHE_FACTS * sizeof *c->facts : 0) + c->fact_bytes;
}

static entry *find(gr_room_cache *c, gr_str type, gr_str state_key)
{
    uint64_t hash = hash_of(type, state_key);
    for (size_t i = 0; i < c->count; i++) {
        entry *e = &c->events[i];
        if (e->hash == hash && gr_str_eq(e->type, type) && gr_str_eq(e->state_key, state_key)) return e;
    }
    return NULL;
}

bool gr_room_cache_get(gr_room_cache *c, gr_str type, gr_str state_key, const gr_event **event)
{
    entry *e = find(c, type, state_key);
    *event = e ? e->event : NULL;
    if (e) e->used = ++c->clock;
    return e != NULL;
}

const gr_event *gr_room_cache_put(gr_room_cache *c, gr_str type, gr_str state_key, gr_arena **arena,
                                  const gr_event *event)
{
    gr_assert(!event || *arena);
    gr_room_cache_moved(c, type, state_key);
    gr_arena *own = *arena ? *arena : gr_arena_new(128 + type.size + state_key.size);
    *arena = NULL;
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 16;
        c->events = gr_realloc(c->events, c->room * sizeof *c->events);
    }
    c->events[c->count++] = (entry){hash_of(type, state_key),     ++c->clock, own, gr_arena_str(own, type),
                                    gr_arena_str(own, state_key), event};
    c->bytes += gr_arena_used(own);
    return event;
}

/* Its arena waits for the next trim: the handler may still hold the event. */
void gr_room_cache_moved(gr_room_cache *c, gr_str type, gr_str state_key)
{
    entry *e = find(c, type, state_key);
    if (!e) return;
    if (c->stale_count == c->stale_room) {
        c->stale_room = c->stale_room ? c->stale_room * 2 : 8;
        c->stale = gr_realloc(c->stale, c->stale_room * sizeof *c->stale);
    }
    c->stale[c->stale_count++] = e->arena;
    remove_at(c, (size_t)(e - c->events));
}

/* --- nodes --------------------------------------------------------------------------------------------- */
bool gr_room_cache_node(const gr_room_cache *c, uint64_t node, gr_str *bytes)
{
    const kept_node *n = &c->nodes[node % GR_ROOM_CACHE_NODES];
    if (node == 0 || n->number != node) return false;
    *bytes = gr_buf_view(&n->bytes);
    return true;
}

void gr_room_cache_keep_node(gr_room_cache *c, uint64_t node, gr_str bytes)
{
    kept_node *n = &c->nodes[node % GR_ROOM_CACHE_NODES];
    c->node_bytes -= n->bytes.room;
    n->number = node;
    gr_buf_clear(&n->bytes);
    gr_buf_str(&n->bytes, bytes);
    c->node_bytes += n->bytes.room;
}

/* --- facts --------------------------------------------------------------------------------------------- */
bool gr_room_cache_fact(const gr_room_cache *c, gr_str key, gr_str *value)
{
    uint64_t hash = gr_str_hash(key);
    const fact *f = c->facts ? &c->facts[hash % GR_ROOM_CACHE_FACTS] : NULL;
    *value = (gr_str){0};
    if (!f || f->hash != hash || !gr_str_eq(gr_str_head(gr_buf_view(&f->bytes), f->key_size), key)) return false;
    *value = gr_str_from(gr_buf_view(&f->bytes), f->key_size);
    return true;
}

void gr_room_cache_keep_fact(gr_room_cache *c, gr_str key, gr_str value)
{
    uint64_t hash = gr_str_hash(key);
    if (!c->facts) c->facts = gr_alloc(GR_ROOM_CACHE_FACTS * sizeof *c->facts);
    fact *f = &c->facts[hash % GR_ROOM_CACHE_FACTS];
    c->fact_bytes -= f->bytes.room;
    f->hash = hash;
    f->key_size = key.size;
    gr_buf_clear(&f->bytes);
    gr_buf_str(&f->bytes, key);
    gr_buf_str(&f->bytes, value);
    c->fact_bytes += f->bytes.room;
}

void gr_room_cache_forget_facts(gr_room_cache *c)
{
    for (size_t i = 0; c->facts && i < GR_ROOM_CACHE_FACTS; i++) gr_buf_free(&c->facts[i].bytes);
    free(c->facts);
    c->facts = NULL;
    c->fact_bytes = 0;
}

/* --- keys of a room that is being made ----------------------------------------------------------------- */
void gr_room_cache_fresh(gr_room_cache *c, bool on)
{
    c->fresh = on;
    forget_keys(c);
}

bool gr_room_cache_is_fresh(const gr_room_cache *c) { return c->fresh; }

static bool same_key(const fresh_key *k, gr_str type, gr_str state_key)
{
    return gr_str_eq(type, gr_str_of(k->text, k->type_size))
           && gr_str_eq(state_key, gr_str_of(k->text + k->type_size, k->size - k->type_size));
}

uint64_t gr_room_cache_key(const gr_room_cache *c, gr_str type, gr_str state_key)
{
    uint64_t hash = hash_of(type, state_key);
    for (size_t i = 0; i < c->key_count; i++)
        if (c->keys[i].hash == hash && same_key(&c->keys[i], type, state_key)) return c->keys[i].key;
    return 0;
}

void gr_room_cache_keep_key(gr_room_cache *c, gr_str type, gr_str state_key, uint64_t key)
{
    if (c->key_count == c->key_room) {
        c->key_room = c->key_room ? c->key_room * 2 : 32;
        c->keys = gr_realloc(c->keys, c->key_room * sizeof *c->keys);
    }
    size_t size = type.size + state_key.size;
    char *text = gr_alloc(size + 1);
    memcpy(text, type.ptr, type.size);
    if (state_key.size) memcpy(text + type.size, state_key.ptr, state_key.size);
    c->keys[c->key_count++] = (fresh_key){hash_of(type, state_key), key, text, type.size, size};
}
