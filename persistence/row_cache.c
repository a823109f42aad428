/* row_cache.c - rows one after the other in a ring, found by a table of their places. See row_cache.h. */
#include "persistence/row_cache.h"

#include <stdlib.h>

enum { SETS = 4096, WAYS = 4, NO_SET = SETS, ALIGNMENT = 8 };

/* In the ring before the key and the value. */
typedef struct {
    uint32_t size;                 /* in all, a multiple of ALIGNMENT */
    uint32_t value_size, epoch;
    uint16_t set, key_size;
    uint8_t shard;
    bool is_row;                   /* else it is known that there is none */
} entry;

struct gr_row_cache {
    uint64_t head, tail;           /* bytes that were ever put in and taken out: entries lie at their rest by the size */
    uint64_t places[SETS][WAYS];   /* of entries, + 1; 0: free */
    uint32_t epochs[256];          /* of shards: entries of another are forgotten */
    gr_row_cache_count count;
    char *ring;
};

gr_row_cache *gr_row_cache_new(void)
{
    gr_row_cache *c = gr_alloc(sizeof *c);
    c->ring = gr_alloc(GR_ROW_CACHE_BYTES + sizeof(entry));       /* the head of a filler at the end may stand over */
    return c;
}

void gr_row_cache_free(gr_row_cache **at)
{
    if (!*at) return;
    free((*at)->ring);
    free(*at);
    *at = NULL;
}

gr_row_cache_count gr_row_cache_counted(const gr_row_cache *c) { return c->count; }

static entry *entry_at(const gr_row_cache *c, uint64_t place) { return (entry *)(c->ring + place % GR_ROW_CACHE_BYTES); }

static uint16_t set_of(uint8_t shard, gr_str key) { return (uint16_t)((gr_str_hash(key) ^ shard * 0x9E3779B1u) % SETS); }

static uint64_t *find(gr_row_cache *c, uint8_t shard, gr_str key, uint16_t set)
{
    for (size_t i = 0; i < WAYS; i++) {
        uint64_t *place = &c->places[set][i];
        const entry *e = *place ? entry_at(c, *place - 1) : NULL;
        if (e && e->shard == shard && e->epoch == c->epochs[shard] && e->key_size == key.size
            && memcmp(e + 1, key.ptr, key.size) == 0) return place;
    }
    return NULL;
}

bool gr_row_cache_get(gr_row_cache *c, uint8_t shard, gr_str key, gr_arena *arena, gr_str *value)
{
    const uint64_t *place = find(c, shard, key, set_of(shard, key));
    *value = (gr_str){0};
    if (!place) {
        c->count.misses++;
        return false;
    }
    const entry *e = entry_at(c, *place - 1);
    c->count.hits++;
    if (e->is_row) *value = gr_arena_str(arena, gr_str_of((const char *)(e + 1) + e->key_size, e->value_size));
    return true;
}

static void take_out_oldest(gr_row_cache *c)
{
    const entry *e = entry_at(c, c->tail);
    for (size_t i = 0; e->set != NO_SET && i < WAYS; i++)
        if (c->places[e->set][i] == c->tail + 1) c->places[e->set][i] = 0;
    c->tail += e->size;
}

/* Room for an entry in one piece at the head. */
static entry *make_room(gr_row_cache *c, uint32_t size)
{
    uint32_t to_end = GR_ROW_CACHE_BYTES - (uint32_t)(c->head % GR_ROW_CACHE_BYTES);
    uint32_t filler = to_end < size ? to_end : 0;
    while (c->head + filler + size - c->tail > GR_ROW_CACHE_BYTES) take_out_oldest(c);
    if (filler) *entry_at(c, c->head) = (entry){.size = filler, .set = NO_SET};
    c->head += filler;
    return entry_at(c, c->head);
}

/* Where the place of a new entry is noted: free, or of the entry that came first. */
static uint64_t *oldest_way(gr_row_cache *c, uint16_t set)
{
    uint64_t *oldest = &c->places[set][0];
    for (size_t i = 1; i < WAYS; i++)
        if (c->places[set][i] < *oldest) oldest = &c->places[set][i];
    return oldest;
}

void gr_row_cache_put(gr_row_cache *c, uint8_t shard, gr_op_kind kind, gr_str key, gr_str value)
{
    uint16_t set = set_of(shard, key);
    size_t value_size = kind == GR_OP_PUT ? value.size : 0, whole = sizeof(entry) + key.size + value_size;
    if (whole > GR_ROW_CACHE_ROW_MAX) return;
    uint32_t size = (uint32_t)((whole + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    entry *e = make_room(c, size);
    *e = (entry){.size = size, .value_size = (uint32_t)value_size, .epoch = c->epochs[shard], .set = set,
                 .key_size = (uint16_t)key.size, .shard = shard, .is_row = kind == GR_OP_PUT};
    memcpy(e + 1, key.ptr, key.size);
    if (value_size) memcpy((char *)(e + 1) + key.size, value.ptr, value_size);
    *oldest_way(c, set) = c->head + 1;
    c->head += size;
}

void gr_row_cache_written(gr_row_cache *c, uint8_t shard, gr_op_kind kind, gr_str key, gr_str value)
{
    uint64_t *place = find(c, shard, key, set_of(shard, key));
    if (!place) return;
    *place = 0;
    gr_row_cache_put(c, shard, kind, key, value);
}

void gr_row_cache_forget(gr_row_cache *c, uint8_t shard) { c->epochs[shard]++; }
