/* lru.c - see lru.h. */
#include "edge/lru.h"

#include <stddef.h>
#include <stdlib.h>
#include <uthash.h>

typedef struct {
    UT_hash_handle hh;                 /* in order of use: the oldest is first */
    size_t bytes, key_size;
    max_align_t value[];               /* behind it, the key */
} entry;

struct gr_lru {
    entry *all;
    size_t value_size, entries_max, bytes_max, bytes;
    void (*drop)(void *value);
};

gr_lru *gr_lru_new(size_t value_size, size_t entries_max, size_t bytes_max, void (*drop)(void *value))
{
    gr_lru *l = gr_alloc(sizeof *l);
    gr_assert(entries_max > 0);
    *l = (gr_lru){.value_size = value_size, .entries_max = entries_max, .bytes_max = bytes_max, .drop = drop};
    return l;
}

static void forget(gr_lru *l, entry *e)
{
    HASH_DEL(l->all, e);
    l->bytes -= e->bytes;
    if (l->drop) l->drop(e->value);
    free(e);
}

void gr_lru_free(gr_lru **at)
{
    entry *e, *next;
    if (!*at) return;
    HASH_ITER(hh, (*at)->all, e, next) forget(*at, e);
    free(*at);
    *at = NULL;
}

static char *key_of(const gr_lru *l, entry *e) { return (char *)e->value + l->value_size; }

static void put(gr_lru *l, entry *e) { HASH_ADD_KEYPTR(hh, l->all, key_of(l, e), e->key_size, e); }

void *gr_lru_find(gr_lru *l, gr_str key)
{
    entry *e = NULL;
    HASH_FIND(hh, l->all, key.ptr, key.size, e);
    if (!e) return NULL;
    HASH_DEL(l->all, e);
    put(l, e);
    return e->value;
}

void *gr_lru_add(gr_lru *l, gr_str key, size_t bytes)
{
    entry *e = NULL;
    gr_assert(bytes <= l->bytes_max);      /* none are counted where that is 0 */
    HASH_FIND(hh, l->all, key.ptr, key.size, e);
    if (e) forget(l, e);
    while (l->all && (HASH_COUNT(l->all) >= l->entries_max || l->bytes + bytes > l->bytes_max)) forget(l, l->all);
    e = gr_alloc(sizeof *e + l->value_size + key.size);
    e->bytes = bytes;
    e->key_size = key.size;
    memcpy(key_of(l, e), key.ptr, key.size);
    l->bytes += bytes;
    put(l, e);
    return e->value;
}

size_t gr_lru_count(const gr_lru *l) { return HASH_COUNT(l->all); }
